/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/event_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>

void sha256(const void *p, size_t n, uint8_t out[static 32])
{
	assert_int_equal(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL), 1);
}

void log_begin(struct log *l)
{
	static const uint8_t signature[16] = "Spec ID Event03";

	buf_init(&l->b, l->mem, sizeof(l->mem));
	CHECK(buf_put_u32le(&l->b, 0) || buf_put_u32le(&l->b, 3) || buf_put_bytes(&l->b, (uint8_t[20]){0}, 20) ||
	      buf_put_u32le(&l->b, 16 + 8 + 4 + 8 + 1) || buf_put_bytes(&l->b, signature, 16));
	CHECK(buf_put_u32le(&l->b, 0) || buf_put_u32le(&l->b, 0x02000200) || buf_put_u32le(&l->b, 2) ||
	      buf_put_u16le(&l->b, 4) || buf_put_u16le(&l->b, 20) || buf_put_u16le(&l->b, 0xb) || buf_put_u16le(&l->b, 32) ||
	      buf_put_u8(&l->b, 0));
}

void log_event(struct log *l, uint32_t pcr, uint32_t type, const void *data, size_t n, const uint8_t *digest)
{
	uint8_t own[32];

	sha256(data, n, own);
	CHECK(buf_put_u32le(&l->b, pcr) || buf_put_u32le(&l->b, type) || buf_put_u32le(&l->b, 2) ||
	      buf_put_u16le(&l->b, 4) || buf_put_bytes(&l->b, (uint8_t[20]){0}, 20) || buf_put_u16le(&l->b, 0xb) ||
	      buf_put_bytes(&l->b, digest ? digest : own, 32));
	CHECK(buf_put_u32le(&l->b, (uint32_t)n) || buf_put_bytes(&l->b, data, n));
}

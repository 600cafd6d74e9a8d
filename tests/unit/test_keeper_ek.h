/* SPDX-License-Identifier: BSD-2-Clause */
/* Public areas of endorsement keys as a vTPM's engine reports them, for tests. */
#ifndef VTPM_TESTS_KEEPER_EK_H
#define VTPM_TESTS_KEEPER_EK_H

#include <assert.h>
#include <string.h>

#include "lib/buf.h"
#include "vtpm-mgr/keeper/openssl.h"
#include "vtpm-mgr/proto/backend.h"

static const uint8_t test_ek_policy[32] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

/* type .. authPolicy .. AES-128-CFB, scheme NULL: the part that both templates share. */
static inline int test_ek_head(struct buf *b, uint16_t type)
{
	return buf_put_u16be(b, 0) || buf_put_u16be(b, type) || buf_put_u16be(b, 0x000b) ||
	       buf_put_u32be(b, 0x000300b2) || buf_put_2b(b, test_ek_policy, 32) || buf_put_u16be(b, 6) ||
	       buf_put_u16be(b, 128) || buf_put_u16be(b, 0x43) || buf_put_u16be(b, 0x10);
}

static inline size_t test_ek_end(struct buf *b)
{
	b->data[0] = (uint8_t)((b->len - 2) >> 8);
	b->data[1] = (uint8_t)(b->len - 2);
	return b->len;
}

static inline size_t test_ek_rsa(uint8_t out[static PUBLIC_MAX])
{
	uint8_t n[256];
	struct buf b;
	int r;

	memset(n, 0xa5, sizeof(n));
	buf_init(&b, out, PUBLIC_MAX);
	r = test_ek_head(&b, 0x0001) || buf_put_u16be(&b, 2048) || buf_put_u32be(&b, 0) || buf_put_2b(&b, n, sizeof(n));
	assert(!r);
	return test_ek_end(&b);
}

static inline size_t test_ek_ecc(uint8_t out[static PUBLIC_MAX])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t point[65];
	size_t len = 0;
	struct buf b;
	int r;

	r = EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len);
	assert(r == 1 && len == sizeof(point));
	EVP_PKEY_free(key);
	buf_init(&b, out, PUBLIC_MAX);
	r = test_ek_head(&b, 0x0023) || buf_put_u16be(&b, 3) || buf_put_u16be(&b, 0x10) ||
	    buf_put_2b(&b, point + 1, 32) || buf_put_2b(&b, point + 33, 32);
	assert(!r);
	return test_ek_end(&b);
}

#endif

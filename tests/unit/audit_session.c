/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/audit_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "hv/chan_abi.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"
#include "vtpm-mgr/proto/limits.h"

#define CC_START_AUTH_SESSION 0x176u
#define RH_NULL		      0x40000007u
#define SESSION_CONTINUE      0x01u
#define SESSION_EXCLUSIVE     0x02u
#define SESSION_AUDIT	      0x80u

static const uint8_t caller[16] = "nonce of caller";

static uint32_t run(struct audit_session *s, struct buf *c, uint8_t rsp[static CHAN_PACKET_MAX], struct buf *r)
{
	struct tpm_header h;

	assert_int_equal(buf_set_u32be(c, 2, (uint32_t)c->len), 0);
	buf_wrap(r, rsp, s->execute(s->arg, c->data, c->len, rsp));
	assert_int_equal(tpm_header_get(r, &h), 0);
	return h.code;
}

static void take_nonce(struct audit_session *s, struct buf *r)
{
	const uint8_t *nonce;
	size_t n;

	assert_int_equal(buf_get_2b(r, 16, &nonce, &n), 0);
	assert_int_equal(n, 16);
	memcpy(s->tpm, nonce, n);
}

void audit_start(struct audit_session *s)
{
	uint8_t mem[128], rsp[CHAN_PACKET_MAX];
	struct buf c, r;

	buf_init(&c, mem, sizeof(mem));
	assert_int_equal(buf_put_u16be(&c, TPM_ST_NO_SESSIONS) | buf_put_u32be(&c, 0) | buf_put_u32be(&c, CC_START_AUTH_SESSION) |
				 buf_put_u32be(&c, RH_NULL) | buf_put_u32be(&c, RH_NULL) | buf_put_2b(&c, caller, 16) |
				 buf_put_u16be(&c, 0) | buf_put_u8(&c, 0) | buf_put_u16be(&c, TPM_ALG_NULL) | buf_put_u16be(&c, TPM_ALG_SHA256),
			 0);
	assert_int_equal(run(s, &c, rsp, &r), 0);
	assert_int_equal(buf_get_u32be(&r, &s->handle), 0);
	take_nonce(s, &r);
}

/* The key of the HMAC is empty. */
static void authorise(const struct audit_session *s, uint8_t attributes, uint8_t mac[static DIGEST_LEN])
{
	static const uint8_t params[] = { 0, 0, 0x01, 0x7b, 0, 4 };
	uint8_t text[DIGEST_LEN + 33];

	assert_int_equal(EVP_Digest(params, sizeof(params), text, NULL, EVP_sha256(), NULL), 1);
	memcpy(text + DIGEST_LEN, caller, 16);
	memcpy(text + DIGEST_LEN + 16, s->tpm, 16);
	text[sizeof(text) - 1] = attributes;
	assert_non_null(HMAC(EVP_sha256(), "", 0, text, sizeof(text), mac, NULL));
}

uint32_t audit_command(struct audit_session *s, int exclusive)
{
	const uint8_t attributes = SESSION_AUDIT | SESSION_CONTINUE | (exclusive ? SESSION_EXCLUSIVE : 0);
	uint8_t mac[DIGEST_LEN], mem[128], rsp[CHAN_PACKET_MAX];
	struct buf c, r;
	uint32_t code;

	authorise(s, attributes, mac);
	buf_init(&c, mem, sizeof(mem));
	assert_int_equal(buf_put_u16be(&c, TPM_ST_SESSIONS) | buf_put_u32be(&c, 0) | buf_put_u32be(&c, TPM_CC_GetRandom) |
				 buf_put_u32be(&c, 4 + 2 + 16 + 1 + 2 + DIGEST_LEN) | buf_put_u32be(&c, s->handle) |
				 buf_put_2b(&c, caller, 16) | buf_put_u8(&c, attributes) | buf_put_2b(&c, mac, DIGEST_LEN) |
				 buf_put_u16be(&c, 4),
			 0);
	code = run(s, &c, rsp, &r);
	if (code == 0) {
		assert_int_equal(buf_skip(&r, 4 + 2 + 4), 0); /* parameterSize, the random bytes */
		take_nonce(s, &r);
	}
	return code;
}

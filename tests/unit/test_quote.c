/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quotes of a real engine by its attestation key: that they are what they say, that no two have a nonce in common, and that the guest
 * does not notice: with slots full of its objects, in the middle of its sessions, whatever it has set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/quote.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define CC_START_AUTH_SESSION 0x176u
#define CC_PCR_EXTEND	      0x182u
#define RC_EXCLUSIVE	      0x121u
#define SESSION_CONTINUE      0x01u
#define SESSION_EXCLUSIVE     0x02u
#define SESSION_AUDIT	      0x80u

static struct ak_secret secret;
static const uint8_t over[DIGEST_LEN] = "what is quoted over";

static uint32_t run(struct tpmrun *t, unsigned handles)
{
	int err = tpmrun(t, handles);

	assert_true(err == 0 || err == ERR_ENGINE);
	return t->rsp.rc;
}

static void power_on(void)
{
	uint8_t key[KEY_LEN] = { 0x42 }, pub[PUBLIC_MAX];
	size_t n;

	assert_int_equal(engine_prepare(), 0);
	assert_int_equal(engine_open(NULL, 0), 0);
	assert_int_equal(provision_startup(), 0);
	assert_int_equal(ak_derive(&secret, key), 0);
	assert_int_equal(ak_settle(&secret, pub, &n), 0);
}

static int setup(void **state)
{
	(void)state;
	power_on();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	engine_close();
	return 0;
}

static struct quote quoted(void)
{
	struct quote q = { 0 };
	int code = -1;

	assert_int_equal(quote_make(&secret, over, &q, &code), 0);
	assert_int_equal(code, 0);
	return q;
}

static int refused(const struct ak_secret *s)
{
	struct quote q = { 0 };
	int code = 0;

	assert_int_equal(quote_make(s, over, &q, &code), 0);
	return code;
}

static void extend(unsigned pcr)
{
	struct tpmrun t;

	tpmrun_init(&t);
	buf_reset(&t.cmd);
	assert_int_equal(buf_put_u16be(&t.cmd, TPM_ST_SESSIONS) | buf_put_u32be(&t.cmd, 0) | buf_put_u32be(&t.cmd, CC_PCR_EXTEND) |
				 buf_put_u32be(&t.cmd, pcr) | buf_put_u32be(&t.cmd, 9) | buf_put_u32be(&t.cmd, TPM_RS_PW) |
				 buf_put_u32be(&t.cmd, 0) | buf_put_u8(&t.cmd, 0) | buf_put_u32be(&t.cmd, 1) |
				 buf_put_u16be(&t.cmd, TPM_ALG_SHA256) | buf_put_bytes(&t.cmd, over, DIGEST_LEN) |
				 buf_set_u32be(&t.cmd, 2, (uint32_t)t.cmd.len),
			 0);
	assert_int_equal(run(&t, 0), 0);
}

/* TPMS_ATTEST: Part 2, 10.12.12. */
static void test_says_what_it_quotes(void **state)
{
	const uint8_t *name, *data, *digest;
	uint8_t expected[DIGEST_LEN], alg[2 + 1 + 3];
	uint32_t magic, count;
	uint16_t type;
	size_t n;
	struct quote q;
	struct buf b;

	(void)state;
	extend(3);
	extend(15);
	q = quoted();
	buf_wrap(&b, q.attest, q.attest_len);
	assert_int_equal(buf_get_u32be(&b, &magic) | buf_get_u16be(&b, &type) | buf_get_2b(&b, 68, &name, &n), 0);
	assert_int_equal(magic, 0xff544347);
	assert_int_equal(type, 0x8018);
	assert_int_equal(buf_get_2b(&b, 64, &data, &n), 0);
	assert_int_equal(n, DIGEST_LEN);
	assert_memory_equal(data, over, n);
	assert_int_equal(buf_skip(&b, 17 + 8) | buf_get_u32be(&b, &count) | buf_get_bytes(&b, alg, sizeof(alg)) | buf_get_2b(&b, 64, &digest, &n), 0);
	assert_int_equal(count, 1);
	assert_memory_equal(alg, "\x00\x0b\x03\xff\xff\x00", sizeof(alg));
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(EVP_Digest(q.pcrs, sizeof(q.pcrs), expected, NULL, EVP_sha256(), NULL), 1);
	assert_int_equal(n, DIGEST_LEN);
	assert_memory_equal(digest, expected, n);
	assert_memory_not_equal(q.pcrs + 3 * DIGEST_LEN, q.pcrs + 4 * DIGEST_LEN, DIGEST_LEN);
	assert_memory_equal(q.pcrs + 3 * DIGEST_LEN, q.pcrs + 15 * DIGEST_LEN, DIGEST_LEN);
}

/* The generator is put back each time. TPMT_SIGNATURE: algorithm, hash, then r. */
static void test_no_nonce_twice(void **state)
{
	struct quote q[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(q); i++) {
		q[i] = quoted();
		assert_memory_equal(q[i].sig, "\x00\x18\x00\x0b\x00", 5);
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(q[i].sig + 6, q[j].sig + 6, 31);
	}
}

static void random_16(uint8_t out[static 16])
{
	const uint8_t *p;
	struct tpmrun t;
	size_t n;

	tpmrun_init(&t);
	assert_int_equal(tpmcmd_get_random(&t.cmd, 16), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(buf_get_2b(&t.rsp.params, 16, &p, &n), 0);
	assert_int_equal(n, 16);
	memcpy(out, p, n);
}

static void test_random_numbers_are_fresh(void **state)
{
	uint8_t r[4][16];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		random_16(r[i]);
		(void)quoted();
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(r[i], r[j], 16);
	}
}

/* All that a power-off would keep is the same, byte for byte, and what is in memory differs in nothing but the time. */
static void test_nothing_has_changed(void **state)
{
	uint8_t *before, *after, *kept;
	const uint8_t *now;
	size_t n, m, len, kept_len, differ = 0;

	(void)state;
	assert_int_equal(engine_state(&now, &len), 0);
	kept = malloc(len);
	assert_non_null(kept);
	memcpy(kept, now, len);
	kept_len = len;
	assert_int_equal(engine_volatile(&before, &n), 0);
	for (unsigned i = 0; i < 16; i++)
		(void)quoted();
	assert_int_equal(engine_volatile(&after, &m), 0);
	assert_int_equal(engine_state(&now, &len), 0);
	assert_int_equal(len, kept_len);
	assert_memory_equal(now, kept, len);
	assert_false(engine_dirty());
	assert_int_equal(n, m);
	for (size_t i = 0; i < n; i++)
		differ += before[i] != after[i];
	assert_in_range(differ, 0, 4 * 8 + DIGEST_LEN); /* four clocks, and the hash over all of it */
	free(before);
	free(after);
	free(kept);
}

/* Loads one primary key; its handle. */
static uint32_t load_one(void)
{
	uint8_t mem[PUBLIC_MAX];
	struct ak_secret s = { .auth = { 1 } };
	struct buf tmpl;
	struct tpmrun t;

	buf_init(&tmpl, mem, sizeof(mem));
	tpmrun_init(&t);
	assert_int_equal(ak_template(&s, &tmpl), 0);
	assert_int_equal(tpmcmd_create_primary(&t.cmd, TPM_RH_OWNER, NULL, 0, tmpl.data, tmpl.len), 0);
	return run(&t, 1) == 0 ? t.rsp.handle : 0;
}

static void test_slots_are_full(void **state)
{
	uint32_t handle[4];
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	for (unsigned i = 0; i < 3; i++) {
		handle[i] = load_one();
		assert_int_not_equal(handle[i], 0);
	}
	assert_int_equal(load_one(), 0);
	(void)quoted();
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(tpmcmd_read_public(&t.cmd, handle[i]), 0);
		assert_int_equal(run(&t, 0), 0);
		assert_int_equal(tpmcmd_flush_context(&t.cmd, handle[i]), 0);
		assert_int_equal(run(&t, 0), 0);
	}
}

/* ---- an audit session, whose exclusiveness the next command of anybody's would end (Part 1, 19.8.3) ---- */

struct session {
	uint32_t handle;
	uint8_t tpm[16]; /* nonceTPM */
};

static void session_start(struct session *s)
{
	const uint8_t *nonce;
	struct tpmrun t;
	size_t n;

	tpmrun_init(&t);
	buf_reset(&t.cmd);
	assert_int_equal(buf_put_u16be(&t.cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&t.cmd, 0) | buf_put_u32be(&t.cmd, CC_START_AUTH_SESSION) |
				 buf_put_u32be(&t.cmd, 0x40000007) | buf_put_u32be(&t.cmd, 0x40000007) | buf_put_2b(&t.cmd, over, 16) |
				 buf_put_u16be(&t.cmd, 0) | buf_put_u8(&t.cmd, 0) | buf_put_u16be(&t.cmd, TPM_ALG_NULL) |
				 buf_put_u16be(&t.cmd, TPM_ALG_SHA256) | buf_set_u32be(&t.cmd, 2, (uint32_t)t.cmd.len),
			 0);
	assert_int_equal(run(&t, 1), 0);
	s->handle = t.rsp.handle;
	assert_int_equal(buf_get_2b(&t.rsp.params, 16, &nonce, &n), 0);
	assert_int_equal(n, 16);
	memcpy(s->tpm, nonce, n);
}

/* TPM2_GetRandom of 4 bytes, audited: neither bound nor salted, so that the key of the HMAC is empty. */
static uint32_t audited(struct session *s, uint8_t attributes)
{
	static const uint8_t params[] = { 0, 0, 0x01, 0x7b, 0, 4 };
	uint8_t cp[DIGEST_LEN], mac[DIGEST_LEN], text[DIGEST_LEN + 33], mem[CHAN_PACKET_MAX];
	const uint8_t *nonce;
	struct tpm_header h;
	size_t n = 0;
	struct buf c, r;

	assert_int_equal(EVP_Digest(params, sizeof(params), cp, NULL, EVP_sha256(), NULL), 1);
	memcpy(text, cp, DIGEST_LEN);
	memcpy(text + DIGEST_LEN, over, 16);
	memcpy(text + DIGEST_LEN + 16, s->tpm, 16);
	text[sizeof(text) - 1] = attributes;
	assert_non_null(HMAC(EVP_sha256(), "", 0, text, sizeof(text), mac, NULL));
	buf_init(&c, mem, sizeof(mem));
	assert_int_equal(buf_put_u16be(&c, TPM_ST_SESSIONS) | buf_put_u32be(&c, 0) | buf_put_u32be(&c, TPM_CC_GetRandom) |
				 buf_put_u32be(&c, 4 + 2 + 16 + 1 + 2 + DIGEST_LEN) | buf_put_u32be(&c, s->handle) |
				 buf_put_2b(&c, over, 16) | buf_put_u8(&c, attributes) | buf_put_2b(&c, mac, DIGEST_LEN) |
				 buf_put_u16be(&c, 4) | buf_set_u32be(&c, 2, (uint32_t)c.len),
			 0);
	assert_int_equal(engine_process(mem, c.len, 0, mem, &n), 0);
	buf_wrap(&r, mem, n);
	assert_int_equal(tpm_header_get(&r, &h), 0);
	if (h.code == 0) {
		assert_int_equal(buf_skip(&r, 4 + 2 + 4) | buf_get_2b(&r, 16, &nonce, &n), 0);
		memcpy(s->tpm, nonce, 16);
	}
	return h.code;
}

static void test_sessions_go_on(void **state)
{
	const uint8_t first = SESSION_AUDIT | SESSION_CONTINUE, then = first | SESSION_EXCLUSIVE;
	struct session s;
	uint8_t r[16];

	(void)state;
	session_start(&s);
	assert_int_equal(audited(&s, first), 0);
	assert_int_equal(audited(&s, then), 0);
	(void)quoted();
	assert_int_equal(audited(&s, then), 0);
	random_16(r); /* a command that the session does not audit: this test can fail */
	assert_int_equal(audited(&s, then), RC_EXCLUSIVE);
}

/* The auth of each hierarchy is the guest's to set; and the lockout is in force. Last but one: nothing gives these back. */
static void test_whatever_the_guest_sets(void **state)
{
	static const uint32_t hierarchies[] = { TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM };
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	for (unsigned i = 0; i < ARRAY_LEN(hierarchies); i++) {
		assert_int_equal(tpmcmd_hierarchy_change_auth(&t.cmd, hierarchies[i], over, 16), 0);
		assert_int_equal(run(&t, 0), 0);
		(void)quoted();
	}
}

static void test_not_by_another_key(void **state)
{
	struct ak_secret other = { .auth = { 1 } };
	struct tpmrun t;

	(void)state;
	assert_int_equal(refused(&other), ERR_NOTFOUND);
	(void)quoted();
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, AK_HANDLE, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(refused(&secret), ERR_NOTFOUND);
}

static void test_not_before_startup(void **state)
{
	(void)state;
	engine_power_off();
	assert_int_equal(engine_power_on(NULL, 0), 0);
	assert_int_equal(refused(&secret), ERR_WRONG_STATE);
	assert_int_equal(provision_startup(), 0);
	(void)quoted();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_says_what_it_quotes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_nonce_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_numbers_are_fresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_has_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots_are_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sessions_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_whatever_the_guest_sets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_by_another_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_before_startup, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

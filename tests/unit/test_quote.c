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

#include "tests/unit/audit_session.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/quote.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define CC_PCR_EXTEND	      0x182u
#define CC_GET_AUDIT_DIGEST   0x133u

static struct backend b; /* b.unsettled: whether it must be a copy that quotes */
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
	assert_int_equal(ak_derive(&b.ak, key), 0);
	assert_int_equal(ak_settle(&b.ak, pub, &n), 0);
}

static int setup_itself(void **state)
{
	(void)state;
	b = (struct backend){ 0 };
	power_on();
	return 0;
}

static int setup_copy(void **state)
{
	(void)setup_itself(state);
	b.unsettled = true;
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

	assert_int_equal(quote_make(&b, over, &q, &code), 0);
	assert_int_equal(code, 0);
	return q;
}

static int refused(void)
{
	struct quote q = { 0 };
	int code = 0;

	assert_int_equal(quote_make(&b, over, &q, &code), 0);
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
	struct buf r;

	(void)state;
	extend(3);
	extend(15);
	q = quoted();
	buf_wrap(&r, q.attest, q.attest_len);
	assert_int_equal(buf_get_u32be(&r, &magic) | buf_get_u16be(&r, &type) | buf_get_2b(&r, 68, &name, &n), 0);
	assert_int_equal(magic, 0xff544347);
	assert_int_equal(type, 0x8018);
	assert_int_equal(buf_get_2b(&r, 64, &data, &n), 0);
	assert_int_equal(n, DIGEST_LEN);
	assert_memory_equal(data, over, n);
	assert_int_equal(buf_skip(&r, 17 + 8) | buf_get_u32be(&r, &count) | buf_get_bytes(&r, alg, sizeof(alg)) | buf_get_2b(&r, 64, &digest, &n), 0);
	assert_int_equal(count, 1);
	assert_memory_equal(alg, "\x00\x0b\x03\xff\xff\x00", sizeof(alg));
	assert_int_equal(buf_left(&r), 0);
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

static size_t in_engine(void *arg, const uint8_t *cmd, size_t len, uint8_t *rsp)
{
	size_t n = 0;

	(void)arg;
	memcpy(rsp, cmd, len);
	assert_int_equal(engine_process(rsp, len, 0, rsp, &n), 0);
	return n;
}

static void test_sessions_go_on(void **state)
{
	struct audit_session s = { .execute = in_engine };
	uint8_t r[16];

	(void)state;
	audit_start(&s);
	assert_int_equal(audit_command(&s, 0), 0);
	assert_int_equal(audit_command(&s, 1), 0);
	(void)quoted();
	assert_int_equal(audit_command(&s, 1), 0);
	random_16(r); /* a command that the session does not audit: this test can fail */
	assert_int_equal(audit_command(&s, 1), AUDIT_RC_EXCLUSIVE);
}

/* ---- audits of commands ---- */

static void audit_quotes(void)
{
	struct tpmrun t;

	tpmrun_init(&t);
	buf_reset(&t.cmd);
	/* TPM2_SetCommandCodeAuditStatus by the owner: SHA-256, TPM2_Quote, nothing cleared; first the algorithm, then the command */
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&t.cmd);
		assert_int_equal(buf_put_u16be(&t.cmd, TPM_ST_SESSIONS) | buf_put_u32be(&t.cmd, 0) |
					 buf_put_u32be(&t.cmd, TPM_CC_SetCommandCodeAuditStatus) | buf_put_u32be(&t.cmd, TPM_RH_OWNER) |
					 buf_put_u32be(&t.cmd, 9) | buf_put_u32be(&t.cmd, TPM_RS_PW) | buf_put_u32be(&t.cmd, 0) |
					 buf_put_u8(&t.cmd, 0) | buf_put_u16be(&t.cmd, i ? TPM_ALG_NULL : TPM_ALG_SHA256) |
					 buf_put_u32be(&t.cmd, i) | (i ? buf_put_u32be(&t.cmd, TPM_CC_Quote) : 0) | buf_put_u32be(&t.cmd, 0) |
					 buf_set_u32be(&t.cmd, 2, (uint32_t)t.cmd.len),
				 0);
		assert_int_equal(run(&t, 0), 0);
	}
}

/* TPM2_GetCommandAuditDigest by nobody: counter, algorithm, digest of what was audited, digest of what is. */
static void audited_so_far(uint8_t digest[static DIGEST_LEN])
{
	const uint8_t *attest, *p;
	struct tpmrun t;
	struct buf r;
	size_t n;

	tpmrun_init(&t);
	buf_reset(&t.cmd);
	assert_int_equal(buf_put_u16be(&t.cmd, TPM_ST_SESSIONS) | buf_put_u32be(&t.cmd, 0) | buf_put_u32be(&t.cmd, CC_GET_AUDIT_DIGEST) |
				 buf_put_u32be(&t.cmd, TPM_RH_ENDORSEMENT) | buf_put_u32be(&t.cmd, 0x40000007) | buf_put_u32be(&t.cmd, 18),
			 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(buf_put_u32be(&t.cmd, TPM_RS_PW) | buf_put_u32be(&t.cmd, 0) | buf_put_u8(&t.cmd, 0), 0);
	assert_int_equal(buf_put_u16be(&t.cmd, 0) | buf_put_u16be(&t.cmd, TPM_ALG_NULL) | buf_set_u32be(&t.cmd, 2, (uint32_t)t.cmd.len), 0);
	assert_int_equal(engine_process(t.cmd.data, t.cmd.len, 0, t.rsp_mem, &n), 0);
	buf_wrap(&r, t.rsp_mem, n);
	/* header, parameterSize, TPM2B_ATTEST; in it magic, type, no signer, no data, clock, firmware, counter, algorithm */
	assert_int_equal(buf_skip(&r, 6) | buf_get_view(&r, 4, &p), 0);
	assert_memory_equal(p, "\0\0\0\0", 4);
	assert_int_equal(buf_skip(&r, 4) | buf_get_2b(&r, 512, &attest, &n), 0);
	buf_wrap(&r, attest, n);
	assert_int_equal(buf_skip(&r, 4 + 2) | buf_get_2b(&r, 68, &p, &n) | buf_get_2b(&r, 64, &p, &n) | buf_skip(&r, 17 + 8 + 8 + 2) |
				 buf_get_2b(&r, DIGEST_LEN, &p, &n),
			 0);
	memset(digest, 0, DIGEST_LEN);
	memcpy(digest, p, n);
}

/* What the guest has audited is what it has done itself. */
static void test_no_audit_of_ours(void **state)
{
	uint8_t before[DIGEST_LEN], after[DIGEST_LEN];

	(void)state;
	audit_quotes();
	audited_so_far(before);
	(void)quoted();
	audited_so_far(after);
	assert_memory_equal(before, after, DIGEST_LEN);
}

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
	const struct ak_secret ours = b.ak;
	struct tpmrun t;

	(void)state;
	b.ak.auth[0] ^= 1;
	assert_int_equal(refused(), ERR_NOTFOUND);
	b.ak = ours;
	(void)quoted();
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, AK_HANDLE, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(refused(), ERR_NOTFOUND);
}

static uint32_t lockout_counter(void)
{
	uint32_t v = 0;
	struct tpmrun t;

	tpmrun_init(&t);
	assert_int_equal(tpmcmd_get_capability(&t.cmd, 6, 0x20e, 1), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(buf_skip(&t.rsp.params, 1 + 4 + 4 + 4) | buf_get_u32be(&t.rsp.params, &v), 0);
	return v;
}

/* Firmware has put a key of its own in that place, which counts wrong tries: there is none. */
static void test_planted_key(void **state)
{
	struct ak_secret theirs = { .auth = { 1 } };
	uint8_t mem[PUBLIC_MAX];
	struct tpmrun t;
	struct buf tmpl;

	(void)state;
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, AK_HANDLE, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	buf_init(&tmpl, mem, sizeof(mem));
	assert_int_equal(ak_template(&theirs, &tmpl), 0);
	mem[6] &= (uint8_t)~(TPMA_OBJECT_NODA >> 8);
	assert_int_equal(tpmcmd_create_primary(&t.cmd, TPM_RH_PLATFORM, theirs.auth, KEY_LEN, tmpl.data, tmpl.len), 0);
	assert_int_equal(run(&t, 1), 0);
	assert_int_equal(tpmcmd_evict_control(&t.cmd, TPM_RH_PLATFORM, t.rsp.handle, AK_HANDLE), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_not_equal(refused(), 0);
	assert_int_equal(lockout_counter(), 0);
}

static void test_not_before_startup(void **state)
{
	(void)state;
	engine_power_off();
	assert_int_equal(engine_power_on(NULL, 0), 0);
	assert_int_equal(refused(), ERR_WRONG_STATE);
	assert_int_equal(provision_startup(), 0);
	(void)quoted();
}

int main(void)
{
#define BOTH(test)                                                                                                     \
	cmocka_unit_test_setup_teardown(test, setup_itself, teardown), cmocka_unit_test_setup_teardown(test, setup_copy, teardown)
	const struct CMUnitTest tests[] = {
		BOTH(test_says_what_it_quotes),
		BOTH(test_no_nonce_twice),
		BOTH(test_random_numbers_are_fresh),
		cmocka_unit_test_setup_teardown(test_nothing_has_changed, setup_copy, teardown),
		BOTH(test_slots_are_full),
		cmocka_unit_test_setup_teardown(test_sessions_go_on, setup_copy, teardown),
		BOTH(test_no_audit_of_ours),
		BOTH(test_whatever_the_guest_sets),
		BOTH(test_not_by_another_key),
		BOTH(test_planted_key),
		BOTH(test_not_before_startup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

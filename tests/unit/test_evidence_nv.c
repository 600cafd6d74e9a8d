/* SPDX-License-Identifier: BSD-2-Clause */
/* The indices by which a guest reads evidence, in a real engine: who can write them, and what stays of them whatever a guest does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/engine.h"
#include "vtpm-backend/evidence_nv.h"
#include "vtpm-backend/guest_evidence.h"
#include "vtpm-backend/provision.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define SESSIONS 3u /* that a TPM of libtpms has loaded at once */

static struct ak_secret secret;
static uint8_t evidence[GUEST_EVIDENCE_MAX];

static uint32_t run(struct tpmrun *t, unsigned handles)
{
	int err = tpmrun(t, handles);

	assert_true(err == 0 || err == ERR_ENGINE);
	return t->rsp.rc;
}

/* By the index's own auth, as a guest with stock tools. */
static void expect(uint32_t index, uint16_t at, const void *data, uint16_t n)
{
	uint8_t got[TPMCMD_NV_CHUNK];
	struct tpmrun t;

	tpmrun_init(&t);
	assert_int_equal(tpmcmd_nv_read(&t.cmd, index, index, n, at), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(tpmrsp_nv_data(&t.rsp, got, n), 0);
	assert_memory_equal(got, data, n);
}

/* TPM_PT_LOCKOUT_COUNTER */
static uint32_t lockout_counter(void)
{
	struct tpmrun t;
	uint32_t value;

	tpmrun_init(&t);
	assert_int_equal(tpmcmd_get_capability(&t.cmd, 6, 0x20e, 1), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(buf_skip(&t.rsp.params, 1 + 4 + 4 + 4) | buf_get_u32be(&t.rsp.params, &value), 0);
	return value;
}

static size_t state_size(void)
{
	const uint8_t *state;
	size_t n;

	assert_int_equal(engine_state(&state, &n), 0);
	return n;
}

static void test_made(void **state)
{
	static const uint8_t zeros[TPMCMD_NV_CHUNK];
	uint8_t key[KEY_LEN] = { 0x42 };
	size_t before;
	uint32_t rc;

	(void)state;
	assert_int_equal(engine_prepare(), 0);
	assert_int_equal(engine_open(NULL, 0), 0);
	assert_int_equal(provision_startup(), 0);
	assert_int_equal(ak_derive(&secret, key), 0);
	assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	before = state_size();
	assert_int_equal(evidence_nv_settle(&secret), 0);
	assert_in_range(state_size() - before, GUEST_EVIDENCE_MAX, GUEST_EVIDENCE_STATE);
	assert_int_equal(evidence_nv_ready(&secret, &rc), 0);
	expect(EVIDENCE_NV_STATUS, 0, "no evidence: nobody has asked for it\n\0", 38);
	for (uint32_t i = 0; i < EVIDENCE_NV_ROWS; i++)
		for (uint16_t at = 0; at < EVIDENCE_NV_SIZE; at += TPMCMD_NV_CHUNK)
			expect(EVIDENCE_NV_ROW + i, at, zeros, sizeof(zeros));
	before = state_size();
	assert_int_equal(evidence_nv_settle(&secret), 0);
	assert_int_equal(state_size(), before);
}

static void test_put(void **state)
{
	static const uint8_t zeros[TPMCMD_NV_CHUNK];
	size_t before;

	(void)state;
	for (size_t i = 0; i < sizeof(evidence); i++)
		evidence[i] = (uint8_t)(i * 7 + i / 251);
	before = state_size();
	assert_int_equal(evidence_nv_put(&secret, evidence, sizeof(evidence), "all of it\n"), 0);
	for (uint32_t at = 0; at < sizeof(evidence); at += TPMCMD_NV_CHUNK)
		expect(EVIDENCE_NV_ROW + at / EVIDENCE_NV_SIZE, (uint16_t)(at % EVIDENCE_NV_SIZE), evidence + at, TPMCMD_NV_CHUNK);
	assert_int_equal(evidence_nv_put(&secret, evidence, 4321, "less\n"), 0);
	expect(EVIDENCE_NV_STATUS, 0, "less\n\0\0\0\0\0\0", 11);
	expect(EVIDENCE_NV_ROW + 2, 0, evidence + 4096, 225);
	expect(EVIDENCE_NV_ROW + 2, 225, zeros, sizeof(zeros));
	expect(EVIDENCE_NV_ROW + 7, 1024, zeros, sizeof(zeros));
	assert_int_equal(state_size(), before);
	assert_int_equal(evidence_nv_put(&secret, evidence, sizeof(evidence) + 1, ""), ERR_RANGE);
}

/* As a guest that knows no secret: by the auth of owner and index, by a policy of its own. */
static void test_nobody_else_writes(void **state)
{
	struct ak_secret other = secret;
	uint32_t session, rc;
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	for (uint32_t i = 0; i < EVIDENCE_NV_ROWS; i++) {
		assert_int_equal(tpmcmd_nv_write(&t.cmd, EVIDENCE_NV_ROW + i, evidence, 8, 0), 0); /* the platform */
		assert_int_not_equal(run(&t, 0), 0);
		assert_int_equal(tpmcmd_nv_write_lock(&t.cmd, EVIDENCE_NV_ROW + i), 0);
		assert_int_not_equal(run(&t, 0), 0);
	}
	assert_int_equal(tpmcmd_start_policy(&t.cmd), 0);
	assert_int_equal(run(&t, 1), 0);
	session = t.rsp.handle;
	assert_int_equal(tpmcmd_nv_write_policy(&t.cmd, session, EVIDENCE_NV_STATUS, evidence, 8, 0), 0);
	assert_int_not_equal(run(&t, 0), 0); /* an empty policy */
	assert_int_equal(tpmcmd_policy_secret(&t.cmd, EVIDENCE_NV_KEY, NULL, 0, session), 0);
	assert_int_not_equal(run(&t, 0), 0);
	assert_int_equal(tpmcmd_policy_secret(&t.cmd, TPM_RH_PLATFORM, NULL, 0, session), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(tpmcmd_nv_write_policy(&t.cmd, session, EVIDENCE_NV_STATUS, evidence, 8, 0), 0);
	assert_int_not_equal(run(&t, 0), 0); /* another secret's */
	assert_int_equal(tpmcmd_flush_context(&t.cmd, session), 0);
	assert_int_equal(run(&t, 0), 0);
	other.rows[0] ^= 1;
	assert_int_equal(evidence_nv_ready(&other, &rc), ERR_NOTFOUND);
	expect(EVIDENCE_NV_STATUS, 0, "less\n", 5);
}

/* A key that was made anew, as a clone's is: nothing of what was there is left, and the former secret is worth nothing. */
static void test_another_secret(void **state)
{
	static const uint8_t zeros[64];
	struct ak_secret other = secret;
	uint32_t rc;

	(void)state;
	other.rows[3] ^= 1;
	assert_int_equal(evidence_nv_put(&secret, evidence, 64, "its\n"), 0);
	assert_int_equal(evidence_nv_settle(&other), 0);
	expect(EVIDENCE_NV_ROW, 0, zeros, sizeof(zeros));
	assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	assert_int_equal(evidence_nv_settle(&secret), 0);
	assert_int_equal(evidence_nv_ready(&secret, &rc), 0);
}

/* One of ours goes, which is noticed, and as firmware could have it another is in its place. */
static void replace(struct tpmrun *t, const struct tpm_nv *bait)
{
	uint32_t rc;

	assert_int_equal(tpmcmd_nv_undefine_space(&t->cmd, bait->index), 0);
	assert_int_equal(run(t, 0), 0);
	assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	assert_int_equal(tpmcmd_nv_define_space(&t->cmd, bait), 0);
	assert_int_equal(run(t, 0), 0);
}

/* One that firmware has put in the key's place, under the lockout, is not even tried. */
static void test_key_under_the_lockout(void **state)
{
	const struct tpm_nv bait = { .index = EVIDENCE_NV_KEY,
				     .attributes = TPMA_NV_PLATFORMCREATE | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE,
				     .size = 1,
				     .auth = evidence,
				     .auth_len = 8 };
	struct tpmrun t;
	uint32_t rc;

	(void)state;
	tpmrun_init(&t);
	replace(&t, &bait);
	for (unsigned i = 0; i < 2; i++) /* the first time would only be TPM_RC_RETRY */
		assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	assert_int_equal(lockout_counter(), 0);
	assert_int_equal(evidence_nv_settle(&secret), 0);
	assert_int_equal(evidence_nv_ready(&secret, &rc), 0);
}

/* One in the nonce's place: what the guest writes there, by an auth of its own, is not tried to be read without. */
static void test_nonce_under_the_lockout(void **state)
{
	const struct tpm_nv bait = { .index = EVIDENCE_NV_NONCE,
				     .attributes = TPMA_NV_PLATFORMCREATE | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_PPWRITE,
				     .size = GUEST_NONCE_MAX,
				     .auth = evidence,
				     .auth_len = 8 };
	struct tpmrun t;
	uint32_t rc;

	(void)state;
	tpmrun_init(&t);
	replace(&t, &bait);
	assert_int_equal(tpmcmd_nv_write(&t.cmd, EVIDENCE_NV_NONCE, evidence, 8, 0), 0);
	assert_int_equal(run(&t, 0), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	assert_int_equal(lockout_counter(), 0);
	assert_int_equal(evidence_nv_settle(&secret), 0);
	assert_int_equal(evidence_nv_ready(&secret, &rc), 0);
}

static void test_sessions_full(void **state)
{
	uint32_t sessions[SESSIONS], rc;
	struct tpmrun t;

	(void)state;
	tpmrun_init(&t);
	for (unsigned i = 0; i < SESSIONS; i++) {
		assert_int_equal(tpmcmd_start_policy(&t.cmd), 0);
		assert_int_equal(run(&t, 1), 0);
		sessions[i] = t.rsp.handle;
	}
	assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_FULL);
	assert_int_equal(rc, TPM_RC_SESSION_MEMORY);
	for (unsigned i = 0; i < SESSIONS; i++) {
		assert_int_equal(tpmcmd_flush_context(&t.cmd, sessions[i]), 0);
		assert_int_equal(run(&t, 0), 0);
		assert_int_equal(evidence_nv_ready(&secret, &rc), 0); /* and leaves none of its own */
	}
}

/* Part 2, 13.4: an index that only its policy undefines, which firmware has left at a row's handle. */
static void test_no_place(void **state)
{
	const struct tpm_nv stays = { .index = EVIDENCE_NV_ROW + 5,
				      .attributes = TPMA_NV_PLATFORMCREATE | TPMA_NV_PPWRITE | TPMA_NV_PPREAD | TPMA_NV_POLICY_DELETE,
				      .size = 8 };
	struct tpmrun t;
	uint32_t rc;

	(void)state;
	tpmrun_init(&t);
	assert_int_equal(tpmcmd_nv_undefine_space(&t.cmd, stays.index), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(evidence_nv_put(&secret, evidence, 64, "some\n"), ERR_ENGINE); /* and no session is left */
	assert_int_equal(tpmcmd_nv_define_space(&t.cmd, &stays), 0);
	assert_int_equal(run(&t, 0), 0);
	assert_int_equal(evidence_nv_settle(&secret), ERR_ENGINE);
	assert_int_equal(evidence_nv_ready(&secret, &rc), ERR_NOTFOUND);
	engine_close();
}

/* The writes of a guest that ask: any auth, any session, encrypted or not; the sizes are in the clear. */
static void test_parse(void **state)
{
	static const uint8_t write[] = { 0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x37, 1, 0x40, 0x77, 0, 1, 0x40, 0x77, 0, 0, 0, 0, 11,
					 2,    0, 0, 0, 0, 2,  9, 9, 1, 0,    0, /* an HMAC session */
					 0,    8, 1, 2, 3, 4,  5, 6, 7, 8,    0, 3 };
	uint8_t other[sizeof(write)];
	size_t n = 0, at = 0;

	(void)state;
	assert_true(guest_evidence_parse(write, sizeof(write), &n, &at));
	assert_int_equal(n, 8);
	assert_int_equal(at, 3);
	for (size_t len = 0; len < sizeof(write); len++)
		assert_false(guest_evidence_parse(write, len, &n, &at));
	static const struct {
		size_t at;
		uint8_t to;
	} others[] = { { 1, 1 } /* no sessions */, { 9, 0x38 } /* another command */, { 17, 1 } /* another index */,
		       { 18, 0xff } /* an area beyond the end */, { 21, 12 }, { 33, 1 } /* data beyond it */, { 34, 9 }, { 34, 7 }, { 34, 65 } };

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		memcpy(other, write, sizeof(other));
		other[others[i].at] = others[i].to;
		assert_false(guest_evidence_parse(other, sizeof(other), &n, &at));
	}
}

/* Each is what it was, and nothing else is one. */
static void test_messages(void **state)
{
	static uint8_t mem[BACKEND_EVIDENCE_MAX];
	struct backend_evidence e = { .id = 7, .evidence = evidence, .evidence_len = sizeof(evidence) }, got;
	struct backend_ask a = { .id = 9, .nonce = evidence, .nonce_len = GUEST_NONCE_MIN }, asked;
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(backend_ask_encode(&b, &a), 0);
	assert_int_equal(b.len, BACKEND_ASK_MIN);
	assert_int_equal(backend_ask_decode(&b, &asked), 0);
	assert_true(asked.id == 9 && asked.nonce_len == GUEST_NONCE_MIN && memcmp(asked.nonce, evidence, GUEST_NONCE_MIN) == 0);
	a.nonce_len--;
	buf_reset(&b);
	assert_int_equal(backend_ask_encode(&b, &a), 0);
	assert_int_equal(backend_ask_decode(&b, &asked), ERR_PROTO);
	a.nonce_len = GUEST_NONCE_MAX + 1;
	buf_reset(&b);
	assert_int_equal(backend_ask_encode(&b, &a), 0);
	assert_int_equal(backend_ask_decode(&b, &asked), ERR_PROTO);

	buf_reset(&b);
	assert_int_equal(backend_evidence_encode(&b, &e), 0);
	assert_int_equal(backend_evidence_decode(&b, &got), 0);
	assert_true(got.id == 7 && got.evidence_len == sizeof(evidence) && got.text[0] == '\0' && buf_left(&b) == 0);
	memcpy(e.text, "both", 5);
	buf_reset(&b);
	assert_int_equal(backend_evidence_encode(&b, &e), 0);
	assert_int_equal(backend_evidence_decode(&b, &got), ERR_PROTO);
	e.evidence_len = 0;
	buf_reset(&b);
	assert_int_equal(backend_evidence_encode(&b, &e), 0);
	assert_int_equal(backend_evidence_decode(&b, &got), 0);
	assert_string_equal(got.text, "both");
	e.text[0] = '\0';
	buf_reset(&b);
	assert_int_equal(backend_evidence_encode(&b, &e), 0);
	assert_int_equal(backend_evidence_decode(&b, &got), ERR_PROTO); /* neither */
	memset(e.text, 'x', GUEST_TEXT_MAX);
	buf_reset(&b);
	assert_int_equal(backend_evidence_encode(&b, &e), 0);
	assert_int_equal(backend_evidence_decode(&b, &got), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made),
		cmocka_unit_test(test_put),
		cmocka_unit_test(test_nobody_else_writes),
		cmocka_unit_test(test_another_secret),
		cmocka_unit_test(test_key_under_the_lockout),
		cmocka_unit_test(test_nonce_under_the_lockout),
		cmocka_unit_test(test_sessions_full),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

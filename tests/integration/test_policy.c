/* SPDX-License-Identifier: BSD-2-Clause */
/* Policies of the real vtpm-keeper on a real software TPM: what unseals, and each thing that must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/integration/test_policy_rig.h"

#define CC_NV_READ_PUBLIC 0x169

#define MASK (1u << 0 | 1u << 4)

static struct op_key key, other, recovery;
static struct op_sets sets;

static int group_setup(void **state)
{
	(void)state;
	rig_check();
	op_key_ecc(&key);
	op_key_ecc(&other);
	op_key_rsa(&recovery);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	op_key_free(&key);
	op_key_free(&other);
	op_key_free(&recovery);
	return 0;
}

static void measure(void)
{
	rig_pcr_extend(&rig, 0);
	rig_pcr_extend(&rig, 4);
}

static int setup(void **state)
{
	(void)state;
	rig_start(&rig);
	measure();
	return 0;
}

/* The host boots again, into what extends PCR 4 so often. */
static void boot(unsigned times)
{
	if (rig.keeper)
		assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_tpm_restart(&rig);
	rig_pcr_extend(&rig, 0);
	for (unsigned i = 0; i < times; i++)
		rig_pcr_extend(&rig, 4);
	again();
}

/* What boot(2) makes of PCR 4. */
static void next_kernel(struct pcr_set *s)
{
	uint8_t both[2 * DIGEST_LEN];

	memcpy(both, s->pcr[4], DIGEST_LEN);
	memset(both + DIGEST_LEN, 1, DIGEST_LEN);
	assert_int_equal(EVP_Digest(both, sizeof(both), s->pcr[4], NULL, EVP_sha256(), NULL), 1);
}

/* Current and next kernel are installed; then the next one boots, and the old one is revoked. */
static void update_path(const struct op_key *signer)
{
	struct pcr_set next;

	begin_signed(signer, &recovery, MASK, &sets);
	op_set(signer, "default", 2, MASK, &next, next_kernel);
	boot(1);
	assert_int_equal(ask_open(&sets), 0);
	expect_same_key();
	boot(2);
	assert_int_equal(ask_open(&sets), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 4 is "));
	assert_null(strstr(a.r.text, "PCR 0 is "));
	op_sets_add(&sets, &next);
	assert_int_equal(ask_look(&sets, 0), 0);
	assert_int_equal(seen.minimum, 1);
	assert_true(seen.opens);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.sets[0].verdict, SET_OTHER_BOOT);
	assert_int_equal(seen.sets[1].verdict, SET_OPENS);
	assert_int_equal(ask_open(&sets), 0);
	expect_same_key();
	assert_int_equal(ask_look(&sets, 2), 0); /* what would be, and is not */
	assert_int_equal(seen.sets[0].verdict, SET_REVOKED);
	assert_int_equal(ask_raise(&sets, 2), 0);
	boot(1);
	assert_int_equal(ask_open(&sets), ERR_PCR);
	assert_non_null(strstr(a.r.text, "revoked"));
	boot(2);
	assert_int_equal(ask_open(&sets), 0);
	expect_same_key();
}

static void test_update_ecc(void **state)
{
	(void)state;
	update_path(&key);
}

static void test_update_rsa(void **state)
{
	(void)state;
	update_path(&recovery);
}

static void expect_verdict(const struct pcr_set *s, uint8_t verdict)
{
	struct op_sets l = {.len = 0};

	op_sets_add(&l, s);
	assert_int_equal(ask_look(&l, 0), 0);
	assert_int_equal(seen.sets[0].verdict, verdict);
	assert_int_equal(ask_open(&l), ERR_PCR);
}

static void make_empty(struct pcr_set *s)
{
	memset(s->pcr[4], 0, DIGEST_LEN);
}

/* Each of them signed rightly, but for another key, group, counter or version; or not for what the policy wants. */
static void test_other_sets(void **state)
{
	struct op_sets none = {.len = 0};
	struct policy to;
	struct pcr_set s;
	uint8_t hash[DIGEST_LEN];

	(void)state;
	begin_signed(&key, NULL, MASK, &sets);
	op_set(&other, "default", 1, MASK, &s, NULL);
	expect_verdict(&s, SET_UNSIGNED);
	op_set(&recovery, "default", 1, MASK, &s, NULL);
	expect_verdict(&s, SET_UNSIGNED);
	op_set(&key, "other", 1, MASK, &s, NULL);
	expect_verdict(&s, SET_UNSIGNED);
	op_set(&key, "default", 1, MASK, &s, NULL);
	assert_int_equal(policy_set_hash(&s, COUNTER + 1, "default", hash), 0);
	op_sign(&key, hash, &s);
	expect_verdict(&s, SET_UNSIGNED);
	op_set(&key, "default", 1, MASK, &s, NULL);
	s.version = 2; /* claims to be newer than what was signed */
	expect_verdict(&s, SET_UNSIGNED);
	op_set(&key, "default", 1, 1u << 4, &s, NULL);
	expect_verdict(&s, SET_NARROW);
	op_set(&key, "default", 1, MASK, &s, make_empty);
	expect_verdict(&s, SET_OTHER_BOOT);
	to = store.s.policy;
	to.flags = 0;
	assert_int_equal(ask_seal(&sets, &to, &sets), 0);
	expect_verdict(&s, SET_EMPTY);
	assert_int_equal(ask_look(&none, 0), 0);
	assert_int_equal(rig_group_new(&rig, "third", MASK, 0, &a), 0);
	/* A command that failed leaves nothing behind. */
	op_set(&other, "default", 1, MASK, &s, NULL);
	op_sets_add(&none, &s);
	assert_int_equal(ask_look(&none, 0), 0);
	assert_int_equal(seen.sets[0].verdict, SET_UNSIGNED);
	assert_int_equal(rig_group_new(&rig, "another", MASK, 0, &a), 0);
	assert_int_equal(ask_open(&sets), 0);
	/* Nor does what opens one group open it under another name. */
	assert_int_equal(ask_open_as("other", &sets), ERR_AUTH);
}

/* Each byte of what lies on the disk, and each length. Only the text and what follows a set may be changed without harm. */
static void test_damaged_sets(void **state)
{
	struct op_sets l;
	struct pcr_set s;
	size_t text;

	(void)state;
	begin_signed(&key, NULL, MASK, &sets);
	text = 4 + 4 + 2 * DIGEST_LEN + 4;
	for (size_t i = 0; i < sets.len; i++) {
		l = sets;
		l.mem[i] ^= 0x10;
		if (i >= text && i < text + strlen("boot 1"))
			continue;
		assert_int_equal(ask_open(&l), ERR_PCR);
	}
	for (size_t n = 0; n < sets.len; n++) {
		l = sets;
		l.len = n;
		assert_int_equal(ask_open(&l), ERR_PCR);
	}
	/* A damaged one before it hides it; one behind it does not. */
	l = sets;
	op_set(&key, "default", 1, MASK, &s, NULL);
	op_sets_add(&l, &s);
	l.len -= 3;
	assert_int_equal(ask_open(&l), 0);
	assert_int_equal(ask_open(&sets), 0);
	expect_same_key();
}

/* Each byte of the sealed root's row: the policy, the keys in it, the blob. */
static void test_damaged_policy(void **state)
{
	struct sealed_root was;
	uint8_t row[SEALED_ROOT_MAX];
	struct buf b;
	int code;

	(void)state;
	begin_signed(&key, &recovery, MASK, &sets);
	was = store.s;
	for (size_t i = 0; i < store.root_len; i++) {
		memcpy(row, store.root, store.root_len);
		row[i] ^= 0x10;
		buf_wrap(&b, row, store.root_len);
		if (sealed_root_decode(&b, &store.s) || buf_left(&b))
			continue; /* the manager refuses it */
		code = ask_open(&sets);
		/* Another counter is one that no set was signed for. */
		if (i >= 9 && i < 13 && code == ERR_PCR)
			continue;
		/* PCRs of a fixed policy are unused in this one; mask and flags are the operator's wish, which the journal vouches for. */
		if (code != ERR_AUTH && !(i >= 1 && i < 9) && !(i >= 13 && i < 13 + sizeof(was.policy.pcr)))
			fail_msg("byte %zu: code %d", i, code);
	}
	store.s = was;
	for (size_t n = 0; n < store.root_len; n++) {
		buf_wrap(&b, store.root, n);
		assert_true(sealed_root_decode(&b, &store.s) || buf_left(&b));
	}
	store.s = was;
	assert_int_equal(ask_open(&sets), 0);
}

/* With the rig's folder as $D and its TPM as $T. */
static void run(const char *cmd)
{
	char tpm[128];

	snprintf(tpm, sizeof(tpm), "swtpm:path=%s/tpm", rig.dir);
	assert_int_equal(setenv("D", rig.dir, 1) || setenv("T", tpm, 1), 0);
	assert_int_equal(system(cmd), 0);
}

/* An owner can take the counter away, and define it anew; never so that what was revoked is good again. */
static void test_version_rollback(void **state)
{
	struct op_sets old;
	struct pcr_set s;

	(void)state;
	begin_signed(&key, NULL, MASK, &sets);
	old = sets;
	op_set(&key, "default", 3, MASK, &s, NULL);
	assert_int_equal(ask_raise(&sets, 3), ERR_PCR); /* it would lock this host out */
	assert_non_null(strstr(a.r.text, "nothing would unseal"));
	op_sets_add(&sets, &s);
	assert_int_equal(ask_raise(&sets, 3), 0);
	assert_int_equal(ask_raise(&sets, 2), 0); /* nothing to do */
	assert_int_equal(ask_open(&old), ERR_PCR);
	assert_non_null(strstr(a.r.text, "revoked"));
	assert_int_equal(ask_open(&sets), 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_nvundefine -Q -T $T 0x01805642");
	again();
	assert_int_equal(ask_open(&sets), ERR_PCR);
	assert_non_null(strstr(a.r.text, "no counter of versions"));
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_nvdefine -Q -T $T -C o -s 8 -a 'nt=counter|ownerwrite|authread|no_da' 0x01805642 && "
	    "tpm2_nvincrement -Q -T $T -C o 0x01805642");
	again();
	assert_int_equal(ask_open(&old), ERR_PCR);
	assert_int_equal(ask_look(&old, 0), 0);
	assert_true(seen.minimum > 3);
	/* Nor does an ordinary index that holds the value. */
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_nvundefine -Q -T $T 0x01805642 && "
	    "tpm2_nvdefine -Q -T $T -C o -s 8 -a 'ownerwrite|authread|no_da' 0x01805642 && "
	    "printf '\\000\\000\\000\\000\\000\\000\\000\\001' >$D/one && tpm2_nvwrite -Q -T $T -C o -i $D/one 0x01805642");
	again();
	assert_int_equal(ask_open(&old), ERR_EXISTS);
}

static void test_seal_refusals(void **state)
{
	struct policy to = {.kind = POLICY_SIGNED, .counter = COUNTER, .flags = SEAL_INSECURE_PCRS};
	struct op_sets none = {.len = 0}, elsewhere = {.len = 0};
	struct pcr_set s;

	(void)state;
	begin_signed(&key, NULL, MASK, &sets);
	to.signer = other.policy;
	assert_int_equal(ask_seal(&sets, &to, &sets), ERR_PCR); /* its key has signed none of them */
	to.signer = key.policy;
	assert_int_equal(ask_seal(&sets, &to, &none), ERR_INVAL);
	op_set(&key, "default", 1, MASK, &s, next_kernel);
	op_sets_add(&elsewhere, &s);
	assert_int_equal(ask_seal(&sets, &to, &elsewhere), ERR_PCR); /* the present boot could not be repeated */
	/* Back to fixed values, and these are what is then asked for. */
	to = (struct policy){.kind = POLICY_FIXED, .mask = MASK};
	assert_int_equal(ask_seal(&sets, &to, NULL), 0);
	assert_int_equal(ask_raise(&sets, 2), ERR_WRONG_STATE);
	boot(1);
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
	boot(2);
	assert_int_equal(ask_open(&sets), ERR_PCR);
}

/* IMA extends PCR 10 whenever it likes, and each extend voids a policy session that is under way. */
static void test_extended_meanwhile(void **state)
{
	const struct proxy_plan changed = {.command = 0x15e /* TPM2_Unseal */, .rc = 0x128 /* TPM_RC_PCR_CHANGED */, .done = 1};

	(void)state;
	rig_proxy_start(&rig);
	begin_signed(&key, NULL, MASK, &sets);
	*rig.plan = changed;
	rig.plan->times = 5;
	if (ask_open(&sets))
		fail_msg("%s", a.r.text);
	assert_int_equal(rig.plan->times, 0);
	expect_same_key();
	rig.plan->times = 1000;
	assert_int_equal(ask_open(&sets), ERR_TPM);
	assert_non_null(strstr(a.r.text, "extended during each of 32 attempts"));
	expect_same_key(); /* which says nothing against the boot: the group is not shut */
}

/* One byte of the answer to a command is changed on the way. */
static int open_changed(uint32_t command, uint32_t at)
{
	int code;

	do {
		if (!rig.keeper) {
			rig.plan->command = 0;
			again();
		}
		*rig.plan = (struct proxy_plan){.command = command, .offset = at};
		code = ask_open(&sets);
		if (code == ERR_TPM_LOST)
			assert_int_equal(rig_keeper_wait(&rig), 1);
	} while (code == ERR_TPM_LOST && !rig.plan->done); /* of the connection that a changed size has ended before */
	return code;
}

/* Somebody on the way changes what the TPM says of counter, signature and policy: nothing is unsealed on the word of that. */
static void test_changed_answers(void **state)
{
	static const uint32_t commands[] = {0x149 /* PolicyNV */,      0x14e /* NV_Read */,	   CC_NV_READ_PUBLIC,
					    0x167 /* LoadExternal */,  0x177 /* VerifySignature */, 0x16a /* PolicyAuthorize */,
					    0x16f /* PolicyLocality */, 0x171 /* PolicyOR */,	   0x17e /* PCR_Read */,
					    0x15e /* Unseal */};
	uint32_t at;
	int code;

	(void)state;
	rig_proxy_start(&rig);
	begin_signed(&key, &other, MASK, &sets);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		for (at = 0; (code = open_changed(commands[i], at)), rig.plan->done; at += at < 16 ? 1 : 3) {
			/*
			 * ESYS reads a public area once without the session, for the Name that the HMAC over the command
			 * needs, and then with it: of the first answer nothing is believed.
			 */
			if (!code && commands[i] == CC_NV_READ_PUBLIC)
				expect_same_key();
			else if (!code || code == ERR_PCR)
				fail_msg("byte %u of the answer to %#x: code %d: %s", at, commands[i], code, a.r.text);
		}
		assert_true(at > 10);
		assert_int_equal(code, 0);
		expect_same_key();
	}
}

static void wait_past(unsigned seconds)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec <= (time_t)seconds && !nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL));
}

static void test_recovery(void **state)
{
	uint8_t nonce[64], old[64];
	size_t len;

	(void)state;
	begin_signed(&key, &other, MASK, &sets);
	boot(3);
	assert_int_equal(ask_open(&sets), ERR_PCR);
	assert_int_equal(ask_recover(&other, "default", sets.mem, 32, 60), ERR_WRONG_STATE); /* nobody has begun */
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	assert_int_equal(ask_recover(&key, "default", nonce, len, 60), ERR_AUTH); /* another key */
	assert_int_equal(ask_recover(&other, "default", nonce, len, 60), ERR_WRONG_STATE); /* and with that it is over */
	memcpy(old, nonce, sizeof(old));
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	assert_memory_not_equal(old, nonce, len);
	assert_int_equal(ask_recover(&other, "default", old, len, 60), ERR_AUTH); /* a recorded one */
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	assert_int_equal(ask_recover(&other, "other", nonce, len, 60), ERR_AUTH); /* of another group */
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	wait_past(1);
	assert_int_equal(ask_recover(&other, "default", nonce, len, 1), ERR_AUTH);
	assert_non_null(strstr(a.r.text, "expired"));
	assert_int_equal(hand(&store.binding, store.wrapped, 1, false), ERR_WRONG_STATE);
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	assert_int_equal(ask_recover(&other, "default", nonce, len, 60), 0);
	expect_same_key();
	/* The seal is as it was, and that is no news. */
	assert_int_equal(ask_open(&sets), ERR_PCR);
	expect_same_key();
}

/* A fixed one is sealed to what is now, once the recovery key has said so. */
static void test_recovery_of_fixed(void **state)
{
	struct policy to = {.kind = POLICY_FIXED, .mask = MASK, .recovery = recovery.policy};
	uint8_t nonce[64];
	size_t len;

	(void)state;
	begin_signed(&key, NULL, MASK, &sets);
	assert_int_equal(ask_recover_begin(nonce, &len), ERR_WRONG_STATE); /* it has no recovery key */
	assert_int_equal(ask_seal(&sets, &to, NULL), 0);
	boot(1);
	assert_int_equal(ask_open(NULL), 0);
	boot(2);
	assert_int_equal(ask_open(NULL), ERR_PCR);
	assert_int_equal(ask_recover_begin(nonce, &len), 0);
	assert_int_equal(ask_recover(&recovery, "default", nonce, len, 600), 0);
	expect_same_key();
	boot(2);
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
	boot(1);
	assert_int_equal(ask_open(NULL), ERR_PCR);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, manager_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_update_ecc),	    TEST(test_update_rsa),     TEST(test_other_sets), TEST(test_damaged_sets),
		TEST(test_damaged_policy),  TEST(test_version_rollback), TEST(test_seal_refusals), TEST(test_recovery),
		TEST(test_recovery_of_fixed), TEST(test_extended_meanwhile), TEST(test_changed_answers),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

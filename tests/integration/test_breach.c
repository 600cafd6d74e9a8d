/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A group that is open, and a TPM that becomes another than it was under the real vtpm-keeper: it is seen when the group is opened
 * once more, what runs is served, and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/test_policy_rig.h"

#define DRTM (1u << 17) /* swtpm's control channel measures into it, whoever is connected */

static int setup(void **state)
{
	(void)state;
	rig_start(&rig);
	rig_pcr_extend(&rig, 4);
	return 0;
}

/* With the rig's control channel as $C and its TPM as $T. */
static void run(const char *cmd)
{
	char path[128];

	snprintf(path, sizeof(path), "swtpm:path=%s/tpm", rig.dir);
	assert_int_equal(setenv("T", path, 1), 0);
	snprintf(path, sizeof(path), "%s/tpm.ctrl", rig.dir);
	assert_int_equal(setenv("C", path, 1), 0);
	assert_int_equal(system(cmd), 0);
}

static void begin_with_key(uint32_t mask)
{
	struct key_give give;
	int fd;

	begin(mask, SEAL_INSECURE_PCRS);
	fd = rig_link(&rig, 1);
	assert_int_equal(hand(&store.binding, store.wrapped, 1, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	memcpy(store.key, give.key, KEY_LEN);
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
}

/* Nothing that leads to a key; the journal of what runs goes on. */
static void expect_shut(int code)
{
	const struct journal_row row = {.n = 1, .kind = ROW_GENESIS};
	struct request q;

	assert_int_equal(hand(&store.binding, store.wrapped, 90, false), code);
	assert_int_equal(key_new(&store.binding), code);
	assert_int_equal(rig_ask_empty(&rig, KEEPER_CA_NEW, &a), code);
	assert_int_equal(journal_row_encode(rig_request(&rig, &q), &row), 0);
	assert_int_equal(rig_ask(&rig, KEEPER_ROW_MAC, &q, &a), 0);
}

static void test_changed_pcr(void **state)
{
	(void)state;
	begin_with_key(1u << 4 | DRTM);
	run("swtpm_ioctl --unix $C -h measured-meanwhile");
	expect_same_key(); /* nobody has looked yet */
	assert_int_equal(ask_open(NULL), ERR_PCR);
	assert_non_null(strstr(a.r.text, "PCR 17 is "));
	assert_null(strstr(a.r.text, "PCR 4 is "));
	expect_shut(ERR_PCR);
	assert_int_equal(ask_open(NULL), ERR_PCR);
	/* Another keeper does not open it at all. */
	assert_int_equal(rig_keeper_stop(&rig), 0);
	again();
	assert_int_equal(ask_open(NULL), ERR_PCR);
	assert_int_equal(hand(&store.binding, store.wrapped, 91, false), ERR_WRONG_STATE);
}

/* Whoever stands at locality 1 does not unseal, and who stands at 0 again does. */
static void test_locality(void **state)
{
	(void)state;
	begin_with_key(1u << 4);
	run("swtpm_ioctl --unix $C -l 1");
	assert_int_equal(ask_open(NULL), ERR_PCR);
	assert_non_null(strstr(a.r.text, "another locality than 0"));
	expect_shut(ERR_PCR);
	run("swtpm_ioctl --unix $C -l 0");
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
}

static void test_reset(void **state)
{
	(void)state;
	begin_with_key(1u << 0); /* nothing measured: after a reset it is the same */
	rig_tpm_reset(&rig);
	expect_same_key(); /* nobody has spoken with the TPM yet */
	assert_int_equal(ask_open(NULL), ERR_TPM_IDENTITY);
	assert_non_null(strstr(a.r.text, "was reset while the host ran on"));
	expect_shut(ERR_TPM_IDENTITY);
	/* Nor does any other command make it forget that. */
	assert_int_equal(ask_look(NULL, 0), ERR_TPM_IDENTITY);
	assert_int_equal(rig_group_new(&rig, "other", 1, SEAL_INSECURE_PCRS, &a), ERR_TPM_IDENTITY);
	expect_shut(ERR_TPM_IDENTITY);
}

static int open_known(uint32_t count)
{
	const struct keeper_open m = {.name = store.name,
				      .name_len = store.name_len,
				      .ek = store.ek,
				      .ek_len = store.ek_len,
				      .flags = OPEN_RESET_KNOWN,
				      .reset_count = count};
	struct request q;

	assert_int_equal(keeper_open_encode(rig_request(&rig, &q), &m), 0);
	return rig_ask(&rig, KEEPER_OPEN, &q, &a);
}

/* The manager remembers for a keeper that ended what it knew. */
static void test_reset_between_keepers(void **state)
{
	uint32_t count;
	struct buf b;

	(void)state;
	begin_with_key(1u << 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	again();
	buf_wrap(&b, a.r.result, a.r.result_len);
	assert_int_equal(buf_get_u32le(&b, &count), 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_known(count), 0);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	rig_tpm_restart(&rig);
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_known(count), ERR_TPM_IDENTITY);
	assert_int_equal(open_known(count + 1), 0);
}

/* Another key in the SRK's place. */
static void test_other_srk(void **state)
{
	(void)state;
	begin_with_key(1u << 4);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_createprimary -Q -T $T -C o -G rsa -c $C.other && tpm2_evictcontrol -Q -T $T -C o -c 0x81000001 && "
	    "tpm2_evictcontrol -Q -T $T -C o -c $C.other 0x81000001");
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_srk(), ERR_TPM_IDENTITY);
	assert_non_null(strstr(a.r.text, "is not the one this store was made with"));
}

/* Its endorsement seed is another one; everything of the owner's is as it was. */
static void test_other_ek(void **state)
{
	(void)state;
	begin_with_key(1u << 4);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_changeeps -Q -T $T");
	rig_keeper_start(&rig, NULL);
	assert_int_equal(open_srk(), ERR_TPM_IDENTITY);
	assert_non_null(strstr(a.r.text, "endorsement key"));
	store.ek_len = 0; /* a store that has enrolled none does not look */
	assert_int_equal(open_srk(), 0);
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
}

/* A password on the endorsement hierarchy hides the key: that is said, and nothing more can be. */
static void test_hidden_ek(void **state)
{
	(void)state;
	begin_with_key(1u << 4);
	assert_int_equal(rig_keeper_stop(&rig), 0);
	run("tpm2_changeauth -Q -T $T -c endorsement secret");
	again();
	assert_int_equal(ask_open(NULL), 0);
	expect_same_key();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, manager_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_changed_pcr), TEST(test_locality), TEST(test_reset), TEST(test_reset_between_keepers),
		TEST(test_other_srk),	TEST(test_other_ek), TEST(test_hidden_ek),
	};

	return cmocka_run_group_tests(tests, manager_check, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands we build, byte by byte, and responses that are not quite what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/commit.h"
#include "vtpm-backend/serve.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmcmd.h"

static uint8_t mem[2048];
static struct buf cmd = { .data = mem, .cap = sizeof(mem) };

#define ASSERT_COMMAND(...)                                                                                            \
	do {                                                                                                           \
		static const uint8_t want[] = { __VA_ARGS__ };                                                         \
		assert_int_equal(cmd.len, sizeof(want));                                                               \
		assert_memory_equal(cmd.data, want, sizeof(want));                                                     \
	} while (0)

static void test_commands(void **state)
{
	static const uint16_t algs[] = { TPM_ALG_SHA256 };

	(void)state;
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	ASSERT_COMMAND(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);
	assert_int_equal(tpmcmd_shutdown(&cmd, TPM_SU_STATE), 0);
	ASSERT_COMMAND(0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1);
	assert_int_equal(tpmcmd_flush_context(&cmd, 0x80000001), 0);
	ASSERT_COMMAND(0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0x80, 0, 0, 1);
	assert_int_equal(tpmcmd_evict_control(&cmd, TPM_RH_OWNER, 0x80000000, 0x81010001), 0);
	ASSERT_COMMAND(0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x20, 0x40, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0,
		       0, 0, 0, 0x81, 1, 0, 1);
	assert_int_equal(tpmcmd_pcr_allocate(&cmd, algs, 1), 0);
	ASSERT_COMMAND(0x80, 2, 0, 0, 0, 55, 0, 0, 1, 0x2b, 0x40, 0, 0, 0xc, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0,
		       0, 0, 0, 4, 0, 4, 3, 0, 0, 0, 0, 0xb, 3, 0xff, 0xff, 0xff, 0, 0xc, 3, 0, 0, 0, 0, 0xd, 3, 0, 0, 0);
	assert_int_equal(tpmcmd_nv_write(&cmd, 0x01c00002, (const uint8_t *)"ab", 2, 5), 0);
	ASSERT_COMMAND(0x80, 2, 0, 0, 0, 37, 0, 0, 1, 0x37, 0x40, 0, 0, 0xc, 1, 0xc0, 0, 2, 0, 0, 0, 9, 0x40, 0, 0, 9, 0,
		       0, 0, 0, 0, 0, 2, 'a', 'b', 0, 5);
}

static void test_no_room(void **state)
{
	uint8_t small[20];
	struct buf c;

	(void)state;
	buf_init(&c, small, sizeof(small));
	assert_int_equal(tpmcmd_nv_write_lock(&c, 1), ERR_RANGE);
	assert_int_equal(tpmcmd_nv_write(&cmd, 1, mem, TPMCMD_NV_CHUNK + 1, 0), ERR_RANGE);
}

static void test_responses(void **state)
{
	static const uint8_t good[] = { 0x80, 2, 0, 0, 0, 0x17, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0 };
	static const uint8_t failed[] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 1, 1 };
	uint8_t bad[sizeof(good)];
	struct tpmrsp r;

	(void)state;
	assert_int_equal(tpmrsp_parse(&r, good, sizeof(good), true, 1), 0);
	assert_int_equal(r.handle, 0x80000000);
	assert_int_equal(buf_left(&r.params), 0);
	assert_int_equal(tpmrsp_parse(&r, failed, sizeof(failed), true, 1), 0);
	assert_int_equal(r.rc, TPM_RC_FAILURE);
	for (size_t n = 0; n < sizeof(good); n++)
		assert_int_equal(tpmrsp_parse(&r, good, n, true, 1), ERR_ENGINE);
	assert_int_equal(tpmrsp_parse(&r, good, sizeof(good), false, 1), ERR_ENGINE);
	/* tag, size, parameterSize, nonce size, attributes, HMAC size */
	for (size_t i = 0; i < sizeof(good); i++) {
		if ((i >= 6 && i < 14))
			continue;
		memcpy(bad, good, sizeof(bad));
		bad[i] ^= 0x10;
		assert_int_equal(tpmrsp_parse(&r, bad, sizeof(bad), true, 1), ERR_ENGINE);
	}
}

static void test_nv_responses(void **state)
{
	static const uint8_t public[] = { 0, 16, 1, 0xc0, 0, 2, 0, 0xb, 0x62, 7, 0x20, 1, 0, 2, 9, 9, 3, 0xf8, 0, 0 };
	static const uint8_t data[] = { 0, 3, 'a', 'b', 'c' };
	struct tpmrsp r;
	uint32_t attributes;
	uint16_t size;
	uint8_t out[3];

	(void)state;
	buf_wrap(&r.params, public, sizeof(public));
	assert_int_equal(tpmrsp_nv_public(&r, &attributes, &size), 0);
	assert_int_equal(attributes, 0x62072001);
	assert_int_equal(size, 1016);
	for (size_t n = 0; n < 18; n++) {
		buf_wrap(&r.params, public, n);
		assert_int_equal(tpmrsp_nv_public(&r, &attributes, &size), ERR_ENGINE);
	}
	buf_wrap(&r.params, data, sizeof(data));
	assert_int_equal(tpmrsp_nv_data(&r, out, 3), 0);
	assert_memory_equal(out, "abc", 3);
	buf_wrap(&r.params, data, sizeof(data));
	assert_int_equal(tpmrsp_nv_data(&r, out, 2), ERR_ENGINE);
	buf_wrap(&r.params, data, sizeof(data) - 1);
	assert_int_equal(tpmrsp_nv_data(&r, out, 3), ERR_ENGINE);
	assert_int_equal(tpmcmd_nv_read(&cmd, TPM_RH_PLATFORM, 0x01c00002, 16, 5), 0);
	ASSERT_COMMAND(0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e, 0x40, 0, 0, 0xc, 1, 0xc0, 0, 2, 0, 0, 0, 9, 0x40, 0, 0, 9, 0,
		       0, 0, 0, 0, 0, 16, 0, 5);
	assert_int_equal(tpmcmd_nv_read(&cmd, TPM_RH_PLATFORM, 1, TPMCMD_NV_CHUNK + 1, 0), ERR_RANGE);
	assert_int_equal(tpmcmd_nv_read_public(&cmd, 0x01c00002), 0);
	ASSERT_COMMAND(0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69, 1, 0xc0, 0, 2);
}

/* commit.h: the table of what runs and what is withheld. */
static void test_commit_machine(void **state)
{
	struct commit c;

	(void)state;
	commit_init(&c, 41);
	assert_true(c.first && commit_next(&c) == 42);
	assert_true(commit_admits(&c, TPM_ST_SESSIONS) && commit_admits(&c, TPM_ST_NO_SESSIONS));
	commit_settle(&c, ERR_FULL);
	assert_true(c.first && c.stale && c.why == ERR_FULL && commit_next(&c) == 42);
	assert_false(commit_admits(&c, TPM_ST_SESSIONS));
	assert_true(commit_admits(&c, TPM_ST_NO_SESSIONS));
	assert_false(commit_admits(&c, 0x00c1)); /* not a tag that we know to be harmless */
	assert_true(commit_withholds(&c, true));
	assert_false(commit_withholds(&c, false));
	commit_settle(&c, ERR_READONLY);
	assert_true(c.stale && commit_next(&c) == 42);
	commit_settle(&c, 0);
	assert_true(!c.stale && !c.first && commit_next(&c) == 43);
	assert_false(commit_withholds(&c, true));
	assert_true(commit_admits(&c, TPM_ST_SESSIONS));
}

static void test_quota(void **state)
{
	const struct tpm_nv nv = { .index = 0x01500001, .size = 64 };

	(void)state;
	assert_int_equal(tpmcmd_nv_define_space(&cmd, &nv), 0);
	assert_false(quota_refuses(cmd.data, cmd.len, 10000, 16384));
	assert_true(quota_refuses(cmd.data, cmd.len, 15000, 16384));
	assert_true(quota_refuses(cmd.data, cmd.len, SIZE_MAX / 2, 16384));
	assert_int_equal(tpmcmd_evict_control(&cmd, TPM_RH_OWNER, 0x80000000, 0x81000001), 0);
	assert_true(quota_refuses(cmd.data, cmd.len, 15000, 16384));
	assert_int_equal(tpmcmd_evict_control(&cmd, TPM_RH_OWNER, 0x81000001, 0x81000001), 0);
	assert_false(quota_refuses(cmd.data, cmd.len, 15000, 16384)); /* removes */
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_false(quota_refuses(cmd.data, cmd.len, 99999, 16384));
	assert_int_equal(tpmcmd_evict_control(&cmd, TPM_RH_OWNER, 0x80000000, 0x81000001), 0);
	assert_false(quota_refuses(cmd.data, 14, 99999, 16384)); /* truncated: the engine refuses it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),  cmocka_unit_test(test_no_room), cmocka_unit_test(test_responses),
		cmocka_unit_test(test_nv_responses),
		cmocka_unit_test(test_commit_machine), cmocka_unit_test(test_quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

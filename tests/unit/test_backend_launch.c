/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real backends, real libtpms: what a measured launch makes of a TPM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/evp.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/backend_guest.h"
#include "tests/unit/launch_log.h"
#include "vtpm-backend/launch.h"
#include "vtpm-backend/tpm.h"

static struct launch_fixture fixture;

static void start(struct rig_backend *b, uint32_t flags, bool launch)
{
	struct backend_start s = { .flags = RUN_SERVE | flags, .state_max = 64 * 1024, .version = disk.version };

	memcpy(s.uuid, disk.uuid, UUID_LEN);
	memcpy(s.from_uuid, disk.uuid, UUID_LEN);
	s.sealed = disk.sealed;
	s.sealed_len = disk.sealed_len;
	if (launch) {
		s.launch = fixture.b.data;
		s.launch_len = fixture.b.len;
	}
	rig_spawn_start(&rig, b, &disk, &s);
}

static void launched(struct rig_backend *b, uint32_t flags)
{
	start(b, flags, true);
}

static const uint8_t *pcr(struct rig_backend *b, uint16_t alg, unsigned n, size_t len)
{
	const uint8_t select[3] = { (uint8_t)(n < 8 ? 1u << n : 0), (uint8_t)(n >= 8 ? 1u << (n - 8) : 0), 0 };

	buf_reset(&cmd);
	assert_int_equal(buf_put_u16be(&cmd, TPM_ST_NO_SESSIONS) | buf_put_u32be(&cmd, 0) | buf_put_u32be(&cmd, TPM_CC_PCR_Read) |
			 buf_put_u32be(&cmd, 1) | buf_put_u16be(&cmd, alg) | buf_put_u8(&cmd, 3) | buf_put_bytes(&cmd, select, 3), 0);
	assert_int_equal(buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(guest_run(b), 0);
	assert_int_equal(rsp_len, 30 + len);
	return rsp + 30;
}

static void extend(uint8_t *value, const void *d, size_t len, const EVP_MD *md)
{
	uint8_t both[2 * 64];

	memcpy(both, value, len);
	memcpy(both + len, d, len);
	assert_int_equal(EVP_Digest(both, 2 * len, value, NULL, md, NULL), 1);
}

/* PCR 0 begins with the locality 4 and has the hash of the H-CRTM's data, not what the log says of it; PCR 4 what the log says. */
static void expect_pcrs(struct rig_backend *b, unsigned n)
{
	static const struct {
		uint16_t alg;
		size_t len;
	} banks[] = { { TPM_ALG_SHA256, 32 }, { TPM_ALG_SHA384, 48 } };

	for (unsigned i = 0; i < 2; i++) {
		const EVP_MD *md = i ? EVP_sha384() : EVP_sha256();
		const size_t len = banks[i].len;
		uint8_t value[64] = { 0 }, d[64];

		memset(d, 0xcc, 24);
		assert_int_equal(EVP_Digest(d, 24, d, NULL, md, NULL), 1);
		value[len - 1] = 4;
		extend(value, d, len, md);
		assert_memory_equal(pcr(b, banks[i].alg, 0, len), value, len);
		memset(value, 0, sizeof(value));
		for (unsigned k = 0; k < n; k++) {
			memset(d, (int)k + 1, sizeof(d));
			extend(value, d, len, md);
		}
		assert_memory_equal(pcr(b, banks[i].alg, 4, len), value, len);
	}
}

static size_t log_of_guest(struct rig_backend *b, uint8_t *out)
{
	size_t n = 0;

	for (unsigned i = 0; i < LAUNCH_NV_COUNT; i++) {
		struct tpmrsp r;
		uint32_t attributes;
		uint16_t size;

		assert_int_equal(tpmcmd_nv_read_public(&cmd, LAUNCH_NV_FIRST + i), 0);
		if (guest_run(b) != 0)
			break;
		assert_int_equal(tpmrsp_parse(&r, rsp, rsp_len, false, 0), 0);
		assert_int_equal(tpmrsp_nv_public(&r, &attributes, &size), 0);
		for (uint16_t at = 0; at < size; at = (uint16_t)(at + 512)) {
			const uint16_t part = size - at < 512 ? (uint16_t)(size - at) : 512;

			guest_build_nv(&cmd, TPM_CC_NV_Read, LAUNCH_NV_FIRST + i, LAUNCH_NV_FIRST + i, "", NULL);
			assert_int_equal(buf_put_u16be(&cmd, part) | buf_put_u16be(&cmd, at) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
			assert_int_equal(guest_run(b), 0);
			memcpy(out + n, rsp + rsp_len - 5 - part, part);
			n += part;
		}
	}
	return n;
}

static void expect_log(struct rig_backend *b)
{
	static uint8_t got[LAUNCH_NV_COUNT * LAUNCH_NV_SIZE];
	const size_t n = log_of_guest(b, got);

	assert_int_equal(n, 4 + fixture.b.len);
	assert_int_equal(got[0] | got[1] << 8, fixture.b.len);
	assert_memory_equal(got + 4, fixture.b.data, fixture.b.len);
}

static void test_launch(void **state)
{
	struct rig_backend b;

	(void)state;
	for (unsigned n = 3; n <= 40; n += 37) { /* of one index, and of several */
		assert_int_equal(launch_fixture_make(&fixture, false, true, n), 0);
		launched(&b, RUN_STARTUP);
		rig_ready(&b);
		assert_int_equal(disk.flags, COMMIT_STARTUP); /* one commit for all of it */
		expect_pcrs(&b, n);
		expect_log(&b);
		assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
		assert_int_equal(guest_run(&b), TPM_RC_INITIALIZE);
		assert_int_equal(tpmcmd_hierarchy_change_auth(&cmd, TPM_RH_PLATFORM, NULL, 0), 0);
		assert_int_equal(guest_run(&b), TPM_RC_BAD_AUTH_1);
		guest_power_off(&b);
	}
}

static void test_no_crtm(void **state)
{
	static const uint8_t zeroes[32];
	struct rig_backend b;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, true, false, 2), 0);
	launched(&b, RUN_STARTUP);
	rig_ready(&b);
	assert_memory_equal(pcr(&b, TPM_ALG_SHA256, 0, 32), zeroes, 32);
	expect_log(&b);
	guest_power_off(&b);
}

static void test_firmware_starts_it(void **state)
{
	struct rig_backend b;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 0), 0);
	launched(&b, 0);
	rig_ready(&b);
	assert_int_equal(tpmcmd_get_random(&cmd, 4), 0);
	assert_int_equal(guest_run(&b), TPM_RC_INITIALIZE);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	expect_pcrs(&b, 0);
	expect_log(&b);
	guest_power_off(&b);
}

/*
 * Firmware that owned the platform hierarchy has left an index that nobody can undefine but by a policy (Part 2, 13.4), in the log's place. It must
 * not keep its vTPM from ever being launched; the log is the manager's to give.
 */
static void test_index_that_stays(void **state)
{
	const struct tpm_nv nv = { .index = LAUNCH_NV_FIRST + 1,
				   .attributes = TPMA_NV_PLATFORMCREATE | TPMA_NV_PPWRITE | TPMA_NV_PPREAD | TPMA_NV_POLICY_DELETE,
				   .size = 8 };
	struct rig_backend b;

	(void)state;
	start(&b, 0, false);
	rig_ready(&b);
	assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(tpmcmd_nv_define_space(&cmd, &nv), 0);
	assert_int_equal(guest_run(&b), 0);
	guest_power_off(&b);
	assert_int_equal(launch_fixture_make(&fixture, false, true, 40), 0);
	for (unsigned i = 0; i < 2; i++) {
		launched(&b, RUN_STARTUP);
		rig_ready(&b);
		expect_pcrs(&b, 40);
		assert_int_equal(tpmcmd_nv_read_public(&cmd, LAUNCH_NV_FIRST), 0);
		assert_int_equal(guest_run(&b), TPM_RC_HANDLE_1); /* all of it, or nothing */
		guest_power_off(&b);
	}
}

/* The state does not grow from one launch to the next, however long their logs were. */
static void test_no_growth(void **state)
{
	struct rig_backend b;
	size_t size = 0;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(launch_fixture_make(&fixture, i % 2, true, i % 2 ? 45 : 5), 0);
		launched(&b, RUN_STARTUP);
		rig_ready(&b);
		expect_log(&b);
		guest_power_off(&b);
		if (i == 0)
			size = disk.sealed_len;
		else if (i % 2 == 0)
			assert_int_equal(disk.sealed_len, size);
	}
}

/* Killed while nobody has answered its commit: it was never ready, and the next launch is whole. */
static void test_killed_in_the_middle(void **state)
{
	struct rig_backend b;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 7), 0);
	launched(&b, RUN_STARTUP);
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(&b), SIGKILL);
	rig_forget(&b);
	launched(&b, RUN_STARTUP);
	rig_ready(&b);
	expect_pcrs(&b, 7);
	expect_log(&b);
	guest_power_off(&b);
}

static void test_killed_afterwards(void **state)
{
	struct rig_backend b;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 7), 0);
	launched(&b, RUN_STARTUP);
	rig_ready(&b);
	rig_kill_newest(&rig, SIGKILL);
	assert_int_equal(rig_exited(&b), SIGKILL);
	rig_resume(&b, 0);
	rig_ready(&b);
	expect_pcrs(&b, 7);
	expect_log(&b);
	guest_power_off(&b);
}

/* A bank that the launch has no digests for would look as if nothing had been launched. */
static void test_sha1_bank(void **state)
{
	static const uint16_t with[] = { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 };
	static const uint8_t zeroes[20];
	struct rig_backend b;

	(void)state;
	for (unsigned banks = 3; banks >= 2; banks--) {
		assert_int_equal(launch_fixture_make(&fixture, false, true, 0), 0);
		launched(&b, 0); /* so that the platform is the guest's */
		rig_ready(&b);
		assert_int_equal(tpmcmd_startup(&cmd, TPM_SU_CLEAR), 0);
		assert_int_equal(guest_run(&b), 0);
		assert_int_equal(tpmcmd_pcr_allocate(&cmd, with + 3 - banks, banks), 0);
		assert_int_equal(guest_run(&b), 0);
		guest_power_off(&b);
		if (banks == 2)
			continue;
		assert_int_equal(launch_fixture_make(&fixture, false, true, 2), 0);
		launched(&b, RUN_STARTUP);
		assert_int_equal(rig_failed(&b), ERR_INVAL);
		assert_int_equal(rig_exited(&b), 1 << 8);
		rig_forget(&b);
		assert_int_equal(launch_fixture_make(&fixture, true, true, 2), 0);
		launched(&b, RUN_STARTUP);
		rig_ready(&b);
		assert_memory_not_equal(pcr(&b, TPM_ALG_SHA1, 4, 20), zeroes, 20);
		expect_pcrs(&b, 2);
		guest_power_off(&b);
	}
}

/* The manager's word, too, is read as if it were hostile. */
static void test_nonsense(void **state)
{
	struct rig_backend b;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 1), 0);
	launched(&b, 0); /* firmware starts it, and there is an event to extend */
	assert_int_equal(rig_failed(&b), ERR_PROTO);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
	fixture.b.len -= 1;
	launched(&b, RUN_STARTUP);
	assert_int_equal(rig_failed(&b), ERR_PROTO);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_launch),
		cmocka_unit_test(test_no_crtm),
		cmocka_unit_test(test_firmware_starts_it),
		cmocka_unit_test(test_no_growth),
		cmocka_unit_test(test_killed_in_the_middle),
		cmocka_unit_test(test_killed_afterwards),
		cmocka_unit_test(test_sha1_bank),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_index_that_stays), /* the last one: it stays */
	};

	return guest_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}

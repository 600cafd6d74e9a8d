/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real backends: what a vTPM keeps, what it refuses, and what outlives whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/backend_guest.h"
#include "vtpm-backend/state.h"
#include "vtpm-backend/tpm.h"

#ifdef __SANITIZE_ADDRESS__
#define PEAK_MAX UINT64_MAX /* it reserves terabytes, and RLIMIT_AS is left alone */
#else
#define PEAK_MAX (32u * 1024u) /* KiB: a third of RLIMIT_AS */
#endif

static void test_provision_serve_restart(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	assert_int_equal(disk.flags, COMMIT_STARTUP);
	assert_true(guest_property(&b, 0x11e) <= CHAN_PACKET_MAX); /* TPM_PT_MAX_COMMAND_SIZE */
	assert_true(guest_property(&b, 0x11f) <= CHAN_PACKET_MAX); /* TPM_PT_MAX_RESPONSE_SIZE */
	guest_build_define(&cmd, SLOT(1), 16);
	assert_int_equal(guest_run(&b), 0);
	guest_build_write(&cmd, SLOT(1), "pin", "sixteen bytes ok");
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(disk.flags, 0);
	guest_power_off(&b);
	guest_power_on(&b);
	guest_build_nv(&cmd, 0x14e, SLOT(1), SLOT(1), "pin", NULL); /* NV_Read */
	assert_int_equal(buf_put_u16be(&cmd, 16) | buf_put_u16be(&cmd, 0) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_non_null(memmem(rsp, rsp_len, "sixteen bytes ok", 16));
	guest_build_nv(&cmd, 0x122, TPM_RH_OWNER, SLOT(1), "", NULL);
	assert_int_equal(guest_run(&b), 0);
	guest_power_off(&b);
}

/* PCR_Allocate takes effect at the next _TPM_Init: here. */
static void test_banks_and_eks(void **state)
{
	static const uint8_t want[] = { 0, 0, 0, 4, 0, 4, 3, 0, 0, 0, 0, 0xb, 3, 0xff, 0xff, 0xff,
					0, 0xc, 3, 0xff, 0xff, 0xff, 0, 0xd, 3, 0, 0, 0 };
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	guest_build_capability(&cmd, 5, 0, 8);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(rsp_len, 15 + sizeof(want));
	assert_memory_equal(rsp + 15, want, sizeof(want));
	for (uint32_t h = 0x81010001; h <= 0x81010002; h++) {
		assert_int_equal(tpmcmd_read_public(&cmd, h), 0);
		assert_int_equal(guest_run(&b), 0);
	}
	/* The platform hierarchy's auth is nobody's. */
	assert_int_equal(tpmcmd_hierarchy_change_auth(&cmd, TPM_RH_PLATFORM, NULL, 0), 0);
	assert_int_equal(guest_run(&b), 0x9a2); /* TPM_RC_BAD_AUTH, session 1 */
	guest_power_off(&b);
}

static void secret_of(const struct rig_disk *d, uint8_t secret[static KEY_LEN])
{
	static uint8_t blob[SEALED_STATE_MAX];

	assert_true(rig_disk_open(d, secret, blob) > 0);
}

/* Each TPM that is made has its own, and to certify its keys leaves it. */
static void test_secrets(void **state)
{
	uint8_t first[KEY_LEN], second[KEY_LEN], cert[100] = { 0x5a };
	struct rig_backend b;

	(void)state;
	secret_of(&disk, first);
	secret_of(&other, second);
	assert_memory_not_equal(first, second, KEY_LEN);
	rig_spawn(&rig, &b, &other, RUN_CERTIFY);
	rig_provisioned(&b, cert, sizeof(cert));
	rig_forget(&b);
	secret_of(&other, first);
	assert_memory_equal(first, second, KEY_LEN);
	guest_power_on(&b);
	guest_power_off(&b);
	secret_of(&disk, second);
	assert_memory_not_equal(first, second, KEY_LEN);
}

static void test_certify_renames(void **state)
{
	struct backend_start start = { .flags = RUN_CERTIFY, .state_max = 65536 };
	struct rig_backend b;
	uint8_t cert[1500];
	struct rig_disk named;

	(void)state;
	memset(cert, 0x5a, sizeof(cert));
	rig_disk_init(&named);
	memcpy(named.key, other.key, KEY_LEN);
	memcpy(start.uuid, named.uuid, UUID_LEN);
	memcpy(start.from_uuid, other.uuid, UUID_LEN);
	start.version = other.version;
	start.sealed = other.sealed;
	start.sealed_len = other.sealed_len;
	rig_spawn_start(&rig, &b, &named, &start);
	rig_provisioned(&b, cert, sizeof(cert));
	rig_forget(&b);
	assert_int_equal(named.version, other.version + 1);
	rig_spawn(&rig, &b, &named, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	guest_build_nv(&cmd, 0x14e, TPM_RH_OWNER, 0x01c00002, "", NULL);
	assert_int_equal(buf_put_u16be(&cmd, 1000) | buf_put_u16be(&cmd, 500) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_memory_equal(rsp + 16, cert, 1000);
	guest_build_nv(&cmd, 0x122, TPM_RH_OWNER, 0x01c00002, "", NULL);
	assert_int_not_equal(guest_run(&b), 0); /* the owner cannot remove it */
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

/* DESIGN: a wrong PIN on a full disk is not free, and a right one looks the same. */
static void test_store_failure_is_no_oracle(void **state)
{
	struct rig_backend b;
	unsigned commits;

	(void)state;
	guest_power_on(&b);
	guest_build_define(&cmd, SLOT(2), 4);
	assert_int_equal(guest_run(&b), 0);
	guest_build_write(&cmd, SLOT(2), "pin", "abcd");
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(guest_lockout_counter(&b), 0);

	disk.fail = ERR_FULL;
	guest_build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	guest_build_write(&cmd, SLOT(2), "pin", "abcd");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	guest_build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	assert_int_equal(tpmcmd_get_random(&cmd, 16), 0);
	assert_int_equal(guest_run(&b), 0); /* carries no authorisation, changes nothing */
	assert_int_equal(tpmcmd_shutdown(&cmd, TPM_SU_CLEAR), 0);
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE); /* changes something */

	disk.fail = 0;
	commits = disk.commits;
	assert_int_equal(guest_lockout_counter(&b), 1); /* the one that was executed; the others were not */
	assert_int_equal(disk.commits, commits + 1);
	assert_int_equal(disk.flags, COMMIT_AUTH_FAILED); /* however often it had to be tried, it says what is in it */
	guest_build_write(&cmd, SLOT(2), "pin", "efgh");
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(disk.flags, 0);
	guest_power_off(&b);

	/* A reset while the store fails: no try at all before it recovers. */
	disk.fail = ERR_READONLY;
	guest_power_on(&b);
	guest_build_write(&cmd, SLOT(2), "bad", "abcd");
	assert_int_equal(guest_run(&b), TPM_RC_NV_UNAVAILABLE);
	disk.fail = 0;
	assert_int_equal(guest_lockout_counter(&b), 1);
	guest_undefine(&b, SLOT(2));
	guest_power_off(&b);
}

/* A power-off in order leaves the dictionary-attack counter alone; kill -9 loses nothing acknowledged. */
static void test_stop_and_kill(void **state)
{
	struct rig_backend b;
	uint32_t before;

	(void)state;
	guest_power_on(&b);
	guest_build_define(&cmd, SLOT(3), 4);
	assert_int_equal(guest_run(&b), 0);
	guest_build_write(&cmd, SLOT(3), "pin", "abcd");
	assert_int_equal(guest_run(&b), 0);
	before = guest_lockout_counter(&b);
	guest_power_off(&b);
	guest_power_on(&b);
	assert_int_equal(guest_lockout_counter(&b), before);
	guest_build_write(&cmd, SLOT(3), "pin", "wxyz");
	assert_int_equal(guest_run(&b), 0);
	rig_kill_newest(&rig, SIGKILL);
	assert_true(WIFSIGNALED((int)rig_exited(&b)));
	rig_forget(&b);
	guest_power_on(&b);
	assert_int_equal(guest_lockout_counter(&b), before + 1); /* what an orderly stop avoids */
	guest_build_nv(&cmd, 0x14e, SLOT(3), SLOT(3), "pin", NULL);
	assert_int_equal(buf_put_u16be(&cmd, 4) | buf_put_u16be(&cmd, 0) | buf_set_u32be(&cmd, 2, (uint32_t)cmd.len), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_non_null(memmem(rsp, rsp_len, "wxyz", 4));
	guest_undefine(&b, SLOT(3));
	guest_power_off(&b);
}

static void test_wrong_states(void **state)
{
	static struct rig_disk bad;
	struct rig_backend b;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		memcpy(&bad, &disk, sizeof(bad));
		switch (i) {
		case 0: bad.sealed[bad.sealed_len / 2] ^= 1; break; /* corrupt */
		case 1: bad.sealed_len /= 2; break; /* truncated */
		case 2: bad.version++; break; /* older than the row says */
		case 3: memcpy(bad.uuid, other.uuid, UUID_LEN); break; /* swapped */
		case 4: memcpy(bad.key, other.key, KEY_LEN); break; /* wrong key */
		}
		rig_spawn(&rig, &b, &bad, RUN_SERVE | RUN_STARTUP);
		assert_int_equal(rig_failed(&b), ERR_AUTH);
		assert_int_equal(rig_exited(&b), 1 << 8);
		rig_forget(&b);
	}
	memcpy(&bad, &disk, sizeof(bad));
	bad.sealed[4] = 2; /* format */
	rig_spawn(&rig, &b, &bad, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(rig_failed(&b), ERR_VERSION);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_manager_goes(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	fd_close(&b.control);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_key_of_another(void **state)
{
	struct backend_start start = { .flags = RUN_MANUFACTURE };
	struct rig_disk none;
	struct rig_backend b;

	(void)state;
	rig_disk_init(&none);
	memcpy(start.uuid, disk.uuid, UUID_LEN);
	rig_spawn_start(&rig, &b, &none, &start);
	assert_int_equal(rig_failed(&b), ERR_AUTH);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
}

static void test_no_keeper(void **state)
{
	struct rig_backend b;

	(void)state;
	rig_kill_keeper(&rig);
	rig_spawn_keyless(&rig, &b, &disk, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(rig_failed(&b), ERR_TPM_LOST);
	assert_int_equal(rig_exited(&b), 1 << 8);
	rig_forget(&b);
	rig_start_keeper(&rig);
	guest_power_on(&b);
	guest_power_off(&b);
}

static void test_quota(void **state)
{
	struct backend_start start = { .flags = RUN_SERVE | RUN_STARTUP, .state_max = 24 * 1024 + GUEST_EVIDENCE_STATE };
	struct rig_backend b;
	uint32_t rc = 0;
	unsigned n;

	(void)state;
	memcpy(start.uuid, disk.uuid, UUID_LEN);
	memcpy(start.from_uuid, disk.uuid, UUID_LEN);
	start.version = disk.version;
	start.sealed = disk.sealed;
	start.sealed_len = disk.sealed_len;
	rig_spawn_start(&rig, &b, &disk, &start);
	rig_ready(&b);
	for (n = 0; rc == 0 && n < 64; n++) {
		guest_build_define(&cmd, SLOT(100 + n), 1024);
		rc = guest_run(&b);
	}
	assert_int_equal(rc, TPM_RC_NV_SPACE);
	assert_true(n > 4 && disk.sealed_len <= start.state_max);
	/* Full, but not stuck: what frees space works, and then there is room. */
	for (unsigned i = 0; i + 1 < n; i++)
		guest_undefine(&b, SLOT(100 + i));
	guest_build_define(&cmd, SLOT(100), 64);
	assert_int_equal(guest_run(&b), 0);
	guest_undefine(&b, SLOT(100));
	guest_power_off(&b);
}

/* A state as large as one can be: it is made, stored, loaded, and leaves two thirds of RLIMIT_AS free. */
static void test_largest_state(void **state)
{
	static struct rig_disk large;
	struct backend_start start = { .flags = RUN_SERVE | RUN_STARTUP, .state_max = SEALED_STATE_MAX };
	struct rig_backend b;
	uint32_t rc = 0;
	unsigned n;

	(void)state;
	memcpy(&large, &disk, sizeof(large));
	memcpy(start.uuid, large.uuid, UUID_LEN);
	memcpy(start.from_uuid, large.uuid, UUID_LEN);
	for (unsigned round = 0; round < 2; round++) {
		start.version = large.version;
		start.sealed = large.sealed;
		start.sealed_len = large.sealed_len;
		rig_spawn_start(&rig, &b, &large, &start);
		rig_ready(&b);
		for (n = 0; rc == 0 && n < 256; n++) {
			guest_build_define(&cmd, SLOT(100 + n), 1024);
			rc = guest_run(&b);
			guest_build_write(&cmd, SLOT(100 + n), "pin", "so that it is in the state whole");
			assert_true(rc != 0 || guest_run(&b) == 0);
		}
		assert_int_equal(rc, TPM_RC_NV_SPACE);
		assert_in_range(rig_status(rig_newest_child(&rig), "VmPeak:"), 1, PEAK_MAX);
		guest_power_off(&b);
	}
}

/* Backends forked from one parent share nothing random. */
static void test_no_twins(void **state)
{
	struct rig_backend a, b;
	static struct rig_disk copy;
	uint8_t first[CHAN_PACKET_MAX];

	(void)state;
	memcpy(&copy, &disk, sizeof(copy));
	guest_power_on(&a);
	rig_spawn(&rig, &b, &copy, RUN_SERVE | RUN_STARTUP);
	rig_ready(&b);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(guest_run(&a), 0);
	memcpy(first, rsp, rsp_len);
	assert_int_equal(tpmcmd_get_random(&cmd, 32), 0);
	assert_int_equal(guest_run(&b), 0);
	assert_memory_not_equal(first + 12, rsp + 12, 32);
	assert_memory_not_equal(disk.sealed + 8, copy.sealed + 8, STATE_SALT_LEN);
	guest_power_off(&a);
	assert_int_equal(rig_stop(&b), 0);
	rig_forget(&b);
}

/* That start fails; the spawner and all others go on. */
static void test_no_descriptors_left(void **state)
{
	struct rlimit old, none;
	struct rig_backend b;

	(void)state;
	kill(rig.spawn, SIGSTOP); /* so that nothing is refused before all of it is asked for */
	rig_spawn_keyless(&rig, &b, &disk, RUN_SERVE | RUN_STARTUP);
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, NULL, &old), 0);
	none = (struct rlimit){ 4, old.rlim_max };
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &none, NULL), 0);
	kill(rig.spawn, SIGCONT);
	assert_int_equal(rig_exited(&b), SPAWN_NOT_BORN);
	rig_forget(&b);
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &old, NULL), 0);
	guest_power_on(&b);
	guest_power_off(&b);
}

/* Nor does a ring that cannot be had end it: a guest asks for one as often as it likes. */
static void test_no_descriptor_for_a_ring(void **state)
{
	const struct spawn_attach want = { .domid = 5, .ref = 8, .port = 3, .again = true };
	uint8_t mem[SPAWN_ATTACH_SIZE], back[SPAWN_ATTACH_SIZE];
	const int fd = STDERR_FILENO;
	struct rlimit old, none;
	struct rig_backend b;
	struct ipc_msg m;
	struct buf body;

	(void)state;
	buf_init(&body, mem, sizeof(mem));
	assert_int_equal(spawn_attach_encode(&body, &want), 0);
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, NULL, &old), 0);
	none = (struct rlimit){ 4, old.rlim_max };
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &none, NULL), 0);
	assert_int_equal(ipc_send(rig.manager, SPAWN_ATTACH, &body, &fd, 1), 0);
	assert_int_equal(ipc_recv(rig.manager, &m, back, sizeof(back), 0), 0);
	assert_int_equal(prlimit(rig.spawn, RLIMIT_NOFILE, &old, NULL), 0);
	assert_int_equal(m.type, SPAWN_UNATTACHED);
	assert_int_equal(m.body.len, sizeof(mem));
	assert_memory_equal(back, mem, sizeof(mem));
	guest_power_on(&b);
	guest_power_off(&b);
}

static uint64_t next_exited(struct rig *r)
{
	uint8_t mem[SPAWN_EXITED_SIZE];
	struct spawn_exited e = { 0 };
	struct ipc_msg m;

	assert_int_equal(ipc_recv(r->manager, &m, mem, sizeof(mem), 0), 0);
	assert_int_equal(spawn_exited_decode(&m.body, &e), 0);
	assert_in_range(e.token, 1, 63);
	return e.token;
}

/* A manager that is busy for long: the spawner waits for it. */
static void test_no_report_is_lost(void **state)
{
	static struct rig narrow = { .queue = 1 };
	struct rig_backend b[24];
	uint64_t seen = 0, want = 0;
	struct ipc_msg m;
	uint8_t none[1];

	(void)state;
	rig_open(&narrow, false);
	for (size_t i = 0; i < ARRAY_LEN(b); i++) {
		rig_spawn(&narrow, &b[i], &disk, RUN_SERVE | RUN_STARTUP);
		want |= 1ull << b[i].token;
	}
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		fd_close(&b[i].control);
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		while (ipc_recv(b[i].store, &m, none, sizeof(none), 0) != ERR_CLOSED)
			; /* until all of them have ended */
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		seen |= 1ull << next_exited(&narrow);
	assert_true(seen == want);
	for (size_t i = 0; i < ARRAY_LEN(b); i++)
		rig_forget(&b[i]);
	rig_close(&narrow);
}

/* The last one: it leaves the TPM locked out. */
static void test_failed_authorisations_are_named(void **state)
{
	struct rig_backend b;

	(void)state;
	guest_power_on(&b);
	guest_build_define(&cmd, SLOT(2), 4);
	assert_int_equal(guest_run(&b), 0);
	assert_int_equal(disk.flags, 0);
	for (uint32_t rc = 0; rc != TPM_RC_LOCKOUT;) {
		disk.flags = 0;
		guest_build_write(&cmd, SLOT(2), "bad", "abcd");
		rc = guest_run(&b);
		assert_true(rc == 0x98e || rc == TPM_RC_LOCKOUT); /* TPM_RC_AUTH_FAIL, session 1 */
		assert_int_equal(disk.flags, rc == 0x98e ? COMMIT_AUTH_FAILED : 0);
	}
	guest_power_off(&b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_provision_serve_restart),
		cmocka_unit_test(test_banks_and_eks),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_certify_renames),
		cmocka_unit_test(test_store_failure_is_no_oracle),
		cmocka_unit_test(test_stop_and_kill),
		cmocka_unit_test(test_wrong_states),
		cmocka_unit_test(test_manager_goes),
		cmocka_unit_test(test_key_of_another),
		cmocka_unit_test(test_no_keeper),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_largest_state),
		cmocka_unit_test(test_no_twins),
		cmocka_unit_test(test_no_descriptors_left),
		cmocka_unit_test(test_no_descriptor_for_a_ring),
		cmocka_unit_test(test_no_report_is_lost),
		cmocka_unit_test(test_failed_authorisations_are_named),
	};

	return guest_test_main(argc, argv, tests, ARRAY_LEN(tests));
}

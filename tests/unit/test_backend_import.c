/* SPDX-License-Identifier: BSD-2-Clause */
/* Real spawner, real workers: states that were swtpm's, given as descriptors, and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/backend_guest.h"
#include "tests/unit/swtpm_file.h"
#include "vtpm-backend/permanent.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static uint8_t plain[SEALED_STATE_MAX], mem[SEALED_STATE_MAX];
static size_t plain_len;
static struct buf file;
static uint8_t beside[KEY_LEN]; /* what the store has beside it, and swtpm has not */
static const uint8_t key[33] = "this is a key, 32 bytes of it...";

/* The state of the rig's vTPM, as swtpm would have it. */
static void take_plain(void)
{
	plain_len = rig_disk_open(&disk, beside, plain);
	buf_init(&file, mem, sizeof(mem));
}

static int memfd_of(const void *p, size_t n, int seals)
{
	int fd = memfd_create("given", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(write(fd, p, n), n);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* Imports file, with n bytes of secret unless kind is SECRET_NONE. The worker is b's. */
static void give(struct rig_backend *b, struct rig_disk *d, enum import_secret kind, const void *secret, size_t n)
{
	int fds[2] = { memfd_of(file.data, file.len, SEALS), -1 };

	rig_disk_init(d);
	if (kind != SECRET_NONE)
		fds[1] = memfd_of(secret, n, SEALS);
	rig_spawn_import(&rig, b, d, RUN_SECRET(kind), fds, kind != SECRET_NONE ? 2 : 1);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

/* It is a vTPM like any other, with a secret of its own, and has the EKs that it had. */
static void expect_imported(struct rig_backend *b, struct rig_disk *d)
{
	static uint8_t blob[SEALED_STATE_MAX];
	uint8_t own[KEY_LEN];

	rig_provisioned(b, NULL, 0);
	rig_forget(b);
	assert_int_equal(d->version, 1);
	rig_disk_open(d, own, blob);
	assert_memory_not_equal(own, beside, KEY_LEN);
	rig_spawn(&rig, b, d, RUN_SERVE | RUN_STARTUP);
	rig_ready(b);
	assert_int_equal(tpmcmd_read_public(&cmd, 0x81010001), 0);
	assert_int_equal(guest_run(b), 0);
	assert_int_equal(rig_stop(b), 0);
	rig_forget(b);
}

static void expect_refused(struct rig_backend *b, int code)
{
	assert_int_equal(rig_failed(b), code);
	assert_int_equal(WEXITSTATUS(rig_exited(b)), 1);
	rig_forget(b);
}

static void test_plain(void **state)
{
	static struct rig_disk d;
	struct rig_backend b;

	(void)state;
	take_plain();
	file_plain(&file, plain, plain_len);
	give(&b, &d, SECRET_NONE, NULL, 0);
	expect_imported(&b, &d);
}

static void test_encrypted(void **state)
{
	static struct rig_disk d;
	struct rig_backend b;

	(void)state;
	take_plain();
	for (size_t key_len = 16; key_len <= 32; key_len += 16) {
		file_encrypted(&file, plain, plain_len, key, key_len, NULL);
		give(&b, &d, SECRET_KEY_BINARY, key, key_len);
		expect_imported(&b, &d);
		give(&b, &d, SECRET_KEY_BINARY, key + 1, key_len);
		expect_refused(&b, ERR_INVAL);
		give(&b, &d, SECRET_PASS_PBKDF2, key, 5); /* the code for it runs in the sandbox, too */
		expect_refused(&b, ERR_INVAL);
		give(&b, &d, SECRET_PASS_SHA512, key, 5);
		expect_refused(&b, ERR_INVAL);
		give(&b, &d, SECRET_NONE, NULL, 0);
		expect_refused(&b, ERR_INVAL);
	}
}

/* libtpms complains about these at length; that must not be the end of the process. */
static void test_no_such_state(void **state)
{
	static struct rig_disk d;
	struct rig_backend b;

	(void)state;
	take_plain();
	for (size_t n = 1; n < plain_len; n += plain_len / 7) {
		file_plain(&file, plain, n);
		give(&b, &d, SECRET_NONE, NULL, 0);
		expect_refused(&b, ERR_ENGINE);
	}
	plain[2] ^= 1; /* the magic number */
	file_plain(&file, plain, plain_len);
	give(&b, &d, SECRET_NONE, NULL, 0);
	expect_refused(&b, ERR_ENGINE);
	file_plain(&file, plain, 64 * 1024 + 1); /* the rig's quota */
	give(&b, &d, SECRET_NONE, NULL, 0);
	expect_refused(&b, ERR_FULL);
}

/* The same for a state of our own that verifies, as one from a newer libtpms would. */
static void test_own_state_is_refused(void **state)
{
	static struct rig_disk d;
	struct state_id id = { .kind = STATE_PERMANENT, .version = 7 };
	struct rig_backend b;
	struct sealer s;
	struct buf out;

	(void)state;
	rig_disk_init(&d);
	d.version = id.version;
	memcpy(id.uuid, d.uuid, UUID_LEN);
	assert_int_equal(sealer_init(&s, d.key), 0);
	buf_init(&out, d.sealed, sizeof(d.sealed));
	assert_int_equal(permanent_seal(&s, &id, beside, key, sizeof(key), &out), 0);
	sealer_wipe(&s);
	d.sealed_len = out.len;
	rig_spawn(&rig, &b, &d, RUN_SERVE | RUN_STARTUP);
	expect_refused(&b, ERR_ENGINE);
}

static void expect_bad_descriptor(int fd)
{
	static struct rig_disk d;
	struct rig_backend b;
	int fds[2] = { fd, memfd_of(key, 16, SEALS) };

	rig_disk_init(&d);
	rig_spawn_import(&rig, &b, &d, 0, fds, 1);
	expect_refused(&b, ERR_INVAL);
	close(fd);
	close(fds[1]);
}

static void test_bad_descriptors(void **state)
{
	int pipe_fds[2];

	(void)state;
	take_plain();
	file_plain(&file, plain, plain_len);
	expect_bad_descriptor(memfd_of(file.data, file.len, F_SEAL_SHRINK | F_SEAL_GROW)); /* can still be written */
	expect_bad_descriptor(memfd_of(file.data, file.len, F_SEAL_SHRINK | F_SEAL_WRITE));
	expect_bad_descriptor(memfd_of(file.data, file.len, F_SEAL_GROW | F_SEAL_WRITE));
	expect_bad_descriptor(memfd_of("", 0, SEALS));
	expect_bad_descriptor(memfd_of(mem, sizeof(mem), F_SEAL_SHRINK)); /* too large, and not sealed */
	expect_bad_descriptor(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	expect_bad_descriptor(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	expect_bad_descriptor(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* A manager that gives another number of descriptors than the flags say, or such flags, is none. */
static void test_wrong_number(void **state)
{
	static const struct {
		uint32_t flags;
		unsigned n;
	} tries[] = { { 0, 0 },
		      { 0, 2 },
		      { RUN_SECRET(SECRET_KEY_HEX), 1 },
		      { RUN_SECRET(SECRET_KEY_HEX), 0 },
		      { RUN_SECRET(5), 2 },
		      { RUN_SECRET(7), 2 },
		      { RUN_CERTIFY, 1 },
		      { RUN_MANUFACTURE, 1 },
		      { RUN_SERVE, 1 } };
	static struct rig_disk d;
	int fds[2] = { memfd_of(key, 16, SEALS), memfd_of(key, 16, SEALS) };
	struct rig_backend b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		rig_disk_init(&d);
		rig_spawn_import(&rig, &b, &d, tries[i].flags, fds, tries[i].n);
		expect_refused(&b, ERR_PROTO);
	}
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),		cmocka_unit_test(test_encrypted),
		cmocka_unit_test(test_no_such_state),	cmocka_unit_test(test_own_state_is_refused),
		cmocka_unit_test(test_bad_descriptors), cmocka_unit_test(test_wrong_number),
	};

	return guest_test_main(argc, argv, tests, ARRAY_LEN(tests));
}

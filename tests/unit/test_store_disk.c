/* SPDX-License-Identifier: BSD-2-Clause */
/* The store on real disks: shared, erased, full, read-only, and under SIGKILL in mid-commit. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static void test_second_opener(void **state)
{
	struct store *s = fixture_with_vtpms(1);
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		char why[TEXT_MAX + 1] = "";
		struct store *other;
		int err = store_open(&other, fixture_dir, false, why);

		_exit(err == ERR_BUSY && strstr(why, "another vtpm-mgr") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fixture_commit_one(s, 1, 2), 0);
	store_close(s);
}

/* Whether the bytes are anywhere in a file of the store. */
static bool on_disk(const char *file, uint8_t byte)
{
	static uint8_t data[32u << 20];
	uint8_t key[WRAPPED_KEY_LEN];
	char path[256];
	ssize_t n;
	int fd;

	memset(key, byte, sizeof(key));
	snprintf(path, sizeof(path), "%s/%s", fixture_dir, file);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	n = read(fd, data, sizeof(data));
	close(fd);
	return n > 0 && memmem(data, (size_t)n, key, sizeof(key)) != NULL;
}

static void test_delete_erases(void **state)
{
	struct store *s = fixture_with_vtpms(2);
	struct store_vtpm v;
	int status;

	(void)state;
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_true(on_disk("vtpm.db-wal", 0xa1));
	assert_int_equal(fixture_delete(s, v.id), 0);
	/* While the store is open; in a child, because closing a file drops this process's locks on it. */
	if (fork() == 0)
		_exit(on_disk("vtpm.db-wal", 0xa1) || on_disk("vtpm.db", 0xa1) || !on_disk("vtpm.db", 0xa2));
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	assert_int_equal(fixture_commit_one(s, 2, 2), 0);
	store_close(s);
	s = fixture_open_store(false);
	assert_int_equal(fixture_version_of(s, 2), 2);
	assert_int_equal(fixture_delete(s, v.id), ERR_NOTFOUND);
	store_close(s);
}

/* A disk of its own, in a mount namespace of its own. */
static bool small_disk(const char *size)
{
	return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", fixture_dir, "tmpfs", 0, size) == 0;
}

static void fill_disk(const char *name)
{
	static const char zeros[4096];
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fixture_dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	assert_true(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static void full_disk(void)
{
	struct store *s = fixture_with_vtpms(2);
	struct store_change c[2] = {{.op = STORE_UPDATE, .version = 0}, {.op = STORE_UPDATE, .version = 2}};
	char filler[256];
	uint64_t version = 1;
	int err = 0;

	snprintf(filler, sizeof(filler), "%s/filler", fixture_dir);
	for (int round = 0; round < 3; round++) {
		fill_disk("filler");
		while ((err = fixture_commit_one(s, 1, version + 1)) == 0)
			version++;
		assert_int_equal(err, ERR_FULL);
		assert_true(strlen(store_why(s)) > 0);
		for (unsigned i = 0; i < 2; i++) {
			fixture_make_uuid(c[i].uuid, i + 1);
			c[i].sealed = fixture_sealed;
			c[i].sealed_len = STATE_LEN;
		}
		c[0].version = version + 1;
		assert_int_equal(fixture_commit(s, c, 2), ERR_FULL);
		assert_int_equal(c[0].result, ERR_FULL);
		assert_int_equal(c[1].result, ERR_FULL);
		assert_int_equal(store_meta_put(s, "x", fixture_sealed, STORE_META_MAX), ERR_FULL);
		assert_int_equal(fixture_version_of(s, 1), version);
		assert_int_equal(unlink(filler), 0);
		assert_int_equal(fixture_commit_one(s, 1, version + 1), 0);
		version++;
	}
	assert_int_equal(fixture_version_of(s, 2), 1);
	fill_disk("filler");
	store_close(s); /* its last checkpoint may fail: the log stays */
	assert_int_equal(unlink(filler), 0);
	s = fixture_open_store(false);
	assert_int_equal(fixture_version_of(s, 1), version);
	store_close(s);
}

/* Runs what needs a mount namespace in a child that has one; asserts there end it with 1. */
static void in_child(void (*body)(void), const char *options)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion must not go on with the next test here */
		if (!small_disk(options))
			_exit(77);
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_full_disk(void **state)
{
	(void)state;
	in_child(full_disk, "size=2m,mode=0700");
}

static void readonly_disk(void)
{
	store_close(fixture_with_vtpms(1));
	assert_int_equal(mount(NULL, fixture_dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(fixture_expect_open(false, "vtpm.db"), ERR_READONLY);
	assert_int_equal(mount(NULL, fixture_dir, NULL, MS_REMOUNT, NULL), 0);
	assert_int_equal(fixture_expect_open(false, NULL), 0);
}

static void test_readonly_disk(void **state)
{
	(void)state;
	in_child(readonly_disk, "size=16m,mode=0700");
}

/* Commits batches as fast as it can and tells through the pipe what the store has acknowledged. */
static void commit_forever(int fd, uint64_t version)
{
	struct store *s = fixture_open_store(false);
	struct store_change c[3];

	for (;; version++) {
		for (unsigned i = 0; i < 3; i++) {
			c[i] = (struct store_change){
				.op = STORE_UPDATE, .version = version + 1, .sealed = fixture_sealed, .sealed_len = STATE_LEN};
			fixture_make_uuid(c[i].uuid, i + 1);
		}
		memcpy(fixture_sealed, &(uint64_t){version + 1}, sizeof(version));
		if (fixture_commit(s, c, 3) || c[0].result || c[1].result || c[2].result)
			_exit(1);
		if (write(fd, &(uint64_t){version + 1}, sizeof(version)) != sizeof(version))
			_exit(1);
	}
}

/* One life: until it has acknowledged a few, then SIGKILL somewhere in the next one. Returns the last acknowledged. */
static uint64_t live_and_die(uint64_t version, unsigned acks)
{
	uint64_t acked = version;
	int pipe_fd[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0)
		commit_forever(pipe_fd[1], version);
	close(pipe_fd[1]);
	for (unsigned i = 0; i < acks; i++)
		assert_int_equal(read(pipe_fd[0], &acked, sizeof(acked)), sizeof(acked));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	while (read(pipe_fd[0], &version, sizeof(version)) == sizeof(version))
		acked = version;
	close(pipe_fd[0]);
	return acked;
}

static void test_kill_in_mid_commit(void **state)
{
	uint64_t version = 1;

	(void)state;
	store_close(fixture_with_vtpms(3));
	for (unsigned life = 0; life < 40; life++) {
		uint64_t acked = live_and_die(version, 1 + life * 7 % 200);
		struct store *s = fixture_open_store(false);

		version = fixture_version_of(s, 1);
		assert_true(version == acked || version == acked + 1);
		assert_int_equal(fixture_version_of(s, 2), version); /* a batch is there as a whole or not at all */
		assert_int_equal(fixture_version_of(s, 3), version);
		store_close(s);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_second_opener), TEST(test_delete_erases),	 TEST(test_full_disk),
		TEST(test_readonly_disk), TEST(test_kill_in_mid_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

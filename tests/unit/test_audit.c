/* SPDX-License-Identifier: BSD-2-Clause */
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "vtpm-mgr/audit.h"

static char dir[32];
static char path[64], rotated[64];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_audit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/audit.log", dir);
	snprintf(rotated, sizeof(rotated), "%s/audit.log.1", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(rotated);
	return rmdir(dir);
}

static int write_one(struct audit *a, const char *vtpm)
{
	struct audit_entry e = {.uid = 17, .pid = 4, .action = "create", .vtpm = vtpm, .detail = "a\nb\x1b\xff"};

	return audit_write(a, &e);
}

/* Reads a log's lines; returns how many, and counts those that are JSON objects. */
static int read_file(const char *name, int *objects)
{
	char line[4096];
	FILE *f = fopen(name, "r");
	int lines = 0;

	assert_non_null(f);
	*objects = 0;
	while (fgets(line, sizeof(line), f)) {
		json_t *o = json_loads(line, 0, NULL);

		assert_non_null(strchr(line, '\n'));
		lines++;
		*objects += json_is_object(o);
		json_decref(o);
	}
	fclose(f);
	return lines;
}

static int read_log(int *objects)
{
	return read_file(path, objects);
}

/* How many lines there are in the log, and in the one that was renamed, if all are whole. */
static void assert_lines(int now, int before)
{
	int objects;

	assert_int_equal(read_file(path, &objects), now);
	assert_int_equal(objects, now);
	assert_int_equal(read_file(rotated, &objects), before);
	assert_int_equal(objects, before);
}

static void test_lines(void **state)
{
	struct audit_entry e = {.uid = -1, .pid = -1, .action = "destroy", .result = ERR_QUARANTINE};
	uint8_t uuid[UUID_LEN] = {1, 2, 3};
	struct audit a;
	struct stat sb;
	char line[4096];
	json_t *o;
	FILE *f;

	(void)state;
	e.uuid = uuid;
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(audit_write(&a, &e), 0);
	audit_close(&a);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	f = fopen(path, "r");
	assert_non_null(fgets(line, sizeof(line), f));
	o = json_loads(line, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "uid")), 17);
	assert_string_equal(json_string_value(json_object_get(o, "vtpm")), "web1");
	assert_string_equal(json_string_value(json_object_get(o, "result")), "ok");
	assert_string_equal(json_string_value(json_object_get(o, "detail")), "a\nb\x1b?");
	assert_int_equal(strlen(json_string_value(json_object_get(o, "time"))), strlen("2026-01-02T03:04:05.678Z"));
	assert_null(strchr(line, 0x1b));
	json_decref(o);
	assert_non_null(fgets(line, sizeof(line), f));
	o = json_loads(line, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "uuid")), "01020300-0000-0000-0000-000000000000");
	assert_string_equal(json_string_value(json_object_get(o, "result")), "quarantined");
	assert_null(json_object_get(o, "vtpm"));
	json_decref(o);
	fclose(f);
}

static void test_torn_line(void **state)
{
	struct audit a;
	int objects;

	(void)state;
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(write(a.fd, "{\"time\": \"20", 12), 12); /* as a crash leaves it */
	audit_close(&a);
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web2"), 0);
	audit_close(&a);
	assert_int_equal(read_log(&objects), 3);
	assert_int_equal(objects, 2);
}

/* The file may not grow: the write is cut short in the middle of a line, as on a full disk. */
static void test_partial_write(void **state)
{
	struct rlimit old;
	struct rlimit limit;
	struct audit a;
	struct stat sb;
	int objects;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(fstat(a.fd, &sb), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)sb.st_size + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(write_one(&a, "web2"), ERR_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(write_one(&a, "web3"), 0);
	audit_close(&a);
	assert_int_equal(read_log(&objects), 2);
	assert_int_equal(objects, 2);
}

/* What follows a rename is in a file of its own, and what was before stays where it is. */
static void test_rotated(void **state)
{
	struct audit a;
	struct stat sb;

	(void)state;
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(write_one(&a, "web2"), 0);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(write_one(&a, "web3"), 0);
	assert_int_equal(audit_sync(&a), 0);
	assert_lines(1, 2);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	assert_int_equal(write_one(&a, "web4"), 0);
	assert_lines(2, 2);
	assert_int_equal(rename(path, rotated), 0); /* once more, and another has made the new one */
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(write_one(&a, "web5"), 0);
	assert_lines(1, 2);
	audit_close(&a);
}

/* Nothing is lost while there can be no new file: it goes where all went before. */
static void test_rotated_to_nothing(void **state)
{
	struct audit a;

	(void)state;
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(write_one(&a, "web2"), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(write_one(&a, "web3"), 0);
	assert_lines(1, 2);
	audit_close(&a);
}

/* A disk on which not even a line has room, before and after: no half of one is left in either file. */
static void test_rotated_when_full(void **state)
{
	struct rlimit old, limit;
	struct audit a;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(audit_open(&a, dir), 0);
	assert_int_equal(write_one(&a, "web1"), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(write_one(&a, "web2"), ERR_FULL);
	assert_int_equal(rename(path, rotated), 0);
	assert_int_equal(write_one(&a, "web3"), ERR_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(write_one(&a, "web4"), 0);
	assert_lines(1, 1);
	audit_close(&a);
}

static void test_not_a_file(void **state)
{
	struct audit a;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(audit_open(&a, dir), ERR_INVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_not_equal(audit_open(&a, dir), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lines),
		TEST(test_torn_line),
		TEST(test_partial_write),
		TEST(test_rotated),
		TEST(test_rotated_to_nothing),
		TEST(test_rotated_when_full),
		TEST(test_not_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

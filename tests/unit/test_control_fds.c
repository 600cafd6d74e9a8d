/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors that come with a call: whose they are, how many, and that none stays behind. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "tests/unit/control_server.h"
#include "vtpm-mgr/control.h"

#define NOBODY	   65534
#define FDS_MOST   253 /* SCM_MAX_FD */
#define TRIES	   1000 /* a client that has gone costs a few rounds at most */
#define CALL(name) "{\"method\":\"" CONTROL_INTERFACE "." name "\"}"

static char dir[32], path[64];
static pid_t server;
static unsigned fds_at_rest; /* of the server, with one client */

static int dial(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		fd_close(&fd);
	return fd;
}

/* Open in the server, while it has this one client, or others that it has not done with yet. */
static unsigned server_fds(void)
{
	int fd = dial();
	json_t *r = client_call(fd, CALL("Count"));
	char name[40];
	unsigned n = 0;
	DIR *d;

	assert_non_null(r);
	json_decref(r);
	snprintf(name, sizeof(name), "/proc/%d/fd", server);
	d = opendir(name);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	close(fd);
	return n;
}

static int setup(void **state)
{
	int ready[2];
	char c;

	(void)state;
	strcpy(dir, "/tmp/test_control.XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) || pipe(ready))
		return -1;
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	server = fork();
	if (server == 0) {
		if (!freopen("/dev/null", "w", stderr)) /* what it logs about its clients is not news */
			_exit(1);
		control_server_run(path, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		return -1;
	close(ready[0]);
	fds_at_rest = server_fds();
	return 0;
}

/* After whatever the test did, the server holds nothing of it, and serves. */
static int teardown(void **state)
{
	int status;
	int fd;
	json_t *r;
	bool clean = false;

	(void)state;
	for (int i = 0; i < TRIES && !clean; i++)
		clean = server_fds() == fds_at_rest;
	fd = dial();
	r = client_call(fd, CALL("Quit"));
	close(fd);
	json_decref(r);
	if (!r)
		kill(server, SIGKILL);
	if (waitpid(server, &status, 0) != server || status != 0 || rmdir(dir))
		return -1;
	return clean ? 0 : -1;
}

static int file_with(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

/* Sends n bytes with nfds descriptors of one file. */
static void put(int sock, const char *text, size_t n, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MOST)];
	} room;
	struct iovec iov = {(void *)(uintptr_t)text, n};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int file = file_with("what it holds");

	memset(&room, 0, sizeof(room));
	if (nfds > 0) {
		mh.msg_control = room.bytes;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		CMSG_FIRSTHDR(&mh)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&mh)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&mh)->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		for (unsigned i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&mh)) + i * sizeof(int), &file, sizeof(int));
	}
	(void)!sendmsg(sock, &mh, MSG_NOSIGNAL); /* it may have dropped us, which the caller will notice */
	close(file);
}

static void expect_given(int sock, int n)
{
	json_t *r = client_get(sock);
	json_t *p = json_object_get(r, "parameters");

	assert_non_null(r);
	assert_string_equal(json_string_value(json_object_get(p, "text")), "what it holds");
	assert_int_equal(json_integer_value(json_object_get(p, "n")), n);
	json_decref(r);
}

static void expect_dropped(int sock)
{
	json_t *r;

	while ((r = client_get(sock))) /* what it had answered before */
		json_decref(r);
	close(sock);
}

/* One message that must end the client. */
static void expect_drop(const char *text, size_t n, unsigned nfds)
{
	int sock = dial();

	put(sock, text, n, nfds);
	expect_dropped(sock);
}

static void test_given(void **state)
{
	int sock = dial();

	(void)state;
	for (int n = 1; n <= 2; n++) {
		put(sock, CALL("Give"), sizeof(CALL("Give")), (unsigned)n);
		expect_given(sock, n);
	}
	put(sock, CALL("Echo"), sizeof(CALL("Echo")), 0); /* none are left over for the next call */
	json_decref(client_get(sock));
	put(sock, CALL("Give"), sizeof(CALL("Give")), 0);
	expect_dropped(sock);
}

/* They may come with any part of the request. */
static void test_in_pieces(void **state)
{
	static const char call[] = CALL("Give");

	(void)state;
	for (unsigned with = 0; with < 3; with++) {
		int sock = dial();

		for (unsigned i = 0; i < 3; i++) {
			const size_t begin = i * 10, end = i == 2 ? sizeof(call) : begin + 10;

			put(sock, call + begin, end - begin, i == with ? 2 : 0);
		}
		expect_given(sock, 2);
		close(sock);
	}
}

static void test_wrong_number(void **state)
{
	(void)state;
	expect_drop(CALL("Give"), sizeof(CALL("Give")), 0);
	expect_drop(CALL("Give"), sizeof(CALL("Give")), 3);
	expect_drop(CALL("Give"), sizeof(CALL("Give")), FDS_MOST);
	expect_drop(CALL("Echo"), sizeof(CALL("Echo")), 1);
	expect_drop(CALL("Nothing"), sizeof(CALL("Nothing")), 1);
	expect_drop("{\"method\":\"org.varlink.service.GetInfo\"}", 41, 1);
	expect_drop("garbage", 8, 2);
}

/* One after the other they would be two calls' for who reads fast, and one's for who reads late. */
static void test_two_helpings(void **state)
{
	static const char call[] = CALL("Give");
	int sock = dial();

	(void)state;
	put(sock, call, 10, 1);
	put(sock, call + 10, sizeof(call) - 10, 1);
	expect_dropped(sock);
}

static void test_not_alone(void **state)
{
	static const char before[] = CALL("Echo") "\0" CALL("Give");
	static const char behind[] = CALL("Give") "\0" CALL("Echo");
	static const char tail[] = CALL("Give") "\0x";

	(void)state;
	expect_drop(before, sizeof(before), 1);
	expect_drop(behind, sizeof(behind), 1);
	expect_drop(tail, sizeof(tail) - 1, 1);
}

/* The kernel puts bytes without descriptors in front of those with some, if both wait. */
static void test_glued(void **state)
{
	int sock = dial();

	(void)state;
	assert_int_equal(kill(server, SIGSTOP), 0);
	assert_int_equal(waitpid(server, NULL, WUNTRACED), server);
	put(sock, CALL("Echo"), sizeof(CALL("Echo")), 0);
	put(sock, CALL("Give"), sizeof(CALL("Give")), 1);
	assert_int_equal(kill(server, SIGCONT), 0);
	expect_dropped(sock);
}

static void test_too_long(void **state)
{
	static char text[CONTROL_REQUEST_MAX + 64];

	(void)state;
	memset(text, ' ', sizeof(text));
	expect_drop(text, sizeof(text), 2);
}

/* A client that goes in the middle, and one that waits for an answer. */
static void test_gone(void **state)
{
	int sock = dial();

	(void)state;
	put(sock, CALL("Give"), 10, 2);
	close(sock);
	sock = dial();
	put(sock, CALL("Give"), sizeof(CALL("Give")), 2);
	close(sock);
}

/* Whoever is no operator gives nothing: the kernel throws it away, and the server never has it. */
static void test_of_others(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		gid_t viewer = VIEWER_GID;
		int sock;

		if (setgroups(1, &viewer) || setgid(NOBODY) || setuid(NOBODY))
			_exit(2);
		sock = dial();
		put(sock, CALL("Echo"), sizeof(CALL("Echo")), 1);
		if (client_get(sock))
			_exit(3);
		sock = dial();
		put(sock, CALL("Give"), sizeof(CALL("Give")), 0); /* who gives none is told why not */
		_exit(strcmp(json_string_value(json_object_get(client_get(sock), "error")), CONTROL_INTERFACE ".Denied") ? 4
														     : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A parameter that the method does not take: the call is refused, with what came with it, and the client stays. */
static void test_unknown_parameters(void **state)
{
	static const char *const keys[] = {"grop", "", " ", "a n", "na", "A", "a ", "parameters"};
	char text[160];
	int sock = dial();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		json_t *r, *p;

		snprintf(text, sizeof(text), "{\"method\":\"" CONTROL_INTERFACE ".%s\",\"parameters\":{\"%s\":1}}",
			 i == 0 ? "Give" : "Echo", keys[i]);
		put(sock, text, strlen(text) + 1, i == 0);
		r = client_get(sock);
		assert_non_null(r);
		assert_string_equal(json_string_value(json_object_get(r, "error")), "org.varlink.service.InvalidParameter");
		p = json_object_get(json_object_get(r, "parameters"), "parameter");
		assert_string_equal(json_string_value(p), keys[i]);
		json_decref(r);
	}
	close(sock);
	assert_int_equal(server_fds(), fds_at_rest);
}

/* No room for them is the end of this client alone. */
static void test_no_room(void **state)
{
	struct rlimit few = {0}, old;
	int sock = dial();

	(void)state;
	put(sock, CALL("Echo"), sizeof(CALL("Echo")), 0);
	json_decref(client_get(sock));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few.rlim_max = old.rlim_max; /* what it has, it keeps */
	assert_int_equal(prlimit(server, RLIMIT_NOFILE, &few, NULL), 0);
	put(sock, CALL("Give"), sizeof(CALL("Give")), 2);
	expect_dropped(sock);
	assert_int_equal(prlimit(server, RLIMIT_NOFILE, &old, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_given),     TEST(test_in_pieces), TEST(test_wrong_number), TEST(test_two_helpings),
		TEST(test_not_alone), TEST(test_glued),	    TEST(test_too_long),     TEST(test_gone),
		TEST(test_of_others), TEST(test_no_room),   TEST(test_unknown_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control interface from outside: the server runs in a process of its own, as it does in the manager, and every
 * test is a client that does something to it. After each hostile one an orderly client must still be served.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#define VIEWER_GID 64101
#define DROP_MS	   20000 /* a slow machine, with sanitizers */

static char dir[32];
static char path[64];
static char log_path[64];
static pid_t server;

static int setup(void **state)
{
	int ready[2];
	char c;

	(void)state;
	strcpy(dir, "/tmp/test_control.XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) || pipe(ready))
		return -1;
	snprintf(path, sizeof(path), "%s/control.sock", dir);
	snprintf(log_path, sizeof(log_path), "%s/log", dir);
	server = fork();
	if (server == 0) {
		if (!freopen(log_path, "w", stderr)) /* what it logs about its clients is not news */
			_exit(1);
		control_server_run(path, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		return -1;
	return close(ready[0]);
}

/* ---- clients ---- */

static int dial(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		fd_close(&fd);
	return fd;
}

#define METHOD(name) "{\"method\":\"" CONTROL_INTERFACE "." name "\"}"

static const char big_call[] = "{\"method\":\"" CONTROL_INTERFACE ".Big\",\"parameters\":{\"size\":8000000}}";

static void expect_error(const char *request, const char *error)
{
	int fd = dial();
	json_t *r = client_call(fd, request);

	assert_non_null(r);
	assert_string_equal(json_string_value(json_object_get(r, "error")), error);
	assert_true(json_is_object(json_object_get(r, "parameters")));
	json_decref(r);
	close(fd);
}

/* The peer ends the connection, with or without what it still had to say. */
static bool is_dropped(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char buf[65536];

	while (poll(&pfd, 1, timeout_ms) == 1) {
		if (recv(fd, buf, sizeof(buf), 0) <= 0)
			return true;
	}
	return false;
}

static void expect_drop(const char *text, size_t n)
{
	int fd = dial();

	client_put(fd, text, n);
	assert_true(is_dropped(fd, DROP_MS));
	close(fd);
}

static json_int_t role_here(void)
{
	int fd = dial();
	json_t *r = client_call(fd, METHOD("Echo"));
	json_int_t role = ROLE_NONE;

	if (r && !json_object_get(r, "error"))
		role = json_integer_value(json_object_get(json_object_get(r, "parameters"), "role"));
	json_decref(r);
	fd_close(&fd);
	return role;
}

static int teardown(void **state)
{
	int status;
	int fd = dial();
	json_t *r = client_call(fd, METHOD("Quit")); /* still serves, after whatever the test did */

	(void)state;
	close(fd);
	json_decref(r);
	if (!r)
		kill(server, SIGKILL);
	if (waitpid(server, &status, 0) != server || status != 0 || access(path, F_OK) == 0)
		return -1;
	return unlink(log_path) || rmdir(dir);
}

/* ---- tests ---- */

static void test_calls(void **state)
{
	int fd = dial();
	json_t *r = client_call(fd, "{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"parameters\":{\"a\":[1,\"\\u00e9]\"]}}");
	json_t *p = json_object_get(r, "parameters");

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(p, "role")), ROLE_OPERATOR);
	assert_int_equal(json_array_size(json_object_get(p, "a")), 2);
	json_decref(r);
	r = client_call(fd, "{\"method\":\"org.varlink.service.GetInfo\",\"more\":true}");
	assert_int_equal(json_array_size(json_object_get(json_object_get(r, "parameters"), "interfaces")), 2);
	json_decref(r);
	r = client_call(fd, "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
		     "\"parameters\":{\"interface\":\"" CONTROL_INTERFACE "\"}}");
	p = json_object_get(json_object_get(r, "parameters"), "description");
	assert_string_equal(json_string_value(p), "interface " CONTROL_INTERFACE "\n");
	json_decref(r);
	close(fd);
}

static void test_standard_errors(void **state)
{
	(void)state;
	expect_error(METHOD("Nothing"), "org.varlink.service.MethodNotFound");
	expect_error(METHOD(""), "org.varlink.service.MethodNotFound");
	expect_error("{\"method\":\"org.varlink.service.X\"}", "org.varlink.service.MethodNotFound");
	expect_error("{\"method\":\"org.example.Echo\"}", "org.varlink.service.InterfaceNotFound");
	expect_error("{\"method\":\"" CONTROL_INTERFACE ".x.Echo\"}", "org.varlink.service.InterfaceNotFound");
	expect_error("{\"method\":\"\"}", "org.varlink.service.InterfaceNotFound");
	expect_error("{\"method\":\"Echo\",\"parameters\":{}}", "org.varlink.service.InterfaceNotFound");
	expect_error("{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"parameters\":[]}",
		     "org.varlink.service.InvalidParameter");
	expect_error("{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"upgrade\":true}",
		     "org.varlink.service.MethodNotImplemented");
	expect_error("{\"method\":\"org.varlink.service.GetInterfaceDescription\"}",
		     "org.varlink.service.InvalidParameter");
	expect_error(
		"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"x\"}}",
		"org.varlink.service.InterfaceNotFound");
}

static void test_pipelined_and_oneway(void **state)
{
	static const char two[] = "{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"oneway\":true}\0"
				  "{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"parameters\":{\"n\":1}}\0"
				  "{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"parameters\":{\"n\":2}}";
	int fd = dial();

	(void)state;
	client_put(fd, two, sizeof(two));
	assert_int_equal(shutdown(fd, SHUT_WR), 0); /* an end that is no reason not to answer */
	for (int i = 1; i <= 2; i++) {
		json_t *r = client_get(fd);

		assert_int_equal(json_integer_value(json_object_get(json_object_get(r, "parameters"), "n")), i);
		json_decref(r);
	}
	assert_true(is_dropped(fd, DROP_MS));
	close(fd);
}

/* Ten thousand requests in one go: answered one after the other, however deep a server might recurse. */
static void test_many_pipelined(void **state)
{
	static const char one[] = "{\"method\":\"x.Y\",\"oneway\":true}";
	int fd = dial();
	json_t *r;

	(void)state;
	for (int i = 0; i < 10000; i++)
		client_put(fd, one, sizeof(one));
	r = client_call(fd, METHOD("Echo"));
	assert_non_null(r);
	json_decref(r);
	close(fd);
}

static json_int_t count_of(json_t *reply)
{
	json_int_t n = reply ? json_integer_value(json_object_get(json_object_get(reply, "parameters"), "n")) : -1;

	json_decref(reply);
	return n;
}

/* Who has sent a thousand requests ahead is not served before those who have sent one. */
static void test_each_client_has_its_turn(void **state)
{
	static const char one[] = "{\"method\":\"" CONTROL_INTERFACE ".Count\",\"oneway\":true}";
	static char many[1000 * sizeof(one)];
	int greedy = dial();
	int modest = dial();

	(void)state;
	assert_int_equal(count_of(client_call(modest, METHOD("Count"))), 0);
	assert_int_equal(count_of(client_call(greedy, METHOD("Count"))), 1);
	assert_int_equal(kill(server, SIGSTOP), 0);
	assert_int_equal(waitpid(server, NULL, WUNTRACED), server);
	for (size_t i = 0; i < sizeof(many); i += sizeof(one))
		memcpy(many + i, one, sizeof(one));
	client_put(greedy, many, sizeof(many)); /* at once: in a thousand pieces it would not fit into the socket */
	client_put(modest, METHOD("Count"), sizeof(METHOD("Count")));
	assert_int_equal(kill(server, SIGCONT), 0);
	assert_in_range(count_of(client_get(modest)), 2, 4);
	assert_int_equal(count_of(client_call(greedy, METHOD("Count"))), 1003); /* and none is lost */
	close(greedy);
	close(modest);
}

static size_t log_lines(void)
{
	FILE *f = fopen(log_path, "r");
	size_t n = 0;

	for (int c; (c = getc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

static void test_log_is_not_flooded(void **state)
{
	uint64_t start = loop_now_ms();

	(void)state;
	for (int i = 0; i < 500; i++)
		expect_drop("x", 2);
	assert_in_range(log_lines(), 1, 1 + (loop_now_ms() - start) / 1000);
}

static void test_out_of_descriptors(void **state)
{
	struct rlimit few = {0}, old;
	char fd_path[40] = "/proc";

	(void)state;
	for (unsigned i = 0; access(fd_path, F_OK) == 0; i++) {
		few.rlim_cur = i; /* what it has, and none more */
		snprintf(fd_path, sizeof(fd_path), "/proc/%d/fd/%u", server, i);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0); /* the server's, too */
	few.rlim_max = old.rlim_max;
	assert_int_equal(prlimit(server, RLIMIT_NOFILE, &few, NULL), 0);
	expect_drop("", 0); /* or it would keep the server busy */
	assert_int_equal(prlimit(server, RLIMIT_NOFILE, &old, NULL), 0);
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"",
		"x",
		"{",
		"{}",
		"[]",
		"17",
		"{\"method\":1}",
		"{\"method\":\"a.B\"",
		"{\"method\":\"a.B\"} x",
		"{\"method\":\"\xff\xfe.B\"}",
		"{\"method\":\"a.B\",\"method\":\"a.C\"}",
		"{\"method\":\"a.B\",\"oneway\":3}",
		"{\"method\":\"a\\u0000b.C\"}",
		"{\"method\":\"a.B\",\"parameters\":{\"n\":1e999}}",
		"{\"method\":\"a.B\",\"parameters\":{\"n\":99999999999999999999}}",
	};
	uint8_t random[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++)
		expect_drop(garbage[i], strlen(garbage[i]) + 1);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(random_bytes(random, sizeof(random) - 1), 0);
		random[sizeof(random) - 1] = '\0';
		expect_drop((char *)random, sizeof(random));
	}
}

static void test_depth_and_size(void **state)
{
	static char text[CONTROL_REQUEST_MAX + 64];
	int n = snprintf(text, sizeof(text),
			 "{\"method\":\"" CONTROL_INTERFACE ".Echo\",\"parameters\":{\"a\":\"[[[[[[[["
			 "[[[[[[[[[[[[[[[[[[[[\\\"\",\"b\":");
	int fd = dial();
	json_t *r;

	(void)state;
	memset(text + n, '[', 30000);
	expect_drop(text, (size_t)n + 30001);
	strcpy(text + n, "[[]]}}"); /* brackets in a string are no depth */
	r = client_call(fd, text);
	assert_non_null(json_object_get(r, "parameters"));
	json_decref(r);
	memset(text, ' ', sizeof(text));
	memcpy(text, METHOD("Echo"), sizeof(METHOD("Echo")) - 1);
	text[CONTROL_REQUEST_MAX] = '\0';
	client_put(fd, text, CONTROL_REQUEST_MAX + 1); /* exactly as long as may be */
	r = client_get(fd);
	assert_non_null(r);
	json_decref(r);
	close(fd);
	memset(text, ' ', sizeof(text));
	expect_drop(text, CONTROL_REQUEST_MAX + 1);
}

static void test_client_that_leaves(void **state)
{
	int fd = dial();
	int other;
	json_t *r;

	(void)state;
	client_put(fd, METHOD("Hold"), sizeof(METHOD("Hold")));
	client_put(fd, "{\"met", 6);
	close(fd); /* with a call in flight: its end goes nowhere */
	fd = dial();
	client_put(fd, METHOD("Hold"), sizeof(METHOD("Hold"))); /* ends the first */
	assert_int_equal(role_here(), ROLE_OPERATOR);
	expect_drop("x", 2);
	other = dial();
	client_put(other, METHOD("Hold"), sizeof(METHOD("Hold"))); /* ends the second, whose client is there */
	r = client_get(fd);
	assert_string_equal(json_string_value(json_object_get(r, "error")), CONTROL_INTERFACE ".Busy");
	json_decref(r);
	close(other);
	close(fd);
}

static void test_client_that_never_reads(void **state)
{
	int fds[20];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		for (int k = 0; k < 50; k++)
			client_put(fds[i], big_call, sizeof(big_call));
	}
	assert_int_equal(role_here(), ROLE_OPERATOR);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	expect_drop("{\"method\":\"" CONTROL_INTERFACE ".Big\",\"parameters\":{\"size\":17000000}}",
		    sizeof("{\"method\":\"" CONTROL_INTERFACE ".Big\",\"parameters\":{\"size\":17000000}}"));
}

static void test_half_message_and_unread_reply_time_out(void **state)
{
	int half = dial();
	int idle = dial();
	int unread = dial();
	int half_after = dial();
	struct pollfd hung_up;
	json_t *r;

	(void)state;
	client_put(half, "{\"method\"", 9);
	client_put(unread, big_call, sizeof(big_call));
	r = client_call(half_after, METHOD("Echo"));
	json_decref(r);
	for (unsigned t = 0; t < CONTROL_IDLE_MS + 1500; t += 500) { /* one byte now and then gains nothing */
		struct pollfd pfd = {.fd = half, .events = POLLIN};

		if (poll(&pfd, 1, 500) == 1)
			break;
		client_put(half, " ", 1);
	}
	assert_true(is_dropped(half, 0));
	hung_up = (struct pollfd){.fd = unread}; /* without reading, which would be progress */
	assert_int_equal(poll(&hung_up, 1, 2000), 1);
	assert_true(hung_up.revents & POLLHUP);
	r = client_call(idle, METHOD("Echo")); /* being silent between messages is no fault */
	assert_non_null(r);
	json_decref(r);
	close(half);
	close(idle);
	close(unread);
	close(half_after);
}

static void test_too_many_clients(void **state)
{
	int fds[CONTROL_CLIENTS_MAX + 20];
	unsigned served = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		json_t *r = client_call(fds[i], METHOD("Echo"));

		served += r != NULL;
		json_decref(r);
	}
	assert_int_equal(served, CONTROL_CLIENTS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* Runs body as nobody with one supplementary group (0: none); its exit code comes back. */
static int as_nobody(gid_t group, int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(group ? 1 : 0, &group) || setgid(NOBODY) || setuid(NOBODY))
			_exit(99);
		_exit(body());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int my_role(void)
{
	return (int)role_here();
}

static int hold_is_denied(void)
{
	int fd = dial();
	json_t *r = client_call(fd, METHOD("Hold"));
	json_t *p = json_object_get(r, "parameters");
	const char *error = json_string_value(json_object_get(r, "error"));

	int denied = error && strcmp(error, CONTROL_INTERFACE ".Denied") == 0 &&
		     json_integer_value(json_object_get(p, "code")) == ERR_DENIED;

	json_decref(r);
	close(fd);
	return denied;
}

static void test_roles(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(role_here(), ROLE_OPERATOR);
	assert_int_equal(as_nobody(0, my_role), ROLE_NONE);
	assert_int_equal(as_nobody(VIEWER_GID, my_role), ROLE_VIEWER);
	assert_int_equal(as_nobody(OPERATOR_GID, my_role), ROLE_OPERATOR);
	assert_int_equal(as_nobody(0, hold_is_denied), 1);
	assert_int_equal(as_nobody(VIEWER_GID, hold_is_denied), 1);
	assert_int_equal(as_nobody(OPERATOR_GID, my_role), ROLE_OPERATOR);
}

static int hold_gate[2];

/* Takes every slot it can get, and keeps them until the gate closes. Returns how many answered. */
static int take_slots(void)
{
	int fds[100];
	int served = 0;
	char c;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		json_t *r = client_call(fds[i], METHOD("Echo"));

		served += r != NULL;
		json_decref(r);
	}
	close(hold_gate[0]);
	if (write(hold_gate[1], "x", 1) != 1 || recv(hold_gate[1], &c, 1, 0) != 0)
		return 99;
	return served;
}

static void lock_out(gid_t group, int expected)
{
	int status;
	char c;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, hold_gate), 0);
	pid = fork();
	if (pid == 0) {
		if (setgroups(group ? 1 : 0, &group) || setgid(NOBODY) || setuid(NOBODY))
			_exit(99);
		_exit(take_slots());
	}
	close(hold_gate[1]);
	assert_int_equal(read(hold_gate[0], &c, 1), 1);
	assert_int_equal(role_here(), ROLE_OPERATOR); /* in spite of all that */
	close(hold_gate[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), expected);
}

static void test_nobody_locks_out_operators(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	lock_out(0, CONTROL_NOBODIES_MAX);
	lock_out(VIEWER_GID, CONTROL_VIEWERS_MAX);
}

static void test_socket_file(void **state)
{
	struct control_config cfg = {.path = path, .listener = -1, .operator_gid = -1, .viewer_gid = -1};
	struct control *c;
	struct loop l;
	struct stat sb;
	char other[80];
	int fd;

	(void)state;
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0666);
	assert_int_equal(loop_open(&l), 0);
	assert_int_equal(control_open(&c, &l, &cfg), ERR_BUSY); /* somebody listens */
	snprintf(other, sizeof(other), "%s/other.sock", dir);
	cfg.path = other;
	fd = open(other, O_CREAT | O_RDWR, 0600);
	assert_int_equal(control_open(&c, &l, &cfg), ERR_EXISTS); /* not a socket: not ours to remove */
	close(fd);
	unlink(other);
	assert_int_equal(mknod(other, S_IFSOCK | 0600, 0), 0);
	assert_int_equal(control_open(&c, &l, &cfg), 0); /* a stale one is replaced */
	control_close(c);
	assert_int_equal(access(other, F_OK), -1);
	loop_close(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_calls),
		TEST(test_standard_errors),
		TEST(test_pipelined_and_oneway),
		TEST(test_many_pipelined),
		TEST(test_each_client_has_its_turn),
		TEST(test_log_is_not_flooded),
		TEST(test_out_of_descriptors),
		TEST(test_garbage),
		TEST(test_depth_and_size),
		TEST(test_client_that_leaves),
		TEST(test_client_that_never_reads),
		TEST(test_half_message_and_unread_reply_time_out),
		TEST(test_too_many_clients),
		TEST(test_roles),
		TEST(test_nobody_locks_out_operators),
		TEST(test_socket_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

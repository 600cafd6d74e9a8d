/* SPDX-License-Identifier: BSD-2-Clause */
/* The real vtpm-hold, with this program for its manager: what it survives that a manager has it keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/unit/lingering.h"
#include "vtpm-mgr/proto/hold.h"

#define WAIT_MS	    60000
#define DESCRIPTORS 300u /* that vtpm-hold may have */

/* --- as its manager, which says by its status whether all is well --- */

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                      \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static void hear(int sock, uint32_t type)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	uint8_t mem[HOLD_ITEM_MAX];
	struct ipc_msg m;

	MUST(poll(&p, 1, WAIT_MS) == 1);
	MUST(ipc_recv(sock, &m, mem, sizeof(mem), 0) == 0 && m.type == type);
}

static void keep(int sock, unsigned tag, int fd)
{
	const struct hold_item i = { .tag = (const uint8_t *)&tag, .tag_len = sizeof(tag) };
	uint8_t mem[HOLD_KEEP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	MUST(hold_keep_encode(&b, &i) == 0 && ipc_send_wait(sock, HOLD_KEEP, &b, &fd, 1) == 0);
}

static void drop(int sock, unsigned tag)
{
	const struct hold_item i = { .tag = (const uint8_t *)&tag, .tag_len = sizeof(tag) };
	uint8_t mem[HOLD_DROP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	MUST(hold_drop_encode(&b, &i) == 0 && ipc_send_wait(sock, HOLD_DROP, &b, NULL, 0) == 0);
}

/* What a front end or a QEMU handed over, and nobody has any more. */
static void as_one_with_a_lingering_socket(int hold, int spawner)
{
	int peer, fd = lingering(&peer);

	(void)spawner;
	keep(hold, 1, fd);
	close(fd);
	drop(hold, 1);
}

/* All that it may have it keeps; and its spawner as much again. */
static void as_one_with_all_descriptors(int hold, int spawner)
{
	unsigned n = 0;
	int fd;

	while ((fd = eventfd(0, EFD_CLOEXEC)) >= 0) {
		keep(hold, n, fd);
		keep(spawner, n++, fd);
	}
	MUST(n > DESCRIPTORS / 4);
}

static void as_manager(char **argv)
{
	const int hold = atoi(argv[3]), spawner = atoi(argv[5]); /* --hold, --hold-spawner */

	hear(hold, HOLD_END);
	hear(spawner, HOLD_END);
	if (strcmp(argv[1], "lingering") == 0)
		as_one_with_a_lingering_socket(hold, spawner);
	else
		as_one_with_all_descriptors(hold, spawner);
	MUST(ipc_send_wait(hold, HOLD_FENCE, NULL, NULL, 0) == 0);
	hear(hold, HOLD_FENCED);
	_exit(0);
}

/* --- */

static _Noreturn void exec_hold(const char *scene)
{
	const struct rlimit few = { DESCRIPTORS, DESCRIPTORS };
	char self[PATH_MAX], copy[PATH_MAX], program[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		_exit(1);
	self[n] = '\0';
	memcpy(copy, self, sizeof(copy));
	(void)snprintf(program, sizeof(program), "%s/../vtpm-hold", dirname(copy));
	if (setrlimit(RLIMIT_NOFILE, &few) == 0)
		execl(program, program, "--restarts", "0", "--manager", self, "--", scene, (char *)NULL);
	_exit(127);
}

/* It ends as its manager does, if that was not ended for it. */
static void live(const char *scene)
{
	const pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (pid == 0)
		exec_hold(scene);
	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		if (i == 2 * WAIT_MS / 10)
			kill(pid, SIGKILL);
		(void)poll(NULL, 0, 10);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_lingering_socket(void **state)
{
	(void)state;
	live("lingering");
}

static void test_manager_runs_out_first(void **state)
{
	(void)state;
	live("descriptors");
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lingering_socket),
		cmocka_unit_test(test_manager_runs_out_first),
	};

	if (argc == 6)
		as_manager(argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

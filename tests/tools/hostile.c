/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile guest: obtains a ring as any front end does, and then keeps to nothing.
 *
 *	hostile RING MODE [ARGUMENT …]
 *
 * Exit status 0: the back end did what it should; 1: it did not, and the last line says what.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/tools/hostile.h"
#include "tests/tools/rogue.h"

/* --- the descriptors --- */

static void demand_errno(int r, int errnum, const char *what)
{
	if (r == 0)
		front_die("%s: it is permitted", what);
	if (errno != errnum)
		front_die("%s: %s", what, strerror(errno));
}

static void mode_memfd(struct front *f, char **args)
{
	int fd = f->ring.memfd;

	(void)args;
	demand_errno(ftruncate(fd, 0), EPERM, "shrink to nothing");
	demand_errno(ftruncate(fd, CHAN_PAGE_SIZE - 1), EPERM, "shrink by a byte");
	demand_errno(ftruncate(fd, 2 * CHAN_PAGE_SIZE), EPERM, "grow");
	demand_errno(fallocate(fd, 0, 0, 2 * CHAN_PAGE_SIZE), EPERM, "grow by fallocate");
	demand_errno(fcntl(fd, F_ADD_SEALS, 0), EPERM, "unseal");
	demand_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM, "seal against the back end's writes");
	demand_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM, "seal against writes to come");
	if (pwrite(fd, "x", 1, CHAN_PAGE_SIZE) >= 0)
		front_die("writes behind the end of the page");
	front_demand_service(f);
	/* A hole takes the page away and is filled anew when somebody looks: no more than writing zeros. */
	for (int i = 0; i < 1000; i++) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CHAN_PAGE_SIZE) != 0)
			front_die("hole: %s", strerror(errno));
		front_demand_service(f);
	}
}

/* A counter that is full, on a description that blocks: whoever signals sleeps until somebody reads. */
static void fill(int fd)
{
	const uint64_t full = UINT64_MAX - 1;
	uint64_t count;

	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		front_die("O_NONBLOCK: %s", strerror(errno));
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		front_die("read: %s", strerror(errno));
	if (write(fd, &full, sizeof(full)) != (ssize_t)sizeof(full))
		front_die("fill: %s", strerror(errno));
}

static void make_blocking(int fd)
{
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0)
		front_die("O_NONBLOCK: %s", strerror(errno));
}

/*
 * Leaves a back end that sleeps in its signal. Only this guest's: the test looks at the others.
 * The response itself was on the page before.
 */
static void mode_block(struct front *f, char **args)
{
	struct command c;

	(void)args;
	fill(f->ring.to_front);
	make_blocking(f->ring.to_front);
	command_get_random(&c);
	front_submit(f, c.mem, c.b.len, (uint32_t)c.b.len, 0, 0);
	while (page_get_state(f->page) != CHAN_STATE_FINISH)
		sched_yield();
	fill(f->ring.to_back);
	make_blocking(f->ring.to_back);
}

/* --- whole guests --- */

/* Says "submitted" with an RSA key in the making, and waits to be killed. */
static void mode_vanish(struct front *f, char **args)
{
	struct command c;

	command_create_primary_rsa(&c, (uint32_t)strtoul(args[0], NULL, 0));
	front_submit(f, c.mem, c.b.len, (uint32_t)c.b.len, 0, 0);
	puts("submitted");
	fflush(stdout);
	pause();
}

/* Says "connected" and waits to be killed. */
static void mode_hold(struct front *f, char **args)
{
	(void)f;
	(void)args;
	puts("connected");
	fflush(stdout);
	pause();
}

/* args: attempt, pid of the victim. Prints "died", or the errno of the refusal. */
static void mode_rogue(struct front *f, char **args)
{
	struct command c;
	uint32_t errnum, rc;
	struct buf b;

	command_rogue(&c, (uint32_t)strtoul(args[0], NULL, 0), (uint32_t)strtoul(args[1], NULL, 0));
	front_submit(f, c.mem, c.b.len, (uint32_t)c.b.len, 0, 0);
	if (!front_wait(f)) {
		puts("died");
		return;
	}
	rc = front_response(f, 0);
	if (rc == RC_FAILURE) { /* its heir does not try that again */
		puts("died");
		return;
	}
	if (rc != RC_SUCCESS)
		front_die("this is no rogue");
	buf_wrap(&b, f->rsp + 10, f->rsp_len - 10);
	if (buf_get_u32be(&b, &errnum) != 0)
		front_die("a short answer");
	printf("%u\n", errnum);
}

static const struct hostile_mode modes[] = {
	{"memfd", 0, mode_memfd}, {"block", 0, mode_block}, {"vanish", 1, mode_vanish}, {"hold", 0, mode_hold},
	{"rogue", 2, mode_rogue},
};

/* number|what must happen (died, or an errno)|needs the empty root directory|name */
static void list_attempts(void)
{
	struct rogue_attempt a;

	for (uint32_t i = 0; rogue_get(i, &a); i++) {
		if (a.refused != 0)
			printf("%u|%d|%d|%s\n", i, a.refused, a.chroot, a.name);
		else
			printf("%u|died|0|%s\n", i, a.name);
	}
}

int main(int argc, char **argv)
{
	const struct hostile_mode *mode;
	struct front f;

	if (argc == 2 && strcmp(argv[1], "list-attempts") == 0) {
		list_attempts();
		return 0;
	}
	mode = argc > 2 ? hostile_find(modes, ARRAY_LEN(modes), argv[2], argc - 3) : NULL;
	if (mode == NULL && argc > 2)
		mode = hostile_find(hostile_page_modes, hostile_page_nmodes, argv[2], argc - 3);
	if (mode != NULL) {
		front_open(&f, argv[1]);
		mode->run(&f, argv + 3);
		return 0;
	}
	fputs("usage: hostile RING MODE [ARGUMENT …] | hostile list-attempts\n", stderr);
	return 2;
}

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

#define FLOOD_SIGNALS 200000u
#define FLOOD_EVERY   2000u

/* Rounds of what is repeated only to be repeated; HOSTILE_SCALE=N: an N-th of them, where a guest is emulated. */
static unsigned rounds(unsigned n)
{
	const char *scale = getenv("HOSTILE_SCALE");

	return scale != NULL && atoi(scale) > 0 ? n / (unsigned)atoi(scale) : n;
}

/* --- what is wrong with one request --- */

static void mode_lengths(struct front *f, char **args)
{
	static const struct {
		uint32_t length, header;
		uint8_t nr_extra;
		uint32_t rc;
	} cases[] = {
		{0, 12, 0, RC_COMMAND_SIZE},
		{1, 12, 0, RC_COMMAND_SIZE},
		{9, 9, 0, RC_COMMAND_SIZE},
		{4089, 4089, 0, RC_COMMAND_SIZE},
		{4096, 4096, 0, RC_COMMAND_SIZE},
		{0x7fffffff, 12, 0, RC_COMMAND_SIZE},
		{0x80000000, 0x80000000, 0, RC_COMMAND_SIZE},
		{0xfffffff8, 12, 0, RC_COMMAND_SIZE},
		{0xffffffff, 0xffffffff, 0, RC_COMMAND_SIZE},
		{12, 0, 0, RC_COMMAND_SIZE},
		{12, 11, 0, RC_COMMAND_SIZE},
		{12, 13, 0, RC_COMMAND_SIZE},
		{12, 0xffffffff, 0, RC_COMMAND_SIZE},
		{4088, 12, 0, RC_COMMAND_SIZE},
		{12, 12, 255, RC_SUCCESS},
		{3068, 12, 255, RC_COMMAND_SIZE},
		{3069, 3069, 255, RC_COMMAND_SIZE},
		{4088, 4088, 255, RC_COMMAND_SIZE},
		{0xffffffff, 12, 255, RC_COMMAND_SIZE},
		{12, 12, 1, RC_SUCCESS},
		{12, 12, 0, RC_SUCCESS},
	};
	struct command c;
	uint32_t rc;

	(void)args;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		command_get_random(&c);
		if (buf_set_u32be(&c.b, 2, cases[i].header) != 0)
			front_die("too short");
		front_submit(f, c.mem, c.b.len, cases[i].length, cases[i].nr_extra, 0);
		rc = front_response(f, cases[i].nr_extra);
		if (rc != cases[i].rc)
			front_die("length %u, header %u, %u extra pages: answered with %#x instead of %#x", cases[i].length,
				  cases[i].header, cases[i].nr_extra, rc, cases[i].rc);
	}
}

/* States that do not exist, or are not the front end's to write, are nothing at all. */
static void mode_states(struct front *f, char **args)
{
	(void)args;
	for (unsigned s = 0; s <= 255; s++) {
		if (s == CHAN_STATE_SUBMIT || s == CHAN_STATE_CANCEL)
			continue;
		page_set_state(f->page, (uint8_t)s);
		front_signal(f);
		front_demand_service(f);
	}
}

static void mode_cancel(struct front *f, char **args)
{
	(void)args;
	for (unsigned i = 0; i < rounds(2000); i++) {
		page_set_state(f->page, CHAN_STATE_CANCEL);
		front_signal(f);
		if (!front_wait(f) || page_get_state(f->page) != CHAN_STATE_IDLE)
			front_die("a CANCEL with nothing in hand does not become IDLE");
	}
	front_demand_service(f);
}

/* args: the highest locality that is permitted. */
static void mode_locality(struct front *f, char **args)
{
	static const uint8_t localities[] = {0, 1, 2, 3, 4, 5, 31, 32, 128, 255};
	const int cap = atoi(args[0]);
	struct command c;
	uint32_t rc;

	command_get_random(&c);
	for (size_t i = 0; i < ARRAY_LEN(localities); i++) {
		front_submit(f, c.mem, c.b.len, (uint32_t)c.b.len, 0, localities[i]);
		rc = front_response(f, 0);
		if (rc != (localities[i] <= cap ? RC_SUCCESS : RC_LOCALITY))
			front_die("locality %u with cap %d: answered with %#x", localities[i], cap, rc);
	}
}

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

static void mode_flood(struct front *f, char **args)
{
	(void)args;
	for (unsigned i = 0; i < rounds(FLOOD_SIGNALS); i++) {
		front_signal(f);
		if (i % FLOOD_EVERY == 0)
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

/* args: seed, number of commands. */
static void mode_random(struct front *f, char **args)
{
	hostile_random(f, strtoull(args[0], NULL, 0), (unsigned)strtoul(args[1], NULL, 0));
}

static void mode_toggle(struct front *f, char **args)
{
	hostile_toggle(f, strtoull(args[0], NULL, 0), (unsigned)strtoul(args[1], NULL, 0));
}

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

static void mode_serve(struct front *f, char **args)
{
	(void)args;
	front_demand_service(f);
}

/* args: attempt, pid of the victim. Prints "died", or the errno of the refusal. */
static void mode_rogue(struct front *f, char **args)
{
	struct command c;
	uint32_t errnum;
	struct buf b;

	command_rogue(&c, (uint32_t)strtoul(args[0], NULL, 0), (uint32_t)strtoul(args[1], NULL, 0));
	front_submit(f, c.mem, c.b.len, (uint32_t)c.b.len, 0, 0);
	if (!front_wait(f)) {
		puts("died");
		return;
	}
	if (front_response(f, 0) != RC_SUCCESS)
		front_die("this is no rogue");
	buf_wrap(&b, f->rsp + 10, f->rsp_len - 10);
	if (buf_get_u32be(&b, &errnum) != 0)
		front_die("a short answer");
	printf("%u\n", errnum);
}

static const struct {
	const char *name;
	int nargs;
	void (*run)(struct front *f, char **args);
} modes[] = {
	{"lengths", 0, mode_lengths}, {"states", 0, mode_states}, {"cancel", 0, mode_cancel},
	{"locality", 1, mode_locality}, {"memfd", 0, mode_memfd}, {"flood", 0, mode_flood},
	{"block", 0, mode_block}, {"random", 2, mode_random}, {"toggle", 2, mode_toggle},
	{"vanish", 1, mode_vanish}, {"hold", 0, mode_hold}, {"serve", 0, mode_serve},
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
	struct front f;

	if (argc == 2 && strcmp(argv[1], "list-attempts") == 0) {
		list_attempts();
		return 0;
	}
	for (size_t i = 0; argc > 2 && i < ARRAY_LEN(modes); i++) {
		if (strcmp(argv[2], modes[i].name) != 0 || argc != 3 + modes[i].nargs)
			continue;
		front_open(&f, argv[1]);
		modes[i].run(&f, argv + 3);
		return 0;
	}
	fputs("usage: hostile RING MODE [ARGUMENT …] | hostile list-attempts\n", stderr);
	return 2;
}

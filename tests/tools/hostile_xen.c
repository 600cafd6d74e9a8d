/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile guest of Xen: what hostile_page.c does to its ring, and what one can do with nodes, grants and ports.
 *
 *	hostile_xen HANDLE MODE [ARGUMENT …]
 *
 * Exit status 0: the back end did what it should; 1: it did not, and the last line says what. Every mode ends with a front
 * end that has closed, so that modes can follow one another.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/tools/front_xen.h"
#include "tests/tools/hostile.h"

#define FLIPS 300u

/* State 6, and the back end has let go. */
static void close_front(struct front *f)
{
	front_write(f, "state", "6", 1);
	front_await(f, 2);
	front_drop(f);
}

/* After whatever it was: a front end that keeps to the rules is served. */
static void demand_new_ring(const char *handle)
{
	struct front f;

	front_open(&f, handle);
	front_demand_service(&f);
	close_front(&f);
	close(f.sock);
}

static void demand_refused(struct front *f, const char *ref, const char *port, const char *what)
{
	front_publish(f, ref, port, "3");
	for (int i = 0; i < 1500; i++) {
		int state = front_back_state(f);

		if (state == 4)
			front_die("%s: it is taken", what);
		if (state == 5)
			break;
		usleep(20000);
	}
	front_await(f, 5);
	front_write(f, "state", "6", 1);
	front_await(f, 2);
}

/*
 * args: a grant reference of another guest. A number means what it means in the own table: nothing, or, if the own page
 * happens to have it, that page.
 */
static void mode_grants(const char *handle, char **args)
{
	struct front f;
	char text[16];

	front_open(&f, handle);
	front_demand_service(&f);
	(void)snprintf(text, sizeof(text), "%u", f.ref);
	front_write(&f, "state", "6", 1);
	front_await(&f, 2);
	if (strcmp(text, args[0]) != 0)
		demand_refused(&f, args[0], NULL, "another guest's grant");
	demand_refused(&f, "4294967295", NULL, "grant 2^32-1");
	demand_refused(&f, "4294967296", NULL, "grant 2^32");
	demand_refused(&f, "-1", NULL, "grant -1");
	demand_refused(&f, "500", NULL, "a grant that is none");
	demand_refused(&f, "", NULL, "no grant");
	demand_refused(&f, NULL, "0", "port 0");
	demand_refused(&f, NULL, "131071", "a port that is none");
	demand_refused(&f, NULL, "1", "the port of xenstore");
	demand_refused(&f, NULL, "4294967295", "port 2^32-1");
	front_drop(&f);
	(void)snprintf(text, sizeof(text), "%u", front_grant_to(&f, 7));
	demand_refused(&f, text, NULL, "a page granted to somebody else");
	fd_close(&f.ring.memfd);
	close(f.sock);
}

/* Bytes of all kinds in all nodes, in all states. */
static void mode_nodes(const char *handle, char **args)
{
	static const char *const nodes[] = { "state", "ring-ref", "event-channel", "feature-protocol-v2", "backend",
					     "backend-id", "handle", "uuid", "vtpm-served" };
	uint64_t x = 2 * strtoull(args[0], NULL, 0) + 1;
	char junk[1500];
	struct front f;

	front_prepare(&f, handle);
	for (unsigned i = 0; i < FLIPS; i++) {
		size_t n = hostile_next(&x) % (i % 8 == 0 ? sizeof(junk) : 6);

		for (size_t k = 0; k < n; k++)
			junk[k] = (char)(i % 2 ? '0' + (char)(hostile_next(&x) % 10) : (char)hostile_next(&x));
		front_write(&f, nodes[hostile_next(&x) % 3 ? hostile_next(&x) % 3 : hostile_next(&x) % ARRAY_LEN(nodes)], junk, n);
	}
	front_restore(&f);
	close_front(&f);
	close(f.sock);
}

/* States that go to and fro with a ring that is good: nothing must be left over. */
static void mode_flips(const char *handle, char **args)
{
	uint64_t x = 2 * strtoull(args[0], NULL, 0) + 1;
	struct front f;
	char state[2] = "";

	front_prepare(&f, handle);
	for (unsigned i = 0; i < FLIPS; i++) {
		state[0] = (char)('0' + hostile_next(&x) % 8);
		front_publish(&f, NULL, NULL, state);
		if (hostile_next(&x) % 4 == 0)
			front_signal(&f);
	}
	close_front(&f);
	close(f.sock);
}

/* A key in the making, and the ring is gone: taken back in order, or just dropped. */
static void mode_drop(const char *handle, char **args)
{
	struct command c;
	struct front f;

	(void)args;
	for (uint32_t i = 0; i < 4; i++) {
		front_open(&f, handle);
		command_create_primary_rsa(&c, i);
		front_submit(&f, c.mem, c.b.len, (uint32_t)c.b.len, 0, 0);
		if (i % 2)
			front_drop(&f);
		front_write(&f, "state", "6", 1);
		front_await(&f, 2);
		if (i % 2 == 0)
			front_drop(&f);
		close(f.sock);
	}
}

static void mode_reconnect(const char *handle, char **args)
{
	for (unsigned long i = strtoul(args[0], NULL, 0); i > 0; i--)
		demand_new_ring(handle);
}

static const struct {
	const char *name;
	int nargs;
	void (*run)(const char *handle, char **args);
} modes[] = {
	{ "grants", 1, mode_grants }, { "nodes", 1, mode_nodes }, { "flips", 1, mode_flips },
	{ "drop", 0, mode_drop },     { "reconnect", 1, mode_reconnect },
};

static int run_page_mode(const struct hostile_mode *mode, const char *handle, char **args)
{
	struct front f;

	front_open(&f, handle);
	mode->run(&f, args);
	close_front(&f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct hostile_mode *mode;

	for (size_t i = 0; argc > 2 && i < ARRAY_LEN(modes); i++)
		if (strcmp(argv[2], modes[i].name) == 0 && argc == 3 + modes[i].nargs) {
			modes[i].run(argv[1], argv + 3);
			demand_new_ring(argv[1]);
			return 0;
		}
	mode = argc > 2 ? hostile_find(hostile_page_modes, hostile_page_nmodes, argv[2], argc - 3) : NULL;
	if (mode != NULL)
		return run_page_mode(mode, argv[1], argv + 3);
	fputs("usage: hostile_xen HANDLE MODE [ARGUMENT …]\n", stderr);
	return 2;
}

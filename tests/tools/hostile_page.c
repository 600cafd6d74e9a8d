/* SPDX-License-Identifier: BSD-2-Clause */
/* What every hostile guest can do, whatever its ring is made of: it has the page and the signal. */
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "tests/tools/hostile.h"

#define FLOOD_SIGNALS 200000u
#define FLOOD_EVERY   2000u

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
	for (int i = 0; i < 2000; i++) {
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

static void mode_flood(struct front *f, char **args)
{
	(void)args;
	for (unsigned i = 0; i < FLOOD_SIGNALS; i++) {
		front_signal(f);
		if (i % FLOOD_EVERY == 0)
			front_demand_service(f);
	}
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

static void mode_serve(struct front *f, char **args)
{
	(void)args;
	front_demand_service(f);
}

const struct hostile_mode hostile_page_modes[] = {
	{"lengths", 0, mode_lengths}, {"states", 0, mode_states}, {"cancel", 0, mode_cancel},
	{"locality", 1, mode_locality}, {"flood", 0, mode_flood}, {"random", 2, mode_random},
	{"toggle", 2, mode_toggle}, {"serve", 0, mode_serve},
};
const size_t hostile_page_nmodes = ARRAY_LEN(hostile_page_modes);

const struct hostile_mode *hostile_find(const struct hostile_mode *modes, size_t n, const char *name, int nargs)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(modes[i].name, name) == 0 && modes[i].nargs == nargs)
			return &modes[i];
	return NULL;
}

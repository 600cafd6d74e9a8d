/* SPDX-License-Identifier: BSD-2-Clause */
/* An hour of guests that write now and then, WEAR_SCALE times as fast: what of it is written to anchor A, and so to the TPM's flash. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "tests/bench/bench.h"

#define GUESTS	       64u
#define STRICT_GUEST   "vault0"
#define WRITES_PER_HOUR 60u /* of each bounded guest: one a minute */
#define STRICT_PER_HOUR 3u
#define HOUR_US	       (3600e6 / WEAR_SCALE)

static void make_guests(const struct bench *b)
{
	char name[16];

	for (unsigned i = 0; i < GUESTS; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		if (!control_has(b, name))
			control_create(b, name);
	}
}

static void power_on(const struct bench *b, struct target *t, const char *name)
{
	struct command c;

	control_name(b, "Start", name);
	target_open_ring(t, b, name);
	command_nv_define(&c);
	target_call(t, &c);
}

/* The schedule is that of the clock, so that a busy host is late for one write and not for the hour. */
static void wait_until(double us)
{
	const struct timespec ts = { .tv_sec = (time_t)(us / 1e6), .tv_nsec = (long)((us - 1e6 * (double)(time_t)(us / 1e6)) * 1e3) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void write_once(struct target *t)
{
	struct command c;

	command_nv_write(&c);
	target_call(t, &c);
}

/* The bounded guests one after the other, and the strict one at the end of each third of the hour. */
static void live(struct target *guests, struct target *strict)
{
	const unsigned writes = GUESTS * WRITES_PER_HOUR;
	double from = now_us();

	for (unsigned i = 0; i < writes; i++) {
		wait_until(from + HOUR_US * i / writes);
		write_once(&guests[i % GUESTS]);
		if ((i + 1) % (writes / STRICT_PER_HOUR) == 0)
			write_once(strict);
	}
	if (now_us() - from > 1.1 * HOUR_US)
		die("the host is too busy for an hour in %.0f s: it took %.0f", HOUR_US / 1e6, (now_us() - from) / 1e6);
}

void bench_wear(const struct bench *b)
{
	static struct target guests[GUESTS];
	struct target strict;
	json_int_t before;
	char name[16];

	make_guests(b);
	for (unsigned i = 0; i < GUESTS; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		power_on(b, &guests[i], name);
	}
	power_on(b, &strict, STRICT_GUEST);
	before = control_anchor_writes(b);
	live(guests, &strict);
	result(b, "ptpm_nv_writes_per_hour", OURS, (double)(control_anchor_writes(b) - before));
	for (unsigned i = 0; i < GUESTS; i++) {
		target_close(&guests[i]);
		snprintf(name, sizeof(name), "g%u", i);
		control_name(b, "Stop", name);
	}
	target_close(&strict);
	control_name(b, "Stop", STRICT_GUEST);
}

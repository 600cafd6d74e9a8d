/* SPDX-License-Identifier: BSD-2-Clause */
/* Round trips of single commands, power-on, and the durable write of one guest. */
#include <string.h>

#include "tests/bench/bench.h"

#define ROUNDS	    20u
#define CALLS	    200u
#define WARM_UP	    5u
#define NV_CALLS    50u
#define SPAWNS	    41u
#define GUEST	    "solo"

static void time_calls(struct target *t, const struct command *c, unsigned n, struct samples *s)
{
	double from;

	for (unsigned i = 0; i < WARM_UP; i++)
		target_call(t, c);
	for (unsigned i = 0; i < n; i++) {
		from = now_us();
		target_call(t, c);
		samples_add(s, now_us() - from);
	}
}

static void round_trip(const struct bench *b, struct target *t, const char *key, const struct command *c)
{
	struct samples s[COLUMNS];

	if (!wanted(b, key))
		return;
	memset(s, 0, sizeof(s));
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (enum column k = OURS; k < COLUMNS; k++)
			time_calls(&t[k], c, CALLS, &s[k]);
	}
	for (enum column k = OURS; k < COLUMNS; k++)
		result(b, key, k, samples_median(&s[k]));
}

static void open_pair(const struct bench *b, struct target *t)
{
	control_name(b, "Start", GUEST);
	target_open_ring(&t[OURS], b, GUEST);
	swtpm_copy(b, "s0");
	swtpm_start(&t[SWTPM], b, "s0");
	t[FLOOR] = (struct target){ .kind = FLOOR, .sock = -1 };
	floor_manufacture();
}

static void close_pair(const struct bench *b, struct target *t)
{
	floor_off();
	target_close(&t[SWTPM]);
	target_close(&t[OURS]);
	control_name(b, "Stop", GUEST);
}

/*
 * What a checkpoint adds to a command: PCR_Read has none, and what libtpms needs for the two is taken off. In turns, so that whatever
 * else the machine does weighs on both.
 */
static void checkpoint(const struct bench *b, struct target *t, const char *key, const struct command *with)
{
	struct samples s[COLUMNS][2];
	struct command c[2];
	double added;

	if (!wanted(b, key))
		return;
	memset(s, 0, sizeof(s));
	command_pcr_read(&c[0], 16);
	c[1] = *with;
	c[1].b.data = c[1].mem;
	for (unsigned r = 0; r < ROUNDS; r++)
		for (unsigned i = 0; i < 2; i++) {
			time_calls(&t[OURS], &c[i], CALLS, &s[OURS][i]);
			time_calls(&t[FLOOR], &c[i], CALLS, &s[FLOOR][i]);
		}
	added = samples_median(&s[OURS][1]) - samples_median(&s[OURS][0]);
	result(b, key, OURS, added - (samples_median(&s[FLOOR][1]) - samples_median(&s[FLOOR][0])));
}

void bench_commands(const struct bench *b)
{
	struct target t[COLUMNS];
	struct command c;

	open_pair(b, t);
	command_get_random(&c, 32);
	round_trip(b, t, "getrandom_us", &c);
	command_pcr_read(&c, 16);
	round_trip(b, t, "pcr_read_us", &c);
	command_pcr_extend(&c, 16);
	round_trip(b, t, "pcr_extend_us", &c);
	checkpoint(b, t, "checkpoint_record_us", &c);
	command_pcr_reset(&c, 16);
	checkpoint(b, t, "checkpoint_us", &c);
	close_pair(b, t);
}

/* --- power-on: until the first command has been answered; in all columns TPM2_Startup has been before that --- */

static void spawn_ours(const struct bench *b, const struct command *c, struct samples *first, struct samples *reply)
{
	struct target t;
	double from = now_us();

	control_name(b, "Start", GUEST);
	samples_add(reply, now_us() - from);
	target_open_ring(&t, b, GUEST);
	target_call(&t, c);
	samples_add(first, now_us() - from);
	target_close(&t);
	control_name(b, "Stop", GUEST);
}

static void spawn_swtpm(const struct bench *b, const struct command *c, struct samples *first)
{
	struct target t;
	double from = now_us();

	swtpm_start(&t, b, "s0");
	target_call(&t, c);
	samples_add(first, now_us() - from);
	target_close(&t);
}

static void spawn_floor(const struct floor_state *state, const struct command *c, struct samples *first)
{
	double from = now_us();

	floor_on(state);
	floor_call(c);
	samples_add(first, now_us() - from);
	floor_off();
}

void bench_spawn(const struct bench *b)
{
	static struct floor_state state;
	struct samples s[COLUMNS], reply;
	struct command c;

	memset(s, 0, sizeof(s));
	reply.n = 0;
	floor_manufacture();
	floor_save(&state);
	floor_off();
	swtpm_copy(b, "s0");
	command_get_random(&c, 32);
	for (unsigned i = 0; i < SPAWNS; i++) {
		spawn_ours(b, &c, &s[OURS], &reply);
		spawn_swtpm(b, &c, &s[SWTPM]);
		spawn_floor(&state, &c, &s[FLOOR]);
	}
	for (enum column k = OURS; k < COLUMNS; k++)
		result(b, "spawn_us", k, samples_median(&s[k]));
	result(b, "spawn_reply_us", OURS, samples_median(&reply));
}

/* --- one guest's durable writes --- */

static void time_writes(struct target *t, struct samples *s)
{
	struct command c;
	double from;

	for (unsigned i = 0; i < NV_CALLS; i++) {
		command_nv_write(&c);
		from = now_us();
		target_call(t, &c);
		samples_add(s, now_us() - from);
	}
}

static void time_commits(struct commits *floor, struct samples *s)
{
	double from;

	for (unsigned i = 0; i < NV_CALLS; i++) {
		from = now_us();
		commits_run(floor, 1);
		samples_add(s, now_us() - from);
	}
}

/* The other part of the sum that a durable change must not exceed by much. */
static void time_extends(struct target *chip, struct samples *s)
{
	struct command c;

	command_extend(&c);
	time_calls(chip, &c, NV_CALLS, s);
}

void bench_nv(const struct bench *b)
{
	struct samples s[COLUMNS], engine, extend;
	struct target t[COLUMNS];
	struct commits *floor;
	struct command c;

	memset(s, 0, sizeof(s));
	engine.n = extend.n = 0;
	open_pair(b, t);
	command_extend_define(&c);
	target_call(&t[SWTPM], &c);
	command_nv_define(&c);
	for (enum column k = OURS; k < COLUMNS; k++)
		target_call(&t[k], &c);
	floor = commits_open(b, 1, control_sealed_bytes(b, GUEST));
	for (unsigned r = 0; r < ROUNDS; r++) {
		time_writes(&t[OURS], &s[OURS]);
		time_writes(&t[SWTPM], &s[SWTPM]);
		time_commits(floor, &s[FLOOR]);
		time_writes(&t[FLOOR], &engine);
		time_extends(&t[SWTPM], &extend);
	}
	for (enum column k = OURS; k < COLUMNS; k++)
		result(b, "nv_write_us", k, samples_median(&s[k]));
	result(b, "nv_write_engine_us", FLOOR, samples_median(&engine));
	result(b, "nv_extend_us", SWTPM, samples_median(&extend));
	commits_close(floor);
	close_pair(b, t);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Making a vTPM with both endorsement keys and their certificates. RSA keys are found by luck: hence many rounds. */
#include <string.h>

#include "tests/bench/bench.h"

#define ROUNDS 15u

static void time_create(const struct bench *b, const char *prefix, unsigned i, struct samples *s)
{
	char name[32];
	double from;

	snprintf(name, sizeof(name), "%s%u", prefix, i);
	from = now_us();
	control_create(b, name);
	samples_add(s, (now_us() - from) / 1e3);
}

static void time_setup(const struct bench *b, struct samples *s)
{
	double from = now_us();

	swtpm_setup(b, "setup");
	samples_add(s, (now_us() - from) / 1e3);
}

/* The keys alone: no certificates, no store. */
static void time_floor(struct samples *s)
{
	double from = now_us();

	floor_manufacture();
	samples_add(s, (now_us() - from) / 1e3);
	floor_off();
}

void bench_create_cold(const struct bench *b)
{
	struct samples s[COLUMNS];

	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < ROUNDS; i++) {
		time_create(b, "cold", i, &s[OURS]);
		time_setup(b, &s[SWTPM]);
		time_floor(&s[FLOOR]);
	}
	for (enum column k = OURS; k < COLUMNS; k++)
		result(b, "create_cold_ms", k, samples_median(&s[k]));
}

void bench_create_pool(const struct bench *b)
{
	static const char *const keys[] = { "create_ms", "create_pool_ms" };
	struct samples ours = { .n = 0 }, swtpm = { .n = 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		control_wait_pool(b);
		time_create(b, "pool", i, &ours);
		control_wait_pool(b);
		time_setup(b, &swtpm);
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		result(b, keys[i], OURS, samples_median(&ours));
		result(b, keys[i], SWTPM, samples_median(&swtpm));
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm_bench cold|warm|wear|attest LAB MANAGER-PID RESULTS [KEY…]   measures; cold: the manager has no pool; wear: it has a strict guest
 * vtpm_bench report RESULTS JSON
 *
 * tests/bench/bench.sh makes the laboratory and calls this.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

bool wanted(const struct bench *b, const char *key)
{
	for (int i = 0; i < b->nkeys; i++) {
		if (strcmp(b->keys[i], key) == 0)
			return true;
	}
	return b->nkeys == 0;
}

void result(const struct bench *b, const char *key, enum column c, double value)
{
	static const char *const names[COLUMNS] = { "ours", "swtpm", "floor" };

	fprintf(b->results, "%s %u %.6f\n", key, c, value);
	fflush(b->results);
	printf("  %-26s %-6s %12.3f\n", key, names[c], value);
	fflush(stdout);
}

static void measure_cold(const struct bench *b)
{
	if (wanted(b, "create_cold_ms"))
		bench_create_cold(b);
}

static bool wanted_any(const struct bench *b, const char *const *keys)
{
	for (; *keys; keys++) {
		if (wanted(b, *keys))
			return true;
	}
	return false;
}

static void make_guests(const struct bench *b, unsigned n)
{
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		control_create(b, name);
	}
	control_wait_pool(b);
}

static void measure_warm(const struct bench *b)
{
	static const char *const pool[] = { "create_ms", "create_pool_ms", NULL };
	static const char *const commands[] = { "getrandom_us", "pcr_read_us", "pcr_extend_us", "checkpoint_us",
						 "checkpoint_record_us", NULL };
	static const char *const writers[] = { "nv_write_64_guests_per_s", "nv_write_1_guest_per_s", NULL };
	static const char *const idle[] = { "pss_kib", "pss_shared_kib", "idle_cpu_pct", NULL };

	if (wanted_any(b, pool))
		bench_create_pool(b);
	control_create(b, "solo");
	control_wait_pool(b);
	if (wanted_any(b, commands))
		bench_commands(b);
	if (wanted(b, "spawn_us"))
		bench_spawn(b);
	if (wanted(b, "nv_write_us"))
		bench_nv(b);
	if (wanted(b, "cancel_ms"))
		bench_cancel(b);
	if (wanted_any(b, writers) || wanted_any(b, idle))
		make_guests(b, wanted_any(b, idle) ? CROWD_IDLE : CROWD_WRITERS);
	if (wanted_any(b, writers))
		bench_writers(b);
	if (wanted_any(b, idle))
		bench_idle(b);
}

/* What is measured beside swtpm. */
static void measure_beside(const struct bench *b, bool cold)
{
	swtpm_prepare(b);
	if (cold)
		measure_cold(b);
	else
		measure_warm(b);
}

static bool is_mode(const char *word)
{
	static const char *const modes[] = { "cold", "warm", "wear", "attest" };

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(word, modes[i]) == 0)
			return true;
	}
	return false;
}

static int measure(int argc, char **argv)
{
	struct bench b = { .lab = argv[2], .manager = atoi(argv[3]), .keys = argv + 5, .nkeys = argc - 5 };
	char runtime[256];

	snprintf(runtime, sizeof(runtime), "%s/run", b.lab);
	b.runtime = runtime;
	b.results = fopen(argv[4], "ae");
	if (!b.results)
		die("%s: %s", argv[4], strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	b.control = control_dial(&b);
	if (strcmp(argv[1], "wear") == 0)
		bench_wear(&b);
	else if (strcmp(argv[1], "attest") == 0)
		bench_attest(&b);
	else
		measure_beside(&b, strcmp(argv[1], "cold") == 0);
	return fclose(b.results) ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc >= 5 && is_mode(argv[1]))
		return measure(argc, argv);
	if (argc == 4 && strcmp(argv[1], "report") == 0)
		return report(argv[2], argv[3]) ? 1 : 0;
	fputs("usage: vtpm_bench cold|warm|wear|attest LAB MANAGER-PID RESULTS [KEY...] | report RESULTS JSON\n"
	      "tests/bench/bench.sh makes the laboratory and calls this\n", stderr);
	return 2;
}

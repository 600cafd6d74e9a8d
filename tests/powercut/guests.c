/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests with something to lose, and what they know of it: a number in an NV index, failed tries at a PIN, and a PCR as long as their TPM is on.
 *
 *	powercut_guests work DIR SEED LIMIT AFTER SPIN_US PIDS RING…
 *		Each writes and tries until all of them have had LIMIT answers or their rings are gone. At the AFTER-th answer and SPIN_US
 *		more, the processes PIDS (numbers with commas, or "-") are killed.
 *	powercut_guests write DIR N RING…
 *		Each writes N numbers, one after the other, and tries nothing.
 *	powercut_guests check DIR RING…
 *		Status 0: everything that was acknowledged is there, and nothing is there that was not written. 1: not so. 3: a ring is gone.
 *
 * What a guest knows is the file of its name in DIR: the last number written and the last acknowledged; failed tries sent and acknowledged. And, in NAME.pcr, which is
 * removed when its TPM is powered off, the PCR; without that file it must be zero.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "tests/tools/command.h"

#include <openssl/sha.h>

#define GUESTS	   16
#define PATIENCE_MS 60000
#define TRY_EVERY  6u /* of about so many one is a wrong PIN, and one an extend of the PCR */

enum { LOST = 3 };

struct guest {
	const char *dir, *ring;
	char name[64];
	struct vtpm *v;
	pthread_t thread;
	uint64_t rng;
	unsigned long long written, acked, sent, counted; /* numbers; failed authorisations */
	uint8_t pcr[COMMAND_DIGEST];
	uint8_t rsp[VTPM_COMMAND_MAX];
	size_t len;
	int result;
};

/* Shared by the threads. */
static atomic_ulong answers;
static atomic_bool cut;
static unsigned long limit, after, spin_us;
static char *victims;

static uint64_t rng_next(uint64_t *s) /* splitmix64 */
{
	uint64_t z = (*s += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* ---- what it knows ---- */

static FILE *record_open(const struct guest *g, const char *suffix, const char *mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s%s", g->dir, g->name, suffix);
	return fopen(path, mode);
}

static void record_load(struct guest *g)
{
	FILE *f = record_open(g, "", "r"), *pcr = record_open(g, ".pcr", "r");

	if (f && fscanf(f, "%llu %llu %llu %llu", &g->written, &g->acked, &g->sent, &g->counted) != 4)
		exit(2);
	if (pcr && fread(g->pcr, sizeof(g->pcr), 1, pcr) != 1)
		exit(2);
	if (f)
		fclose(f);
	if (pcr)
		fclose(pcr);
}

static void record_save(const struct guest *g)
{
	FILE *f = record_open(g, "", "w"), *pcr = record_open(g, ".pcr", "w");

	if (!pcr || fwrite(g->pcr, sizeof(g->pcr), 1, pcr) != 1 || fclose(pcr) != 0)
		exit(2);
	if (!f || fprintf(f, "%llu %llu %llu %llu\n", g->written, g->acked, g->sent, g->counted) < 0 || fclose(f) != 0)
		exit(2);
}

/* ---- commands ---- */

/* TPM_RC, or UINT32_MAX if the ring is gone. */
static uint32_t run(struct guest *g, const struct command *c)
{
	g->len = sizeof(g->rsp);
	if (vtpm_send(g->v, c->mem, c->b.len) != 0 || vtpm_receive(g->v, g->rsp, &g->len, PATIENCE_MS) != 0)
		return UINT32_MAX;
	return response_code(g->rsp, g->len);
}

/* The number, and what follows from it and the guest's name: no part of another value fits. */
static void value_of(const struct guest *g, unsigned long long n, uint8_t out[static COMMAND_NV_SIZE])
{
	uint64_t s = n;

	for (const char *p = g->name; *p; p++)
		s = s * 1099511628211u + (uint8_t)*p;
	for (size_t i = 0; i < COMMAND_NV_SIZE; i += 8) {
		uint64_t x = i == 0 ? n : rng_next(&s);

		memcpy(out + i, &x, 8);
	}
}

static int write_number(struct guest *g)
{
	uint8_t data[COMMAND_NV_SIZE];
	struct command c;
	uint32_t rc;

	value_of(g, ++g->written, data);
	command_nv_write(&c, data);
	rc = run(g, &c);
	if (rc == UINT32_MAX)
		return LOST;
	if (rc == RC_SUCCESS)
		g->acked = g->written;
	return 0;
}

/* The number written last goes into the PCR. */
static int extend_pcr(struct guest *g)
{
	uint8_t both[2 * COMMAND_DIGEST];
	struct command c;
	uint32_t rc;

	memcpy(both, g->pcr, COMMAND_DIGEST);
	value_of(g, g->written, both + COMMAND_DIGEST);
	command_pcr_extend(&c, both + COMMAND_DIGEST);
	rc = run(g, &c);
	if (rc == UINT32_MAX)
		return LOST;
	if (rc == RC_SUCCESS)
		SHA256(both, sizeof(both), g->pcr);
	return 0;
}

/* TPM_RC_RETRY: noted that authorisations may fail; nothing was tried yet. */
static int try_pin(struct guest *g)
{
	struct command c;
	uint32_t rc;

	command_pin_try(&c, "0000");
	g->sent++;
	do
		rc = run(g, &c);
	while (rc == RC_RETRY);
	if (rc == UINT32_MAX)
		return LOST;
	if (rc == RC_AUTH_FAIL_1)
		g->counted++;
	return 0;
}

static int set_up(struct guest *g)
{
	struct command c;

	command_nv_define(&c);
	if (run(g, &c) != RC_SUCCESS)
		return LOST;
	command_pin_define(&c, "4711");
	if (run(g, &c) != RC_SUCCESS)
		return LOST;
	command_da_parameters(&c, 0x7fffffff, 1000000);
	if (run(g, &c) != RC_SUCCESS)
		return LOST;
	return write_number(g);
}

/* ---- working ---- */

static int do_something(struct guest *g)
{
	switch (rng_next(&g->rng) % TRY_EVERY) {
	case 0:
		return try_pin(g);
	case 1:
		return extend_pcr(g);
	default:
		return write_number(g);
	}
}

static void kill_victims(void)
{
	const struct timespec spin = { .tv_sec = (time_t)(spin_us / 1000000), .tv_nsec = (long)(spin_us % 1000000) * 1000 };
	char *save = NULL;

	nanosleep(&spin, NULL);
	for (const char *p = strtok_r(victims, ",", &save); p; p = strtok_r(NULL, ",", &save))
		if (atoi(p) > 1)
			kill(atoi(p), SIGKILL);
}

static void *work(void *arg)
{
	struct guest *g = arg;

	while (!g->result && atomic_load(&answers) < limit) {
		g->result = do_something(g);
		if (!g->result && atomic_fetch_add(&answers, 1) + 1 >= after && !atomic_exchange(&cut, true))
			kill_victims();
	}
	return NULL;
}

/* ---- looking ---- */

static int wrong(const struct guest *g, const char *what, unsigned long long is, unsigned long long least,
		 unsigned long long most)
{
	printf("%s: %s is %llu, and must be from %llu to %llu\n", g->name, what, is, least, most);
	return 1;
}

/* Behind the header: parameterSize, size. */
static int check_number(struct guest *g)
{
	uint8_t want[COMMAND_NV_SIZE];
	const uint8_t *got;
	struct command c;
	uint64_t n;
	uint32_t rc;

	command_nv_read(&c);
	rc = run(g, &c);
	if (rc == UINT32_MAX)
		return LOST;
	got = response_bytes(g->rsp, g->len, 10 + 4 + 2, COMMAND_NV_SIZE);
	if (rc != RC_SUCCESS || !got) {
		printf("%s: NV_Read is answered with %#x\n", g->name, rc);
		return 1;
	}
	memcpy(&n, got, 8);
	value_of(g, n, want);
	if (memcmp(want, got, sizeof(want)) != 0) {
		printf("%s: the index holds what nobody wrote\n", g->name);
		return 1;
	}
	if (n < g->acked || n > g->written)
		return wrong(g, "the number", n, g->acked, g->written);
	g->acked = g->written = n;
	return 0;
}

/* A start without an orderly stop before it may count as one more (TPM 2.0 Part 1, 19.8.6); a try that was not answered, too. */
static int check_tries(struct guest *g)
{
	const uint8_t *got;
	struct command c;
	unsigned long long n;
	uint32_t rc;

	command_lockout_counter(&c);
	rc = run(g, &c);
	if (rc == UINT32_MAX)
		return LOST;
	got = response_bytes(g->rsp, g->len, g->len < 4 ? 0 : g->len - 4, 4);
	if (rc != RC_SUCCESS || !got)
		return 1;
	n = (unsigned long long)got[0] << 24 | (unsigned)got[1] << 16 | (unsigned)got[2] << 8 | got[3];
	if (n < g->counted || n > g->sent + 1)
		return wrong(g, "the count of failed authorisations", n, g->counted, g->sent + 1);
	g->counted = g->sent = n;
	return 0;
}

/* Behind the header: updateCounter, the selection back, count, size. */
static int check_pcr(struct guest *g)
{
	const uint8_t *got;
	struct command c;
	uint32_t rc;

	command_pcr_read(&c);
	rc = run(g, &c);
	if (rc == UINT32_MAX)
		return LOST;
	got = response_bytes(g->rsp, g->len, 10 + 4 + 10 + 4 + 2, sizeof(g->pcr));
	if (rc == RC_SUCCESS && got && memcmp(got, g->pcr, sizeof(g->pcr)) == 0)
		return 0;
	printf("%s: the PCR is not what was extended into it\n", g->name);
	return 1;
}

static int check(struct guest *g)
{
	int result = check_number(g);

	if (!result)
		result = check_tries(g);
	if (!result)
		result = check_pcr(g);
	return result;
}

/* ---- all of them ---- */

static int connect_ring(struct guest *g, const char *dir, const char *ring)
{
	const char *slash = strrchr(ring, '/');

	g->dir = dir;
	g->ring = ring;
	snprintf(g->name, sizeof(g->name), "%s", slash ? slash + 1 : ring);
	g->name[strcspn(g->name, ".")] = '\0';
	record_load(g);
	return vtpm_open(ring, &g->v) ? LOST : 0;
}

static int check_all(int argc, char **argv)
{
	int result = 0;

	for (int i = 3; i < argc; i++) {
		static struct guest g;
		int r;

		memset(&g, 0, sizeof(g));
		r = connect_ring(&g, argv[2], argv[i]);
		if (!r)
			r = check(&g);
		if (!r)
			record_save(&g);
		if (r && result != 1)
			result = r;
		if (g.v)
			vtpm_close(g.v);
	}
	return result;
}

static int write_all(int argc, char **argv)
{
	int result = 0;

	for (int i = 4; i < argc && !result; i++) {
		static struct guest g;

		memset(&g, 0, sizeof(g));
		result = connect_ring(&g, argv[2], argv[i]);
		if (!result && !g.written)
			result = set_up(&g);
		for (long n = strtol(argv[3], NULL, 10); n > 0 && !result; n--)
			result = write_number(&g);
		if (!result && g.acked != g.written)
			result = wrong(&g, "the number acknowledged", g.acked, g.written, g.written);
		record_save(&g);
		if (g.v)
			vtpm_close(g.v);
	}
	return result;
}

static int work_all(int argc, char **argv)
{
	static struct guest g[GUESTS];
	int n = argc - 8, result = 0;

	limit = strtoul(argv[4], NULL, 10);
	after = strtoul(argv[5], NULL, 10);
	spin_us = strtoul(argv[6], NULL, 10);
	victims = argv[7];
	for (int i = 0; i < n && i < GUESTS; i++) {
		g[i].rng = (uint64_t)strtoul(argv[3], NULL, 10) * GUESTS + (unsigned)i;
		g[i].result = connect_ring(&g[i], argv[2], argv[8 + i]);
		if (!g[i].result && !g[i].written)
			g[i].result = set_up(&g[i]);
	}
	for (int i = 0; i < n && i < GUESTS; i++)
		if (pthread_create(&g[i].thread, NULL, work, &g[i]) != 0)
			return 2;
	for (int i = 0; i < n && i < GUESTS; i++) {
		pthread_join(g[i].thread, NULL);
		record_save(&g[i]);
		if (g[i].result)
			result = g[i].result;
	}
	printf("%lu answers\n", atomic_load(&answers));
	return result;
}

int main(int argc, char **argv)
{
	if (argc > 3 && strcmp(argv[1], "check") == 0)
		return check_all(argc, argv);
	if (argc > 4 && strcmp(argv[1], "write") == 0)
		return write_all(argc, argv);
	if (argc > 8 && strcmp(argv[1], "work") == 0)
		return work_all(argc, argv);
	fputs("usage: powercut_guests work DIR SEED LIMIT AFTER SPIN_US PIDS RING... | write DIR N RING... | check DIR RING...\n", stderr);
	return 2;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that minds its own business, and looks closely at what it gets.
 *
 *	neighbour RING steady	     until SIGTERM; says "running" when the first round is over
 *	neighbour RING open	     connects; exit status 0, or the errno, with the manager's words
 *	neighbour RING cancel TRIES  cancels the making of RSA keys; exit status 0 if one was cancelled
 */
#include <errno.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontend-drivers/libvtpm/vtpm.h"
#include "tests/tools/command.h"

#define TIMEOUT_MS   20000
#define NV_EVERY     16u /* a durable change in so many rounds */
#define SEQUENCE_END 64u /* a hash sequence is completed, and the next begun, in so many */
#define TRIES_MAX    64
#define CANCEL_AFTER 3000000 /* ns: the key is in the making by then, and hardly ever made */

static volatile sig_atomic_t ended; /* a signal handler has no other place */

struct guest {
	struct vtpm *v;
	uint8_t rsp[VTPM_COMMAND_MAX];
	size_t len;
	uint8_t pcr[COMMAND_DIGEST]; /* as it must be; */
	uint32_t session, sequence;
	uint8_t policy[COMMAND_DIGEST]; /* and so must the session's, */
	uint8_t gone_in[SEQUENCE_END * COMMAND_DIGEST]; /* and the digest of what has gone into the sequence */
	size_t gone_in_len;
	unsigned long commands;
	double slowest_ms;
};

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

__attribute__((format(printf, 1, 2))) static _Noreturn void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static uint32_t receive(struct guest *g)
{
	int err;

	g->len = sizeof(g->rsp);
	err = vtpm_receive(g->v, g->rsp, &g->len, TIMEOUT_MS);
	if (err != 0)
		die("command %lu: %s", g->commands, strerror(-err));
	g->commands++;
	return response_code(g->rsp, g->len);
}

static uint32_t run(struct guest *g, const struct command *c)
{
	double start = now_ms();
	uint32_t rc;
	int err;

	err = vtpm_send(g->v, c->mem, c->b.len);
	if (err != 0)
		die("command %lu: send: %s", g->commands, strerror(-err));
	rc = receive(g);
	if (now_ms() - start > g->slowest_ms)
		g->slowest_ms = now_ms() - start;
	return rc;
}

static void demand(struct guest *g, const struct command *c, const char *what)
{
	uint32_t rc = run(g, c);

	if (rc != RC_SUCCESS)
		die("command %lu: %s is answered with %#x", g->commands, what, rc);
}

/* The response must have n bytes equal to want at off. */
static void demand_bytes(const struct guest *g, size_t off, const uint8_t *want, size_t n, const char *what)
{
	const uint8_t *got = response_bytes(g->rsp, g->len, off, n);

	if (got == NULL || memcmp(got, want, n) != 0)
		die("command %lu: %s is not what was written", g->commands, what);
}

/* The value is read once, and then followed. Behind the header: updateCounter, the selection back, count, size. */
static void read_pcr(struct guest *g, bool follow)
{
	const size_t off = 10 + 4 + 10 + 4 + 2;
	const uint8_t *got;
	struct command c;

	command_pcr_read(&c);
	demand(g, &c, "PCR_Read");
	if (follow) {
		demand_bytes(g, off, g->pcr, sizeof(g->pcr), "the PCR");
		return;
	}
	got = response_bytes(g->rsp, g->len, off, sizeof(g->pcr));
	if (got == NULL)
		die("PCR_Read: a short answer");
	memcpy(g->pcr, got, sizeof(g->pcr));
}

static void extend_pcr(struct guest *g, unsigned long round)
{
	uint8_t both[2 * COMMAND_DIGEST];
	struct command c;

	memcpy(both, g->pcr, COMMAND_DIGEST);
	SHA256((const unsigned char *)&round, sizeof(round), both + COMMAND_DIGEST);
	command_pcr_extend(&c, both + COMMAND_DIGEST);
	demand(g, &c, "PCR_Extend");
	SHA256(both, sizeof(both), g->pcr);
	read_pcr(g, true);
}

/* Behind the header: parameterSize, size. */
static void write_nv(struct guest *g, unsigned long round)
{
	uint8_t data[COMMAND_NV_SIZE];
	struct command c;

	SHA256((const unsigned char *)&round, sizeof(round), data);
	command_nv_write(&c, data);
	demand(g, &c, "NV_Write");
	command_nv_read(&c);
	demand(g, &c, "NV_Read");
	demand_bytes(g, 10 + 4 + 2, data, sizeof(data), "the NV index");
}

/* The handle that a command has made. */
static uint32_t run_for_handle(struct guest *g, const struct command *c, const char *what)
{
	uint32_t handle;
	struct buf b;

	demand(g, c, what);
	buf_wrap(&b, g->rsp + 10, g->len - 10);
	if (buf_get_u32be(&b, &handle) != 0)
		die("%s: a short answer", what);
	return handle;
}

/* TPM 2.0 Part 3, 23.11: the new digest is that of the old one, the command's code and what it was given. */
static void extend_policy(struct guest *g)
{
	static const uint8_t said[8] = { 0, 0, 0x01, 0x6c, 0, 0, COMMAND_POLICY_CODE >> 8, COMMAND_POLICY_CODE & 0xff };
	uint8_t all[COMMAND_DIGEST + sizeof(said)];
	struct command c;

	command_policy_extend(&c, g->session);
	demand(g, &c, "PolicyCommandCode");
	memcpy(all, g->policy, COMMAND_DIGEST);
	memcpy(all + COMMAND_DIGEST, said, sizeof(said));
	SHA256(all, sizeof(all), g->policy);
	command_policy_digest(&c, g->session);
	demand(g, &c, "PolicyGetDigest");
	demand_bytes(g, 10 + 2, g->policy, COMMAND_DIGEST, "the session's policy");
}

static void start_sequence(struct guest *g)
{
	struct command c;

	command_sequence_start(&c);
	g->sequence = run_for_handle(g, &c, "HashSequenceStart");
	g->gone_in_len = 0;
}

static void extend_sequence(struct guest *g, unsigned long round)
{
	uint8_t data[COMMAND_DIGEST];
	struct command c;

	SHA256((const unsigned char *)&round, sizeof(round), data);
	command_sequence_update(&c, g->sequence, data);
	demand(g, &c, "SequenceUpdate");
	memcpy(g->gone_in + g->gone_in_len, data, sizeof(data));
	g->gone_in_len += sizeof(data);
}

/* Behind the header: parameterSize, size. */
static void end_sequence(struct guest *g)
{
	uint8_t want[COMMAND_DIGEST];
	struct command c;

	command_sequence_complete(&c, g->sequence);
	demand(g, &c, "SequenceComplete");
	SHA256(g->gone_in, g->gone_in_len, want);
	demand_bytes(g, 10 + 4 + 2, want, sizeof(want), "the sequence's digest");
}

/* Another front end may have left its own: there is room for three objects and three sessions. */
static void make_room(struct guest *g)
{
	static const uint32_t first[] = { 0x80000000u, 0x02000000u, 0x03000000u }; /* Part 2, 7.2: transient, HMAC and policy sessions */
	struct command c;

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		for (uint32_t n = 0; n < 3; n++) {
			command_flush(&c, first[i] + n);
			(void)run(g, &c);
		}
}

static int steady(struct guest *g)
{
	const struct sigaction sa = {.sa_handler = on_term};
	unsigned long round = 0;
	struct command c;
	uint32_t rc;

	sigaction(SIGTERM, &sa, NULL);
	command_nv_define(&c);
	rc = run(g, &c);
	if (rc != RC_SUCCESS && rc != RC_NV_DEFINED)
		die("NV_DefineSpace is answered with %#x", rc);
	read_pcr(g, false);
	make_room(g);
	command_policy_start(&c);
	g->session = run_for_handle(g, &c, "StartAuthSession");
	start_sequence(g);
	do {
		extend_pcr(g, round);
		extend_policy(g);
		extend_sequence(g, round);
		if (round % SEQUENCE_END == SEQUENCE_END - 1) {
			end_sequence(g);
			start_sequence(g);
		}
		if (round % NV_EVERY == 0)
			write_nv(g, round);
		command_get_random(&c);
		demand(g, &c, "GetRandom");
		if (round++ == 0) {
			puts("running");
			fflush(stdout);
		}
	} while (!ended);
	end_sequence(g);
	command_flush(&c, g->session);
	demand(g, &c, "FlushContext");
	printf("%lu commands, all as they should be, the slowest took %.1f ms\n", g->commands, g->slowest_ms);
	return 0;
}

static void flush_key(struct guest *g)
{
	struct command c;
	struct buf b;
	uint32_t handle;

	buf_wrap(&b, g->rsp + 10, g->len - 10);
	if (buf_get_u32be(&b, &handle) != 0)
		die("CreatePrimary: a short answer");
	command_flush(&c, handle);
	demand(g, &c, "FlushContext");
}

/* Milliseconds from the cancel to the answer, or -1 if the key was made first. */
static double cancel_once(struct guest *g, uint32_t unique)
{
	const struct timespec a_while = {.tv_nsec = CANCEL_AFTER};
	struct command c;
	double start;
	uint32_t rc;

	command_create_primary_rsa(&c, unique);
	if (vtpm_send(g->v, c.mem, c.b.len) != 0)
		die("send");
	nanosleep(&a_while, NULL);
	start = now_ms();
	if (vtpm_cancel(g->v) != 0)
		die("cancel");
	rc = receive(g);
	if (rc == RC_CANCELED)
		return now_ms() - start;
	if (rc != RC_SUCCESS)
		die("CreatePrimary is answered with %#x", rc);
	flush_key(g);
	return -1;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int cancel(struct guest *g, int tries)
{
	double took[TRIES_MAX];
	struct command c;
	int n = 0;

	for (int i = 0; i < tries && i < TRIES_MAX; i++) {
		took[n] = cancel_once(g, (uint32_t)i + 1);
		n += took[n] >= 0;
	}
	command_get_random(&c);
	demand(g, &c, "GetRandom after the cancels");
	if (n == 0)
		die("none of %d was cancelled", tries);
	qsort(took, (size_t)n, sizeof(took[0]), by_size);
	printf("%d of %d cancelled, median %.2f ms, slowest %.2f ms\n", n, tries, took[n / 2], took[n - 1]);
	return 0;
}

int main(int argc, char **argv)
{
	struct guest g = {0};
	int err, rc = 2;

	if (argc < 3) {
		fputs("usage: neighbour RING steady | open | cancel TRIES\n", stderr);
		return rc;
	}
	err = vtpm_open(argv[1], &g.v);
	if (err != 0) {
		printf("%s: %s\n", strerror(-err), vtpm_refusal());
		return -err;
	}
	if (strcmp(argv[2], "steady") == 0)
		rc = steady(&g);
	else if (strcmp(argv[2], "open") == 0)
		rc = 0;
	else if (strcmp(argv[2], "cancel") == 0 && argc == 4)
		rc = cancel(&g, atoi(argv[3]));
	vtpm_close(g.v);
	return rc;
}

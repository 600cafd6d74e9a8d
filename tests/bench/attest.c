/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deep quotes: evidence about 1, 16 and 256 guests, for each of which a verifier asks again as soon as it has an answer. The columns of
 * others stay empty: nobody else has a physical TPM speak for many vTPMs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define MOST	    256u
#define ROUNDS	    3u
#define ANSWER_MS   30000
#define REPLY_BEGIN "{\"parameters\":{\"evidence\":\"" /* of any that is no error */

struct verifier {
	int fd;
	unsigned asked, had; /* how often, and how much of the answer has come */
	char begin[sizeof(REPLY_BEGIN)];
};

static struct verifier verifiers[MOST];

static void ask(const struct verifier *v, unsigned i, unsigned number)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "{\"method\":\"org.vtpm.Manager.Attest\",\"parameters\":{\"name\":\"g%u\",\"nonce\":\"%016x%016x\"}}", i,
			 i, number);

	if (send(v->fd, text, (size_t)n + 1, MSG_NOSIGNAL) != n + 1)
		die("the manager has gone: %s", strerror(errno));
}

/* Takes what has come; true: a whole answer. */
static bool take(struct verifier *v)
{
	static char text[65536];
	ssize_t n = recv(v->fd, text, sizeof(text), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		die("the manager has gone: %s", n < 0 ? strerror(errno) : "it closed the connection");
	for (size_t i = 0; i < (size_t)n && v->had + i < sizeof(v->begin); i++)
		v->begin[v->had + i] = text[i];
	v->had += (unsigned)n;
	if (text[n - 1] != '\0')
		return false;
	if (strncmp(v->begin, REPLY_BEGIN, sizeof(REPLY_BEGIN) - 1) != 0)
		die("no evidence: %.*s", (int)n, text);
	v->had = 0;
	return true;
}

/* Each of n asks `times` times. Returns pieces of evidence a second. */
static double run(int ep, unsigned n, unsigned times)
{
	struct epoll_event ev[MOST];
	unsigned left = n * times;
	double from = now_us();
	int ready;

	for (unsigned i = 0; i < n; i++) {
		verifiers[i].asked = 1;
		ask(&verifiers[i], i, 0);
	}
	while (left > 0) {
		ready = epoll_wait(ep, ev, MOST, ANSWER_MS);
		if (ready <= 0)
			die("no evidence comes");
		for (int k = 0; k < ready; k++) {
			const unsigned i = ev[k].data.u32;

			if (!take(&verifiers[i]))
				continue;
			left--;
			if (verifiers[i].asked < times)
				ask(&verifiers[i], i, verifiers[i].asked++);
		}
	}
	return n * times / (now_us() - from) * 1e6;
}

static void counts(const struct bench *b, double *evidence, double *quotes)
{
	json_t *reply = control_call(b, "Status", NULL);
	json_int_t e, q;

	if (json_unpack(reply, "{s:{s:{s:I,s:I}}}", "status", "attestation", "evidence", &e, "host_quotes", &q))
		die("the status does not count evidence");
	json_decref(reply);
	*evidence = (double)e;
	*quotes = (double)q;
}

static void measure(const struct bench *b, int ep, unsigned n, const char *key, const char *shared)
{
	const unsigned times = n == 1 ? 10 : 6;
	double before[2], after[2];
	struct samples s = { .n = 0 };

	counts(b, &before[0], &before[1]);
	for (unsigned r = 0; r < ROUNDS; r++)
		samples_add(&s, run(ep, n, times));
	counts(b, &after[0], &after[1]);
	result(b, key, OURS, samples_median(&s));
	result(b, shared, OURS, (after[1] - before[1]) / (after[0] - before[0]));
}

static void guests_start(const struct bench *b)
{
	char name[16];

	for (unsigned i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		if (!control_has(b, name))
			control_create(b, name);
	}
	for (unsigned i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "g%u", i);
		control_name(b, "Start", name);
	}
}

static int verifiers_come(const struct bench *b)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned i = 0; i < MOST; i++) {
		verifiers[i].fd = control_dial(b);
		ev.data.u32 = i;
		if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, verifiers[i].fd, &ev))
			die("epoll: %s", strerror(errno));
	}
	return ep;
}

void bench_attest(const struct bench *b)
{
	int ep;

	guests_start(b);
	ep = verifiers_come(b);
	run(ep, 1, 1); /* the host's attestation key is made the first time */
	measure(b, ep, 1, "attest_1_guest_per_s", "ptpm_quotes_per_attest_1");
	measure(b, ep, 16, "attest_16_guests_per_s", "ptpm_quotes_per_attest_16");
	measure(b, ep, MOST, "attest_256_guests_per_s", "ptpm_quotes_per_attest_256");
	for (unsigned i = 0; i < MOST; i++)
		close(verifiers[i].fd);
	close(ep);
	bench_verify(b);
}

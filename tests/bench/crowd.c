/* SPDX-License-Identifier: BSD-2-Clause */
/* Many guests: 64 that write at once, 100 that do nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define WRITES	 50u /* of each guest in a round */
#define ROUNDS	 5u
#define IDLE_S	 10
#define ANSWER_MS 30000

struct crowd {
	enum column kind;
	unsigned n;
	struct target t[CROWD_IDLE];
};

static void crowd_name(char out[static 16], enum column kind, unsigned i)
{
	snprintf(out, 16, "%c%u", kind == OURS ? 'g' : 's', i);
}

static void crowd_start(const struct bench *b, struct crowd *w, enum column kind, unsigned n)
{
	struct command c;
	char name[16];

	w->kind = kind;
	w->n = n;
	command_get_random(&c, 32);
	for (unsigned i = 0; i < n; i++) {
		crowd_name(name, kind, i);
		if (kind == OURS) {
			control_name(b, "Start", name);
			target_open_ring(&w->t[i], b, name);
		} else {
			swtpm_copy(b, name);
			swtpm_start(&w->t[i], b, name);
		}
		target_call(&w->t[i], &c); /* it is up */
	}
}

static void crowd_stop(const struct bench *b, struct crowd *w)
{
	char name[16];

	for (unsigned i = 0; i < w->n; i++) {
		target_close(&w->t[i]);
		crowd_name(name, w->kind, i);
		if (w->kind == OURS)
			control_name(b, "Stop", name);
	}
}

/* --- writing --- */

static int watch(struct crowd *w, unsigned n)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	for (unsigned i = 0; i < n; i++) {
		ev.data.u32 = i;
		if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, target_fd(&w->t[i]), &ev))
			die("epoll: %s", strerror(errno));
	}
	return ep;
}

/* Takes what has come for one guest. Returns 1 if that was a response. One that is done is not watched any longer. */
static unsigned write_next(struct crowd *w, int ep, unsigned i, unsigned *sent)
{
	struct command c;

	if (!target_done(&w->t[i]))
		return 0;
	if (*sent == WRITES) {
		if (epoll_ctl(ep, EPOLL_CTL_DEL, target_fd(&w->t[i]), NULL))
			die("epoll: %s", strerror(errno));
		return 1;
	}
	command_nv_write(&c);
	target_send(&w->t[i], &c);
	(*sent)++;
	return 1;
}

/* One thread serves the whole crowd: as many threads as guests would measure the scheduler. Returns writes a second. */
static double write_all(struct crowd *w, unsigned n)
{
	unsigned left = n * WRITES, sent[CROWD_IDLE] = { 0 };
	struct epoll_event ev[CROWD_IDLE];
	int ready, ep = watch(w, n);
	double from = now_us();
	struct command c;

	for (unsigned i = 0; i < n; i++) {
		command_nv_write(&c);
		target_send(&w->t[i], &c);
		sent[i] = 1;
	}
	while (left > 0) {
		ready = epoll_wait(ep, ev, (int)n, ANSWER_MS);
		if (ready <= 0)
			die("a crowd of %u does not answer", n);
		for (int k = 0; k < ready; k++)
			left -= write_next(w, ep, ev[k].data.u32, &sent[ev[k].data.u32]);
	}
	from = now_us() - from;
	close(ep);
	return n * WRITES / from * 1e6;
}

/* The same writes by one guest, which waits for each answer as a driver does. */
static double write_one(struct crowd *w)
{
	unsigned n = WRITES * 4;
	double from = now_us();
	struct command c;

	for (unsigned i = 0; i < n; i++) {
		command_nv_write(&c);
		target_call(&w->t[0], &c);
	}
	return n / (now_us() - from) * 1e6;
}

static void commit_rates(struct commits *f, struct samples *many, struct samples *one)
{
	double from = now_us();

	for (unsigned i = 0; i < WRITES; i++)
		commits_run(f, CROWD_WRITERS);
	samples_add(many, CROWD_WRITERS * WRITES / (now_us() - from) * 1e6);
	from = now_us();
	for (unsigned i = 0; i < WRITES * 4; i++)
		commits_run(f, 1);
	samples_add(one, WRITES * 4 / (now_us() - from) * 1e6);
}

static void define_all(struct crowd *w)
{
	struct command c;

	command_nv_define(&c);
	for (unsigned i = 0; i < w->n; i++)
		target_call(&w->t[i], &c);
}

static void write_rounds(struct crowd *w, struct commits *floor, struct samples *many, struct samples *one)
{
	for (unsigned r = 0; r < ROUNDS; r++) {
		for (enum column k = OURS; k < FLOOR; k++) {
			samples_add(&one[k], write_one(&w[k]));
			samples_add(&many[k], write_all(&w[k], CROWD_WRITERS));
		}
		commit_rates(floor, &many[FLOOR], &one[FLOOR]);
	}
}

void bench_writers(const struct bench *b)
{
	struct samples many[COLUMNS], one[COLUMNS];
	struct crowd w[FLOOR];
	struct commits *floor;

	memset(many, 0, sizeof(many));
	memset(one, 0, sizeof(one));
	for (enum column k = OURS; k < FLOOR; k++) {
		crowd_start(b, &w[k], k, CROWD_WRITERS);
		define_all(&w[k]);
	}
	floor = commits_open(b, CROWD_WRITERS, control_sealed_bytes(b, "g0"));
	write_rounds(w, floor, many, one);
	for (enum column k = OURS; k < COLUMNS; k++) {
		result(b, "nv_write_64_guests_per_s", k, samples_median(&many[k]));
		result(b, "nv_write_1_guest_per_s", k, samples_median(&one[k]));
	}
	commits_close(floor);
	crowd_stop(b, &w[OURS]);
	crowd_stop(b, &w[SWTPM]);
}

/* --- idling --- */

/* Every process is asked; the shared ones are the manager's, and are added to the figure of the crowd's CPU time. */
static double crowd_cpu(const struct crowd *w, const struct procs *p)
{
	double us = 0;

	for (size_t i = 0; w->kind == OURS && i < p->nbackend; i++)
		us += proc_cpu_us(p->backend[i]);
	for (size_t i = 0; w->kind == OURS && i < p->nshared; i++)
		us += proc_cpu_us(p->shared[i]);
	for (unsigned i = 0; w->kind == SWTPM && i < w->n; i++)
		us += proc_cpu_us(w->t[i].pid);
	return us;
}

static void measure_pss(const struct bench *b, const struct crowd *w, const struct procs *p)
{
	struct samples s = { .n = 0 };
	double shared = 0;

	for (unsigned i = 0; i < w->n; i++)
		samples_add(&s, proc_pss_kib(w->kind == OURS ? p->backend[i] : w->t[i].pid));
	if (s.v[0] >= 0)
		result(b, "pss_kib", w->kind, samples_median(&s));
	else
		fprintf(stderr, "bench: the kernel shows the memory of others' processes to root only\n");
	for (size_t i = 0; i < p->nshared; i++)
		shared += proc_pss_kib(p->shared[i]);
	if (w->kind == OURS && shared > 0)
		result(b, "pss_shared_kib", OURS, shared);
}

/* Nothing is to happen for a while: this is the one place where time itself is waited for. */
static void measure_cpu(const struct bench *b, const struct crowd *w, const struct procs *p)
{
	const struct timespec ts = { .tv_sec = IDLE_S };
	double from = now_us(), used = crowd_cpu(w, p);

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) == EINTR)
		;
	used = crowd_cpu(w, p) - used;
	result(b, "idle_cpu_pct", w->kind, 100 * used / (now_us() - from));
}

void bench_idle(const struct bench *b)
{
	static struct procs p;
	struct crowd w;

	for (enum column k = OURS; k < FLOOR; k++) {
		crowd_start(b, &w, k, CROWD_IDLE);
		control_wait_pool(b);
		procs_find(b, &p);
		if (k == OURS && p.nbackend != CROWD_IDLE)
			die("%zu backends where there should be %u", p.nbackend, CROWD_IDLE);
		if (wanted(b, "pss_kib"))
			measure_pss(b, &w, &p);
		if (wanted(b, "idle_cpu_pct"))
			measure_cpu(b, &w, &p);
		crowd_stop(b, &w);
	}
}

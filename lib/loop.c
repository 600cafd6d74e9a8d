/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "lib/util.h"

uint64_t loop_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

int loop_open(struct loop *l)
{
	memset(l, 0, sizeof(*l));
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	return l->epfd < 0 ? err_from_errno(errno) : 0;
}

void loop_close(struct loop *l)
{
	fd_close(&l->epfd);
}

int loop_add(struct loop *l, struct loop_io *io, int fd, uint32_t events, void (*ready)(void *arg, uint32_t events),
	     void *arg)
{
	struct epoll_event ev = {.events = events, .data.ptr = io};

	io->fd = -1;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev))
		return err_from_errno(errno);
	*io = (struct loop_io){.fd = fd, .ready = ready, .arg = arg};
	return 0;
}

int loop_modify(struct loop *l, struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = io};

	return epoll_ctl(l->epfd, EPOLL_CTL_MOD, io->fd, &ev) ? err_from_errno(errno) : 0;
}

void loop_remove(struct loop *l, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	/* Fails only if the fd was closed already, and then it is out of the set as well. */
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, io->fd, NULL);
	io->fd = -1;
	/* Its event of this round may still wait in the batch, and io may be freed after this call. */
	for (int i = l->at; i < l->nevents; i++) {
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
	}
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms, void (*fire)(void *arg), void *arg)
{
	uint64_t now = loop_now_ms();
	struct loop_timer **at = &l->timers;

	loop_timer_cancel(l, t);
	/*
	 * now is rounded down: one more, so that nothing fires early, and so that a timer that
	 * re-arms itself with 0 cannot hold up a round.
	 */
	t->due_ms = ms > UINT64_MAX - 1 - now ? UINT64_MAX : now + ms + 1;
	t->fire = fire;
	t->arg = arg;
	while (*at && (*at)->due_ms <= t->due_ms)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer **at = &l->timers;

	if (t->due_ms == 0)
		return;
	while (*at && *at != t)
		at = &(*at)->next;
	if (*at)
		*at = t->next;
	t->next = NULL;
	t->due_ms = 0;
}

void loop_set_after(struct loop *l, void (*after)(void *arg), void *arg)
{
	l->after = after;
	l->after_arg = arg;
}

/* How long epoll may wait for the first timer: -1 for ever. */
static int wait_ms(const struct loop *l)
{
	uint64_t now = loop_now_ms();

	if (!l->timers)
		return -1;
	if (l->timers->due_ms <= now)
		return 0;
	return l->timers->due_ms - now > INT_MAX ? INT_MAX : (int)(l->timers->due_ms - now);
}

static void handle_events(struct loop *l)
{
	for (l->at = 0; l->at < l->nevents && !l->stop; l->at++) {
		struct loop_io *io = l->events[l->at].data.ptr;

		if (io)
			io->ready(io->arg, l->events[l->at].events);
	}
	l->nevents = 0;
}

static void fire_timers(struct loop *l)
{
	uint64_t now = loop_now_ms();

	while (l->timers && l->timers->due_ms <= now && !l->stop) {
		struct loop_timer *t = l->timers;

		l->timers = t->next;
		t->next = NULL;
		t->due_ms = 0; /* before the call: it may arm itself again, or be freed */
		t->fire(t->arg);
	}
}

int loop_run(struct loop *l)
{
	while (!l->stop) {
		int n = epoll_wait(l->epfd, l->events, LOOP_BATCH, wait_ms(l));

		if (n < 0 && errno != EINTR)
			return err_from_errno(errno);
		l->nevents = n < 0 ? 0 : n;
		handle_events(l);
		fire_timers(l);
		if (l->after)
			l->after(l->after_arg);
	}
	l->stop = false; /* so that the loop can be run again */
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

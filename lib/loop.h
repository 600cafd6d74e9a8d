/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A single-threaded epoll loop. struct loop_io and struct loop_timer are the caller's, live
 * inside the object they serve, and must be removed before that object is freed; removing
 * one from inside any callback is safe, also when it has an event pending in this round.
 */
#ifndef VTPM_LIB_LOOP_H
#define VTPM_LIB_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "lib/err.h"

#define LOOP_BATCH 64 /* events taken from the kernel in one round */

struct loop;
struct loop_io {
	int fd; /* -1: not in the loop */
	void (*ready)(void *arg, uint32_t events);
	void *arg;
};
struct loop_timer {
	uint64_t due_ms; /* CLOCK_MONOTONIC; 0: not armed */
	struct loop_timer *next;
	void (*fire)(void *arg);
	void *arg;
};
struct loop {
	int epfd;
	bool stop;
	struct epoll_event events[LOOP_BATCH];
	int nevents, at;
	struct loop_timer *timers; /* sorted by due_ms */
	void (*after)(void *arg);
	void *after_arg;
};

CHECKED int loop_open(struct loop *l);
void loop_close(struct loop *l);
/* Watches fd (not taken over) for EPOLLIN/EPOLLOUT…; level-triggered. */
CHECKED int loop_add(struct loop *l, struct loop_io *io, int fd, uint32_t events,
		     void (*ready)(void *arg, uint32_t events), void *arg);
CHECKED int loop_modify(struct loop *l, struct loop_io *io, uint32_t events);
/* Stops watching and sets io->fd to -1. Does nothing if it was not watched. The fd stays open. */
void loop_remove(struct loop *l, struct loop_io *io);
/* Fires once in ms milliseconds; re-arms if it was armed. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t ms, void (*fire)(void *arg), void *arg);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);
/* Called after all events of a round have been handled: where work that was collected is done at once. */
void loop_set_after(struct loop *l, void (*after)(void *arg), void *arg);
/* Runs until loop_stop. */
CHECKED int loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* CLOCK_MONOTONIC in milliseconds. */
uint64_t loop_now_ms(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes over a stream socket, received or sent, and counted where the next process finds the count: the kernel writes how many it has
 * moved, msg_len of struct mmsghdr, in the system call that moves them. A process that is killed is killed before that call or after
 * it; never are bytes moved and not counted, or counted and not moved. So who goes on after it neither loses nor repeats one.
 *
 * The count is in two steps that take turns. A step says where it began and how far it came; the further end counts. The
 * next step begins there, so at each instant between two stores the further end is the same.
 *
 * A struct transfer lies in memory that outlives the process, in locked pages: the kernel must not have to fetch one to write to it while
 * the process is being killed. What is read there may be of a process that was taken over: it is bounded before it is used.
 */
#ifndef VTPM_BACKEND_TRANSFER_H
#define VTPM_BACKEND_TRANSFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/err.h"

struct transfer_step {
	uint64_t from; /* how much had been moved when it began */
	uint8_t msg[sizeof(struct mmsghdr)] __attribute__((aligned(8)));
};

struct transfer {
	uint64_t what; /* a number of the user's, from 1; 0: nothing */
	uint64_t total; /* bytes to be sent; the user's */
	struct transfer_step step[2];
};

/* Of nothing, and nothing has been moved. The bytes may be changed from here on until transfer_start. */
void transfer_clear(struct transfer *t);
/* After transfer_clear: `what` has begun, in one store. To send: total bytes of it. */
void transfer_start(struct transfer *t, uint64_t what, size_t total);
uint64_t transfer_what(const struct transfer *t);
/* How many bytes have been moved; at most cap. */
size_t transfer_done(const struct transfer *t, size_t cap);
/* How many of the total are still to be sent; at most cap. */
size_t transfer_left(const struct transfer *t, size_t cap);
/* Nothing more of it is to be sent. */
void transfer_give_up(struct transfer *t);

/*
 * Receives once, until there are `want` bytes at mem at most. Does not wait: ERR_AGAIN, nothing was there. ERR_CLOSED: no more
 * will come. Descriptors that come along are closed.
 */
CHECKED int transfer_receive(struct transfer *t, int fd, uint8_t *mem, size_t want);
/* Sends of the total what the socket takes. ERR_AGAIN: not all. ERR_CLOSED: nobody is there to take it. mem: cap bytes. */
CHECKED int transfer_send(struct transfer *t, int fd, const uint8_t *mem, size_t cap);

#endif

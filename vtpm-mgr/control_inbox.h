/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client of the control socket has sent and nobody has handled yet: the bytes of its requests, and the
 * descriptors (SCM_RIGHTS) that came with one.
 *
 * A stream does not say to which of its bytes descriptors belong. So whoever sends some sends one request, with them, and
 * waits for the reply: while descriptors are held, a byte behind the end of a request is a breach of the protocol.
 */
#ifndef VTPM_MGR_CONTROL_INBOX_H
#define VTPM_MGR_CONTROL_INBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "vtpm-mgr/control.h"

struct inbox {
	size_t len;
	size_t scanned; /* bytes that hold no NUL */
	bool eof;
	unsigned nfds;
	int fds[CONTROL_FDS_MAX]; /* owned */
	char bytes[CONTROL_REQUEST_MAX + 1];
};

/*
 * Reads once, without waiting; nothing is no error. may_give: this client may send descriptors; those of others
 * never become this process's. ERR_CLOSED: the connection has failed. ERR_PROTO: descriptors where none may be.
 */
CHECKED int inbox_read(struct inbox *in, int sock, bool may_give);
/*
 * The next whole request, with its NUL, at bytes: *used bytes. ERR_AGAIN: there is none yet. ERR_RANGE: it is
 * longer than any may be.
 */
CHECKED int inbox_next(struct inbox *in, size_t *used);
/* The first used bytes have been handled. */
void inbox_shift(struct inbox *in, size_t used);
/* Gives the descriptors away, to fds; returns their number. */
unsigned inbox_take_fds(struct inbox *in, int fds[static CONTROL_FDS_MAX]);
/* Closes those that nobody took. */
void inbox_close(struct inbox *in);

#endif

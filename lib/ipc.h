/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages between our processes over AF_UNIX SOCK_SEQPACKET: one record is one message.
 *
 *	u32le type | body (little-endian fields, see vtpm-mgr/proto) + file descriptors
 *
 * A trusted process is a table of struct ipc_rule: what the table does not permit is
 * ERR_PROTO, and the caller ends that peer.
 */
#ifndef VTPM_LIB_IPC_H
#define VTPM_LIB_IPC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

#define IPC_BODY_MAX (320u * 1024u) /* a sealed state and its company */
#define IPC_FDS_MAX 7u

struct ipc_msg {
	uint32_t type;
	struct buf body;	/* over the caller's storage */
	int fds[IPC_FDS_MAX];	/* owned by the message; -1 where taken */
	unsigned nfds;
};

struct ipc_rule {
	uint32_t type;
	uint32_t states;	/* bit mask of the states in which it is permitted */
	size_t min, max;	/* body size */
	unsigned min_fds, max_fds;
	int (*handle)(void *peer, struct ipc_msg *m); /* non-zero ends the peer */
};

/* A connected pair, close-on-exec, with send buffers that hold IPC_BODY_MAX. */
CHECKED int ipc_pair(int sv[2]);
/* The same for one socket that came from elsewhere. */
CHECKED int ipc_size_socket(int fd);
/*
 * Sends one message; fds stay the caller's. Never waits and never raises SIGPIPE. ERR_CLOSED: the
 * peer has gone. ERR_AGAIN: the peer's queue is full. Each of our protocols has a bounded number of
 * messages on the way, and the queue holds them: a full one is the peer's breach of the protocol, by
 * not reading, and the caller ends that peer like any other that breaks it.
 */
CHECKED int ipc_send(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds);
/*
 * The same, but waits until the queue has room. Only for a servant towards its master, who never
 * waits for the servant: whatever else it has to do is the master's business, too.
 */
CHECKED int ipc_send_wait(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds);
/*
 * Receives one message into storage (its body is a view of it). Descriptors arrive
 * close-on-exec. A truncated record, too many descriptors or foreign control data are
 * ERR_PROTO; end of file is ERR_CLOSED. flags: 0 or MSG_DONTWAIT (then ERR_AGAIN).
 * ERR_FULL: this process had no room for the descriptors. That is no breach of the sender's, so the
 * message can be read, without any descriptor, for a reply that says so.
 */
CHECKED int ipc_recv(int fd, struct ipc_msg *m, void *storage, size_t cap, int flags);
/*
 * The same from a stranger, who has no descriptors to give: some are ERR_PROTO, and never become this process's. To close one that
 * is can take as long as its file system likes, even if nothing was done with it.
 */
CHECKED int ipc_recv_bare(int fd, struct ipc_msg *m, void *storage, size_t cap, int flags);
/* Takes descriptor i out of the message: the caller owns it now. -1 if there is none. */
int ipc_take_fd(struct ipc_msg *m, unsigned i);
/* Closes the descriptors that nobody took. */
void ipc_msg_done(struct ipc_msg *m);
/* Finds the rule, demands state, sizes and fd count, calls the handler, closes what it left, and demands that the body was read to its end. state: one bit. */
CHECKED int ipc_dispatch(const struct ipc_rule *rules, size_t nrules, uint32_t state, void *peer, struct ipc_msg *m);

#endif

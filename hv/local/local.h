/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hypervisor made of a memfd and two eventfds. The manager makes the ring, gives one copy
 * of its descriptors to the back end, and hands another to a front end that connects to
 * <runtime-dir>/NAME.ring (AF_UNIX SOCK_SEQPACKET, framed as lib/ipc.h):
 *
 *	server -> client  RING_GRANT  {u32le abi = 1} + 3 fds {memfd, to_back, to_front}
 *	server -> client  RING_REFUSE {i32le code (lib/err.h), str text}, then closes
 *
 * Nothing else is ever sent on it. The client keeps the socket open as long as it uses the
 * ring: one client at a time; end of file means that the other side has gone.
 * The memfd has exactly CHAN_PAGE_SIZE bytes and the seals SHRINK, GROW and SEAL, which both sides demand.
 */
#ifndef VTPM_HV_LOCAL_LOCAL_H
#define VTPM_HV_LOCAL_LOCAL_H

#include "hv/hv.h"
#include "lib/ipc.h"

#define RING_ABI 1u
enum { RING_GRANT = 0x52494e01, RING_REFUSE = 0x52494e02 };

/* The descriptors of one ring; -1 where there is none. */
struct local_ring {
	int memfd;
	int to_back;  /* eventfd: the front end signals the back end */
	int to_front; /* eventfd: the back end signals the front end */
};

#define LOCAL_RING_NONE ((struct local_ring){ -1, -1, -1 })

/* Makes a ring: a zeroed, sealed page (state IDLE) and two non-blocking eventfds, all close-on-exec. */
CHECKED int local_ring_make(struct local_ring *r);
/* Closes what is open and sets it to -1. */
void local_ring_close(struct local_ring *r);
/* Checks size and seals of the memfd and that both others are eventfds (ERR_PROTO), maps the page read-write; *page is unmapped with local_ring_unmap. */
CHECKED int local_ring_map(const struct local_ring *r, void **page);
void local_ring_unmap(void *page);

/* Maps the ring and makes it the back end's channel. The descriptors of r must stay open; the memfd may be closed. */
CHECKED int local_attach_back(struct chan *c, const struct local_ring *r);

/* RING_GRANT and RING_REFUSE, both directions. ring_receive waits until timeout_ms (-1: for ever); a refusal is
 * returned as the code that the server gave, with its text in why (NUL-terminated, cut to cap). */
CHECKED int local_send_grant(int sock, const struct local_ring *r);
CHECKED int local_send_refusal(int sock, int code, const char *text);
CHECKED int local_receive(int sock, struct local_ring *r, int timeout_ms, char *why, size_t cap);

#endif

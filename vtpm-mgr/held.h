/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manager's side of vtpm-hold (proto/hold.h): what is kept there outlives this manager, and is the next one's. Without
 * vtpm-hold all of it does nothing, and nothing was kept.
 *
 *	held.c		the channel; sockets; leashes
 *	held_guests.c	vTPMs that run: what the next manager must know of each
 *	held_launch.c	how they were launched
 *
 * A manager that is not the first begins with what the one before has left. The old backends still serve their guests then, with all that changes nothing
 * durable. Once continuity is open the old generation is ended, and each vTPM goes on in a new backend, as if the old one had been killed (resume.c).
 */
#ifndef VTPM_MGR_HELD_H
#define VTPM_MGR_HELD_H

#include "lib/loop.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/hold.h"

struct mgr;
struct vtpm;
struct worker;

/* The first byte of a tag; behind it the uuid of a vTPM, or what is said, or nothing. */
enum held_kind {
	HELD_CONTROL = 'c', /* the listener of control.sock */
	HELD_FRONTS = 's',  /* of swtpm.sock */
	HELD_PORT = 'q',    /* of NAME.swtpm */
	HELD_GUEST = 'g',   /* a vTPM that runs, behind it the name of its first area, filled up: memfd, to_back, to_front, the listener of NAME.ring; or a QEMU's control channel */
	HELD_CLIENT = 'f',  /* the front end that has its ring */
	HELD_LAUNCH = 'l',  /* the launch by which a vTPM is on, or waits: its log */
	HELD_WORKER = 'w',  /* leash of a backend; behind it its token */
	HELD_SPAWNER = 'p', /* leash of the spawner */
};

struct held_item {
	struct held_item *next;
	uint8_t tag[HOLD_TAG_MAX], blob[HOLD_BLOB_MAX];
	size_t tag_len, blob_len;
	int fds[IPC_FDS_MAX];
	unsigned nfds;
};

struct held {
	int sock; /* to vtpm-hold; -1: there is none */
	struct loop_io io;
	uint32_t generation; /* 0: there was none */
	struct held_item *items; /* of the last manager, not taken yet */
	bool fenced; /* its processes have ended */
	bool again;  /* the next manager is to take over */
};

/* --- held.c --- */

/* Takes everything that the last manager has left. fd: the channel, taken over; -1: there is none. Waits for vtpm-hold. */
CHECKED int held_open(struct mgr *m, int fd);
CHECKED int held_watch(struct mgr *m);
/* Whether this manager's guests outlive it; 0: no. Otherwise how many managers there were, with this one. */
unsigned held_generation(const struct mgr *m);
/* Keeps, or keeps anew. uuid: NULL if the kind has none. nfds 0: what is kept already stays, and gets this blob. */
void held_keep(struct mgr *m, enum held_kind kind, const uint8_t *uuid, const struct buf *blob, const int *fds, unsigned nfds);
void held_drop(struct mgr *m, enum held_kind kind, const uint8_t *uuid);
/* The same for leashes: the process at the other end of these is not to see this manager's end. */
void held_leash_worker(struct worker *w, int third); /* third: besides both channels; -1 */
void held_unleash_worker(struct worker *w);
void held_leash_spawner(struct mgr *m);
void held_unleash_spawner(struct mgr *m);
/* The listener that the last manager had for that; -1: none. The caller's now. */
int held_take_listener(struct mgr *m, enum held_kind kind, const uint8_t *uuid);
/* The next one of that kind, the caller's to free with held_item_free; NULL: none. */
struct held_item *held_take(struct mgr *m, enum held_kind kind, const uint8_t *uuid);
void held_item_free(struct held_item *it);
/* Nobody is to get it again. */
void held_forget(struct mgr *m, const struct held_item *it);
/* What nobody has taken is let go of; with its file, if it is the socket of a vTPM that is not there any more. */
void held_settle(struct mgr *m);
/* Continuity is open: ends the earlier generations, once, and goes on with their guests. Ends the process if it cannot. */
void held_take_over(struct mgr *m);
/* If that was asked for: has this manager killed, and followed by the program that lies at its place now. */
void held_again(struct mgr *m);
void held_close(struct mgr *m);

/* --- held_guests.c --- */

/* From here on it outlives this manager, or is at least known to the next. */
void held_guest_keep(struct vtpm *v);
/* What is kept of it has changed. Nothing if nothing is. */
void held_guest_update(struct vtpm *v);
void held_guest_drop(struct vtpm *v);
void held_client_keep(struct vtpm *v);
void held_client_drop(struct vtpm *v);
/* Whether this build can read what the last manager has left of all of them. ERR_VERSION: not, and nothing has been done yet. */
CHECKED int held_guests_check(const struct mgr *m);
/* vTPMs as the last manager had them, to be gone on with by held_guests_go. What the spawner has of others is let go of. */
void held_guests_revive(struct mgr *m);
void held_guests_go(struct mgr *m);
/* How many are not gone on with yet. */
unsigned held_guests_waiting(const struct mgr *m);

/* --- xen_held.c --- */

/* What another manager must know of a guest's device. */
struct xen_memory {
	uint32_t domid, handle, ref, port; /* ref and port: of the ring */
	uint8_t state;			   /* that was written to xenstore */
	bool has_ring, connected;
};
/* False: v has no guest at the moment; otherwise as it is now, or will be with the next order. */
bool xen_remember(const struct vtpm *v, struct xen_memory *x);
/* v has just come from the last manager, and with it that guest. */
CHECKED int xen_recall(struct vtpm *v, const struct xen_memory *x);

#endif

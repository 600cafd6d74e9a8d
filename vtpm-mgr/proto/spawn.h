/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Manager and spawner (see docs/PROTOCOL.md). The spawner knows six messages:
 *
 *	manager -> spawner  SPAWN_KEEPER	 {}  + 2 fds: the keeper's end of its manager socket; the fence, which it holds while it lives
 *	manager -> spawner  SPAWN_BACKEND {u64 token, u32 slot, u8 kind, u64 replaces} + fds {control, store}, and by its kind
 *				SERVE_RING {memfd, to_back, to_front}, SERVE_QEMU {qemu}, SERVE_XEN {attach}
 *	manager -> spawner  SPAWN_ATTACH {u32 domid, u32 ref, u32 port, bool again} + 1 fd: the manager's end of a backend's attach
 *	spawner -> manager  SPAWN_UNATTACHED  the same, back: there was no room for the descriptor
 *	manager -> spawner  SPAWN_CLAIM	 {u64 area}  of what vtpm-hold has given it: that will be gone on from; 0: what was not claimed is let go of
 *	manager -> spawner  SPAWN_KILL	 {u64 token}  (0: the keeper)
 *	manager -> spawner  SPAWN_END	 {u64 token}  the same of a backend, and what it leaves is kept: another one goes on
 *	spawner -> manager  SPAWN_EXITED {u64 token, u32 wait status}  (token 0: the keeper), SPAWN_NOT_BORN or SPAWN_NOTHING_LEFT
 *	spawner -> keeper   LINK_BACKEND {u64 token} + 1 fd: the keeper's end of that backend's key channel
 *	spawner -> backend  ATTACH_RING {i32 code, u64 index, u32 port, bool again} + 2 fds {grant, port}, or none with a code
 *				over attach; answers SPAWN_ATTACH: the ring to that guest of Xen, or why not; again: the backend
 *				in whose place this one is had it
 *
 * token: chosen by the manager, never 0, never used twice. slot: which uid of the range the
 * process gets; no two live processes share one. replaces: 0, or, of one that serves a guest, the name of what another, which has not
 * ended in order, has left, and whose place it takes: the area with its checkpoints and, of one that served a QEMU, the channel
 * that keeps its data channel. That is named by the token of the first backend that had it, and kept until one ends in order, or until a
 * SPAWN_KILL of that name. A SPAWN_KEEPER ends the keeper there was.
 */
#ifndef VTPM_PROTO_SPAWN_H
#define VTPM_PROTO_SPAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipc.h"

enum {
	SPAWN_KEEPER = 0x53500001,
	SPAWN_BACKEND = 0x53500002,
	SPAWN_KILL = 0x53500003,
	SPAWN_EXITED = 0x53500004,
	LINK_BACKEND = 0x53500005,
	SPAWN_ATTACH = 0x53500006,
	ATTACH_RING = 0x53500007,
	SPAWN_CLAIM = 0x53500008,
	SPAWN_END = 0x53500009,
	SPAWN_UNATTACHED = 0x5350000a,
};

/* What a backend serves. */
enum serve_kind { SERVE_NOBODY, SERVE_RING, SERVE_QEMU, SERVE_XEN, SERVE_KINDS };

#define SPAWN_SLOT_MAX 65535u
#define UID_BASE_DEFAULT 1879048192u /* 0x70000000: above the ranges that Debian and systemd give away; SPAWN_SLOT_MAX + 2 are used */
#define SPAWN_KEEPER_FDS 2u
#define SPAWN_FDS_MIN	 2u
#define SPAWN_FDS_MAX	 5u
#define ATTACH_FDS	 2u
/* In place of a status, and neither an exit nor a signal: there was no process, for want of room, or because what it was to replace has left nothing. */
#define SPAWN_NOT_BORN	   0xffffffffu
#define SPAWN_NOTHING_LEFT 0x7fffffffu

struct spawn_backend {
	uint64_t token;
	uint32_t slot;
	uint8_t kind; /* enum serve_kind */
	uint64_t replaces;
};
struct spawn_attach {
	uint32_t domid, ref, port;
	bool again;
};
struct attach_ring {
	int32_t code; /* 0, and two descriptors */
	uint64_t index;
	uint32_t port;
	bool again;
};
struct spawn_exited {
	uint64_t token;
	uint32_t status; /* as waitpid(2) gives it, or one of the above */
};

#define SPAWN_BACKEND_SIZE 21u
#define SPAWN_ATTACH_SIZE  13u
#define ATTACH_RING_SIZE   17u
#define SPAWN_TOKEN_SIZE   8u
#define SPAWN_EXITED_SIZE  12u

CHECKED int spawn_backend_encode(struct buf *b, const struct spawn_backend *m);
CHECKED int spawn_backend_decode(struct buf *b, struct spawn_backend *m);
/* How many descriptors the backend of a kind gets from the manager; 0: there is no such kind. */
unsigned spawn_backend_fds(uint8_t kind);
CHECKED int spawn_attach_encode(struct buf *b, const struct spawn_attach *m);
CHECKED int spawn_attach_decode(struct buf *b, struct spawn_attach *m);
CHECKED int attach_ring_encode(struct buf *b, const struct attach_ring *m);
CHECKED int attach_ring_decode(struct buf *b, struct attach_ring *m);
/* SPAWN_KILL, SPAWN_END, SPAWN_CLAIM and LINK_BACKEND. */
CHECKED int spawn_token_encode(struct buf *b, uint64_t token);
CHECKED int spawn_token_decode(struct buf *b, uint64_t *token);
CHECKED int spawn_exited_encode(struct buf *b, const struct spawn_exited *m);
CHECKED int spawn_exited_decode(struct buf *b, struct spawn_exited *m);

#endif

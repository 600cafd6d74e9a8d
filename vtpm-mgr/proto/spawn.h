/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Manager and spawner (see docs/PROTOCOL.md). The spawner knows three messages:
 *
 *	manager -> spawner  SPAWN_KEEPER	 {}  + 2 fds: the keeper's end of its manager socket; the fence, which it holds while it lives
 *	manager -> spawner  SPAWN_BACKEND {u64 token, u32 slot} + 2 fds {control, store}: a worker that provisions
 *				or + 3 fds {control, store, qemu}: one that serves a QEMU's control channel
 *				or + 5 fds {control, store, memfd, to_back, to_front}: one that serves a ring
 *	manager -> spawner  SPAWN_KILL	 {u64 token}  (0: the keeper)
 *	spawner -> manager  SPAWN_EXITED {u64 token, u32 wait status}  (token 0: the keeper; also when fork or exec failed)
 *	spawner -> keeper   LINK_BACKEND {u64 token} + 1 fd: the keeper's end of that backend's key channel
 *
 * token: chosen by the manager, never 0, never used twice. slot: which uid of the range the
 * process gets; no two live processes share one. A SPAWN_KEEPER ends the keeper there was.
 */
#ifndef VTPM_PROTO_SPAWN_H
#define VTPM_PROTO_SPAWN_H

#include <stdint.h>

#include "lib/ipc.h"

enum {
	SPAWN_KEEPER = 0x53500001,
	SPAWN_BACKEND = 0x53500002,
	SPAWN_KILL = 0x53500003,
	SPAWN_EXITED = 0x53500004,
	LINK_BACKEND = 0x53500005,
};

#define SPAWN_SLOT_MAX 65535u
#define UID_BASE_DEFAULT 1879048192u /* 0x70000000: above the ranges that Debian and systemd give away; SPAWN_SLOT_MAX + 2 are used */
#define SPAWN_KEEPER_FDS 2u
#define SPAWN_WORKER_FDS 2u
#define SPAWN_QEMU_FDS	 3u
#define SPAWN_RING_FDS	 5u

struct spawn_backend {
	uint64_t token;
	uint32_t slot;
};
struct spawn_exited {
	uint64_t token;
	uint32_t status; /* as waitpid(2) gives it */
};

#define SPAWN_BACKEND_SIZE 12u
#define SPAWN_TOKEN_SIZE   8u
#define SPAWN_EXITED_SIZE  12u

CHECKED int spawn_backend_encode(struct buf *b, const struct spawn_backend *m);
CHECKED int spawn_backend_decode(struct buf *b, struct spawn_backend *m);
/* SPAWN_KILL and LINK_BACKEND. */
CHECKED int spawn_token_encode(struct buf *b, uint64_t token);
CHECKED int spawn_token_decode(struct buf *b, uint64_t *token);
CHECKED int spawn_exited_encode(struct buf *b, const struct spawn_exited *m);
CHECKED int spawn_exited_decode(struct buf *b, struct spawn_exited *m);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The spawner's children: who is alive, and the table that survives a re-execution. */
#ifndef VTPM_BACKEND_CHILDREN_H
#define VTPM_BACKEND_CHILDREN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

enum child_kind {
	CHILD_KEEPER,
	CHILD_BACKEND,
	CHILD_GONE,	/* a backend that was killed: only what it leaves is there, for the next one */
	CHILD_LEFT,	/* the same of an earlier generation, which nobody has claimed yet */
	CHILD_REPLACED, /* a keeper that was ended for a new one: nobody asks about it any more */
};

/* What a backend that serves a guest leaves for the one that takes its place; each is owned, or -1. */
struct legacy {
	int area;     /* where its checkpoints are (checkpoint.h) */
	int stash[2]; /* of one that serves a QEMU: both ends of the channel that its data channel is kept in (qemu_link.c) */
};
#define LEGACY_NONE ((struct legacy){ .area = -1, .stash = { -1, -1 } })
#define LEGACY_FDS  3u

struct child {
	uint64_t token;
	pid_t pid;    /* CHILD_GONE: 0 */
	struct legacy legacy;
	uint64_t name; /* of that: the token of the first backend that had it */
	uint8_t kind; /* enum child_kind */
};

struct children {
	struct child *list; /* n in use, in no order */
	size_t n, cap;
};

/* Makes room for one more, so that children_add cannot fail once it has been forked. */
CHECKED int children_reserve(struct children *c);
void children_add(struct children *c, const struct child *ch);
/* NULL: no such child. */
struct child *children_find_pid(struct children *c, pid_t pid);
struct child *children_find_token(struct children *c, uint64_t token);
struct child *children_find_gone(struct children *c, uint64_t name);
struct child *children_find_left(struct children *c, uint64_t name); /* 0: any */
struct child *children_find_keeper(struct children *c);
/* ch: one that was found, whose legacy is the caller's from now on; other pointers into the table are invalid afterwards. */
void children_remove(struct children *c, struct child *ch);
void children_free(struct children *c);
void legacy_close(struct legacy *l);

/* u32 count, then {u8 kind, u64 token, u32 pid, u32 area, u32 stash, u32 stash (all ones: none), u64 name} each. */
#define CHILDREN_ENCODED_SIZE(n) (4u + (n) * 33u)
CHECKED int children_encode(struct buf *b, const struct children *c);
CHECKED int children_decode(struct buf *b, struct children *c);

#endif

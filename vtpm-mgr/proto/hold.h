/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-hold and its clients, the manager and the spawner of one generation. Each has a channel of its own, and things of its own: neither
 * sees the other's.
 *
 *	hold -> client	HOLD_ITEM {var tag, var blob} + fds	what the generation before kept, one after the other, before anything else
 *	hold -> client	HOLD_END {u32 generation}		that was all. The first generation is 1
 *	client -> hold	HOLD_KEEP {u8 leash, var tag, var blob} + fds	keep this under that tag. One that is kept already gets the new blob,
 *							and these descriptors in place of its own, if there are any
 *	client -> hold	HOLD_DROP {var tag}			forget it. There may be none
 *	manager -> hold	HOLD_FENCE {}				end what is left of earlier generations
 *	hold -> manager	HOLD_FENCED {}				none of their processes is left, and their leashes are closed
 *	manager -> hold	HOLD_AGAIN {}				kill this manager and start the next one
 *
 * Tags and blobs are the client's; they are compared and given back. A leash is not given to anybody: it is kept so that a process that
 * waits for its end does not see one when its manager ends. It belongs to its generation, whose HOLD_DROP or fence closes it.
 */
#ifndef VTPM_PROTO_HOLD_H
#define VTPM_PROTO_HOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/ipc.h"

enum {
	HOLD_ITEM = 0x484f0001,
	HOLD_END = 0x484f0002,
	HOLD_KEEP = 0x484f0003,
	HOLD_DROP = 0x484f0004,
	HOLD_FENCE = 0x484f0005,
	HOLD_FENCED = 0x484f0006,
	HOLD_AGAIN = 0x484f0007,
};

#define HOLD_TAG_MAX  24u
#define HOLD_BLOB_MAX 96u

struct hold_item {
	bool leash;
	const uint8_t *tag, *blob; /* views; a tag has at least one byte */
	size_t tag_len, blob_len;
};

#define HOLD_ITEM_MIN  9u
#define HOLD_ITEM_MAX  (8u + HOLD_TAG_MAX + HOLD_BLOB_MAX)
#define HOLD_KEEP_MIN  (HOLD_ITEM_MIN + 1u)
#define HOLD_KEEP_MAX  (HOLD_ITEM_MAX + 1u)
#define HOLD_DROP_MIN  5u
#define HOLD_DROP_MAX  (4u + HOLD_TAG_MAX)
#define HOLD_END_SIZE  4u

CHECKED int hold_keep_encode(struct buf *b, const struct hold_item *i);
CHECKED int hold_keep_decode(struct buf *b, struct hold_item *i);
/* Without the leash, which is false. */
CHECKED int hold_item_encode(struct buf *b, const struct hold_item *i);
CHECKED int hold_item_decode(struct buf *b, struct hold_item *i);
/* Of the item only the tag. */
CHECKED int hold_drop_encode(struct buf *b, const struct hold_item *i);
CHECKED int hold_drop_decode(struct buf *b, struct hold_item *i);
CHECKED int hold_end_encode(struct buf *b, uint32_t generation);
CHECKED int hold_end_decode(struct buf *b, uint32_t *generation);

#endif

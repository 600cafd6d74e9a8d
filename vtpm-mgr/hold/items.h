/* SPDX-License-Identifier: BSD-2-Clause */
/* What vtpm-hold keeps: descriptors and a few bytes, each under a tag of the client whose it is. Nothing of it is looked into. */
#ifndef VTPM_MGR_HOLD_ITEMS_H
#define VTPM_MGR_HOLD_ITEMS_H

#include "vtpm-mgr/proto/hold.h"

#define ITEMS_MAX 262144u /* of both clients: more than there can be vTPMs with all they have */

enum item_owner { OWNER_MANAGER, OWNER_SPAWNER, OWNERS };

struct item {
	struct item *next;
	enum item_owner owner;
	bool leash;
	uint32_t generation; /* of the client that it is from; a leash is this one's alone */
	uint8_t tag[HOLD_TAG_MAX], blob[HOLD_BLOB_MAX];
	size_t tag_len, blob_len;
	int fds[IPC_FDS_MAX];
	unsigned nfds;
};

struct items {
	struct item *first;
	unsigned n;
};

/*
 * HOLD_KEEP of that client: m's descriptors are taken out of it. ERR_PROTO: it makes a leash of what was none, or the other way round.
 * ERR_FULL: too many.
 */
CHECKED int items_keep(struct items *s, enum item_owner owner, uint32_t generation, const struct hold_item *i, struct ipc_msg *m);
/* HOLD_DROP: its leash if it has one under that tag, otherwise what it keeps. */
void items_drop(struct items *s, enum item_owner owner, uint32_t generation, const struct hold_item *i);
/* Closes all leashes of a generation, */
void items_cut(struct items *s, uint32_t generation);
/* of all but that one, */
void items_cut_others(struct items *s, uint32_t generation);
/* and everything. */
void items_free(struct items *s);
/* What that client gets from the generation before, after `after` (NULL: the first). */
const struct item *items_next(const struct items *s, enum item_owner owner, const struct item *after);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The groups that are open: name and wrapping key, in locked memory. The roots themselves are not kept. */
#ifndef VTPM_KEEPER_GROUPS_H
#define VTPM_KEEPER_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "vtpm-mgr/proto/keeper.h"

#define GROUP_DEFAULT "default" /* there always is one; the CA's auth is wrapped under it */

struct group_key {
	char group[NAME_MAX_LEN + 1];
	uint8_t key[KEY_LEN];	 /* wraps */
	uint8_t row[KEY_LEN];	 /* authenticates journal rows; only those of GROUP_DEFAULT are used */
	uint8_t extend[KEY_LEN]; /* makes of a row what the anchors are extended with */
	uint8_t backup[KEY_LEN]; /* seals copies of the store; of GROUP_DEFAULT alone, too */
	uint8_t share[KEY_LEN];	 /* the second one of its root; see shared */
	bool shared;
	bool rows_only;		 /* of a root before, taken over from another keeper: it unwraps nothing */
	bool recovered; /* open by its recovery key: that nothing else unseals it is no news */
	bool shut; /* it could not be unsealed once more: what runs is served, and nothing else */
};
/* A root that is being rotated has a successor, then is the one before: see vtpm-mgr/proto/escrow.h. */
struct groups {
	struct group_key *slots; /* KEEPER_GROUPS_MAX, and one behind the last to derive into */
	struct group_key *next, *former; /* those of slots[i]; without a name: none */
	unsigned n;
};

CHECKED int groups_init(struct groups *g);
void groups_free(struct groups *g);
/* NULL: not open. */
const uint8_t *groups_find(const struct groups *g, const char *group);
/* It was opened by its recovery key, or not. */
void groups_recovered(struct groups *g, const char *group, bool recovered);
/* Whether it may be used for more than what runs. */
void groups_shut(struct groups *g, const char *group, bool shut);
/* All keys of it. */
const struct group_key *groups_keys(const struct groups *g, const char *group);
/* 0, or ERR_FULL if the group would be one too many. */
CHECKED int groups_room(const struct groups *g, const char *group);
/*
 * Derives and keeps the wrapping key. A group that is open with this root stays open; ERR_EXISTS: it
 * is open with another.
 */
CHECKED int groups_open(struct groups *g, const char *group, const uint8_t root[static KEY_LEN]);
/*
 * The same for a root just made: it takes the place of another. Which root of a name is the one that
 * lasts is the manager's to know: it stores them, and asks for a new one only where it has none. A root
 * here that it does not have is one whose storing failed, and nothing that was kept is under it.
 */
CHECKED int groups_replace(struct groups *g, const char *group, const uint8_t root[static KEY_LEN]);

/* The second share of a root that is open, for its successors. */
void groups_keep_share(struct groups *g, const char *group, const uint8_t share[static KEY_LEN]);
/* The successor of a group that is open. */
CHECKED int groups_succeed(struct groups *g, const char *group, const uint8_t root[static KEY_LEN]);
/* NULL: there is none. */
const struct group_key *groups_next(const struct groups *g, const char *group);
const struct group_key *groups_former(const struct groups *g, const char *group);
/* ERR_WRONG_STATE: it has no successor. */
CHECKED int groups_switch(struct groups *g, const char *group);
void groups_forget_former(struct groups *g, const char *group);
/* It has no successor; if that was the root already, the one before is again. */
void groups_return(struct groups *g, const char *group);
/* ERR_WRONG_STATE: the group is not open. */
CHECKED int groups_take_former(struct groups *g, const char *group, const uint8_t row[static KEY_LEN],
			       const uint8_t extend[static KEY_LEN]);

#endif

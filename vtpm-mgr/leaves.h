/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the manager knows to be the newest state of everything in the store, and what each row of the journal
 * vouches for by its Merkle root: a leaf per vTPM, and one per group. In memory, sorted by uuid; the table "leaf" of
 * the store is its image.
 *
 *	vTPM   uuid; owner epoch, from 1; version and SHA-256 of its sealed state; mode; discontinuities; serial number and SHA-256 of what is certified
 *	group  the first 16 bytes of SHA-256("vtpm group v1" ‖ name); epoch 0; SHA-256 of its sealed root; mode
 *	       what it demands of launches, if that was ever said: the same of "vtpm group launch v1"; SHA-256 of the value
 */
#ifndef VTPM_MGR_LEAVES_H
#define VTPM_MGR_LEAVES_H

#include "vtpm-mgr/merkle.h"
#include "vtpm-mgr/store.h"

struct leaf {
	struct store_leaf l;
	double tokens;	       /* anchored changes that it may still cause; see commit_quota.c */
	uint64_t tokens_ms;    /* when that was; 0: never */
	bool seen;	       /* the store's keys and certificates are those of l.certs, as far as this manager has looked */
};

struct leaves {
	struct leaf *v;
	size_t n, cap;
	struct merkle tree;
};

CHECKED int leaves_init(struct leaves *s);
void leaves_free(struct leaves *s);
/* The table of the store, in place of what was there. ERR_AUTH: a row of it is damaged. */
CHECKED int leaves_load(struct leaves *s, struct store *store);
struct leaf *leaves_find(const struct leaves *s, const uint8_t uuid[static UUID_LEN]);
/* Whether that is the hash of a leaf; zeroes: of none (NULL). */
bool leaf_is(const struct leaf *l, const uint8_t hash[static DIGEST_LEN]);
/* Room for n more: puts and removals up to there, and taking them back, do not fail for want of memory. */
CHECKED int leaves_reserve(struct leaves *s, size_t n);
/* Sets the leaf of l's uuid. */
CHECKED int leaves_put(struct leaves *s, const struct store_leaf *l);
/* Nothing happens if there is none. */
CHECKED int leaves_remove(struct leaves *s, const uint8_t uuid[static UUID_LEN]);
/* One discontinuity more for every vTPM, whatever its mode: nothing tells whether it has lost something. */
CHECKED int leaves_count_all(struct leaves *s);
CHECKED int leaves_root(struct leaves *s, uint8_t root[static DIGEST_LEN]);

/* The leaf of a group; root: its row. */
CHECKED int leaf_of_group(const char *name, const void *root, size_t len, uint8_t mode, struct store_leaf *out);
/* That of what a group demands of launches; policy: the value in the store. */
CHECKED int leaf_of_launch(const char *name, const void *policy, size_t len, struct store_leaf *out);
CHECKED int leaf_group_uuid(const char *name, uint8_t uuid[static UUID_LEN]);
CHECKED int leaf_hash(const void *p, size_t n, uint8_t hash[static DIGEST_LEN]);

#endif

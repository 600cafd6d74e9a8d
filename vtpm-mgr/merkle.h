/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Merkle tree over a list, hashed as RFC 6962, 2.1 says (SHA-256; 0 before a leaf, 1 before a node, so that neither can
 * be taken for the other). Changing one of n leaves costs log2(n) hashes; inserting and removing hash anew what lies
 * behind. Every level is kept, so that a proof of one leaf can be read off.
 */
#ifndef VTPM_MGR_MERKLE_H
#define VTPM_MGR_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "vtpm-mgr/proto/limits.h"

#define MERKLE_LEVELS 33u /* for 2^32 leaves */

struct evp_md_ctx_st; /* OpenSSL's EVP_MD_CTX */

struct merkle {
	struct evp_md_ctx_st *ctx;
	size_t n, cap; /* leaves, and room for them */
	uint8_t (*level[MERKLE_LEVELS])[DIGEST_LEN]; /* 0: the leaves; the top one has one node */
};

CHECKED int merkle_init(struct merkle *t);
void merkle_free(struct merkle *t);
/* Room for n leaves: what follows cannot run out of memory up to there. */
CHECKED int merkle_reserve(struct merkle *t, size_t n);
/* The hash of a leaf's data. */
CHECKED int merkle_leaf(struct merkle *t, const void *data, size_t len, uint8_t hash[static DIGEST_LEN]);
/* All leaves at once, by their hashes. */
CHECKED int merkle_build(struct merkle *t, size_t n, const uint8_t hashes[][DIGEST_LEN]);
CHECKED int merkle_set(struct merkle *t, size_t at, const uint8_t hash[static DIGEST_LEN]);
CHECKED int merkle_insert(struct merkle *t, size_t at, const uint8_t hash[static DIGEST_LEN]);
CHECKED int merkle_remove(struct merkle *t, size_t at);
/* The siblings of a leaf, from below: MERKLE_LEVELS at most. A node that has none goes up as it is. */
CHECKED int merkle_proof(const struct merkle *t, size_t at, uint8_t proof[][DIGEST_LEN], size_t *n);
/* Of no leaves: the hash of nothing. */
CHECKED int merkle_root(struct merkle *t, uint8_t root[static DIGEST_LEN]);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The second share of a group's root, on its way from who unlocks it. It is encrypted to a key of this process, made for one use, which the
 * certificate key in the chip has signed together with a nonce of the client's: so nobody on the way, the manager least of all, puts a
 * key of his own in its place, or replays an old one. Wrong shares cost time, twice as much each.
 */
#ifndef VTPM_KEEPER_SHARE_H
#define VTPM_KEEPER_SHARE_H

#include <stdbool.h>

#include "vtpm-mgr/escrow/envelope.h"
#include "vtpm-mgr/proto/share.h"

#define SHARE_TRIES_MAX KEEPER_GROUPS_MAX

/* What was tried for one root, by its id: who gives another id learns nothing of it. */
struct share_tries {
	uint8_t root_id[ROOT_ID_LEN];
	unsigned wrong; /* in a row; 0: nobody's */
	uint64_t not_before;
};

struct share_exchange {
	EVP_PKEY *key; /* NULL: there is none */
	uint8_t nonce[CHALLENGE_NONCE_LEN]; /* the client's */
	uint64_t until;			    /* seconds of challenge_now */
	struct share_tries tries[SHARE_TRIES_MAX + 1]; /* the last: of all that have no place */
};

/* der: the key that is to be signed. */
CHECKED int share_begin(struct share_exchange *x, uint64_t now, const uint8_t nonce[static CHALLENGE_NONCE_LEN],
			uint8_t der[static PUBKEY_MAX], size_t *len);
void share_end(struct share_exchange *x);
/* The share; the key is used up. ERR_TIMEOUT: there is none. ERR_AUTH: it is for another one, or another group. */
CHECKED int share_receive(struct share_exchange *x, uint64_t now, const char *group, const uint8_t *envelope, size_t len,
			  uint8_t share[static KEY_LEN]);
/* Seconds that are left until another try for that root; 0: now. */
uint64_t share_must_wait(const struct share_exchange *x, const uint8_t root_id[static ROOT_ID_LEN], uint64_t now);
/* How a try ended. */
void share_tried(struct share_exchange *x, const uint8_t root_id[static ROOT_ID_LEN], uint64_t now, bool right);

#endif

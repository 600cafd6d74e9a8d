/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots out of the keeper to the offline keys, and back into a keeper on whatever chip there is then. Back they come in the answer
 * to a challenge: a key pair and a nonce of this process, used for one recovery. The nonce is told to who has a recovery key, and to nobody else: so no root comes
 * from anybody else, though all can encrypt to the key. Whoever answers must know that it is the keeper's key, and not
 * that of somebody on the way; so the keeper logs a code, which the challenge's reader asks for.
 */
#ifndef VTPM_KEEPER_ESCROW_H
#define VTPM_KEEPER_ESCROW_H

#include "vtpm-mgr/escrow/envelope.h"

struct challenge {
	EVP_PKEY *key; /* NULL: there is none */
	uint8_t nonce[CHALLENGE_NONCE_LEN]; /* secret */
	uint64_t until; /* seconds on CLOCK_BOOTTIME: a suspend does not stop it */
	unsigned nused; /* roots that came back: each comes once */
	uint8_t used[KEEPER_GROUPS_MAX][ROOT_ID_LEN];
};

uint64_t challenge_now(void);
/* A new one in place of another. der: its public key. */
CHECKED int challenge_new(struct challenge *c, uint64_t now, uint8_t der[static PUBKEY_MAX], size_t *len);
void challenge_end(struct challenge *c);
/* What is in an answer. ERR_TIMEOUT: there is no challenge any more, or it has brought that root. ERR_AUTH: it answers another, or is not of that root. */
CHECKED int challenge_open(struct challenge *c, uint64_t now, const struct root_restore *m, uint8_t root[static KEY_LEN]);
/* An envelope for key, bound to tag. */
CHECKED int escrow_seal(EVP_PKEY *key, const struct escrow_tag *tag, const uint8_t secret[static KEY_LEN], struct buf *out);

#endif

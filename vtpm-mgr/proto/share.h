/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Groups whose root the chip alone does not give: what it gives is one share, and the other comes from whoever unlocks the group, for the
 * keeper alone. By the rules of keeper.h.
 *
 *	SHARE_BEGIN	{nonce}			-> {var public key, signature r 32, s 32}	a key of the moment, which the host's CA vouches for;
 *						ends the one before. ERR_WRONG_STATE: the CA is not open
 *	GROUP_NEW_SHARED {group, mask, flags, var envelope}	-> {struct sealed_root, root id}	the share in the envelope becomes its second one
 *	GROUP_UNLOCK	{group, struct sealed_root, root id, var envelope}	-> {}	ERR_DENIED: it is another share; ERR_BUSY: wait a while;
 *						ERR_TIMEOUT, ERR_AUTH: the envelope is for another key
 *
 * Share = scrypt of a passphrase, or HMAC of a key file (vtpm-mgr/ctl/share.c); root = HKDF(what is sealed ‖ share). GROUP_OPEN of such a
 * group is refused with ERR_DENIED. Its offline keys have what is sealed, not the root: they stand for the chip, not for the share.
 */
#ifndef VTPM_PROTO_SHARE_H
#define VTPM_PROTO_SHARE_H

#include "vtpm-mgr/proto/escrow.h"

enum {
	KEEPER_SHARE_BEGIN = 0x4b450081,
	KEEPER_GROUP_NEW_SHARED,
	KEEPER_GROUP_UNLOCK,
};

#define SHARE_SALT_LEN	    32u
#define SHARE_SIGNATURE_LEN 64u
#define SHARE_SECONDS	    600u /* from SHARE_BEGIN to its use */
#define SHARE_WAIT_MIN	    2u	/* seconds, after the first wrong one; then doubled */
#define SHARE_WAIT_MAX	    300u

enum share_kind { SHARE_PASSPHRASE = 1, SHARE_KEYFILE };

/* What the store keeps of it, in the table meta under "share:GROUP": nothing that helps to guess without the chip. */
struct share_record {
	uint8_t kind; /* enum share_kind */
	uint8_t salt[SHARE_SALT_LEN];
	uint8_t root_id[ROOT_ID_LEN];
};
#define SHARE_RECORD_SIZE (1u + SHARE_SALT_LEN + ROOT_ID_LEN)

struct group_new_shared {
	struct keeper_group_new group;
	const uint8_t *envelope; /* view */
	size_t envelope_len;
};
struct group_unlock {
	struct keeper_group_open group;
	uint8_t root_id[ROOT_ID_LEN];
	const uint8_t *envelope; /* view */
	size_t envelope_len;
};

/* Whole bodies, id included. */
#define KEEPER_SHARE_BEGIN_SIZE	    (KEEPER_ID_SIZE + CHALLENGE_NONCE_LEN)
#define KEEPER_GROUP_NEW_SHARED_MIN (KEEPER_GROUP_NEW_MIN + 4u + ENVELOPE_MIN)
#define KEEPER_GROUP_NEW_SHARED_MAX (KEEPER_GROUP_NEW_MAX + 4u + ENVELOPE_MAX)
#define KEEPER_GROUP_UNLOCK_MIN	    (KEEPER_GROUP_OPEN_MIN + ROOT_ID_LEN + 4u + ENVELOPE_MIN)
#define KEEPER_GROUP_UNLOCK_MAX	    (KEEPER_GROUP_OPEN_MAX + ROOT_ID_LEN + 4u + ENVELOPE_MAX)

CHECKED int share_record_encode(struct buf *b, const struct share_record *r);
CHECKED int share_record_decode(struct buf *b, struct share_record *r);
/* What is signed; what the envelope is bound to. */
CHECKED int share_signed(struct buf *b, const uint8_t nonce[static CHALLENGE_NONCE_LEN], const uint8_t *key, size_t len);
CHECKED int share_context(struct buf *b, const uint8_t nonce[static CHALLENGE_NONCE_LEN], const char *group);
CHECKED int group_new_shared_encode(struct buf *b, const struct group_new_shared *m);
CHECKED int group_new_shared_decode(struct buf *b, struct group_new_shared *m);
CHECKED int group_unlock_encode(struct buf *b, const struct group_unlock *m);
CHECKED int group_unlock_decode(struct buf *b, struct group_unlock *m);

#endif

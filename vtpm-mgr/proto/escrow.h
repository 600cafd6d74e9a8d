/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots that outlive the chip, between manager and keeper; by the rules of keeper.h. What an offline key holds is an envelope
 * (vtpm-mgr/escrow/envelope.h), and the manager never has what is in it.
 *
 * The recovery keys are those that the keeper found in a directory of root's before it entered its sandbox: a manager that was taken over
 * cannot name one of its own.
 *
 *	RECOVERY_KEYS	{}				-> {u8 n, n fingerprints}
 *	ESCROW_WRAP	{struct escrow_wrap}		-> {root id, envelope}	the root of an open group, or with it the owner's auth, for one of them
 *	CHALLENGE	{}				-> {u8 n, n var envelopes, var public key}	ends the one before; lasts CHALLENGE_SECONDS. In the
 *							envelopes, one for each recovery key: its nonce. Who has none of them does not know what an
 *							answer is bound to. ERR_NOTFOUND: there is no recovery key
 *	ROOT_RESTORE	{struct root_restore}		-> struct sealed_root	the root in the answer to it, sealed to the TPM of now. ERR_TIMEOUT: there is
 *							no challenge any more, or it has brought that root; ERR_AUTH: it answers another, or was
 *							changed; ERR_WRONG_STATE: that group is open
 *
 * A root is rotated while its group is open. It has a successor first, under which everything is wrapped anew; with GROUP_SWITCH that is the
 * root, and the one before is kept to verify and unwrap with until GROUP_SWITCHED.
 *
 *	GROUP_RESEAL	{group, sealed root, sets}	-> {struct sealed_root, former keys, root id}	a successor, under the same policy, which must unseal the
 *							root there is now. ERR_PCR: it does not; ERR_AUTH: that is another root than is open
 *	KEY_RESEAL	{binding, wrapped, config}	-> {wrapped}		under the successor, for the binding with that config
 *	CA_RESEAL	{}				-> {wrapped auth}	under that of "default"; the same for
 *	ANCHOR_RESEAL	{}				-> {anchor_record}
 *	GROUP_SWITCH	{group}				-> {}		from here on rows are made with its keys
 *	GROUP_SWITCHED	{group}				-> {}		the one before is forgotten
 *	GROUP_RETURN	{group}				-> {}		the one before is the root again: nothing of its successor is stored
 *	GROUP_FORMER	{former keys}			-> {}		of "default": by a new keeper, if it came to an end in between
 */
#ifndef VTPM_PROTO_ESCROW_H
#define VTPM_PROTO_ESCROW_H

#include <stdbool.h>

#include "vtpm-mgr/proto/keeper.h"

enum {
	KEEPER_RECOVERY_KEYS = 0x4b450061,
	KEEPER_ESCROW_WRAP,
	KEEPER_CHALLENGE,
	KEEPER_ROOT_RESTORE,
	KEEPER_GROUP_RESEAL,
	KEEPER_KEY_RESEAL,
	KEEPER_CA_RESEAL,
	KEEPER_ANCHOR_RESEAL,
	KEEPER_GROUP_SWITCH,
	KEEPER_GROUP_SWITCHED,
	KEEPER_GROUP_FORMER,
	KEEPER_GROUP_RETURN,
};

#define RECOVERY_KEYS_MAX 8u
#define PUBKEY_MAX	  640u /* SubjectPublicKeyInfo, DER; RSA-4096 has 550 bytes */
#define CHALLENGE_NONCE_LEN 32u
#define CODE_LEN	  12u  /* bytes of a challenge's code */
#define CHALLENGE_SECONDS 3600u
#define ENVELOPE_MIN	  (1u + DIGEST_LEN + 4u + KEY_LEN + 16u)
#define ENVELOPE_MAX	  (ENVELOPE_MIN + 512u)
#define FORMER_LEN	  (2u * WRAPPED_KEY_LEN) /* the keys of journal rows and of the anchors, under the successor's wrapping key */

#define CHALLENGE_MAX	  (1u + RECOVERY_KEYS_MAX * (4u + ENVELOPE_MAX) + 4u + PUBKEY_MAX)
_Static_assert(CHALLENGE_MAX <= KEEPER_RESULT_MAX, "a challenge fits");

/* The offline keys that a keeper has. */
struct recovery_keys {
	unsigned n;
	uint8_t fingerprints[RECOVERY_KEYS_MAX][DIGEST_LEN];
};

/* What is in an envelope. */
enum escrow_what { ESCROW_ROOT = 1, ESCROW_OWNER = 2 };

/* What it is bound to. */
struct escrow_tag {
	uint8_t what; /* enum escrow_what */
	char group[NAME_MAX_LEN + 1];
	uint8_t root_id[ROOT_ID_LEN]; /* as in struct sealed_root */
};
#define ESCROW_TAG_MIN (1u + 4u + 1u + ROOT_ID_LEN)
#define ESCROW_TAG_MAX (ESCROW_TAG_MIN - 1u + NAME_MAX_LEN)
#define ESCROW_CONTEXT_MAX (64u + CHALLENGE_NONCE_LEN + ESCROW_TAG_MAX)

struct escrow_wrap {
	uint8_t what;
	uint8_t fingerprint[DIGEST_LEN]; /* of the recovery key */
	struct keeper_group_open group;
};
struct root_restore {
	struct escrow_tag tag;
	uint32_t mask, flags; /* as of GROUP_NEW */
	const uint8_t *envelope; /* view */
	size_t envelope_len;
};
struct key_reseal {
	struct key_binding binding;
	const uint8_t *wrapped; /* view */
	size_t wrapped_len;
	uint8_t config[DIGEST_LEN]; /* of the row as it will be */
};

/* Whole bodies, id included. */
#define KEEPER_ESCROW_WRAP_MIN	(KEEPER_GROUP_OPEN_MIN + 1u + DIGEST_LEN)
#define KEEPER_ESCROW_WRAP_MAX	(KEEPER_GROUP_OPEN_MAX + 1u + DIGEST_LEN)
#define KEEPER_ROOT_RESTORE_MIN (KEEPER_ID_SIZE + ESCROW_TAG_MIN + 12u + ENVELOPE_MIN)
#define KEEPER_ROOT_RESTORE_MAX (KEEPER_ID_SIZE + ESCROW_TAG_MAX + 12u + ENVELOPE_MAX)
#define KEEPER_KEY_RESEAL_MIN	(KEEPER_ID_SIZE + KEY_BINDING_MIN + 4u + DIGEST_LEN)
#define KEEPER_KEY_RESEAL_MAX	(KEEPER_ID_SIZE + KEY_BINDING_MAX + 4u + WRAPPED_KEY_LEN + DIGEST_LEN)
#define KEEPER_GROUP_MIN	(KEEPER_ID_SIZE + 5u)
#define KEEPER_GROUP_MAX	(KEEPER_ID_SIZE + 4u + NAME_MAX_LEN)
#define KEEPER_FORMER_SIZE	(KEEPER_ID_SIZE + FORMER_LEN)

CHECKED int escrow_tag_encode(struct buf *b, const struct escrow_tag *t);
CHECKED int escrow_tag_decode(struct buf *b, struct escrow_tag *t);
/* What envelopes are bound to: of one that is kept (nonce NULL), and of one that answers the challenge of that nonce. */
CHECKED int escrow_context(struct buf *b, const struct escrow_tag *t, const uint8_t *nonce);
/* And of the nonce of a challenge. */
CHECKED int nonce_context(struct buf *b);
CHECKED int escrow_wrap_encode(struct buf *b, const struct escrow_wrap *m);
CHECKED int escrow_wrap_decode(struct buf *b, struct escrow_wrap *m);
CHECKED int root_restore_encode(struct buf *b, const struct root_restore *m);
CHECKED int root_restore_decode(struct buf *b, struct root_restore *m);
CHECKED int key_reseal_encode(struct buf *b, const struct key_reseal *m);
CHECKED int key_reseal_decode(struct buf *b, struct key_reseal *m);
CHECKED int group_name_encode(struct buf *b, const char *group);
CHECKED int group_name_decode(struct buf *b, char group[static NAME_MAX_LEN + 1]);

#endif

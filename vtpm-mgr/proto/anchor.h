/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State continuity between manager and keeper: the journal's rows and the two anchors in the physical TPM
 * (docs/continuity.md). The requests follow the rules of keeper.h; group "default" must be open, because the
 * keys that authenticate rows and make what the anchors are extended with are derived from its root.
 *
 *	ANCHOR_NEW	{struct anchor_new}	-> anchor_record, anchor_view	defines A and V; ERR_EXISTS: a handle is taken
 *	ANCHOR_RENEW	{anchor_record}		-> anchor_record, anchor_view	removes what is at its handles and defines them anew
 *	ANCHOR_OPEN	{anchor_record}		-> anchor_view	ERR_AUTH: the record is damaged
 *	ANCHOR_OWN	{anchor_record}		-> {}		the owner hierarchy gets the recorded auth, if it has none
 *	ROW_MAC		{row}			-> {mac}
 *	ANCHOR_EXTEND	{row}			-> {value of A, value of V}	ERR_WRONG_STATE: an anchor holds neither the
 *						value before nor the one after: nothing may be acknowledged
 *	ROWS_VERIFY	{(row, mac)…}		-> {row_view…}
 *	TPM_SHUTDOWN	{}			-> {}		the manager ends in order and the TPM is its own
 *
 * What the anchors are extended with never leaves the keeper.
 */
#ifndef VTPM_PROTO_ANCHOR_H
#define VTPM_PROTO_ANCHOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "vtpm-mgr/proto/limits.h"

enum {
	KEEPER_ANCHOR_NEW = 0x4b450021,
	KEEPER_ANCHOR_RENEW,
	KEEPER_ANCHOR_OPEN,
	KEEPER_ANCHOR_OWN,
	KEEPER_ROW_MAC,
	KEEPER_ANCHOR_EXTEND,
	KEEPER_ROWS_VERIFY,
	KEEPER_TPM_SHUTDOWN,
};

/* All but plain ones extend A, too. */
enum row_kind {
	ROW_GENESIS = 1, /* the first one: provisioning, or an accepted rollback */
	ROW_OPEN,	 /* a manager begins to serve on what it found */
	ROW_CLOSE,	 /* it has stopped in order */
	ROW_ANCHOR,	 /* something in it may not be lost, or a checkpoint */
	ROW_PLAIN,	 /* changes of bounded guests */
};

/* One commit. Its encoding is what is hashed, authenticated and extended. */
struct journal_row {
	uint64_t n;
	uint8_t kind;		    /* enum row_kind */
	uint32_t reset_count;	    /* of the TPM when the row was made (TPM 2.0 Part 2, 10.11.2) */
	uint8_t root[DIGEST_LEN];   /* Merkle root over all leaves, with this row's changes */
	uint8_t prev[DIGEST_LEN];   /* SHA-256 of the row before; of a genesis row a nonce */
	uint8_t a_prev[DIGEST_LEN]; /* values before this row; zeros: not written */
	uint8_t v_prev[DIGEST_LEN];
};
#define JOURNAL_ROW_SIZE (8u + 1u + 4u + 4u * DIGEST_LEN)
#define ROW_SEALED_SIZE	 (JOURNAL_ROW_SIZE + DIGEST_LEN) /* with its MAC */

#define ANCHOR_SHARED	   (1u << 0) /* the chip has other users: its owner hierarchy is left alone */
#define ANCHOR_STRICT_ONLY (1u << 1) /* the chip has no orderly index: there is no V, and every row is anchored */

struct anchor_new {
	uint32_t a, v; /* NV handles */
	uint32_t flags; /* ANCHOR_SHARED */
};

/* What the store keeps of the anchors. Opaque to the manager, but for handles and flags. */
struct anchor_record {
	uint32_t a, v, flags;
	uint32_t a_attributes, v_attributes; /* TPMA_NV, without WRITTEN */
	uint8_t a_auth[WRAPPED_KEY_LEN], v_auth[WRAPPED_KEY_LEN], owner_auth[WRAPPED_KEY_LEN];
};
#define ANCHOR_RECORD_SIZE (20u + 3u * WRAPPED_KEY_LEN)
#define ANCHOR_NEW_SIZE	   12u

/* What was found at an anchor's handle. */
enum anchor_state {
	ANCHOR_VALUE,	/* ours, and holds a value */
	ANCHOR_ABSENT,	/* ours, and was not written since it was defined or, V, since the TPM was reset */
	ANCHOR_MISSING, /* there is no index */
	ANCHOR_FOREIGN, /* its Name is not that of the index we defined */
	ANCHOR_AUTH,	/* it looks like ours and has another auth value */
	ANCHOR_STATES
};

enum owner_state { OWNER_OURS, OWNER_EMPTY, OWNER_OTHER, OWNER_STATES };

struct anchor_view {
	uint32_t reset_count;
	uint8_t a_state, v_state; /* enum anchor_state */
	uint8_t a[DIGEST_LEN], v[DIGEST_LEN]; /* zeros unless ANCHOR_VALUE */
	uint8_t owner; /* enum owner_state: who has the auth of the owner hierarchy */
};
#define ANCHOR_VIEW_SIZE (4u + 3u + 2u * DIGEST_LEN)

/* What the keeper says of one row. */
struct row_view {
	bool ok; /* its MAC is right; otherwise the values are zeros */
	uint8_t a_after[DIGEST_LEN], v_after[DIGEST_LEN];
};
#define ROW_VIEW_SIZE	(1u + 2u * DIGEST_LEN)
#define ROWS_VERIFY_MAX 24u

CHECKED int journal_row_encode(struct buf *b, const struct journal_row *r);
CHECKED int journal_row_decode(struct buf *b, struct journal_row *r);
CHECKED int anchor_new_encode(struct buf *b, const struct anchor_new *m);
CHECKED int anchor_new_decode(struct buf *b, struct anchor_new *m);
CHECKED int anchor_record_encode(struct buf *b, const struct anchor_record *r);
CHECKED int anchor_record_decode(struct buf *b, struct anchor_record *r);
CHECKED int anchor_view_encode(struct buf *b, const struct anchor_view *v);
CHECKED int anchor_view_decode(struct buf *b, struct anchor_view *v);
CHECKED int row_view_encode(struct buf *b, const struct row_view *v);
CHECKED int row_view_decode(struct buf *b, struct row_view *v);

#endif

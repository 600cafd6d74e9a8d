/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two anchors of the journal in the physical TPM, and the keys that make and check its rows (docs/continuity.md).
 *
 *	A  an extend index that survives everything and wears out
 *	V  an orderly one: in RAM, gone at a TPM reset
 *
 * A row extends V, then A unless it is plain, by an HMAC over the whole row that never leaves this process. Only the
 * values that the row names as the ones before it are ever extended, so a row is used once.
 */
#ifndef VTPM_KEEPER_ANCHOR_H
#define VTPM_KEEPER_ANCHOR_H

#include "vtpm-mgr/keeper/groups.h"
#include "vtpm-mgr/keeper/nv.h"

struct anchor_secrets {
	uint8_t a[KEY_LEN], v[KEY_LEN], owner[KEY_LEN];
};

struct anchor {
	struct tpm *tpm;
	const struct groups *groups;
	struct anchor_secrets *secrets; /* locked memory */
	struct anchor_record record;
	struct nv_index a, v;
	bool known; /* the secrets are those of the record */
	bool open; /* the values below are those of the TPM */
	uint8_t a_now[DIGEST_LEN], v_now[DIGEST_LEN];
	uint64_t last; /* number of the row last extended by this process */
};

CHECKED int anchor_init(struct anchor *an, struct tpm *t, const struct groups *g);
void anchor_free(struct anchor *an);

/* Defines A and V with auth values of their own. ERR_EXISTS: something is at one of the handles. */
CHECKED int anchor_new(struct anchor *an, const struct anchor_new *want, struct anchor_view *view);
/* Removes what is at the handles of a record, and defines both anew; an->record is what to keep. */
CHECKED int anchor_renew(struct anchor *an, const struct anchor_record *old, struct anchor_view *view);
/* Looks at both. ERR_AUTH: the record is damaged. */
CHECKED int anchor_open(struct anchor *an, const struct anchor_record *record, struct anchor_view *view);
/* Gives the owner hierarchy the auth value of the open record, if it has none. */
CHECKED int anchor_own(struct anchor *an);
/* The open record, under the successor of the root. */
CHECKED int anchor_reseal(struct anchor *an, struct anchor_record *record);
/* The auth of the owner hierarchy, KEY_LEN bytes; NULL: the record is not open. */
const uint8_t *anchor_owner(const struct anchor *an);
/* For operations: commands of the owner hierarchy have its auth from here on. */
CHECKED int anchor_as_owner(struct anchor *an);
CHECKED int anchor_mac(struct anchor *an, const struct journal_row *row, uint8_t mac[static DIGEST_LEN]);
/* Extends V and A by a row, each read back. */
CHECKED int anchor_extend(struct anchor *an, const struct journal_row *row);
/* Whether a row is ours, and the values of A and V after it. */
CHECKED int anchor_check(struct anchor *an, const struct journal_row *row, const uint8_t mac[static DIGEST_LEN],
			 struct row_view *view);
CHECKED int anchor_shutdown(struct anchor *an);

#endif

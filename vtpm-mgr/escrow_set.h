/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the offline keys hold of one secret, an envelope for each, as the store and the header of a backup have it:
 *
 *	root id 16 | u8 n | n times var envelope
 *
 * No secret: it opens with an offline key alone. Nothing vouches for it but what comes out of it.
 */
#ifndef VTPM_MGR_ESCROW_SET_H
#define VTPM_MGR_ESCROW_SET_H

#include "vtpm-mgr/proto/escrow.h"

#define ESCROW_SET_MIN (ROOT_ID_LEN + 1u)
#define ESCROW_SET_MAX (ESCROW_SET_MIN + RECOVERY_KEYS_MAX * (4u + ENVELOPE_MAX))

struct escrow_set {
	uint8_t root_id[ROOT_ID_LEN];
	unsigned n;
	/* Views. */
	const uint8_t *envelopes[RECOVERY_KEYS_MAX];
	size_t lens[RECOVERY_KEYS_MAX];
	const uint8_t *bytes; /* all of it */
	size_t len;
};

/* ERR_AUTH: it is damaged. */
CHECKED int escrow_set_decode(const uint8_t *p, size_t len, struct escrow_set *set);
/* The fingerprint of the key that envelope i is for. */
const uint8_t *escrow_recipient(const struct escrow_set *set, unsigned i);

#endif

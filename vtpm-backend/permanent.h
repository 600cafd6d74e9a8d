/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is sealed (state.h) as a vTPM's permanent state: in the store as STATE_PERMANENT, and as STATE_SAVED_PERMANENT with a hypervisor.
 *
 *	u8 format 1 | 32 bytes secret | libtpms's blob, packed (pack.h)
 *
 * The secret is the vTPM's own, random, drawn where its TPM is made or taken over (worker), and never another one: what keeps keys of
 * ours in that TPM from its guest is derived from it (ak.h). It goes with the state, so it stays when the vTPM's key is replaced.
 */
#ifndef VTPM_BACKEND_PERMANENT_H
#define VTPM_BACKEND_PERMANENT_H

#include "vtpm-backend/pack.h"
#include "vtpm-backend/state.h"

#define PERMANENT_OVERHEAD (STATE_OVERHEAD + 1u + KEY_LEN + PACK_OVERHEAD) /* of a sealed one, over the blob, at most */
#define PERMANENT_MAX	   (SEALED_STATE_MAX - PERMANENT_OVERHEAD) /* of the blob, whatever it packs to */

/* Appends the sealed form of n bytes of blob to out: n + PERMANENT_OVERHEAD bytes at most. ERR_FULL: beyond PERMANENT_MAX. */
CHECKED int permanent_seal(struct sealer *s, const struct state_id *id, const uint8_t secret[static KEY_LEN], const uint8_t *blob,
			   size_t n, struct buf *out);
/*
 * Opens a sealed one. *blob is the caller's to wipe and free. Errors as of state_open, and nothing is given then: ERR_VERSION: a newer
 * format; ERR_AUTH: anything else that is none.
 */
CHECKED int permanent_open(const uint8_t key[static KEY_LEN], const struct state_id *id, const uint8_t *sealed, size_t n,
			   uint8_t secret[static KEY_LEN], uint8_t **blob, size_t *len);

#endif

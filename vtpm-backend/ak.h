/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The attestation key of a vTPM: a restricted signing key, ECDSA over P-256 with SHA-256, which signs quotes and what the TPM says of
 * itself. It is a primary key of the platform hierarchy, persistent at 0x81810001, so the guest's owner can neither evict nor replace it,
 * and TPM2_Clear leaves it alone. Two secrets, derived from the vTPM's (permanent.h), keep it ours:
 *
 *	auth	without it nobody uses the key, and no guest has it signed anything;
 *	unique	is in its template, where a key's own public part stands afterwards: firmware, which has the platform hierarchy
 *		until it gives it an auth value, could otherwise make the same key again with an auth of its own.
 *
 * A third is of the same kind, and for evidence_nv.h.
 *
 * So the seed makes it again for us alone: what is certified was made here, and is never what lies at a handle.
 */
#ifndef VTPM_BACKEND_AK_H
#define VTPM_BACKEND_AK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "vtpm-mgr/proto/backend.h"

#define AK_HANDLE     0x81810001u
#define AK_UNIQUE_LEN 64u /* both coordinates */

/* Keep it in locked memory. */
struct ak_secret {
	uint8_t auth[KEY_LEN];
	uint8_t unique[AK_UNIQUE_LEN];
	uint8_t rows[KEY_LEN]; /* the auth that evidence for the guest is written by */
};

CHECKED int ak_derive(struct ak_secret *s, const uint8_t secret[static KEY_LEN]);
/* Its template as a TPMT_PUBLIC, with s's unique in it. */
CHECKED int ak_template(const struct ak_secret *s, struct buf *out);
/*
 * Makes it anew of the seed in the running engine, checks that it is the template's but for the key, and sees to it that this very
 * key is at its handle. out: its TPM2B_PUBLIC. The platform auth must be empty.
 */
CHECKED int ak_settle(const struct ak_secret *s, uint8_t out[static PUBLIC_MAX], size_t *n);

#endif

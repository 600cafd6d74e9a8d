/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One NV extend index of the physical TPM that is ours alone: defined by its owner, used under an auth value of its
 * own in the salted session, so that its data is encrypted on the bus and every response verifies. Functions are
 * parts of operations (tpm.h).
 */
#ifndef VTPM_KEEPER_NV_H
#define VTPM_KEEPER_NV_H

#include "vtpm-mgr/keeper/tpm.h"
#include "vtpm-mgr/proto/anchor.h"

/* TPM 2.0 Part 2, 13.4: extend, by its auth value alone, not guarded against guessing 256 bits. */
#define NV_ANCHOR  ((uint32_t)(TPM2_NT_EXTEND << TPMA_NV_TPM2_NT_SHIFT) | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA)
#define NV_ORDERLY (NV_ANCHOR | TPMA_NV_ORDERLY)
#define NV_NAME_LEN 34u

struct nv_index {
	uint32_t handle, attributes;
	const uint8_t *auth; /* KEY_LEN bytes in locked memory */
	ESYS_TR tr;
	uint64_t context; /* of struct tpm, in which tr is valid; 0: none */
};

/* TPMS_NV_PUBLIC (Part 2, 13.5) of an index of those attributes, with an empty policy. */
CHECKED int nv_public(uint32_t handle, uint32_t attributes, uint8_t pub[static NV_PUBLIC_LEN]);
/* The Name (Part 1, 16) of an index of those attributes, computed from the public area and not asked of anybody. */
CHECKED int nv_name(uint32_t handle, uint32_t attributes, uint8_t name[static NV_NAME_LEN]);
/* What extending value with data makes of it (Part 3, 31.9). */
CHECKED int nv_extended(const uint8_t value[static DIGEST_LEN], const uint8_t data[static DIGEST_LEN],
			uint8_t out[static DIGEST_LEN]);
/*
 * Looks at what is there: *state, and the value, zeros unless ANCHOR_VALUE. The Name and whether it was written come in an
 * audited response. ANCHOR_MISSING and ANCHOR_AUTH rest on an error code, which carries no HMAC: ask twice.
 */
CHECKED int nv_look(struct tpm *t, struct nv_index *x, enum anchor_state *state, uint8_t value[static DIGEST_LEN]);
/* The two below: after nv_look in the same context. */
CHECKED int nv_extend(struct tpm *t, struct nv_index *x, const uint8_t data[static DIGEST_LEN]);
CHECKED int nv_read(struct tpm *t, struct nv_index *x, uint8_t value[static DIGEST_LEN]);
/* By the owner, whose auth is set (nv_owner). ERR_FULL: the TPM has no room for it, or cannot have an orderly one. */
CHECKED int nv_define(struct tpm *t, struct nv_index *x);
/* Removes whatever is at the handle. */
CHECKED int nv_undefine(struct tpm *t, struct nv_index *x);
/* The auth of the owner hierarchy for this context; NULL: the empty one. */
CHECKED int nv_owner(struct tpm *t, const uint8_t *auth);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A group's root key: 32 random bytes that the TPM gives out only while PCRs are what they were. */
#ifndef VTPM_KEEPER_ROOT_H
#define VTPM_KEEPER_ROOT_H

#include "vtpm-mgr/keeper/tpm.h"

struct root_blob { /* storage for the views of a struct sealed_root */
	uint8_t pub[SEALED_BLOB_MAX], priv[SEALED_BLOB_MAX];
};

/*
 * Makes a root, seals it to the present values of the PCRs of mask (0: the default set) and
 * unseals it once as a proof. root: in locked memory. *s: views of *blob.
 */
CHECKED int root_new(struct tpm *t, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
		     uint8_t root[static KEY_LEN]);
/* The same with a root that there is already. */
CHECKED int root_seal(struct tpm *t, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
		      uint8_t root[static KEY_LEN]);
/* ERR_PCR: PCRs differ, t->text says which. ERR_AUTH: the blob is not ours or was changed. */
CHECKED int root_open(struct tpm *t, const struct sealed_root *s, uint8_t root[static KEY_LEN]);

#endif

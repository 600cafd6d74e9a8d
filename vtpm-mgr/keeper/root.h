/* SPDX-License-Identifier: BSD-2-Clause */
/* A group's root key: 32 random bytes that the TPM gives out only while its policy is satisfied. */
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
CHECKED int root_new(struct tpm *t, const char *group, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
		     uint8_t root[static KEY_LEN]);
/* The same with a root that there is already. */
CHECKED int root_restore(struct tpm *t, const char *group, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
			 uint8_t root[static KEY_LEN]);
/* A new root under the policy of another, which is unsealed before: was, in locked memory. *s: views of *blob and of from. Errors of root_open. */
CHECKED int root_renew(struct tpm *t, const struct keeper_group_open *from, struct root_blob *blob, struct sealed_root *s,
		       uint8_t root[static KEY_LEN], uint8_t was[static KEY_LEN]);
/*
 * ERR_PCR: nothing unseals it on this boot, t->text says why. ERR_AUTH: the blob is not ours, was changed, or is not sealed to the
 * policy that stands beside it.
 */
CHECKED int root_open(struct tpm *t, const struct keeper_group_open *from, uint8_t root[static KEY_LEN]);
/* Unseals it, seals it to another policy, and unseals that as a proof. *s: views of *blob and of to. */
CHECKED int root_reseal(struct tpm *t, const struct keeper_group_open *from, const struct keeper_policy_seal *to,
			struct root_blob *blob, struct sealed_root *s, uint8_t root[static KEY_LEN]);
/*
 * By the recovery key, in a session that was started in this context. Of a fixed policy the root is sealed anew to the values that
 * are; of a signed one s->pub_len is 0. After a failure the session is gone.
 */
CHECKED int root_recover(struct tpm *t, const struct keeper_group_open *from, const struct keeper_recover *signature, ESYS_TR session,
			 struct root_blob *blob, struct sealed_root *s, uint8_t root[static KEY_LEN]);

#endif

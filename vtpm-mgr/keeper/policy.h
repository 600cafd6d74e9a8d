/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policies in sessions of the TPM. What proto/policy.h calculates, done; and, before anything is sealed to it, calculated by
 * the TPM as well. Functions are parts of operations (tpm.h), and leave errors of the TPM in t->rc.
 */
#ifndef VTPM_KEEPER_POLICY_H
#define VTPM_KEEPER_POLICY_H

#include "vtpm-mgr/keeper/tpm.h"

/* One way to unseal a root: the values that are, or a set that somebody signed. */
struct policy_way {
	const struct policy *policy;
	const char *group;
	const struct pcr_set *set; /* of a signed policy */
};

/* A session that has satisfied it, for the caller to flush also after a failure. */
CHECKED int policy_session(struct tpm *t, const struct policy_way *w, ESYS_TR *session);
/* The same by the recovery key, in a session that was started before: its nonce, which the signature is over, makes that unique. */
CHECKED int policy_recover(struct tpm *t, const struct policy *p, const char *group, const struct keeper_recover *signature,
			   ESYS_TR session);
/* Whether key has signed hash. ERR_AUTH: no. ticket: the TPM's word on it, freed by the caller; NULL: not wanted. */
CHECKED int policy_verify(struct tpm *t, const struct policy_key *key, const uint8_t hash[static DIGEST_LEN], uint8_t scheme,
			  const uint8_t *signature, size_t len, TPMT_TK_VERIFIED **ticket);
/* Has the TPM calculate all digests of a policy, and compares: a seal that nobody could satisfy must not be made. set: NULL, or one of it. */
CHECKED int policy_confirm(struct tpm *t, const struct policy_way *w, const uint8_t want[static DIGEST_LEN]);

#endif

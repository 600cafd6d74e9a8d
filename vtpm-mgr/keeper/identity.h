/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Besides the SRK: which chip it is (its endorsement key), and whether it is still the same power-on of it (resetCount). A TPM that is
 * reset under a host that runs has lost what was measured, and anybody can measure anew.
 */
#ifndef VTPM_KEEPER_IDENTITY_H
#define VTPM_KEEPER_IDENTITY_H

#include "vtpm-mgr/keeper/tpm.h"

/* The Name of the endorsement key of the TCG's template L-2 (ECC P-256); *len 0 if the endorsement hierarchy has a password. */
CHECKED int identity_ek(struct tpm *t, uint8_t name[static TPM_NAME_MAX], size_t *len);
/*
 * From now on the TPM may not be reset, unless accept; nor since it had been reset so often (known, if not NULL). *count: how often
 * it was so far (TPM 2.0 Part 1, 36.3).
 */
CHECKED int identity_pin(struct tpm *t, bool accept, const uint32_t *known, uint32_t *count);
/* For tpm_ready: in a context that is new. ERR_TPM_IDENTITY: it was reset. */
CHECKED int identity_check(struct tpm *t);

#endif

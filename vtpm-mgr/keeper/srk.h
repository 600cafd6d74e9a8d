/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The storage root key at SRK_HANDLE (TCG TPM v2.0 Provisioning Guidance, 7.5.1). Its Name is
 * pinned: whoever answers with another key is not our TPM, and no session is salted to it.
 */
#ifndef VTPM_KEEPER_SRK_H
#define VTPM_KEEPER_SRK_H

#include "vtpm-mgr/keeper/tpm.h"

/* Sets t->srk; ERR_TPM_IDENTITY if it is absent or not the key of the pinned Name. */
CHECKED int srk_find(struct tpm *t);
/* Pins the Name that the store remembers. */
CHECKED int srk_open(struct tpm *t, const uint8_t *name, size_t name_len);
/* First contact: makes the key if it is absent, and pins its Name. */
CHECKED int srk_adopt(struct tpm *t);
/* Whether pub is a storage root key by a TCG template: ECC P-256 or RSA 2048. */
bool srk_is_storage_key(const TPM2B_PUBLIC *pub);

#endif

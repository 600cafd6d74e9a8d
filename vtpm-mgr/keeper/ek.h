/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public areas that are certified: exactly the endorsement keys of TCG EK Credential Profile
 * 2.0, templates L-1 (RSA 2048) and L-2 (ECC P-256), the attestation key of vtpm-backend/ak.h, and nothing a backend may claim beside them.
 */
#ifndef VTPM_KEEPER_EK_H
#define VTPM_KEEPER_EK_H

#include "vtpm-mgr/keeper/openssl.h"
#include <tss2/tss2_tpm2_types.h>

#include "vtpm-mgr/proto/backend.h"

/* The template of a kind, with an empty unique. */
void ek_template(enum ek_kind kind, TPMT_PUBLIC *p);
/* That of an attestation key, of vTPMs and of the physical TPM alike. */
void ak_template(TPMT_PUBLIC *p);
/* Checks a marshalled TPM2B_PUBLIC and takes its key out. ERR_INVAL: not the template's. */
CHECKED int ek_decode(enum ek_kind kind, const uint8_t *pub, size_t pub_len, EVP_PKEY **key);

/* An uncompressed P-256 point (x, y: 32 bytes) as a public key. ERR_INVAL: not on the curve. */
CHECKED int ek_ecc_key(const uint8_t x[static 32], const uint8_t y[static 32], EVP_PKEY **key);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Endorsement keys and their certificates as TCG's EK Credential Profile for TPM 2.0 (2.3)
 * defines them: templates L-1 (RSA-2048) and L-2 (ECC NIST P-256), certificates in NV 0x01c00002 and 0x01c0000a.
 */
#ifndef VTPM_BACKEND_EK_H
#define VTPM_BACKEND_EK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "vtpm-mgr/proto/backend.h"

#define RSA_2048_LEN 256u /* bytes of a modulus */
#define P256_LEN     32u  /* bytes of a coordinate */

/* Where the certificate of a kind lies. */
uint32_t ek_nv_index(enum ek_kind kind);
/* The template of a kind as a TPMT_PUBLIC. */
CHECKED int ek_template(enum ek_kind kind, struct buf *out);
/*
 * Creates the EK of a kind in the running engine and makes it persistent (0x81010001,
 * 0x81010002). The endorsement and owner auth must be empty.
 */
CHECKED int ek_create(enum ek_kind kind);
/* Reads the TPM2B_PUBLIC of the persistent EK. */
CHECKED int ek_read_public(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n);
/*
 * (These two: ek_find.c.) The EK of a kind of a TPM that was made elsewhere: the persistent one, if it is what the template makes, or else
 * what the template makes now; nothing stays in the TPM. ERR_NOTFOUND: neither, as the endorsement hierarchy has an auth value.
 */
CHECKED int ek_find_public(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n);
/* What the template makes now, alone. ERR_NOTFOUND: the endorsement hierarchy has an auth value. */
CHECKED int ek_make_again(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n);
/*
 * The certificate in the kind's NV index, as far as one can see without a parser of X.509: one DER sequence that holds
 * the key of pub. ERR_NOTFOUND: no such thing there.
 */
CHECKED int ek_find_cert(enum ek_kind kind, const uint8_t *pub, size_t pub_len, uint8_t out[static CERT_MAX], size_t *n);
/* Defines the NV index of a kind anew, writes the certificate and locks it for good. The platform auth must be empty. */
CHECKED int ek_write_cert(enum ek_kind kind, const uint8_t *der, size_t n);

#endif

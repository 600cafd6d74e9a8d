/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a TPM says, as a verifier without a TPM reads it: attestations, signatures and public areas (TPM 2.0 Part 2). Views into the
 * evidence; every structure must be there to its last byte. ERR_PROTO: it is none, or of a kind that is not used here.
 */
#ifndef VTPM_ATTEST_TPMS_H
#define VTPM_ATTEST_TPMS_H

#include <stdbool.h>

#include "attest/evidence.h"

#define TPM_ST_ATTEST_NV       0x8014u
#define TPM_ST_ATTEST_CERTIFY  0x8017u
#define TPM_ST_ATTEST_QUOTE    0x8018u
#define TPM_ST_ATTEST_CREATION 0x801au

/* TPMA_OBJECT (8.3) */
#define OBJECT_FIXED_TPM    (1u << 1)
#define OBJECT_FIXED_PARENT (1u << 4)
#define OBJECT_ORIGIN	    (1u << 5) /* sensitiveDataOrigin */
#define OBJECT_RESTRICTED   (1u << 16)
#define OBJECT_DECRYPT	    (1u << 17)
#define OBJECT_SIGN	    (1u << 18)
#define OBJECT_OF_THIS_TPM  (OBJECT_FIXED_TPM | OBJECT_FIXED_PARENT | OBJECT_ORIGIN)

struct evp_pkey_st; /* OpenSSL's EVP_PKEY */

/* TPMS_ATTEST (10.12.12) */
struct tpms_attest {
	uint16_t type;
	struct evidence_view extra;
	uint64_t clock, firmware;
	uint32_t reset_count, restart_count;
	bool safe;
	uint32_t pcrs;		     /* quote: of the SHA-256 bank, bit i for PCR i */
	struct evidence_view digest; /* quote: of the values; creation: of the creation data */
	struct evidence_view name;   /* certify, creation: of the object; NV: of the index */
	struct evidence_view contents; /* NV */
	uint16_t offset;	     /* NV */
};
CHECKED int tpms_attest_parse(const struct evidence_view *v, struct tpms_attest *a);

/* TPMT_PUBLIC (12.2.4) of an ECC P-256 or RSA key with Name algorithm SHA-256. */
struct tpms_public {
	uint32_t attributes;
	bool signs_sha256; /* its scheme is ECDSA, RSASSA or RSAPSS with SHA-256, and can be no other */
	struct evp_pkey_st *key; /* owned; tpms_public_free */
	uint8_t name[EVIDENCE_NAME];
};
CHECKED int tpms_public_parse(const struct evidence_view *v, struct tpms_public *p);
void tpms_public_free(struct tpms_public *p);
/* A key that signs nothing but what its TPM says. */
bool tpms_public_attests(const struct tpms_public *p);

/* TPMS_NV_PUBLIC (13.6) */
struct tpms_nv {
	uint32_t handle, attributes;
	uint16_t size;
	uint8_t name[EVIDENCE_NAME];
};
CHECKED int tpms_nv_parse(const struct evidence_view *v, struct tpms_nv *nv);

/* A TPMT_SIGNATURE (11.3.4) over an attestation. ERR_AUTH: it is another's, or of something else. */
CHECKED int tpms_signature_check(struct evp_pkey_st *key, const struct evidence_signed *s);

CHECKED int tpms_sha256(const struct evidence_view *v, uint8_t out[static EVIDENCE_DIGEST]);
bool tpms_equal(const struct evidence_view *v, const void *p, size_t n);

#endif

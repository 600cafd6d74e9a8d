/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who the physical TPM is, for somebody who is not here: an attestation key (AK) that a credential for the endorsement key (EK) can be
 * made for, and its word that the CA key is in the same TPM. The AK is made under the SRK, restricted, its auth value derived from the
 * CA key's: so it needs the root of "default", as that does, and goes with it.
 */
#ifndef VTPM_KEEPER_ENROLL_H
#define VTPM_KEEPER_ENROLL_H

#include "vtpm-mgr/keeper/ca.h"
#include "vtpm-mgr/proto/enroll.h"

struct enrolment_blob { /* storage for the views of a struct enrolment */
	uint8_t pub[SEALED_BLOB_MAX], priv[SEALED_BLOB_MAX], attest[ATTEST_MAX], sig[ATTEST_SIG_MAX], creation[CREATION_MAX],
		creation_attest[ATTEST_MAX], creation_sig[ATTEST_SIG_MAX];
};

/* A record as the manager has it from the disk. ERR_AUTH: it is damaged. */
CHECKED int enroll_record_decode(const uint8_t *p, size_t len, struct enrolment *e);
/* Texts are left in the TPM's. Makes an AK and has it certify the CA key. */
CHECKED int enroll_new(struct ca *ca, struct enrolment_blob *mem, struct enrolment *e);
/* Whether it is of the CA that is open, in this TPM. ERR_AUTH: no. */
CHECKED int enroll_check(struct ca *ca, const struct enrolment *e);
/* pub: TPM2B_PUBLIC; cert: what its maker has left in NV, which is anybody's bytes, or nothing. */
CHECKED int enroll_ek(struct tpm *t, enum ek_kind kind, uint8_t pub[static PUBLIC_MAX], size_t *pub_len, uint8_t cert[static CERT_MAX],
		      size_t *cert_len);
/* ERR_INVAL: it is no credential. ERR_DENIED: not for this EK and this AK. */
CHECKED int enroll_activate(struct ca *ca, const struct enrolment *e, const uint8_t *blob, size_t len, uint8_t secret[static SECRET_MAX],
			    size_t *secret_len);

/* The AK as a record has it. auth is secret, to be wiped. */
struct enroll_key {
	TPM2B_AUTH auth;
	TPM2B_PUBLIC pub;
	TPM2B_PRIVATE priv;
};
CHECKED int enroll_key_open(struct ca *ca, const struct enrolment *e, struct enroll_key *k);
/* For operations: the AK, loaded; another session for a second authorisation, which encrypts nothing, as the first one does. */
CHECKED int enroll_key_load(struct tpm *t, const struct enroll_key *k, ESYS_TR *handle);
CHECKED int enroll_second_session(struct tpm *t, ESYS_TR *session);
/* Copies what an AK has signed, and frees both. */
CHECKED int enroll_take_attest(struct tpm *t, TPM2B_ATTEST *attest, TPMT_SIGNATURE *sig, uint8_t mem[static ATTEST_MAX], size_t *len,
			       uint8_t sig_mem[static ATTEST_SIG_MAX], size_t *sig_len);
/* An EK by its template, loaded; for operations. ERR_WRONG_STATE: the endorsement hierarchy has a password. */
CHECKED int enroll_ek_load(struct tpm *t, enum ek_kind kind, ESYS_TR *handle, TPM2B_PUBLIC **pub);

#endif

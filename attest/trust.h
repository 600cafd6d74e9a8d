/* SPDX-License-Identifier: BSD-2-Clause */
/* Whom a verifier believes: hosts that were enrolled, roots of endorsement keys, revocation lists. */
#ifndef VTPM_ATTEST_TRUST_H
#define VTPM_ATTEST_TRUST_H

#include <stdbool.h>

#include <openssl/x509.h>

#include "attest/evidence.h"
#include "attest/vtpm-verify.h"

#define TRUST_HOST_NAME 64u

struct trust_host {
	char name[TRUST_HOST_NAME + 1]; /* for people */
	uint8_t ak[EVIDENCE_NAME];
	bool has_ek;
	uint8_t ek[EVIDENCE_DIGEST]; /* SHA-256 of the EK's SubjectPublicKeyInfo, for which a credential was opened */
};

struct vtpm_trust {
	struct trust_host *hosts;
	size_t nhosts;
	X509_STORE *roots;
	STACK_OF(X509_CRL) *crls;
};

const struct trust_host *trust_find(const struct vtpm_trust *t, const uint8_t ak[static EVIDENCE_NAME]);
/* The newest list of this issuer, if its key has signed it; NULL: there is none. */
X509_CRL *trust_crl(const struct vtpm_trust *t, const X509_NAME *issuer, EVP_PKEY *key);
/* Whether any of its lists has it: once revoked it stays so, and a list need not be of all that an issuer has certified. */
bool trust_revokes(const struct vtpm_trust *t, const X509_NAME *issuer, EVP_PKEY *key, X509 *x);

#endif

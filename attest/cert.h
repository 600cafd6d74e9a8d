/* SPDX-License-Identifier: BSD-2-Clause */
/* X.509, as far as evidence has it. */
#ifndef VTPM_ATTEST_CERT_H
#define VTPM_ATTEST_CERT_H

#include <stdbool.h>
#include <time.h>

#include <openssl/x509.h>

#include "attest/evidence.h"
#include "attest/trust.h"

#define OID_EK_CERTIFICATE  "2.23.133.8.1"
#define OID_AIK_CERTIFICATE "2.23.133.8.3"

/* Owned by the caller. NULL: it is not DER to its last byte, or has an extension that is critical and not understood. */
X509 *cert_parse(const struct evidence_view *der);
bool cert_has_key(X509 *x, EVP_PKEY *key);
/* SHA-256 of its SubjectPublicKeyInfo. */
CHECKED int cert_key_digest(X509 *x, uint8_t out[static EVIDENCE_DIGEST]);
/* An end entity's, issued by ca, for the extended key usage and the uuid as common name. */
bool cert_is_of(X509 *x, X509 *ca, EVP_PKEY *ca_key, const char *usage, const uint8_t uuid[static EVIDENCE_UUID]);
bool cert_is_valid_at(X509 *x, time_t at);
/* The certificates behind the leaf in e, up to a root; at 0 is no time. why: the reason if not. */
CHECKED int cert_chain(const struct vtpm_trust *t, X509 *leaf, const struct evidence *e, time_t at, char *why, size_t max);
bool cert_revoked(X509_CRL *crl, X509 *x);

#endif

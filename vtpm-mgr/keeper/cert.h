/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X.509 certificates: the host's certificate authority (CA), and the endorsement and attestation keys of its vTPMs.
 * The signing key is in the TPM, so the signature comes from a function of the caller.
 */
#ifndef VTPM_KEEPER_CERT_H
#define VTPM_KEEPER_CERT_H

#include "vtpm-mgr/keeper/openssl.h"
#include "vtpm-mgr/proto/backend.h"

struct cert_signer {
	/* ECDSA over P-256: r and s. */
	int (*sign)(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32]);
	void *arg;
};
struct cert_der {
	uint8_t bytes[CERT_MAX];
	size_t len;
};

/* Into the signature field of what is being signed. */
CHECKED int cert_set_signature(ASN1_BIT_STRING *out, const uint8_t r[static 32], const uint8_t s[static 32]);
/* Self-signed: CN "vTPM CA " and the first 8 bytes of SHA-256 of the key. */
CHECKED int cert_make_ca(EVP_PKEY *key, const struct cert_signer *signer, struct cert_der *out);
/* Parses and checks: a self-signed certificate for key. ERR_AUTH: anything else. */
CHECKED int cert_open_ca(const uint8_t *der, size_t len, EVP_PKEY *key, X509 **ca);
/* Whose keys are certified, and the serial numbers: a random one whose last byte is the kind. */
struct cert_subject {
	uint8_t uuid[UUID_LEN];
	uint8_t serial[SERIAL_LEN];
};
/* Its last byte is 0. */
CHECKED int cert_serial_new(uint8_t serial[static SERIAL_LEN]);
/* The certificate of one vTPM's key of a kind, under ca. */
CHECKED int cert_make_key(X509 *ca, enum ek_kind kind, EVP_PKEY *key, const struct cert_subject *of, const struct cert_signer *signer,
			  struct cert_der *out);

#endif

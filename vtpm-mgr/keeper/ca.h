/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificate authority of this host. Its key is made in the TPM under the SRK and never leaves
 * it; its auth value is random and wrapped under the root of the group "default", so that who has
 * the blobs and the TPM but not the measured boot cannot certify anything.
 */
#ifndef VTPM_KEEPER_CA_H
#define VTPM_KEEPER_CA_H

#include "vtpm-mgr/keeper/cert.h"
#include "vtpm-mgr/keeper/tpm.h"

struct ca {
	struct tpm *tpm;
	TPM2B_PUBLIC pub;
	TPM2B_PRIVATE priv;
	uint8_t *auth; /* KEY_LEN bytes of locked memory */
	X509 *cert;    /* NULL: there is no CA yet */
	uint8_t creation[CREATION_MAX]; /* TPM2B_CREATION_DATA, TPMT_TK_CREATION */
	size_t creation_len;
};
struct ca_blob { /* storage for the views of a struct ca_key */
	uint8_t pub[SEALED_BLOB_MAX], priv[SEALED_BLOB_MAX], auth[WRAPPED_KEY_LEN];
	struct cert_der cert;
};

CHECKED int ca_init(struct ca *ca, struct tpm *t);
void ca_free(struct ca *ca);
/* Makes key and certificate. key: the wrapping key of "default". Texts are left in the TPM's. */
CHECKED int ca_new(struct ca *ca, const uint8_t key[static KEY_LEN], struct ca_blob *blob, struct ca_key *k);
/* The one that is open may be opened again. ERR_EXISTS: another is; ERR_AUTH: its parts do not belong together. */
CHECKED int ca_open(struct ca *ca, const uint8_t key[static KEY_LEN], const struct ca_key *k);
/* The key, with its auth, for operations. */
CHECKED int ca_load(struct tpm *t, const struct ca *ca, ESYS_TR *handle);
/* Its auth value, wrapped with another key. */
CHECKED int ca_reseal(struct ca *ca, const uint8_t key[static KEY_LEN], uint8_t wrapped[static WRAPPED_KEY_LEN]);
/* A signature, r and s, on what is no certificate: the digest of something that begins with a label of its own. */
CHECKED int ca_vouch(struct ca *ca, const uint8_t digest[static DIGEST_LEN], uint8_t signature[static 64]);
/* Signs with the CA key: arg is the struct ca. */
CHECKED int ca_sign(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32]);
/* ERR_INVAL: no key by the template of its kind. ERR_WRONG_STATE: no CA. */
CHECKED int ca_certify(struct ca *ca, const struct cert_request *req, const struct cert_subject *of, struct cert_der *out);

#endif

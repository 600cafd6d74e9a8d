/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 32 secret bytes for the holder of one private key, in the keeper and in vtpmctl alike: what an offline key holds of a root, what
 * answers a challenge of the keeper, a share on its way to it.
 *
 *	u8 kind | fingerprint 32 | var kem | ciphertext 32 | tag 16
 *
 *	ENVELOPE_RSA   kem = RSA-OAEP-SHA256 (RFC 8017, 7.1) of 32 random bytes, z = those; 2048 to 4096 bits
 *	ENVELOPE_ECDH  kem = an ephemeral point, uncompressed (SEC 1, 2.3.3), z = the x of its product with the key; P-256 or P-384
 *
 *	key = HKDF-SHA256(z, info: str "vtpm envelope v1" ‖ kind ‖ fingerprint ‖ var kem); AES-256-GCM, its nonce zeros,
 *	since no key is used twice; associated data: what the caller binds it to
 *
 * Anybody can make one: it keeps a secret, and says nothing of where that comes from.
 */
#ifndef VTPM_ESCROW_ENVELOPE_H
#define VTPM_ESCROW_ENVELOPE_H

#include <openssl/evp.h>

#include "lib/buf.h"
#include "vtpm-mgr/proto/escrow.h"

enum envelope_kind { ENVELOPE_RSA = 1, ENVELOPE_ECDH = 2 };

/* SHA-256 of its SubjectPublicKeyInfo, DER. */
CHECKED int envelope_fingerprint(EVP_PKEY *key, uint8_t fingerprint[static DIGEST_LEN]);
/* ERR_INVAL: neither RSA of 2048 to 4096 bits nor a key on P-256 or P-384. */
CHECKED int envelope_check_key(EVP_PKEY *key);
/* Its SubjectPublicKeyInfo, and back. ERR_INVAL: not a key of those kinds. */
CHECKED int envelope_key_encode(EVP_PKEY *key, uint8_t der[static PUBKEY_MAX], size_t *len);
CHECKED int envelope_key_decode(const uint8_t *der, size_t len, EVP_PKEY **key);
/* Appends to out. */
CHECKED int envelope_seal(EVP_PKEY *key, const struct buf *context, const uint8_t secret[static KEY_LEN], struct buf *out);
/* ERR_NOTFOUND: it is for another key. ERR_AUTH: it, or its context, was changed. */
CHECKED int envelope_open(EVP_PKEY *key, const struct buf *context, const uint8_t *in, size_t len,
			  uint8_t secret[static KEY_LEN]);

#endif

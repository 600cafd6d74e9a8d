/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a group's root key is turned into, and the wrapping of 32-byte secrets with it:
 * AES-256-GCM (NIST SP 800-38D) with a random nonce, of which a group needs one per vTPM and
 * owner change; nonce 12 | ciphertext 32 | tag 16.
 */
#ifndef VTPM_KEEPER_WRAP_H
#define VTPM_KEEPER_WRAP_H

#include <stddef.h>
#include <stdint.h>

#include "vtpm-mgr/proto/anchor.h"
#include "vtpm-mgr/proto/escrow.h"
#include "vtpm-mgr/proto/keeper.h"

CHECKED int wrap_sha256(const void *p, size_t n, uint8_t out[static DIGEST_LEN]);
/* The wrapping key: HKDF-SHA256 (RFC 5869) of the root. */
CHECKED int wrap_derive(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN]);

/* From the root, too, each under a label of its own: what authenticates the journal's rows, and what makes of a row the bytes
 * that the anchors are extended with. */
CHECKED int wrap_derive_row(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN]);
CHECKED int wrap_derive_extend(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN]);
/* What tells roots apart and says nothing of them. */
CHECKED int wrap_root_id(const uint8_t root[static KEY_LEN], uint8_t id[static ROOT_ID_LEN]);
/* The root of two shares; root may be what is sealed. */
CHECKED int wrap_combine(const uint8_t sealed[static KEY_LEN], const uint8_t share[static KEY_LEN], uint8_t root[static KEY_LEN]);
/* And what seals backups: backup.h. */
CHECKED int wrap_derive_backup(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN]);
/* HMAC-SHA256. */
CHECKED int wrap_hmac(const uint8_t key[static KEY_LEN], const void *p, size_t n, uint8_t out[static DIGEST_LEN]);

/* A vTPM's key, bound to the whole binding. Opening fails with ERR_AUTH. */
CHECKED int wrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b,
			  const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b, const uint8_t *in,
			    size_t in_len, uint8_t secret[static KEY_LEN]);
/* The auth value of the physical TPM's attestation key: of the certificate key's. */
CHECKED int wrap_derive_ak(const uint8_t ca_auth[static KEY_LEN], uint8_t auth[static KEY_LEN]);
/* The certificate key's auth value, bound to that key's public area. */
CHECKED int wrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len,
			 const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len, const uint8_t *in,
			   size_t in_len, uint8_t secret[static KEY_LEN]);
/* An auth value of the anchors' record, bound to what else is in it. */
enum anchor_auth { AUTH_A = 1, AUTH_V, AUTH_OWNER };
CHECKED int wrap_anchor_auth(const uint8_t key[static KEY_LEN], const struct anchor_record *a, enum anchor_auth which,
			     const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_anchor_auth(const uint8_t key[static KEY_LEN], const struct anchor_record *a, enum anchor_auth which,
			       const uint8_t in[static WRAPPED_KEY_LEN], uint8_t secret[static KEY_LEN]);
/* A key of the root before, under the one that took its place. */
enum former_key { FORMER_ROW = 1, FORMER_EXTEND };
CHECKED int wrap_former(const uint8_t key[static KEY_LEN], enum former_key which, const uint8_t secret[static KEY_LEN],
			uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_former(const uint8_t key[static KEY_LEN], enum former_key which, const uint8_t in[static WRAPPED_KEY_LEN],
			  uint8_t secret[static KEY_LEN]);

#endif

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

#include "vtpm-mgr/proto/keeper.h"

CHECKED int wrap_sha256(const void *p, size_t n, uint8_t out[static DIGEST_LEN]);
/* The wrapping key: HKDF-SHA256 (RFC 5869) of the root. */
CHECKED int wrap_derive(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN]);

/* A vTPM's key, bound to the whole binding. Opening fails with ERR_AUTH. */
CHECKED int wrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b,
			  const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b, const uint8_t *in,
			    size_t in_len, uint8_t secret[static KEY_LEN]);
/* The certificate key's auth value, bound to that key's public area. */
CHECKED int wrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len,
			 const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN]);
CHECKED int unwrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len, const uint8_t *in,
			   size_t in_len, uint8_t secret[static KEY_LEN]);

#endif

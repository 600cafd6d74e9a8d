/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm's file of a TPM's permanent state, tpm2-00.permall: its layout and its encryption, for taking such a TPM over.
 * Everything in it is hostile. Numbers are big-endian, nothing is aligned:
 *
 *	u8 version = 2 | u8 least version that must be understood | u16 size of this header = 10
 *	u16 flags: 1 encrypted, 8 with a key of 256 bits | u32 size of the whole file
 *	u16 tag | u32 length | bytes	… to the end
 *
 * Tags: 1 the state; or, all three, 2 ciphertext, 3 HMAC, 6 IV. AES-CBC, padded as PKCS #7 but to the length of the key;
 * the IV is as long as the key, and its first 16 bytes are used. HMAC-SHA256 over ciphertext and IV, under the same key.
 */
#ifndef VTPM_BACKEND_SWTPM_STATE_H
#define VTPM_BACKEND_SWTPM_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "vtpm-mgr/proto/backend.h"

#define SWTPM_KEY_MAX	 32u
#define SWTPM_SECRET_MAX 4096u /* bytes of a file that holds a key or a passphrase */

struct swtpm_state {
	size_t key_len;	     /* 16 or 32; 0: it is not encrypted */
	const uint8_t *data; /* views: the state, or its ciphertext */
	size_t data_len;
	const uint8_t *hmac, *iv;
};

/* Takes a file apart. ERR_VERSION: of a version that is not known; ERR_PROTO: it is not such a file. */
CHECKED int swtpm_state_parse(const uint8_t *p, size_t n, struct swtpm_state *out);
/* The key of key_len bytes, 16 or 32, that a secret stands for. ERR_INVAL: it is not one of that form and length. */
CHECKED int swtpm_key_make(enum import_secret kind, const uint8_t *secret, size_t n, size_t key_len,
			   uint8_t key[static SWTPM_KEY_MAX]);
/*
 * Verifies and decrypts an encrypted one into plain, which has room for data_len bytes. ERR_AUTH: another key, or the
 * file was changed; plain is then zeroed.
 */
CHECKED int swtpm_state_open(const struct swtpm_state *s, const uint8_t key[static SWTPM_KEY_MAX], uint8_t *plain,
			     size_t *plain_len);

#endif

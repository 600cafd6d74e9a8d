/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/escrow/code.h"

#include <openssl/evp.h>
#include <stdio.h>

int challenge_code(const uint8_t nonce[static CHALLENGE_NONCE_LEN], const uint8_t *der, size_t len, char code[static CODE_STR_LEN + 1])
{
	uint8_t mem[128 + CHALLENGE_NONCE_LEN + PUBKEY_MAX], digest[DIGEST_LEN];
	struct buf b;
	size_t at = 0;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_str(&b, "vtpm challenge v1") || buf_put_bytes(&b, nonce, CHALLENGE_NONCE_LEN) || buf_put_var(&b, der, len))
		return ERR_RANGE;
	if (EVP_Digest(mem, b.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return ERR_CRYPTO;
	for (unsigned i = 0; i < CODE_LEN; i++)
		at += (size_t)snprintf(code + at, CODE_STR_LEN + 1 - at, "%s%02x", i && i % 2 == 0 ? "-" : "", digest[i]);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/swtpm_file.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define MUST(cond)                                                                                                     \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			abort();                                                                                       \
	} while (0)

void file_begin(struct buf *b, uint16_t flags)
{
	buf_reset(b);
	MUST(!buf_put_u8(b, 2) && !buf_put_u8(b, 1) && !buf_put_u16be(b, FILE_HEADER_SIZE) && !buf_put_u16be(b, flags) &&
	     !buf_put_u32be(b, 0));
}

void file_field(struct buf *b, uint16_t tag, const void *p, size_t n)
{
	MUST(!buf_put_u16be(b, tag) && !buf_put_u32be(b, (uint32_t)n) && !buf_put_bytes(b, p, n));
}

void file_end(struct buf *b)
{
	MUST(!buf_set_u32be(b, 6, (uint32_t)b->len));
}

void file_plain(struct buf *b, const uint8_t *state, size_t n)
{
	file_begin(b, 0);
	file_field(b, FILE_DATA, state, n);
	file_end(b);
}

void file_hmac(const uint8_t *key, size_t key_len, const uint8_t *text, size_t n, const uint8_t *iv, uint8_t out[static 32])
{
	uint8_t *all = malloc(n + key_len);

	MUST(all != NULL);
	memcpy(all, text, n);
	memcpy(all + n, iv, key_len);
	MUST(HMAC(EVP_sha256(), key, (int)key_len, all, n + key_len, out, NULL) != NULL);
	free(all);
}

void file_encrypted(struct buf *b, const uint8_t *state, size_t n, const uint8_t *key, size_t key_len,
		    const uint8_t *pad)
{
	const size_t pad_len = key_len - n % key_len, whole = n + pad_len;
	uint8_t *plain = malloc(2 * whole), *text = plain + whole, iv[32], hmac[32];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len, rest;

	MUST(plain != NULL && ctx != NULL);
	memset(iv, 0x1f, sizeof(iv));
	memcpy(plain, state, n);
	memset(plain + n, (int)pad_len, pad_len);
	if (pad != NULL)
		memcpy(plain + n, pad, pad_len);
	MUST(EVP_EncryptInit_ex(ctx, key_len == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc(), NULL, key, iv) == 1);
	MUST(EVP_CIPHER_CTX_set_padding(ctx, 0) == 1);
	MUST(EVP_EncryptUpdate(ctx, text, &len, plain, (int)whole) == 1 && EVP_EncryptFinal_ex(ctx, text + len, &rest) == 1);
	EVP_CIPHER_CTX_free(ctx);
	file_hmac(key, key_len, text, whole, iv, hmac);
	file_begin(b, key_len == 32 ? 9 : 1);
	file_field(b, FILE_ENCRYPTED, text, whole);
	file_field(b, FILE_HMAC, hmac, sizeof(hmac));
	file_field(b, FILE_IV, iv, key_len);
	file_end(b);
	free(plain);
}

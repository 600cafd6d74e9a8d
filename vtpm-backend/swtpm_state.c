/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/swtpm_state.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "lib/buf.h"
#include "lib/secmem.h"
#include "lib/util.h"

#define FORMAT_VERSION 2u
#define HEADER_SIZE    10u
#define HMAC_LEN       32u
#define KDF_ROUNDS     1000
#define SHA512_LEN     64u

enum {
	FLAG_ENCRYPTED = 1u << 0,
	FLAG_KEY_256 = 1u << 3,
};

enum {
	TAG_DATA = 1,
	TAG_ENCRYPTED_DATA = 2,
	TAG_HMAC = 3,
	TAG_IV = 6,
	TAG_END,
};

/* What was found under each tag; NULL: nothing. */
struct fields {
	const uint8_t *p[TAG_END];
	size_t n[TAG_END];
};

static int read_header(struct buf *b, size_t whole, uint16_t *flags)
{
	uint8_t version, least;
	uint16_t size;
	uint32_t total;

	if (buf_get_u8(b, &version) || buf_get_u8(b, &least) || buf_get_u16be(b, &size) || buf_get_u16be(b, flags) ||
	    buf_get_u32be(b, &total))
		return ERR_PROTO;
	if (version != FORMAT_VERSION || least > FORMAT_VERSION)
		return ERR_VERSION;
	if (size != HEADER_SIZE || total != whole)
		return ERR_PROTO;
	/* Others belong to what swtpm gives out for migration, never to its files. */
	return *flags == 0 || *flags == FLAG_ENCRYPTED || *flags == (FLAG_ENCRYPTED | FLAG_KEY_256) ? 0 : ERR_PROTO;
}

static bool is_tag(uint16_t tag)
{
	return tag == TAG_DATA || tag == TAG_ENCRYPTED_DATA || tag == TAG_HMAC || tag == TAG_IV;
}

static int read_field(struct buf *b, struct fields *f)
{
	uint16_t tag;
	uint32_t n;

	if (buf_get_u16be(b, &tag) || buf_get_u32be(b, &n) || !is_tag(tag) || f->p[tag] != NULL || n == 0 ||
	    buf_get_view(b, n, &f->p[tag]))
		return ERR_PROTO;
	f->n[tag] = n;
	return 0;
}

static int take_plain(const struct fields *f, struct swtpm_state *out)
{
	if (f->p[TAG_DATA] == NULL || f->p[TAG_ENCRYPTED_DATA] != NULL || f->p[TAG_HMAC] != NULL || f->p[TAG_IV] != NULL)
		return ERR_PROTO;
	out->data = f->p[TAG_DATA];
	out->data_len = f->n[TAG_DATA];
	return 0;
}

static int take_encrypted(const struct fields *f, size_t key_len, struct swtpm_state *out)
{
	if (f->p[TAG_DATA] != NULL || f->n[TAG_HMAC] != HMAC_LEN || f->n[TAG_IV] != key_len ||
	    f->n[TAG_ENCRYPTED_DATA] == 0 || f->n[TAG_ENCRYPTED_DATA] % key_len != 0)
		return ERR_PROTO;
	out->key_len = key_len;
	out->data = f->p[TAG_ENCRYPTED_DATA];
	out->data_len = f->n[TAG_ENCRYPTED_DATA];
	out->hmac = f->p[TAG_HMAC];
	out->iv = f->p[TAG_IV];
	return 0;
}

int swtpm_state_parse(const uint8_t *p, size_t n, struct swtpm_state *out)
{
	struct fields f = { 0 };
	uint16_t flags;
	struct buf b;
	int err;

	memset(out, 0, sizeof(*out));
	if (n > SWTPM_FILE_MAX)
		return ERR_PROTO;
	buf_wrap(&b, p, n);
	err = read_header(&b, n, &flags);
	while (err == 0 && buf_left(&b) > 0)
		err = read_field(&b, &f);
	if (err != 0)
		return err;
	if (flags == 0)
		return take_plain(&f, out);
	return take_encrypted(&f, flags & FLAG_KEY_256 ? 32 : 16, out);
}

/* --- the key --- */

/* As swtpm reads them: what follows the first white space counts for nothing. */
static int key_from_hex(const uint8_t *s, size_t n, size_t key_len, uint8_t *key)
{
	char digits[2 * SWTPM_KEY_MAX + 1];
	size_t len = 0;
	int err;

	if (n >= 2 && s[0] == '0' && s[1] == 'x') {
		s += 2;
		n -= 2;
	}
	while (len < n && s[len] != '\0' && !isspace(s[len]))
		len++;
	if (len != 2 * key_len)
		return ERR_INVAL;
	memcpy(digits, s, len);
	digits[len] = '\0';
	err = hex_decode(digits, key, key_len) ? ERR_INVAL : 0;
	secmem_wipe(digits, sizeof(digits));
	return err;
}

static int key_from_bytes(const uint8_t *s, size_t n, size_t key_len, uint8_t *key)
{
	if (n != key_len)
		return ERR_INVAL;
	memcpy(key, s, n);
	return 0;
}

static int key_from_pbkdf2(const uint8_t *s, size_t n, size_t key_len, uint8_t *key)
{
	static const unsigned char salt[] = { 's', 'w', 't', 'p', 'm' };

	return PKCS5_PBKDF2_HMAC((const char *)s, (int)n, salt, sizeof(salt), KDF_ROUNDS, EVP_sha512(), (int)key_len,
				 key) == 1
		       ? 0
		       : ERR_CRYPTO;
}

static int key_from_sha512(const uint8_t *s, size_t n, size_t key_len, uint8_t *key)
{
	uint8_t md[SHA512_LEN];

	if (EVP_Digest(s, n, md, NULL, EVP_sha512(), NULL) != 1)
		return ERR_CRYPTO;
	memcpy(key, md, key_len);
	secmem_wipe(md, sizeof(md));
	return 0;
}

int swtpm_key_make(enum import_secret kind, const uint8_t *secret, size_t n, size_t key_len,
		   uint8_t key[static SWTPM_KEY_MAX])
{
	if (n > SWTPM_SECRET_MAX || (key_len != 16 && key_len != 32))
		return ERR_INVAL;
	switch (kind) {
	case SECRET_NONE:
		break;
	case SECRET_KEY_HEX:
		return key_from_hex(secret, n, key_len, key);
	case SECRET_KEY_BINARY:
		return key_from_bytes(secret, n, key_len, key);
	case SECRET_PASS_PBKDF2:
		return key_from_pbkdf2(secret, n, key_len, key);
	case SECRET_PASS_SHA512:
		return key_from_sha512(secret, n, key_len, key);
	}
	return ERR_INVAL;
}

/* --- opening --- */

static int verify(const struct swtpm_state *s, const uint8_t *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[2] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
				 OSSL_PARAM_construct_end() };
	EVP_MAC *mac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
	EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
	uint8_t md[HMAC_LEN];
	size_t n = 0;
	int err = ERR_CRYPTO;

	if (ctx != NULL && EVP_MAC_init(ctx, key, s->key_len, params) == 1 &&
	    EVP_MAC_update(ctx, s->data, s->data_len) == 1 && EVP_MAC_update(ctx, s->iv, s->key_len) == 1 &&
	    EVP_MAC_final(ctx, md, &n, sizeof(md)) == 1 && n == sizeof(md))
		err = secmem_equal(md, s->hmac, sizeof(md)) ? 0 : ERR_AUTH;
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	return err;
}

static int decrypt(const struct swtpm_state *s, const uint8_t *key, uint8_t *plain)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *cipher = s->key_len == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
	int len = 0, rest = 0, err = ERR_CRYPTO;

	if (ctx != NULL && EVP_DecryptInit_ex(ctx, cipher, NULL, key, s->iv) == 1 &&
	    EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
	    EVP_DecryptUpdate(ctx, plain, &len, s->data, (int)s->data_len) == 1 &&
	    EVP_DecryptFinal_ex(ctx, plain + len, &rest) == 1 && (size_t)len + (size_t)rest == s->data_len)
		err = 0;
	EVP_CIPHER_CTX_free(ctx);
	return err;
}

/* The HMAC has been verified: who asks with texts of their own making learns nothing from this. */
static int strip_padding(const struct swtpm_state *s, const uint8_t *plain, size_t *n)
{
	const uint8_t pad = plain[s->data_len - 1];

	if (pad == 0 || pad > s->key_len || pad >= s->data_len)
		return ERR_AUTH;
	for (size_t i = s->data_len - pad; i < s->data_len; i++)
		if (plain[i] != pad)
			return ERR_AUTH;
	*n = s->data_len - pad;
	return 0;
}

int swtpm_state_open(const struct swtpm_state *s, const uint8_t key[static SWTPM_KEY_MAX], uint8_t *plain,
		     size_t *plain_len)
{
	int err;

	if (s->key_len == 0)
		return ERR_INVAL;
	err = verify(s, key);
	if (err == 0)
		err = decrypt(s, key, plain);
	if (err == 0)
		err = strip_padding(s, plain, plain_len);
	if (err != 0)
		secmem_wipe(plain, s->data_len);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/escrow/envelope.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/kdf.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#define KEM_MAX	    512u /* RSA-4096 */
#define Z_MAX	    48u	 /* P-384 */
#define TAG_LEN	    16u
#define INFO_MAX    (64u + DIGEST_LEN + KEM_MAX)
#define RSA_MIN_BIT 2048
#define RSA_MAX_BIT 4096

static const char label[] = "vtpm envelope v1";

/* The parts of one. */
struct envelope {
	uint8_t kind, fingerprint[DIGEST_LEN];
	const uint8_t *kem, *sealed;
	size_t kem_len;
};

/* The curve's length in bytes; 0: another curve. */
static size_t curve_len(EVP_PKEY *key)
{
	char name[32];
	size_t len = 0;

	if (EVP_PKEY_get_group_name(key, name, sizeof(name), &len) != 1)
		return 0;
	return !strcmp(name, "prime256v1") ? 32 : !strcmp(name, "secp384r1") ? 48 : 0;
}

static uint8_t kind_of(EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);

	if (EVP_PKEY_is_a(key, "RSA"))
		return bits >= RSA_MIN_BIT && bits <= RSA_MAX_BIT ? ENVELOPE_RSA : 0;
	return EVP_PKEY_is_a(key, "EC") && curve_len(key) ? ENVELOPE_ECDH : 0;
}

int envelope_check_key(EVP_PKEY *key)
{
	return kind_of(key) ? 0 : ERR_INVAL;
}

int envelope_key_encode(EVP_PKEY *key, uint8_t der[static PUBKEY_MAX], size_t *len)
{
	unsigned char *p = der;
	int n = i2d_PUBKEY(key, NULL);

	if (n <= 0 || (size_t)n > PUBKEY_MAX)
		return ERR_INVAL;
	*len = (size_t)i2d_PUBKEY(key, &p);
	return *len == (size_t)n ? 0 : ERR_CRYPTO;
}

int envelope_key_decode(const uint8_t *der, size_t len, EVP_PKEY **key)
{
	const unsigned char *p = der;

	*key = len <= PUBKEY_MAX ? d2i_PUBKEY(NULL, &p, (long)len) : NULL;
	if (*key && p == der + len && kind_of(*key))
		return 0;
	EVP_PKEY_free(*key);
	*key = NULL;
	return ERR_INVAL;
}

int envelope_fingerprint(EVP_PKEY *key, uint8_t fingerprint[static DIGEST_LEN])
{
	uint8_t der[PUBKEY_MAX];
	size_t len = 0;
	int err = envelope_key_encode(key, der, &len);

	if (err)
		return err;
	return EVP_Digest(der, len, fingerprint, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

/* ---- what both ends know ---- */

/* With enc: kem = OAEP(z), otherwise z from kem. */
static int rsa_kem(EVP_PKEY *key, bool enc, uint8_t *z, size_t *z_len, uint8_t *kem, size_t *kem_len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int ok = ctx && (enc ? EVP_PKEY_encrypt_init(ctx) : EVP_PKEY_decrypt_init(ctx)) == 1 &&
		 EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
		 EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1;
	uint8_t plain[KEM_MAX];
	size_t n = sizeof(plain);
	int r = ok ? 0 : ERR_CRYPTO;

	if (!r && enc) {
		r = EVP_PKEY_encrypt(ctx, kem, kem_len, z, KEY_LEN) == 1 ? 0 : ERR_CRYPTO;
		*z_len = KEY_LEN;
	} else if (!r) {
		r = EVP_PKEY_decrypt(ctx, plain, &n, kem, *kem_len) == 1 && n == KEY_LEN ? 0 : ERR_AUTH;
		memcpy(z, plain, r ? 0 : KEY_LEN);
		*z_len = KEY_LEN;
	}
	OPENSSL_cleanse(plain, sizeof(plain));
	EVP_PKEY_CTX_free(ctx);
	return r;
}

static int ecdh(EVP_PKEY *mine, EVP_PKEY *theirs, uint8_t *z, size_t *z_len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
	int ok = ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
		 EVP_PKEY_derive(ctx, z, z_len) == 1;

	EVP_PKEY_CTX_free(ctx);
	return ok ? 0 : ERR_CRYPTO;
}

static int point_of(EVP_PKEY *key, uint8_t *kem, size_t *kem_len)
{
	unsigned char *p = NULL;
	size_t n = EVP_PKEY_get1_encoded_public_key(key, &p);
	int r = n && n <= *kem_len ? 0 : ERR_CRYPTO;

	if (!r) {
		memcpy(kem, p, n);
		*kem_len = n;
	}
	OPENSSL_free(p);
	return r;
}

/* ERR_AUTH: it is none of the key's curve. */
static int key_of_point(EVP_PKEY *like, const uint8_t *kem, size_t kem_len, EVP_PKEY **out)
{
	*out = EVP_PKEY_new();
	if (!*out || EVP_PKEY_copy_parameters(*out, like) != 1)
		return ERR_CRYPTO;
	if (kem_len != 1 + 2 * curve_len(like) || kem[0] != 4)
		return ERR_AUTH;
	return EVP_PKEY_set1_encoded_public_key(*out, kem, kem_len) == 1 ? 0 : ERR_AUTH;
}

static int ecdh_seal(EVP_PKEY *key, uint8_t *z, size_t *z_len, uint8_t *kem, size_t *kem_len)
{
	EVP_PKEY *mine = curve_len(key) == 32 ? EVP_EC_gen("P-256") : EVP_EC_gen("P-384");
	int r = mine ? point_of(mine, kem, kem_len) : ERR_CRYPTO;

	if (!r)
		r = ecdh(mine, key, z, z_len);
	EVP_PKEY_free(mine);
	return r;
}

static int ecdh_open(EVP_PKEY *key, uint8_t *z, size_t *z_len, const uint8_t *kem, size_t kem_len)
{
	EVP_PKEY *theirs = NULL;
	int r = key_of_point(key, kem, kem_len, &theirs);

	if (!r)
		r = ecdh(key, theirs, z, z_len);
	EVP_PKEY_free(theirs);
	return r;
}

/* ---- the key that it makes, and the box ---- */

static int derive(const struct envelope *e, uint8_t *z, size_t z_len, uint8_t key[static KEY_LEN])
{
	char digest[] = "SHA256";
	uint8_t info[INFO_MAX];
	struct buf b;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int r;

	buf_init(&b, info, sizeof(info));
	r = buf_put_str(&b, label) || buf_put_u8(&b, e->kind) || buf_put_bytes(&b, e->fingerprint, DIGEST_LEN) ||
			    buf_put_var(&b, e->kem, e->kem_len)
		    ? ERR_RANGE
		    : 0;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, z, z_len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, b.len),
		OSSL_PARAM_construct_end(),
	};
	if (!r)
		r = ctx && EVP_KDF_derive(ctx, key, KEY_LEN, params) == 1 ? 0 : ERR_CRYPTO;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return r;
}

static int box_seal(const uint8_t key[static KEY_LEN], const struct buf *context, const uint8_t secret[static KEY_LEN],
		    uint8_t out[static KEY_LEN + TAG_LEN])
{
	static const uint8_t nonce[12];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, ok;

	ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	     EVP_EncryptUpdate(ctx, NULL, &n, context->data, (int)context->len) == 1 &&
	     EVP_EncryptUpdate(ctx, out, &n, secret, KEY_LEN) == 1 && n == KEY_LEN &&
	     EVP_EncryptFinal_ex(ctx, out + KEY_LEN, &n) == 1 && n == 0 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + KEY_LEN) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : ERR_CRYPTO;
}

static int box_open(const uint8_t key[static KEY_LEN], const struct buf *context, const uint8_t *in,
		    uint8_t secret[static KEY_LEN])
{
	static const uint8_t nonce[12];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t tag[TAG_LEN], end[TAG_LEN];
	int n, ok, r;

	memcpy(tag, in + KEY_LEN, TAG_LEN);
	ok = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	     EVP_DecryptUpdate(ctx, NULL, &n, context->data, (int)context->len) == 1 &&
	     EVP_DecryptUpdate(ctx, secret, &n, in, KEY_LEN) == 1 && n == KEY_LEN &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1;
	r = !ok ? ERR_CRYPTO : EVP_DecryptFinal_ex(ctx, end, &n) == 1 ? 0 : ERR_AUTH;
	EVP_CIPHER_CTX_free(ctx);
	if (r)
		OPENSSL_cleanse(secret, KEY_LEN); /* what was decrypted before the tag was looked at */
	return r;
}

int envelope_seal(EVP_PKEY *key, const struct buf *context, const uint8_t secret[static KEY_LEN], struct buf *out)
{
	uint8_t z[Z_MAX], kem[KEM_MAX], box_key[KEY_LEN], sealed[KEY_LEN + TAG_LEN];
	struct envelope e = {.kind = kind_of(key), .kem = kem, .kem_len = sizeof(kem)};
	size_t z_len = sizeof(z);
	int r = e.kind ? envelope_fingerprint(key, e.fingerprint) : ERR_INVAL;

	if (!r && e.kind == ENVELOPE_RSA) {
		r = random_bytes(z, KEY_LEN);
		if (!r)
			r = rsa_kem(key, true, z, &z_len, kem, &e.kem_len);
	} else if (!r) {
		r = ecdh_seal(key, z, &z_len, kem, &e.kem_len);
	}
	if (!r)
		r = derive(&e, z, z_len, box_key);
	if (!r)
		r = box_seal(box_key, context, secret, sealed);
	OPENSSL_cleanse(z, sizeof(z));
	OPENSSL_cleanse(box_key, sizeof(box_key));
	if (r)
		return r;
	return buf_put_u8(out, e.kind) || buf_put_bytes(out, e.fingerprint, DIGEST_LEN) || buf_put_var(out, kem, e.kem_len) ||
			       buf_put_bytes(out, sealed, sizeof(sealed))
		       ? ERR_RANGE
		       : 0;
}

static int parse(const uint8_t *in, size_t len, struct envelope *e)
{
	struct buf b;

	buf_wrap(&b, in, len);
	if (buf_get_u8(&b, &e->kind) || buf_get_bytes(&b, e->fingerprint, DIGEST_LEN) ||
	    buf_get_var(&b, KEM_MAX, &e->kem, &e->kem_len) || buf_get_view(&b, KEY_LEN + TAG_LEN, &e->sealed) || buf_left(&b))
		return ERR_AUTH;
	return 0;
}

int envelope_open(EVP_PKEY *key, const struct buf *context, const uint8_t *in, size_t len, uint8_t secret[static KEY_LEN])
{
	uint8_t mine[DIGEST_LEN], z[Z_MAX], kem[KEM_MAX], box_key[KEY_LEN];
	size_t z_len = sizeof(z);
	struct envelope e;
	int r = parse(in, len, &e);

	if (!r)
		r = envelope_fingerprint(key, mine);
	if (!r && memcmp(mine, e.fingerprint, DIGEST_LEN) != 0)
		r = ERR_NOTFOUND;
	if (!r && (!e.kind || e.kind != kind_of(key)))
		r = ERR_AUTH;
	if (!r) {
		memcpy(kem, e.kem, e.kem_len);
		r = e.kind == ENVELOPE_RSA ? rsa_kem(key, false, z, &z_len, kem, &e.kem_len)
					   : ecdh_open(key, z, &z_len, e.kem, e.kem_len);
	}
	if (!r)
		r = derive(&e, z, z_len, box_key);
	if (!r)
		r = box_open(box_key, context, e.sealed, secret);
	OPENSSL_cleanse(z, sizeof(z));
	OPENSSL_cleanse(box_key, sizeof(box_key));
	return r;
}

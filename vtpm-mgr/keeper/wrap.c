/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/wrap.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/openssl.h"

#define NONCE_LEN 12u
#define TAG_LEN	  16u
#define AAD_MAX	  (32u + SEALED_BLOB_MAX)

/* Labels: no two uses of a key can be taken for each other. */
static const char label_derive[] = "vtpm wrapping key v1";
static const char label_row[] = "vtpm journal row key v1";
static const char label_extend[] = "vtpm anchor key v1";
static const char label_backup[] = "vtpm backup key v1";
static const char label_ak[] = "vtpm host attestation key auth v1";
static const char label_key[] = "vtpm key v1";
static const char label_ca[] = "vtpm certificate key auth v1";
static const char label_anchor[] = "vtpm anchor auth v1";
static const char label_root_id[] = "vtpm root id v1";
static const char label_shares[] = "vtpm root of two shares v1";
static const char label_former[] = "vtpm former key v1";

int wrap_sha256(const void *p, size_t n, uint8_t out[static DIGEST_LEN])
{
	return EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

/* HKDF-SHA256 (RFC 5869) without a salt, of up to two keys one behind the other. */
static int derive_from(const uint8_t *in, size_t len, const char *label, uint8_t key[static KEY_LEN])
{
	char digest[] = "SHA256", info[64];
	uint8_t secret[2 * KEY_LEN];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, len),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ok;

	memcpy(secret, in, len);
	memcpy(info, label, strlen(label) + 1);
	ok = ctx && EVP_KDF_derive(ctx, key, KEY_LEN, params) == 1;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	secmem_wipe(secret, sizeof(secret));
	return ok ? 0 : ERR_CRYPTO;
}

static int derive(const uint8_t root[static KEY_LEN], const char *label, uint8_t key[static KEY_LEN])
{
	return derive_from(root, KEY_LEN, label, key);
}

int wrap_combine(const uint8_t sealed[static KEY_LEN], const uint8_t share[static KEY_LEN], uint8_t root[static KEY_LEN])
{
	uint8_t both[2 * KEY_LEN];
	int r;

	memcpy(both, sealed, KEY_LEN);
	memcpy(both + KEY_LEN, share, KEY_LEN);
	r = derive_from(both, sizeof(both), label_shares, root);
	secmem_wipe(both, sizeof(both));
	return r;
}

int wrap_derive(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN])
{
	return derive(root, label_derive, key);
}

int wrap_derive_row(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN])
{
	return derive(root, label_row, key);
}

int wrap_derive_extend(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN])
{
	return derive(root, label_extend, key);
}

int wrap_root_id(const uint8_t root[static KEY_LEN], uint8_t id[static ROOT_ID_LEN])
{
	uint8_t all[KEY_LEN];
	int r = derive(root, label_root_id, all);

	memcpy(id, all, ROOT_ID_LEN);
	return r;
}

int wrap_derive_backup(const uint8_t root[static KEY_LEN], uint8_t key[static KEY_LEN])
{
	return derive(root, label_backup, key);
}

int wrap_derive_ak(const uint8_t ca_auth[static KEY_LEN], uint8_t auth[static KEY_LEN])
{
	return derive(ca_auth, label_ak, auth);
}

int wrap_hmac(const uint8_t key[static KEY_LEN], const void *p, size_t n, uint8_t out[static DIGEST_LEN])
{
	unsigned len = 0;

	return HMAC(EVP_sha256(), key, KEY_LEN, p, n, out, &len) && len == DIGEST_LEN ? 0 : ERR_CRYPTO;
}

static int gcm_seal(const uint8_t key[static KEY_LEN], const struct buf *aad, const uint8_t secret[static KEY_LEN],
		    uint8_t out[static WRAPPED_KEY_LEN])
{
	uint8_t *text = out + NONCE_LEN, *tag = text + KEY_LEN;
	EVP_CIPHER_CTX *ctx = NULL;
	int n, ok, r;

	r = random_bytes(out, NONCE_LEN);
	if (r)
		return r;
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out) == 1 &&
	     EVP_EncryptUpdate(ctx, NULL, &n, aad->data, (int)aad->len) == 1 &&
	     EVP_EncryptUpdate(ctx, text, &n, secret, KEY_LEN) == 1 && n == KEY_LEN &&
	     EVP_EncryptFinal_ex(ctx, tag, &n) == 1 && n == 0 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : ERR_CRYPTO;
}

static int gcm_open(const uint8_t key[static KEY_LEN], const struct buf *aad, const uint8_t in[static WRAPPED_KEY_LEN],
		    uint8_t secret[static KEY_LEN])
{
	uint8_t tag[TAG_LEN], end[TAG_LEN];
	EVP_CIPHER_CTX *ctx;
	int n, ok, r;

	memcpy(tag, in + NONCE_LEN + KEY_LEN, TAG_LEN);
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, in) == 1 &&
	     EVP_DecryptUpdate(ctx, NULL, &n, aad->data, (int)aad->len) == 1 &&
	     EVP_DecryptUpdate(ctx, secret, &n, in + NONCE_LEN, KEY_LEN) == 1 && n == KEY_LEN &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1;
	r = !ok ? ERR_CRYPTO : EVP_DecryptFinal_ex(ctx, end, &n) == 1 ? 0 : ERR_AUTH;
	EVP_CIPHER_CTX_free(ctx);
	if (r)
		secmem_wipe(secret, KEY_LEN); /* what was decrypted before the tag was looked at */
	return r;
}

static int aad_for_key(struct buf *aad, const struct key_binding *b)
{
	if (buf_put_str(aad, label_key) || key_binding_encode(aad, b))
		return ERR_RANGE;
	return 0;
}

static int aad_for_ca(struct buf *aad, const uint8_t *pub, size_t pub_len)
{
	if (buf_put_str(aad, label_ca) || buf_put_var(aad, pub, pub_len))
		return ERR_RANGE;
	return 0;
}

int wrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b, const uint8_t secret[static KEY_LEN],
		  uint8_t out[static WRAPPED_KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_key(&aad, b) ? ERR_RANGE : gcm_seal(key, &aad, secret, out);
}

int unwrap_vtpm_key(const uint8_t key[static KEY_LEN], const struct key_binding *b, const uint8_t *in, size_t in_len,
		    uint8_t secret[static KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	if (in_len != WRAPPED_KEY_LEN)
		return ERR_AUTH;
	return aad_for_key(&aad, b) ? ERR_RANGE : gcm_open(key, &aad, in, secret);
}

int wrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len,
		 const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_ca(&aad, pub, pub_len) ? ERR_RANGE : gcm_seal(key, &aad, secret, out);
}

int unwrap_ca_auth(const uint8_t key[static KEY_LEN], const uint8_t *pub, size_t pub_len, const uint8_t *in,
		   size_t in_len, uint8_t secret[static KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	if (in_len != WRAPPED_KEY_LEN)
		return ERR_AUTH;
	return aad_for_ca(&aad, pub, pub_len) ? ERR_RANGE : gcm_open(key, &aad, in, secret);
}

static int aad_for_anchor(struct buf *aad, const struct anchor_record *a, enum anchor_auth which)
{
	if (buf_put_str(aad, label_anchor) || buf_put_u8(aad, which) || buf_put_u32le(aad, a->a) ||
	    buf_put_u32le(aad, a->v) || buf_put_u32le(aad, a->flags) || buf_put_u32le(aad, a->a_attributes) ||
	    buf_put_u32le(aad, a->v_attributes))
		return ERR_RANGE;
	return 0;
}

int wrap_anchor_auth(const uint8_t key[static KEY_LEN], const struct anchor_record *a, enum anchor_auth which,
		     const uint8_t secret[static KEY_LEN], uint8_t out[static WRAPPED_KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_anchor(&aad, a, which) ? ERR_RANGE : gcm_seal(key, &aad, secret, out);
}

int unwrap_anchor_auth(const uint8_t key[static KEY_LEN], const struct anchor_record *a, enum anchor_auth which,
		       const uint8_t in[static WRAPPED_KEY_LEN], uint8_t secret[static KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_anchor(&aad, a, which) ? ERR_RANGE : gcm_open(key, &aad, in, secret);
}

static int aad_for_former(struct buf *aad, enum former_key which)
{
	return buf_put_str(aad, label_former) || buf_put_u8(aad, (uint8_t)which) ? ERR_RANGE : 0;
}

int wrap_former(const uint8_t key[static KEY_LEN], enum former_key which, const uint8_t secret[static KEY_LEN],
		uint8_t out[static WRAPPED_KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_former(&aad, which) ? ERR_RANGE : gcm_seal(key, &aad, secret, out);
}

int unwrap_former(const uint8_t key[static KEY_LEN], enum former_key which, const uint8_t in[static WRAPPED_KEY_LEN],
		  uint8_t secret[static KEY_LEN])
{
	uint8_t mem[AAD_MAX];
	struct buf aad;

	buf_init(&aad, mem, sizeof(mem));
	return aad_for_former(&aad, which) ? ERR_RANGE : gcm_open(key, &aad, in, secret);
}

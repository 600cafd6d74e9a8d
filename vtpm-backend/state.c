/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/state.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "lib/secmem.h"

#define STATE_MAGIC  0x54535456u /* "VTST" */
#define STATE_FORMAT 1u
#define GCM_NONCE_LEN 12u

struct state_header {
	uint8_t salt[STATE_SALT_LEN];
	uint64_t version, counter;
	uint8_t kind;
};

static int header_encode(struct buf *b, const struct state_header *h)
{
	if (buf_put_u32le(b, STATE_MAGIC) || buf_put_u8(b, STATE_FORMAT) || buf_put_u8(b, h->kind) ||
	    buf_put_u16le(b, 0) || buf_put_bytes(b, h->salt, STATE_SALT_LEN) || buf_put_u64le(b, h->version) ||
	    buf_put_u64le(b, h->counter))
		return ERR_RANGE;
	return 0;
}

static int header_decode(struct buf *b, struct state_header *h)
{
	uint32_t magic;
	uint16_t reserved;
	uint8_t format;

	if (buf_get_u32le(b, &magic) || buf_get_u8(b, &format) || magic != STATE_MAGIC)
		return ERR_AUTH;
	if (format > STATE_FORMAT)
		return ERR_VERSION;
	if (buf_get_u8(b, &h->kind) || buf_get_u16le(b, &reserved) || buf_get_bytes(b, h->salt, STATE_SALT_LEN) ||
	    buf_get_u64le(b, &h->version) || buf_get_u64le(b, &h->counter))
		return ERR_AUTH;
	return format == STATE_FORMAT && reserved == 0 ? 0 : ERR_AUTH;
}

/* salt: NULL, or STATE_SALT_LEN bytes. */
static int hkdf(const uint8_t *key, const uint8_t *salt, const char *info, uint8_t *out, size_t n)
{
	OSSL_PARAM params[5], *p = params;
	EVP_KDF_CTX *ctx = NULL;
	EVP_KDF *kdf;
	int err = ERR_CRYPTO;

	kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (kdf == NULL)
		goto out;
	ctx = EVP_KDF_CTX_new(kdf);
	if (ctx == NULL)
		goto out;
	/* The library reads these; its parameter type has no const. */
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char[]){ "SHA256" }, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, KEY_LEN);
	if (salt != NULL)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, STATE_SALT_LEN);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, strlen(info));
	*p = OSSL_PARAM_construct_end();
	if (EVP_KDF_derive(ctx, out, n, params) == 1)
		err = 0;
out:
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return err;
}

int state_derive(const uint8_t key[static KEY_LEN], const char *info, uint8_t *out, size_t n)
{
	return hkdf(key, NULL, info, out, n);
}

/* A cipher context that holds the subkey of salt, or NULL. */
static EVP_CIPHER_CTX *cipher_new(const uint8_t *key, const uint8_t *salt, int encrypt)
{
	uint8_t subkey[KEY_LEN];
	EVP_CIPHER_CTX *ctx;

	ctx = EVP_CIPHER_CTX_new();
	if (ctx == NULL)
		return NULL;
	if (hkdf(key, salt, "vtpm state v1", subkey, sizeof(subkey)) != 0 ||
	    EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, subkey, NULL, encrypt) != 1) {
		EVP_CIPHER_CTX_free(ctx);
		ctx = NULL;
	}
	secmem_wipe(subkey, sizeof(subkey));
	return ctx;
}

/* Sets the nonce and feeds the associated data: the header as it is stored, then the uuid, then the line unless it is the first. */
static int cipher_begin(EVP_CIPHER_CTX *ctx, const struct state_header *h, const struct state_id *id)
{
	uint8_t nonce[GCM_NONCE_LEN] = { 0 }, aad[STATE_HEADER_SIZE + UUID_LEN + 8];
	struct buf n, a;
	int len;

	buf_init(&n, nonce, sizeof(nonce));
	buf_init(&a, aad, sizeof(aad));
	if (buf_put_u32le(&n, 0) || buf_put_u64le(&n, h->counter) || header_encode(&a, h) ||
	    buf_put_bytes(&a, id->uuid, UUID_LEN) || (id->line && buf_put_u64le(&a, id->line)))
		return ERR_RANGE;
	if (EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, -1) != 1 ||
	    EVP_CipherUpdate(ctx, NULL, &len, aad, (int)a.len) != 1)
		return ERR_CRYPTO;
	return 0;
}

int sealer_init(struct sealer *s, const uint8_t key[static KEY_LEN])
{
	int err;

	memset(s, 0, sizeof(*s));
	err = random_bytes(s->salt, sizeof(s->salt));
	if (err != 0)
		return err;
	s->ctx = cipher_new(key, s->salt, 1);
	return s->ctx != NULL ? 0 : ERR_CRYPTO;
}

void sealer_wipe(struct sealer *s)
{
	EVP_CIPHER_CTX_free(s->ctx);
	secmem_wipe(s, sizeof(*s));
}

static int encrypt(EVP_CIPHER_CTX *ctx, const struct state_part *parts, unsigned nparts, uint8_t *text,
		   uint8_t tag[static STATE_TAG_LEN])
{
	int len;

	for (unsigned i = 0; i < nparts; i++) {
		if (parts[i].len == 0)
			continue;
		if (EVP_EncryptUpdate(ctx, text, &len, parts[i].data, (int)parts[i].len) != 1 ||
		    (size_t)len != parts[i].len)
			return ERR_CRYPTO;
		text += len;
	}
	if (EVP_EncryptFinal_ex(ctx, text, &len) != 1 || len != 0 ||
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, STATE_TAG_LEN, tag) != 1)
		return ERR_CRYPTO;
	return 0;
}

static size_t parts_len(const struct state_part *parts, unsigned nparts)
{
	size_t n = 0;

	/* One by one: a length that is beyond all measure must not wrap the sum. */
	for (unsigned i = 0; i < nparts && n <= STATE_PLAIN_MAX; i++)
		n = parts[i].len > STATE_PLAIN_MAX ? STATE_PLAIN_MAX + 1u : n + parts[i].len;
	return n;
}

int state_seal_parts(struct sealer *s, const struct state_id *id, const struct state_part *parts, unsigned nparts,
		     struct buf *out)
{
	struct state_header h = { .kind = id->kind, .version = id->version, .counter = s->counter + 1 };
	const size_t n = parts_len(parts, nparts);
	size_t begin = out->len;
	uint8_t tag[STATE_TAG_LEN];

	if (n == 0 || n > STATE_PLAIN_MAX || out->cap - out->len < n + STATE_OVERHEAD)
		return ERR_RANGE;
	memcpy(h.salt, s->salt, sizeof(h.salt));
	s->counter = h.counter; /* used up, whatever comes of it */
	if (header_encode(out, &h))
		return ERR_RANGE;
	if (cipher_begin(s->ctx, &h, id) || encrypt(s->ctx, parts, nparts, out->data + out->len, tag)) {
		out->len = begin;
		return ERR_CRYPTO;
	}
	out->len += n;
	return buf_put_bytes(out, tag, sizeof(tag));
}

int state_seal(struct sealer *s, const struct state_id *id, const uint8_t *plain, size_t n, struct buf *out)
{
	return state_seal_parts(s, id, &(struct state_part){ plain, n }, 1, out);
}

/* text: n bytes of ciphertext and the tag. */
static int decrypt(EVP_CIPHER_CTX *ctx, const struct state_header *h, const struct state_id *id, const uint8_t *text,
		   size_t n, uint8_t *plain)
{
	uint8_t tag[STATE_TAG_LEN];
	int len;

	memcpy(tag, text + n, sizeof(tag));
	if (cipher_begin(ctx, h, id) || EVP_DecryptUpdate(ctx, plain, &len, text, (int)n) != 1 || (size_t)len != n)
		return ERR_CRYPTO;
	if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, STATE_TAG_LEN, tag) != 1)
		return ERR_CRYPTO;
	return EVP_DecryptFinal_ex(ctx, plain + n, &len) == 1 && len == 0 ? 0 : ERR_AUTH;
}

int state_open(const uint8_t key[static KEY_LEN], const struct state_id *id, const uint8_t *sealed, size_t n,
	       uint8_t *plain, size_t *plain_len)
{
	struct state_header h;
	EVP_CIPHER_CTX *ctx;
	const uint8_t *text;
	size_t text_len;
	struct buf b;
	int err;

	buf_wrap(&b, sealed, n);
	err = header_decode(&b, &h);
	if (err != 0)
		return err;
	if (n <= STATE_OVERHEAD || n > SEALED_STATE_MAX || h.kind != id->kind || h.version != id->version)
		return ERR_AUTH;
	text_len = n - STATE_OVERHEAD;
	if (buf_get_view(&b, text_len + STATE_TAG_LEN, &text))
		return ERR_AUTH;
	ctx = cipher_new(key, h.salt, 0);
	if (ctx == NULL)
		return ERR_CRYPTO;
	err = decrypt(ctx, &h, id, text, text_len, plain);
	EVP_CIPHER_CTX_free(ctx);
	if (err != 0)
		secmem_wipe(plain, text_len);
	else
		*plain_len = text_len;
	return err;
}

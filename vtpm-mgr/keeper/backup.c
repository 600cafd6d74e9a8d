/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/backup.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/openssl.h"
#include "vtpm-mgr/keeper/serve.h"
#include "vtpm-mgr/keeper/wrap.h"

#define NONCE_LEN 12u

static const char label_id[] = "vtpm backup key id v1";
static const char label_file[] = "vtpm backup file v1";

int backup_key_id(const uint8_t key[static KEY_LEN], uint8_t id[static DIGEST_LEN])
{
	return wrap_hmac(key, label_id, sizeof(label_id) - 1, id);
}

static int file_key(const uint8_t key[static KEY_LEN], const uint8_t file[static DIGEST_LEN],
		    uint8_t out[static KEY_LEN])
{
	uint8_t mem[sizeof(label_file) - 1 + DIGEST_LEN];

	memcpy(mem, label_file, sizeof(label_file) - 1);
	memcpy(mem + sizeof(label_file) - 1, file, DIGEST_LEN);
	return wrap_hmac(key, mem, sizeof(mem), out);
}

/* A context with key and nonce of a part. NULL: OpenSSL failed. */
static EVP_CIPHER_CTX *part_cipher(const uint8_t key[static KEY_LEN], const struct backup_part *p, int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[NONCE_LEN] = {0}, secret[KEY_LEN];
	struct buf n;
	bool ok;

	buf_init(&n, nonce, sizeof(nonce));
	ok = ctx && !buf_put_u32le(&n, p->last) && !buf_put_u64le(&n, p->n) && !file_key(key, p->file, secret) &&
	     EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, secret, nonce, encrypt) == 1;
	secmem_wipe(secret, sizeof(secret));
	if (ok)
		return ctx;
	EVP_CIPHER_CTX_free(ctx);
	return NULL;
}

int backup_seal(const uint8_t key[static KEY_LEN], const struct backup_part *p,
		uint8_t out[static BACKUP_PART + BACKUP_TAG])
{
	EVP_CIPHER_CTX *ctx;
	int n, ok;

	if (p->len < 1 || p->len > BACKUP_PART)
		return ERR_RANGE;
	ctx = part_cipher(key, p, 1);
	ok = ctx && EVP_EncryptUpdate(ctx, out, &n, p->data, (int)p->len) == 1 && (size_t)n == p->len &&
	     EVP_EncryptFinal_ex(ctx, out + p->len, &n) == 1 && n == 0 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, BACKUP_TAG, out + p->len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok ? 0 : ERR_CRYPTO;
}

int backup_open(const uint8_t key[static KEY_LEN], const struct backup_part *p, uint8_t out[static BACKUP_PART])
{
	uint8_t tag[BACKUP_TAG], end[BACKUP_TAG];
	EVP_CIPHER_CTX *ctx;
	int n, ok, r;
	size_t len;

	if (p->len <= BACKUP_TAG || p->len > BACKUP_PART + BACKUP_TAG)
		return ERR_AUTH;
	len = p->len - BACKUP_TAG;
	memcpy(tag, p->data + len, BACKUP_TAG);
	ctx = part_cipher(key, p, 0);
	ok = ctx && EVP_DecryptUpdate(ctx, out, &n, p->data, (int)len) == 1 && (size_t)n == len &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, BACKUP_TAG, tag) == 1;
	r = !ok ? ERR_CRYPTO : EVP_DecryptFinal_ex(ctx, end, &n) == 1 ? 0 : ERR_AUTH;
	EVP_CIPHER_CTX_free(ctx);
	if (r)
		memset(out, 0, len); /* what was decrypted before the tag was looked at */
	return r;
}

/* ---- the requests ---- */

static int keys_of(struct keeper *k, const struct group_key **keys)
{
	*keys = groups_keys(&k->groups, GROUP_DEFAULT);
	return *keys ? 0 : tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is not open", GROUP_DEFAULT);
}

int serve_backup_key(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t id[DIGEST_LEN];
	const struct group_key *keys;
	uint64_t q;
	int r;

	if (buf_get_u64le(&m->body, &q))
		return ERR_PROTO;
	r = keys_of(k, &keys);
	if (!r)
		r = backup_key_id(keys->backup, id);
	return serve_reply(k, q, r, id, sizeof(id));
}

int serve_backup_seal(void *peer, struct ipc_msg *m)
{
	uint8_t out[BACKUP_PART + BACKUP_TAG];
	struct keeper *k = peer;
	struct backup_part p;
	const struct group_key *keys;
	uint64_t q;
	int r;

	if (buf_get_u64le(&m->body, &q) || backup_part_decode(&m->body, &p) || buf_left(&m->body))
		return ERR_PROTO;
	r = keys_of(k, &keys);
	if (!r)
		r = backup_seal(keys->backup, &p, out);
	return serve_reply(k, q, r, out, p.len + BACKUP_TAG);
}

int serve_backup_open(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t out[BACKUP_PART];
	struct backup_part p;
	const struct group_key *keys;
	uint64_t q;
	int r;

	if (buf_get_u64le(&m->body, &q) || backup_part_decode(&m->body, &p) || buf_left(&m->body))
		return ERR_PROTO;
	r = keys_of(k, &keys);
	if (!r)
		r = backup_open(keys->backup, &p, out);
	return serve_reply(k, q, r, out, r ? 0 : p.len - BACKUP_TAG);
}

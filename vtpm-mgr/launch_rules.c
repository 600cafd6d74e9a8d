/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/launch_rules.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 4096

int rules_open(const struct store_rules *r, struct buf *b, uint8_t *mismatch)
{
	*mismatch = MISMATCH_REFUSE;
	buf_wrap(b, r->data, r->len);
	if (r->len == 0)
		return 0;
	return buf_get_u8(b, mismatch) || *mismatch > MISMATCH_SERVE ? ERR_AUTH : 0;
}

int rules_next(struct buf *b, struct rule *e)
{
	if (buf_left(b) == 0)
		return ERR_NOTFOUND;
	if (buf_get_u8(b, &e->kind) || e->kind >= RULE_KINDS || buf_get_var(b, LAUNCH_KEY_MAX, &e->value, &e->len))
		return ERR_AUTH;
	return e->len == 0 || (e->kind == RULE_DIGEST && e->len != DIGEST_LEN) ? ERR_AUTH : 0;
}

static bool same(const struct rule *a, const struct rule *b)
{
	return a->kind == b->kind && a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
}

/* How many there are, and whether e is among them. */
static int look(const struct store_rules *r, const struct rule *e, unsigned *n, bool *found)
{
	struct rule one;
	uint8_t mismatch;
	struct buf b;
	int err = rules_open(r, &b, &mismatch);

	*n = 0;
	*found = false;
	while (!err && !(err = rules_next(&b, &one))) {
		*found = *found || (e && same(&one, e));
		if (++*n > LAUNCH_RULES)
			err = ERR_AUTH;
	}
	return err == ERR_NOTFOUND ? 0 : err;
}

int rules_check(const struct store_rules *r)
{
	unsigned n;
	bool found;

	return r->len > STORE_RULES_MAX ? ERR_AUTH : look(r, NULL, &n, &found);
}

bool rules_empty(const struct store_rules *r)
{
	return r->len <= 1;
}

/* All but `without`, and then `with`; NULL: none. */
static int rebuild(struct store_rules *r, uint8_t mismatch, const struct rule *without, const struct rule *with)
{
	struct store_rules made = { 0 };
	struct rule one;
	uint8_t was;
	struct buf from, to;
	int err = rules_open(r, &from, &was);

	buf_init(&to, made.data, sizeof(made.data));
	if (err || buf_put_u8(&to, mismatch))
		return err ? err : ERR_FULL;
	while (!(err = rules_next(&from, &one))) {
		if (without && same(&one, without))
			continue;
		if (buf_put_u8(&to, one.kind) || buf_put_var(&to, one.value, one.len))
			return ERR_FULL;
	}
	if (err != ERR_NOTFOUND)
		return err;
	if (with && (buf_put_u8(&to, with->kind) || buf_put_var(&to, with->value, with->len)))
		return ERR_FULL;
	made.len = to.len;
	*r = made;
	return 0;
}

int rules_add(struct store_rules *r, const struct rule *e)
{
	uint8_t mismatch;
	struct buf b;
	unsigned n;
	bool found;
	int err = look(r, e, &n, &found);

	if (!err)
		err = rules_open(r, &b, &mismatch);
	if (err || found)
		return err ? err : ERR_EXISTS;
	return n == LAUNCH_RULES ? ERR_FULL : rebuild(r, mismatch, NULL, e);
}

int rules_remove(struct store_rules *r, const struct rule *e)
{
	uint8_t mismatch;
	struct buf b;
	unsigned n;
	bool found;
	int err = look(r, e, &n, &found);

	if (!err)
		err = rules_open(r, &b, &mismatch);
	if (err || !found)
		return err ? err : ERR_NOTFOUND;
	return rebuild(r, mismatch, e, NULL);
}

int rules_set_mismatch(struct store_rules *r, uint8_t mismatch)
{
	return mismatch > MISMATCH_SERVE ? ERR_INVAL : rebuild(r, mismatch, NULL, NULL);
}

/* --- keys --- */

static bool key_permitted(const EVP_PKEY *key)
{
	const int bits = EVP_PKEY_get_bits(key);

	if (EVP_PKEY_is_a(key, "RSA"))
		return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
	return EVP_PKEY_is_a(key, "EC") && (bits == 256 || bits == 384 || bits == 521);
}

int rules_key_of_pem(const char *pem, uint8_t *der, size_t *len)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"") : NULL;
	unsigned char *out = NULL;
	int n = key && key_permitted(key) ? i2d_PUBKEY(key, &out) : 0;
	int err = n > 0 && (size_t)n <= *len ? 0 : ERR_INVAL;

	if (!err) {
		memcpy(der, out, (size_t)n);
		*len = (size_t)n;
	}
	OPENSSL_free(out);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return err;
}

/* By that key, over the log: the digest that is signed is the launch's. */
static bool is_signed_by(const struct rule *e, const struct rules_launch *l)
{
	const unsigned char *p = e->value;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)e->len);
	EVP_MD_CTX *ctx = key && key_permitted(key) ? EVP_MD_CTX_new() : NULL;
	bool yes = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		   EVP_DigestVerify(ctx, l->signature, l->signature_len, l->log, l->log_len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return yes;
}

int rules_judge(const struct store_rules *r, const struct rules_launch *l)
{
	struct rule e;
	uint8_t mismatch;
	struct buf b;
	int err = rules_check(r);

	if (err || rules_empty(r))
		return err;
	err = rules_open(r, &b, &mismatch);
	while (!err && !(err = rules_next(&b, &e))) {
		if (e.kind == RULE_DIGEST ? memcmp(e.value, l->digest, DIGEST_LEN) == 0 : l->signature_len > 0 && is_signed_by(&e, l))
			return 0;
	}
	return err == ERR_NOTFOUND ? ERR_DENIED : err;
}

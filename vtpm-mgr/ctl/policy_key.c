/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys of an operator, from PEM files: public ones for the TPM, private ones to sign with. OpenSSL does it all, here and now. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/ctl/policy.h"

static EVP_PKEY *pem_read(const char *path, bool private, struct ctl_error *e)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = NULL;

	if (!f) {
		ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: %s", path, strerror(errno));
		return NULL;
	}
	key = private ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : PEM_read_PUBKEY(f, NULL, NULL, NULL);
	fclose(f);
	if (!key)
		ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s: no %s key in PEM form can be read from it", path, private ? "private" : "public");
	return key;
}

static int put_ecc(const EVP_PKEY *key, struct buf *b)
{
	uint8_t point[1 + 2 * DIGEST_LEN];
	char curve[32];
	size_t len;

	if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), &len) != 1 ||
	    strcmp(curve, SN_X9_62_prime256v1) != 0 ||
	    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) != 1 || len != sizeof(point) ||
	    point[0] != 4 /* not compressed: SEC 1, 2.3.3 */)
		return ERR_INVAL;
	return policy_key_put_ecc(b, point + 1, point + 1 + DIGEST_LEN);
}

static int put_rsa(const EVP_PKEY *key, struct buf *b)
{
	uint8_t n[SIGNATURE_MAX];
	BIGNUM *modulus = NULL, *exponent = NULL;
	int err = ERR_INVAL, len = EVP_PKEY_get_size(key);

	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &modulus) == 1 &&
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 && BN_is_word(exponent, RSA_F4) &&
	    len <= (int)sizeof(n) && BN_bn2binpad(modulus, n, len) == len)
		err = policy_key_put_rsa(b, n, (size_t)len);
	BN_free(modulus);
	BN_free(exponent);
	return err;
}

int key_public_hex(const char *path, char hex[static 2 * POLICY_KEY_MAX + 1], struct ctl_error *e)
{
	uint8_t mem[POLICY_KEY_MAX];
	EVP_PKEY *key = pem_read(path, false, e);
	struct policy_key k = {.pub = mem};
	struct buf b;
	int err;

	if (!key)
		return e->code;
	buf_init(&b, mem, sizeof(mem));
	err = EVP_PKEY_is_a(key, "EC") ? put_ecc(key, &b) : EVP_PKEY_is_a(key, "RSA") ? put_rsa(key, &b) : ERR_INVAL;
	EVP_PKEY_free(key);
	k.len = b.len;
	if (err || !policy_key_valid(&k) || hex_encode(mem, b.len, hex, 2 * POLICY_KEY_MAX + 1))
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED,
				"%s: a key must be ECC P-256, or RSA of 2048, 3072 or 4096 bits with the exponent 65537", path);
	return 0;
}

/* DER to r and s (TPM 2.0 Part 2, 11.3.2). */
static int raw_ecdsa(uint8_t *signature, size_t *len)
{
	const unsigned char *p = signature;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)*len);
	uint8_t raw[2 * DIGEST_LEN];
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, DIGEST_LEN) == (int)DIGEST_LEN &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + DIGEST_LEN, DIGEST_LEN) == (int)DIGEST_LEN;

	ECDSA_SIG_free(sig);
	if (!ok)
		return ERR_CRYPTO;
	memcpy(signature, raw, sizeof(raw));
	*len = sizeof(raw);
	return 0;
}

static int sign_digest(EVP_PKEY *key, const uint8_t digest[static DIGEST_LEN], struct key_signature *out)
{
	bool rsa = EVP_PKEY_is_a(key, "RSA");
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int err = ERR_CRYPTO;

	out->len = sizeof(out->bytes);
	out->scheme = rsa ? SCHEME_RSASSA : SCHEME_ECDSA;
	if (ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
	    (!rsa || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1) &&
	    EVP_PKEY_sign(ctx, out->bytes, &out->len, digest, DIGEST_LEN) == 1)
		err = rsa ? 0 : raw_ecdsa(out->bytes, &out->len);
	EVP_PKEY_CTX_free(ctx);
	return !err && !signature_valid(out->scheme, out->len) ? ERR_CRYPTO : err;
}

int key_sign(const char *path, const uint8_t digest[static DIGEST_LEN], struct key_signature *out, struct ctl_error *e)
{
	EVP_PKEY *key = pem_read(path, true, e);
	int err;

	if (!key)
		return e->code;
	err = sign_digest(key, digest, out);
	EVP_PKEY_free(key);
	return err ? ctl_fail(e, err, EXIT_FAILED, "%s: this key cannot sign; it must be ECC P-256, or RSA of 2048 bits or more", path)
		   : 0;
}

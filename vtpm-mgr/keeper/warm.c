/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/warm.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/cert.h"
#include "vtpm-mgr/keeper/wrap.h"

/* HKDF, HMAC, SHA-256 and AES-GCM, there and back. */
static int warm_wrap(void)
{
	const struct key_binding b = {.group = "warm", .epoch = 1};
	uint8_t root[KEY_LEN] = {0}, key[KEY_LEN], back[KEY_LEN], wrapped[WRAPPED_KEY_LEN];
	int r;

	r = wrap_derive(root, key);
	if (!r)
		r = wrap_hmac(key, root, sizeof(root), back);
	if (!r)
		r = wrap_vtpm_key(key, &b, root, wrapped);
	if (!r)
		r = unwrap_vtpm_key(key, &b, wrapped, sizeof(wrapped), back);
	return r || secmem_equal(root, back, KEY_LEN) ? r : ERR_CRYPTO;
}

/* What the TPM does later, with a key of the moment. */
static int warm_sign(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(arg, NULL);
	unsigned char der[80];
	const unsigned char *p = der;
	size_t len = sizeof(der);
	ECDSA_SIG *sig = NULL;
	int err = ERR_CRYPTO;

	if (ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &len, digest, DIGEST_LEN) == 1)
		sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
	if (sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), r, 32) == 32 && BN_bn2binpad(ECDSA_SIG_get0_s(sig), s, 32) == 32)
		err = 0;
	ECDSA_SIG_free(sig);
	EVP_PKEY_CTX_free(ctx);
	return err;
}

static int warm_cert(void)
{
	const uint8_t uuid[UUID_LEN] = {0};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	const struct cert_signer signer = {.sign = warm_sign, .arg = key};
	struct cert_der der;
	X509 *ca = NULL;
	int r;

	r = key ? cert_make_ca(key, &signer, &der) : ERR_CRYPTO;
	if (!r)
		r = cert_open_ca(der.bytes, der.len, key, &ca);
	if (!r)
		r = cert_make_ek(ca, EK_ECC_P256, key, uuid, &signer, &der);
	X509_free(ca);
	EVP_PKEY_free(key);
	return r;
}

int warm_openssl(void)
{
	int r;

	if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1)
		return ERR_CRYPTO;
	r = warm_wrap();
	return r ? r : warm_cert();
}

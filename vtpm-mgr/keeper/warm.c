/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/warm.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/escrow/envelope.h"
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
	const struct cert_subject of = {.uuid = {0}};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	const struct cert_signer signer = {.sign = warm_sign, .arg = key};
	struct cert_der der;
	X509 *ca = NULL;
	int r;

	r = key ? cert_make_ca(key, &signer, &der) : ERR_CRYPTO;
	if (!r)
		r = cert_open_ca(der.bytes, der.len, key, &ca);
	if (!r)
		r = cert_make_key(ca, EK_ECC_P256, key, &of, &signer, &der);
	X509_free(ca);
	EVP_PKEY_free(key);
	return r;
}

/* To a key on the keeper's curve, and back. */
static int warm_envelope(void)
{
	const uint8_t secret[KEY_LEN] = {0};
	uint8_t mem[ENVELOPE_MAX], back[KEY_LEN];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct buf b, none;
	int r;

	buf_init(&b, mem, sizeof(mem));
	buf_wrap(&none, secret, sizeof(secret));
	r = key ? envelope_seal(key, &none, secret, &b) : ERR_CRYPTO;
	if (!r)
		r = envelope_open(key, &none, mem, b.len, back);
	EVP_PKEY_free(key);
	return r || secmem_equal(secret, back, KEY_LEN) ? r : ERR_CRYPTO;
}

int warm_openssl(void)
{
	int r;

	if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) != 1)
		return ERR_CRYPTO;
	r = warm_wrap();
	if (!r)
		r = warm_envelope();
	return r ? r : warm_cert();
}

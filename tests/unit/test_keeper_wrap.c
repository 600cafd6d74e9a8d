/* SPDX-License-Identifier: BSD-2-Clause */
/* The keeper's parts that need no TPM: wrapping, templates, certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/test_keeper_ek.h"
#include "vtpm-mgr/keeper/cert.h"
#include "vtpm-mgr/keeper/ek.h"
#include "vtpm-mgr/keeper/wrap.h"

static const uint8_t uuid[UUID_LEN] = {0x12, 0x34};

static void test_derive(void **state)
{
	/* HKDF-SHA256 of 32 bytes 0x0b, no salt, info "vtpm wrapping key v1", by another implementation. */
	static const char want[] = "50d286684c4cef8bbca75a336382dbf5143676e977425f5836c6449429508dca";
	uint8_t root[KEY_LEN], key[KEY_LEN];
	char hex[2 * KEY_LEN + 1];

	(void)state;
	memset(root, 0x0b, sizeof(root));
	assert_int_equal(wrap_derive(root, key), 0);
	assert_int_equal(hex_encode(key, sizeof(key), hex, sizeof(hex)), 0);
	assert_string_equal(hex, want);
}

static void test_wrap(void **state)
{
	const uint8_t key[KEY_LEN] = {1}, other[KEY_LEN] = {2}, secret[KEY_LEN] = {3};
	struct key_binding b = {.group = "default", .uuid = {4}, .epoch = 5, .config = {6}}, c;
	uint8_t w[WRAPPED_KEY_LEN], v[WRAPPED_KEY_LEN], back[KEY_LEN];
	static const uint8_t zero[KEY_LEN];

	(void)state;
	assert_int_equal(wrap_vtpm_key(key, &b, secret, w), 0);
	assert_int_equal(wrap_vtpm_key(key, &b, secret, v), 0);
	assert_memory_not_equal(v, w, sizeof(w));
	assert_int_equal(unwrap_vtpm_key(key, &b, w, sizeof(w), back), 0);
	assert_memory_equal(back, secret, KEY_LEN);
	assert_int_equal(unwrap_vtpm_key(other, &b, w, sizeof(w), back), ERR_AUTH);
	assert_memory_equal(back, zero, KEY_LEN);
	assert_int_equal(unwrap_vtpm_key(key, &b, w, sizeof(w) - 1, back), ERR_AUTH);
	for (size_t i = 0; i < 8 * sizeof(w); i++) {
		w[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(unwrap_vtpm_key(key, &b, w, sizeof(w), back), ERR_AUTH);
		w[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	c = b, strcpy(c.group, "defaulu");
	assert_int_equal(unwrap_vtpm_key(key, &c, w, sizeof(w), back), ERR_AUTH);
	c = b, c.epoch = 6;
	assert_int_equal(unwrap_vtpm_key(key, &c, w, sizeof(w), back), ERR_AUTH);
	c = b, c.config[31] = 1;
	assert_int_equal(unwrap_vtpm_key(key, &c, w, sizeof(w), back), ERR_AUTH);
	/* One use is no other. */
	assert_int_equal(unwrap_ca_auth(key, w, sizeof(w), w, sizeof(w), back), ERR_AUTH);
}

/* An attestation key as vtpm-backend/ak.c makes it: the same point, another head. */
static size_t test_ak(uint8_t pub[static PUBLIC_MAX])
{
	static const uint8_t head[] = {0, 88, 0, 0x23, 0, 0x0b, 0, 5, 4, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10};
	uint8_t ek[PUBLIC_MAX];
	size_t len = test_ek_ecc(ek);

	memcpy(pub, head, sizeof(head));
	memcpy(pub + sizeof(head), ek + len - 68, 68);
	return sizeof(head) + 68;
}

static size_t test_key(enum ek_kind kind, uint8_t pub[static PUBLIC_MAX])
{
	return kind == EK_RSA2048 ? test_ek_rsa(pub) : kind == EK_ECC_P256 ? test_ek_ecc(pub) : test_ak(pub);
}

/* Every byte before the key itself belongs to the template. */
static void check_template(enum ek_kind kind, uint8_t *pub, size_t len, size_t fixed)
{
	EVP_PKEY *key = NULL;

	assert_int_equal(ek_decode(kind, pub, len, &key), 0);
	EVP_PKEY_free(key);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(ek_decode(kind, pub, i, &key), ERR_INVAL);
	for (size_t i = 0; i < 8 * fixed; i++) {
		pub[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(ek_decode(kind, pub, len, &key), ERR_INVAL);
		pub[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (unsigned other = 0; other <= KEY_KINDS; other++)
		assert_true(other == kind || ek_decode(other, pub, len, &key) == ERR_INVAL);
}

static void test_templates(void **state)
{
	uint8_t pub[PUBLIC_MAX + 1] = {0};
	EVP_PKEY *key = NULL;
	size_t len;

	(void)state;
	len = test_ek_rsa(pub);
	check_template(EK_RSA2048, pub, len, len - 256);
	assert_int_equal(ek_decode(EK_RSA2048, pub, len + 1, &key), ERR_INVAL);
	pub[len - 1] ^= 1; /* an even modulus */
	assert_int_equal(ek_decode(EK_RSA2048, pub, len, &key), ERR_INVAL);
	len = test_ek_ecc(pub);
	check_template(EK_ECC_P256, pub, len, len - 66);
	pub[len - 1] ^= 1; /* not on the curve */
	assert_int_equal(ek_decode(EK_ECC_P256, pub, len, &key), ERR_INVAL);
	len = test_ak(pub);
	check_template(AK_ECC_P256, pub, len, len - 66);
}

static int sign(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(arg, NULL);
	unsigned char der[80];
	const unsigned char *p = der;
	size_t len = sizeof(der);
	ECDSA_SIG *sig;

	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	assert_int_equal(EVP_PKEY_sign(ctx, der, &len, digest, DIGEST_LEN), 1);
	sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), r, 32), 32);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), s, 32), 32);
	ECDSA_SIG_free(sig);
	EVP_PKEY_CTX_free(ctx);
	return 0;
}

static int sign_badly(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32])
{
	int err = sign(arg, digest, r, s);

	s[31] ^= 1;
	return err;
}

/* What "openssl verify" does. */
static void verify_chain(X509 *ca, X509 *x)
{
	X509_STORE *trust = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	assert_int_equal(X509_STORE_add_cert(trust, ca), 1);
	assert_int_equal(X509_STORE_CTX_init(ctx, trust, x, NULL), 1);
	X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
	if (X509_verify_cert(ctx) != 1)
		fail_msg("%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(trust);
}

static void check_key_cert(X509 *ca, EVP_PKEY *ca_key, enum ek_kind kind)
{
	const struct cert_signer signer = {.sign = sign, .arg = ca_key};
	uint8_t pub[PUBLIC_MAX];
	static const uint32_t usages[] = {KU_KEY_ENCIPHERMENT, KU_KEY_AGREEMENT, KU_DIGITAL_SIGNATURE};
	size_t len = test_key(kind, pub);
	struct cert_subject of;
	BIGNUM *serial;
	const unsigned char *p;
	struct cert_der der;
	EVP_PKEY *key;
	X509 *x;

	assert_int_equal(ek_decode(kind, pub, len, &key), 0);
	memcpy(of.uuid, uuid, UUID_LEN);
	assert_int_equal(cert_serial_new(of.serial), 0);
	assert_int_equal(cert_make_key(ca, kind, key, &of, &signer, &der), 0);
	assert_true(der.len <= 1500);
	p = der.bytes;
	x = d2i_X509(NULL, &p, (long)der.len);
	assert_non_null(x);
	assert_ptr_equal(p, der.bytes + der.len);
	verify_chain(ca, x);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x), key), 1);
	assert_int_equal(X509_get_key_usage(x), usages[kind]);
	of.serial[SERIAL_LEN - 1] = (uint8_t)kind;
	serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	assert_int_equal(BN_num_bytes(serial), SERIAL_LEN);
	BN_bn2bin(serial, pub);
	assert_memory_equal(pub, of.serial, SERIAL_LEN);
	BN_free(serial);
	assert_int_equal(X509_check_ca(x), 0);
	assert_true(X509_get_ext_by_NID(x, NID_subject_alt_name, -1) >= 0);
	assert_true(X509_get_ext_by_NID(x, NID_subject_directory_attributes, -1) >= 0);
	X509_free(x);
	EVP_PKEY_free(key);
}

static void test_certificates(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	const struct cert_signer signer = {.sign = sign, .arg = key}, bad = {.sign = sign_badly, .arg = key};
	struct cert_der der;
	X509 *ca, *none;

	(void)state;
	assert_int_equal(cert_make_ca(key, &bad, &der), ERR_AUTH);
	assert_int_equal(cert_make_ca(key, &signer, &der), 0);
	assert_int_equal(cert_open_ca(der.bytes, der.len, other, &none), ERR_AUTH);
	assert_int_equal(cert_open_ca(der.bytes, der.len - 1, key, &none), ERR_AUTH);
	for (size_t i = 0; i < der.len; i++) {
		der.bytes[i] ^= 4;
		assert_int_equal(cert_open_ca(der.bytes, der.len, key, &none), ERR_AUTH);
		der.bytes[i] ^= 4;
	}
	assert_int_equal(cert_open_ca(der.bytes, der.len, key, &ca), 0);
	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	for (unsigned kind = 0; kind < KEY_KINDS; kind++)
		check_key_cert(ca, key, kind);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_derive),	  cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_templates), cmocka_unit_test(test_certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* PCR sets as files, and vtpmctl policy sign: what is refused, and that what it signs is what OpenSSL verifies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/ctl/policy.h"

#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define SOME "0101010101010101010101010101010101010101010101010101010101010101"
#define SET                                                                                                            \
	"{\"format\":\"vtpm-pcr-set-1\",\"description\":\"a boot\",\"pcrs\":{\"sha256\":{\"0\":\"" SOME "\",\"23\":\"" SOME     \
	"\"}},\"group\":\"g\",\"version\":3,\"counter\":\"0x01805650\"}"

static char dir[64];

static int group_setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_policy_file.XXXXXX");
	return !mkdtemp(dir);
}

static int group_teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

static const char *path(const char *name)
{
	static char p[64][128]; /* more than one test asks for */
	static unsigned n;
	char *out = p[n++ % ARRAY_LEN(p)];

	snprintf(out, sizeof(p[0]), "%s/%s", dir, name);
	return out;
}

static int from_text(const char *text, struct pcr_set_file *f, char why[static TEXT_MAX + 1])
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	int err = pcr_set_from_json(o, f, why);

	json_decref(o);
	return err;
}

static void test_read(void **state)
{
	struct pcr_set_file f, g;
	char why[TEXT_MAX + 1];
	json_t *o;

	(void)state;
	assert_int_equal(from_text(SET, &f, why), 0);
	assert_string_equal(f.group, "g");
	assert_int_equal(f.counter, 0x01805650);
	assert_int_equal(f.set.version, 3);
	assert_int_equal(f.set.mask, 1u << 0 | 1u << 23);
	assert_int_equal(f.set.pcr[23][31], 1);
	assert_string_equal(f.set.text, "a boot");
	assert_int_equal(f.set.signature_len, 0);
	f.set.scheme = SCHEME_ECDSA;
	f.set.signature_len = 64;
	f.set.signature[63] = 9;
	o = pcr_set_to_json(&f);
	assert_int_equal(pcr_set_from_json(o, &g, why), 0);
	assert_memory_equal(&f, &g, sizeof(f));
	json_decref(o);
	assert_int_equal(from_text("{\"format\":\"vtpm-pcr-set-1\",\"pcrs\":{\"sha256\":{\"7\":\"" ZERO "\"}}}", &f, why), 0);
	assert_string_equal(f.group, "default");
	assert_int_equal(f.counter, POLICY_COUNTER_DEFAULT);
	assert_int_equal(f.set.version, 0);
}

/* SET with one thing in the place of another. */
static void expect_refused(const char *old, const char *new)
{
	char text[1024], why[TEXT_MAX + 1] = "";
	const char *at = strstr(SET, old);
	struct pcr_set_file f;

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - SET), SET, new, at + strlen(old));
	if (from_text(text, &f, why) != ERR_INVAL || !why[0])
		fail_msg("%s is not refused", text);
}

static void test_refused(void **state)
{
	(void)state;
	expect_refused("set-1", "set-2");
	expect_refused("\"a boot\"", "7");
	expect_refused("a boot", "a\\u0000boot");
	expect_refused("a boot", "\\u00e4");
	expect_refused("a boot", "\\u001b[2J");
	expect_refused("sha256", "sha1");
	expect_refused("\"sha256\"", "\"sha1\":{},\"sha256\"");
	expect_refused("\"23\"", "\"24\"");
	expect_refused("\"23\"", "\"-1\"");
	expect_refused("\"23\"", "\"00\"");
	expect_refused("\"23\"", "\"7x\"");
	expect_refused(SOME "\"}", "01\"}");
	expect_refused(SOME "\"}", SOME "01\"}");
	expect_refused(SOME "\"}", "g" SOME "\"}");
	expect_refused("\"g\"", "\"../g\"");
	expect_refused("\"g\"", "[]");
	expect_refused("3,", "0,");
	expect_refused("3,", "-3,");
	expect_refused("3,", "3.5,");
	expect_refused("3,", "4294967296,");
	expect_refused("0x01805650", "0x81000001");
	expect_refused("0x01805650", "01805650");
	expect_refused("0x01805650", "0x0180565z");
	expect_refused("\"group\"", "\"grop\"");
	expect_refused("\"group\"", "\"signature\":{},\"group\"");
	expect_refused("\"group\"", "\"signature\":{\"scheme\":\"ecdsa-sha256\",\"value\":\"00\"},\"group\"");
	expect_refused("\"group\"", "\"signature\":{\"scheme\":\"none\",\"value\":\"" ZERO ZERO "\"},\"group\"");
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path(name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static void write_keys(const char *name, EVP_PKEY *key)
{
	char file[64];
	FILE *f;

	snprintf(file, sizeof(file), "%s.pem", name);
	f = fopen(path(file), "we");
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	snprintf(file, sizeof(file), "%s.pub", name);
	f = fopen(path(file), "we");
	assert_int_equal(PEM_write_PUBKEY(f, key), 1);
	fclose(f);
}

/* What the command writes; NULL if it refuses. */
static json_t *signed_file(struct ctl_args *a, int want)
{
	struct ctl_error e = {.status = EXIT_FAILED};
	json_t *o = NULL;
	int err = policy_sign(a, &o, &e);

	if (err != want)
		fail_msg("%d: %s", err, e.message);
	assert_true(err == 0 || e.message[0]);
	assert_true((o == NULL) == (err != 0));
	return o;
}

static bool verifies(EVP_PKEY *key, const struct pcr_set *s, const uint8_t hash[static DIGEST_LEN])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *der = NULL;
	int len, ok;

	assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
	assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
	if (s->scheme == SCHEME_ECDSA) {
		assert_int_equal(ECDSA_SIG_set0(sig, BN_bin2bn(s->signature, 32, NULL), BN_bin2bn(s->signature + 32, 32, NULL)), 1);
		len = i2d_ECDSA_SIG(sig, &der);
		ok = EVP_PKEY_verify(ctx, der, (size_t)len, hash, DIGEST_LEN);
	} else {
		ok = EVP_PKEY_verify(ctx, s->signature, s->signature_len, hash, DIGEST_LEN);
	}
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	EVP_PKEY_CTX_free(ctx);
	return ok == 1;
}

static void sign_with(const char *name, EVP_PKEY *key)
{
	struct ctl_args a = {.number = 7, .group_name = "other"};
	char file[64], why[TEXT_MAX + 1], hex[2 * POLICY_KEY_MAX + 1];
	struct ctl_error e = {.status = EXIT_FAILED};
	uint8_t hash[DIGEST_LEN];
	struct pcr_set_file f;
	json_t *o;

	write_keys(name, key);
	write_file("set", SET);
	snprintf(file, sizeof(file), "%s.pem", name);
	a.keys[0] = path(file);
	a.name = path("set");
	o = signed_file(&a, 0);
	assert_int_equal(pcr_set_from_json(o, &f, why), 0);
	json_decref(o);
	assert_int_equal(f.set.version, 7);
	assert_string_equal(f.group, "other");
	assert_int_equal(policy_set_hash(&f.set, 0x01805650, "other", hash), 0);
	assert_true(verifies(key, &f.set, hash));
	assert_int_equal(policy_set_hash(&f.set, 0x01805650, "g", hash), 0);
	assert_false(verifies(key, &f.set, hash));
	snprintf(file, sizeof(file), "%s.pub", name);
	assert_int_equal(key_public_hex(path(file), hex, &e), 0);
	EVP_PKEY_free(key);
}

static void test_sign(void **state)
{
	(void)state;
	sign_with("ecc", EVP_EC_gen("P-256"));
	sign_with("rsa", EVP_RSA_gen(2048));
}

static void test_sign_refused(void **state)
{
	struct ctl_args a = {.name = path("set"), .keys = {path("ecc.pem")}};
	char *text = strdup(SET);

	(void)state;
	memcpy(strstr(text, SOME), ZERO, strlen(ZERO));
	write_file("set", text);
	free(text);
	assert_null(signed_file(&a, ERR_PCR));
	a.insecure_pcrs = true;
	json_decref(signed_file(&a, 0));
	a.keys[0] = path("ecc.pub"); /* a public key signs nothing */
	assert_null(signed_file(&a, ERR_INVAL));
	a.keys[0] = NULL;
	assert_null(signed_file(&a, ERR_INVAL));
	a.keys[0] = path("ecc.pem");
	write_file("set", "{\"format\":\"vtpm-pcr-set-1\",\"pcrs\":{\"sha256\":{\"0\":\"" SOME "\"}}}");
	assert_null(signed_file(&a, ERR_INVAL)); /* of which version? */
	write_file("set", "[1]");
	assert_null(signed_file(&a, ERR_INVAL));
	write_file("set", "{\"format\":\"vtpm-recovery-challenge-1\",\"group\":\"g\",\"nonce\":\"0011\"}");
	assert_null(signed_file(&a, ERR_INVAL));
}

static void test_challenge(void **state)
{
	struct ctl_args a = {.name = path("set"), .keys = {path("ecc.pem")}};
	uint8_t nonce[32], hash[DIGEST_LEN];
	struct pcr_set s = {.scheme = SCHEME_ECDSA, .signature_len = 64};
	FILE *f = fopen(path("ecc.pub"), "re");
	EVP_PKEY *key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
	json_t *o;

	(void)state;
	fclose(f);
	memset(nonce, 1, sizeof(nonce));
	write_file("set", "{\"format\":\"vtpm-recovery-challenge-1\",\"group\":\"g\",\"nonce\":\"" SOME "\"}");
	o = signed_file(&a, 0);
	assert_int_equal(json_integer_value(json_object_get(o, "seconds")), ANSWER_SECONDS);
	assert_int_equal(hex_decode(json_string_value(json_object_get(o, "signature")), s.signature, 64), 0);
	assert_int_equal(policy_recovery_hash(nonce, sizeof(nonce), ANSWER_SECONDS, "g", hash), 0);
	assert_true(verifies(key, &s, hash));
	EVP_PKEY_free(key);
	json_decref(o);
}

/* Keys that a TPM would not take, or that would have two Names. */
static void test_keys_refused(void **state)
{
	char hex[2 * POLICY_KEY_MAX + 1];
	struct ctl_error e = {.status = EXIT_FAILED};
	EVP_PKEY *key;

	(void)state;
	key = EVP_EC_gen("P-384");
	write_keys("p384", key);
	EVP_PKEY_free(key);
	assert_int_equal(key_public_hex(path("p384.pub"), hex, &e), ERR_INVAL);
	key = EVP_RSA_gen(1024);
	write_keys("rsa1024", key);
	EVP_PKEY_free(key);
	assert_int_equal(key_public_hex(path("rsa1024.pub"), hex, &e), ERR_INVAL);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	write_keys("ed", key);
	EVP_PKEY_free(key);
	assert_int_equal(key_public_hex(path("ed.pub"), hex, &e), ERR_INVAL);
	assert_int_equal(key_public_hex(path("ecc.pem"), hex, &e), ERR_INVAL);
	assert_int_equal(key_public_hex(path("nothing"), hex, &e), ERR_INVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),	     cmocka_unit_test(test_refused),   cmocka_unit_test(test_sign),
		cmocka_unit_test(test_sign_refused), cmocka_unit_test(test_challenge), cmocka_unit_test(test_keys_refused),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

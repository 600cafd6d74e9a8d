/* SPDX-License-Identifier: BSD-2-Clause */
/* Trust and policy as people write them: what is not as described is an error that says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "attest/json.h"
#include "attest/policy.h"
#include "attest/trust.h"

#define H "0101010101010101010101010101010101010101010101010101010101010101"
#define N "000b" H

static struct vtpm_policy *reads(const char *text)
{
	char why[VTPM_VERIFY_TEXT] = "";
	struct vtpm_policy *p;

	if (vtpm_policy_read(text, strlen(text), &p, why))
		fail_msg("%s: %s", text, why);
	return p;
}

static void test_policy(void **state)
{
	struct vtpm_policy *p = reads("{}");

	(void)state;
	assert_true(p->clock && p->launch_any && p->mode == EVIDENCE_NONE && p->discontinuities == UINT64_MAX && p->launch_pcrs == 0x3ff);
	assert_false(p->crl_required || p->ek_chain || p->host_log || p->launch_required || p->vtpm_ek);
	vtpm_policy_free(p);
	p = reads("{\"host\": {\"pcrs\": [{\"format\": \"vtpm-pcr-set-1\", \"description\": \"6.1\", \"pcrs\": {\"sha256\": {\"0\": \"" H "\", \"23\": \"" H
		  "\"}}}], \"log\": true, \"ek_chain\": true, \"events\": [{\"pcr\": 4, \"required\": [\"" H "\"], \"allowed\": []}]}, "
		  "\"launch\": {\"required\": true, \"digests\": [\"" H "\"], \"pcrs\": [0, 15]}, \"guest\": {\"ek_certificate\": true}, "
		  "\"freshness\": {\"mode\": \"bounded\", \"discontinuities\": 3}, \"revocation\": {\"required\": true, \"max_age\": 60}}");
	assert_int_equal(p->nhost_pcrs, 1);
	assert_int_equal(p->host_pcrs[0].mask, 1u | 1u << 23);
	assert_int_equal(p->host_pcrs[0].value[23][31], 1);
	assert_int_equal(p->nrules, 1);
	assert_true(p->rules[0].only && p->rules[0].required.n == 1 && p->rules[0].allowed.n == 0);
	assert_true(!p->launch_any && p->launch.n == 1 && p->launch_pcrs == (1u | 1u << 15));
	assert_true(p->mode == EVIDENCE_BOUNDED && p->discontinuities == 3 && p->crl_age == 60 && p->crl_required && p->ek_chain && p->vtpm_ek);
	vtpm_policy_free(p);
}

static void test_policy_errors(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "line"},
		{"[]", "no object"},
		{"{\"hosts\": {}}", "no member \"hosts\""},
		{"{\"host\": []}", "policy.host must be an object"},
		{"{\"host\": {}, \"host\": {}}", "duplicate"},
		{"{\"clock\": \"maybe\"}", "clock must be"},
		{"{\"host\": {\"log\": 1}}", "host.log must be true or false"},
		{"{\"host\": {\"pcrs\": []}}", "1 to 64 sets"},
		{"{\"host\": {\"pcrs\": [1]}}", "must be an object"},
		{"{\"host\": {\"pcrs\": [{\"pcrs\": {\"sha1\": {}}}]}}", "one member, \"sha256\""},
		{"{\"host\": {\"pcrs\": [{\"pcrs\": {\"sha256\": {\"24\": \"" H "\"}}}]}}", "no number of a PCR"},
		{"{\"host\": {\"pcrs\": [{\"pcrs\": {\"sha256\": {\"1\": \"" H "\", \"01\": \"" H "\"}}}]}}", "there twice"},
		{"{\"host\": {\"pcrs\": [{\"pcrs\": {\"sha256\": {\"1\": \"00\"}}}]}}", "64 hexadecimal digits"},
		{"{\"host\": {\"events\": [{\"required\": []}]}}", "pcr must be 0 to 23"},
		{"{\"host\": {\"events\": [{\"pcr\": 1, \"requires\": []}]}}", "no member \"requires\""},
		{"{\"host\": {\"events\": [{\"pcr\": -1}]}}", "must not be negative"},
		{"{\"launch\": {\"digests\": [\"zz\"]}}", "64 hexadecimal digits"},
		{"{\"launch\": {\"pcrs\": [16]}}", "numbers from 0 to 15"},
		{"{\"launch\": {\"signers\": [1]}}", "public keys in PEM"},
		{"{\"launch\": {\"signers\": []}}", "nothing that they have signed"},
		{"{\"host\": {\"events\": [{\"pcr\": 4}]}}", "demands nothing"},
		{"{\"launch\": {\"signed\": [{\"digest\": \"" H "\", \"signature\": \"AAAA\"}]}}", "none of launch.signers"},
		{"{\"freshness\": {\"mode\": \"fresh\"}}", "strict, bounded or none"},
		{"{\"clock\": \"untrusted\", \"revocation\": {\"max_age\": 5}}", "needs a trusted clock"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char why[VTPM_VERIFY_TEXT] = "";
		struct vtpm_policy *p;

		if (!vtpm_policy_read(bad[i].text, strlen(bad[i].text), &p, why) || p || !strstr(why, bad[i].why))
			fail_msg("%s: wanted \"%s\", got \"%s\"", bad[i].text, bad[i].why, why);
	}
}

/* A launch digest that an operator's key has signed. */
static void signature_of(EVP_PKEY *key, const uint8_t digest[static 32], char out[static 256])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sig[128];
	size_t n = sizeof(sig);

	assert_int_equal(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(md, sig, &n, digest, 32), 1);
	EVP_EncodeBlock((unsigned char *)out, sig, (int)n);
	EVP_MD_CTX_free(md);
}

static void test_signers(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	char why[VTPM_VERIFY_TEXT], text[2048], sig[256], pem[512], *at;
	uint8_t digest[32];
	struct vtpm_policy *p;
	BIO *bio = BIO_new(BIO_s_mem());
	size_t n = 0;
	long len;

	(void)state;
	memset(digest, 1, sizeof(digest));
	PEM_write_bio_PUBKEY(bio, key);
	len = BIO_get_mem_data(bio, &at);
	for (long i = 0; i < len; i++) { /* as JSON has it */
		if (at[i] == '\n')
			pem[n++] = '\\';
		pem[n++] = at[i] == '\n' ? 'n' : at[i];
	}
	pem[n] = '\0';
	signature_of(key, digest, sig);
	snprintf(text, sizeof(text), "{\"launch\": {\"signers\": [\"%s\"], \"signed\": [{\"digest\": \"" H "\", \"signature\": \"%s\"}]}}", pem, sig);
	p = reads(text);
	assert_true(!p->launch_any && digest_in(&p->launch, digest));
	vtpm_policy_free(p);
	signature_of(other, digest, sig);
	snprintf(text, sizeof(text), "{\"launch\": {\"signers\": [\"%s\"], \"signed\": [{\"digest\": \"" H "\", \"signature\": \"%s\"}]}}", pem, sig);
	assert_int_not_equal(vtpm_policy_read(text, strlen(text), &p, why), 0);
	assert_non_null(strstr(why, "none of launch.signers"));
	BIO_free(bio);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

static void test_trust(void **state)
{
	static const char two[] = " {\"hosts\": [{\"ak\": \"" N "\"}, {\"name\": \"x\", \"ak\": \"" N "\", \"ek\": \"" H "\"}]}";
	static const struct {
		const char *text, *why;
	} bad[] = {
		{"", "neither JSON"},
		{"{}", "must have \"hosts\""},
		{"{\"hosts\": [1]}", "must be an object"},
		{"{\"hosts\": [{}]}", "68 hexadecimal digits"},
		{"{\"hosts\": [{\"ak\": \"" H "\"}]}", "68 hexadecimal digits"},
		{"{\"hosts\": [{\"ak\": \"" N "\", \"key\": 1}]}", "no member \"key\""},
		{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "block 1"},
		{"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "block 1"},
		{"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\"PUBLIC KEY\", is neither"},
	};
	struct vtpm_trust *t = vtpm_trust_new();
	char why[VTPM_VERIFY_TEXT] = "";
	uint8_t name[EVIDENCE_NAME];

	(void)state;
	memset(name, 1, sizeof(name));
	name[0] = 0;
	name[1] = 0xb;
	assert_int_equal(vtpm_trust_add(t, two, strlen(two), why), 0);
	assert_int_equal(t->nhosts, 2);
	assert_ptr_equal(trust_find(t, name), &t->hosts[0]);
	name[2] = 2;
	assert_null(trust_find(t, name));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = '\0';
		if (!vtpm_trust_add(t, bad[i].text, strlen(bad[i].text), why) || !strstr(why, bad[i].why))
			fail_msg("%s: wanted \"%s\", got \"%s\"", bad[i].text, bad[i].why, why);
	}
	assert_int_equal(t->nhosts, 2);
	vtpm_trust_free(t);
}

/* A root, and a list behind it that was damaged on its way: that the list is not there must not go unnoticed. */
static void test_damaged_list(void **state)
{
	static const char *const lists[] = {
		"-----BEGIN X509 CRL-----\n@@@@\n-----END X509 CRL-----\n", "-----BEGIN X509 CRL-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN X509 CRL-----\nAAAA\n",	"-----BEGIN X509 CRL-----\n", "-----BEGIN X509 CRL-----\nAAA\n-----END X509 CRL-----\n",
	};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char why[VTPM_VERIFY_TEXT], text[2048], *pem;
	BIO *bio = BIO_new(BIO_s_mem());
	X509 *x = X509_new();
	int n;

	(void)state;
	assert_true(X509_set_pubkey(x, key) && X509_gmtime_adj(X509_getm_notBefore(x), 0) && X509_gmtime_adj(X509_getm_notAfter(x), 100) &&
		    X509_sign(x, key, EVP_sha256()) && PEM_write_bio_X509(bio, x));
	n = (int)BIO_get_mem_data(bio, &pem);
	for (size_t i = 0; i <= sizeof(lists) / sizeof(lists[0]); i++) {
		struct vtpm_trust *t = vtpm_trust_new();
		const bool whole = i == sizeof(lists) / sizeof(lists[0]);

		snprintf(text, sizeof(text), "%.*s%s", n, pem, whole ? "and a comment\n" : lists[i]);
		why[0] = '\0';
		if (!vtpm_trust_add(t, text, strlen(text), why) != whole || (!whole && !strstr(why, "block 2")))
			fail_msg("%s: got \"%s\"", whole ? "whole" : lists[i], why);
		vtpm_trust_free(t);
	}
	BIO_free(bio);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* What is wrong is said of a file whose name alone is longer than the text. */
static void test_long_name(void **state)
{
	struct {
		char why[VTPM_VERIFY_TEXT], behind[64];
	} m;
	char name[VTPM_VERIFY_TEXT + 8];
	struct reader r = {.what = name, .why = m.why};

	(void)state;
	memset(m.behind, 'x', sizeof(m.behind));
	for (size_t n = sizeof(m.why) - 4; n < sizeof(name); n++) {
		memset(name, 'n', n);
		name[n] = '\0';
		r.bad = false;
		json_wrong(&r, "damaged");
		assert_true(memchr(m.why, '\0', sizeof(m.why)) && !strncmp(m.why, name, strlen(m.why) - 3));
		for (size_t i = 0; i < sizeof(m.behind); i++)
			assert_int_equal(m.behind[i], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_policy_errors),
		cmocka_unit_test(test_signers),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_damaged_list),
		cmocka_unit_test(test_long_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

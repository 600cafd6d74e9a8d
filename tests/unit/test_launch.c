/* SPDX-License-Identifier: BSD-2-Clause */
/* The event log of a launch and the rules about launches: what is written is what is read, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "tests/unit/launch_log.h"
#include "vtpm-mgr/launch_rules.h"

static struct launch_fixture fixture;

static void read_back(bool sha1, bool crtm, unsigned n)
{
	struct launch_event e;
	struct launch_log l;

	assert_int_equal(launch_fixture_make(&fixture, sha1, crtm, n), 0);
	assert_int_equal(launch_log_open(&l, fixture.b.data, fixture.b.len), 0);
	assert_int_equal(l.crtm, crtm);
	assert_int_equal(l.sha1, sha1);
	if (crtm) {
		assert_int_equal(launch_log_next(&l, &e), 0);
		assert_int_equal(e.pcr, 0);
		assert_int_equal(e.type, LAUNCH_EV_S_CRTM_CONTENTS);
		assert_int_equal(e.size, 24);
	}
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(launch_log_next(&l, &e), 0);
		assert_int_equal(e.pcr, 4);
		assert_int_equal(e.size, i + 1);
		assert_int_equal(e.data[i], i + 1);
		assert_int_equal(e.digest[LAUNCH_SHA512][63], i + 1);
		assert_int_equal(e.digest[LAUNCH_SHA1] != NULL, sha1);
	}
	assert_int_equal(launch_log_next(&l, &e), ERR_NOTFOUND);
}

static void what_is_written_is_read(void **state)
{
	(void)state;
	read_back(false, true, 5);
	read_back(true, true, 5);
	read_back(false, false, 1);
	read_back(true, false, 40);
	read_back(false, true, 0);
}

static void startup_and_the_h_crtm(void **state)
{
	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 0), 0);
	assert_int_equal(launch_log_check(fixture.b.data, fixture.b.len, false), 0);
	assert_int_equal(launch_log_check(fixture.b.data, fixture.b.len, true), 0);
	assert_int_equal(launch_fixture_make(&fixture, false, true, 1), 0);
	assert_int_equal(launch_log_check(fixture.b.data, fixture.b.len, false), ERR_PROTO);
	assert_int_equal(launch_fixture_make(&fixture, false, false, 1), 0);
	assert_int_equal(launch_log_check(fixture.b.data, fixture.b.len, false), ERR_PROTO);
	assert_int_equal(launch_fixture_make(&fixture, false, false, 0), 0);
	assert_int_equal(launch_log_check(fixture.b.data, fixture.b.len, true), ERR_PROTO); /* nothing was measured */
}

/* Each byte less, each bit in what stands around the digests and the data: refused, or another log, and never read beyond its end. */
static void damaged_logs(void **state)
{
	uint8_t copy[LAUNCH_LOG_MAX];
	size_t n;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 2), 0);
	n = fixture.b.len;
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact = malloc(cut + 1); /* so that a sanitizer sees what is read behind it */
		int err;

		assert_non_null(exact);
		memcpy(exact, fixture.b.data, cut);
		err = launch_log_check(exact, cut, true);
		assert_true(err == ERR_PROTO || (cut > 400 && err == 0)); /* one with an event less is a log */
		free(exact);
	}
	for (size_t bit = 0; bit < 8 * n; bit++) {
		memcpy(copy, fixture.b.data, n);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		(void)!launch_log_check(copy, n, true);
		if (bit / 8 < 70) /* the header */
			assert_int_equal(launch_log_check(copy, n, true), ERR_PROTO);
	}
	assert_int_equal(launch_log_check(fixture.mem, LAUNCH_LOG_MAX + 1, true), ERR_PROTO);
}

static void set_le32(size_t at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		fixture.mem[at + i] = (uint8_t)(v >> 8 * i);
}

static void events_that_may_not_be(void **state)
{
	size_t first;

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, false, 0), 0);
	first = fixture.b.len;
	assert_int_equal(launch_fixture_make(&fixture, false, false, 1), 0);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), 0);
	set_le32(first, LAUNCH_PCR_MAX);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), 0);
	set_le32(first, LAUNCH_PCR_MAX + 1);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), ERR_PROTO);
	set_le32(first, 4);
	set_le32(first + 4, LAUNCH_EV_NO_ACTION);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), ERR_PROTO);
	set_le32(first + 4, 13);
	set_le32(first + 8, 2);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), ERR_PROTO);
	/* 64 events are taken, one more is not. */
	assert_int_equal(launch_fixture_make(&fixture, false, false, LAUNCH_EVENTS_MAX), 0);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), 0);
	assert_int_equal(launch_fixture_make(&fixture, false, false, LAUNCH_EVENTS_MAX + 1), 0);
	assert_int_equal(launch_log_check(fixture.mem, fixture.b.len, true), ERR_PROTO);
}

/* --- rules --- */

static uint8_t digest[2][DIGEST_LEN];
static struct store_rules rules;

static struct rule of_digest(unsigned i)
{
	memset(digest[i], (int)i + 1, DIGEST_LEN);
	return (struct rule){ .kind = RULE_DIGEST, .value = digest[i], .len = DIGEST_LEN };
}

static int judge(const uint8_t *d, const uint8_t *signature, size_t n)
{
	const struct rules_launch l = {
		.digest = d, .log = fixture.b.data, .log_len = fixture.b.len, .signature = signature, .signature_len = n };

	return rules_judge(&rules, &l);
}

static void digests_are_added_and_removed(void **state)
{
	struct rule one = of_digest(0), two = of_digest(1);

	(void)state;
	rules = (struct store_rules){ 0 };
	assert_int_equal(judge(digest[1], NULL, 0), 0); /* nothing is demanded */
	assert_int_equal(rules_add(&rules, &one), 0);
	assert_int_equal(rules_add(&rules, &one), ERR_EXISTS);
	assert_int_equal(judge(digest[0], NULL, 0), 0);
	assert_int_equal(judge(digest[1], NULL, 0), ERR_DENIED);
	assert_int_equal(rules_add(&rules, &two), 0);
	assert_int_equal(judge(digest[1], NULL, 0), 0);
	assert_int_equal(rules_remove(&rules, &one), 0);
	assert_int_equal(rules_remove(&rules, &one), ERR_NOTFOUND);
	assert_int_equal(judge(digest[0], NULL, 0), ERR_DENIED);
	assert_int_equal(rules_remove(&rules, &two), 0);
	assert_true(rules_empty(&rules));
	assert_int_equal(judge(digest[0], NULL, 0), 0);
}

static void rules_have_an_end(void **state)
{
	uint8_t d[DIGEST_LEN] = { 0 };
	struct rule e = { .kind = RULE_DIGEST, .value = d, .len = sizeof(d) };

	(void)state;
	rules = (struct store_rules){ 0 };
	for (unsigned i = 0; i < LAUNCH_RULES; i++) {
		d[0] = (uint8_t)i;
		assert_int_equal(rules_add(&rules, &e), 0);
	}
	d[0] = 200;
	assert_int_equal(rules_add(&rules, &e), ERR_FULL);
	assert_int_equal(rules_check(&rules), 0);
}

static void damaged_rules_allow_nothing(void **state)
{
	struct rule one = of_digest(0);
	struct store_rules good;

	(void)state;
	rules = (struct store_rules){ 0 };
	assert_int_equal(rules_add(&rules, &one), 0);
	assert_int_equal(rules_set_mismatch(&rules, MISMATCH_SERVE), 0);
	assert_int_equal(rules_set_mismatch(&rules, MISMATCH_SERVE + 1), ERR_INVAL);
	good = rules;
	for (size_t n = 2; n < good.len; n++) {
		rules.len = n;
		assert_int_equal(judge(digest[0], NULL, 0), ERR_AUTH);
	}
	for (size_t at = 0; at < 6; at++) {
		rules = good;
		rules.data[at] ^= 0x40;
		assert_int_equal(judge(digest[0], NULL, 0), ERR_AUTH);
	}
	rules = good;
	rules.len = STORE_RULES_MAX + 1;
	assert_int_equal(rules_check(&rules), ERR_AUTH);
}

static char *pem_of(EVP_PKEY *key)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *text, *copy;
	long n;

	assert_int_equal(PEM_write_bio_PUBKEY(b, key), 1);
	n = BIO_get_mem_data(b, &text);
	copy = strndup(text, (size_t)n);
	BIO_free(b);
	return copy;
}

static size_t sign(EVP_PKEY *key, const EVP_MD *md, uint8_t out[static LAUNCH_SIGNATURE_MAX])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = LAUNCH_SIGNATURE_MAX;

	assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(ctx, out, &n, fixture.b.data, fixture.b.len), 1);
	EVP_MD_CTX_free(ctx);
	return n;
}

static void signed_with(EVP_PKEY *key, EVP_PKEY *other)
{
	uint8_t der[LAUNCH_KEY_MAX], signature[LAUNCH_SIGNATURE_MAX];
	struct rule e = { .kind = RULE_KEY, .value = der, .len = sizeof(der) };
	char *pem = pem_of(key);
	size_t n;

	assert_int_equal(rules_key_of_pem(pem, der, &e.len), 0);
	rules = (struct store_rules){ 0 };
	assert_int_equal(rules_add(&rules, &e), 0);
	n = sign(key, EVP_sha256(), signature);
	assert_int_equal(judge(digest[0], signature, n), 0);
	assert_int_equal(judge(digest[0], signature, n - 1), ERR_DENIED);
	assert_int_equal(judge(digest[0], NULL, 0), ERR_DENIED);
	signature[n / 2] ^= 1;
	assert_int_equal(judge(digest[0], signature, n), ERR_DENIED);
	signature[n / 2] ^= 1;
	fixture.b.data[fixture.b.len - 1] ^= 1;
	assert_int_equal(judge(digest[0], signature, n), ERR_DENIED);
	fixture.b.data[fixture.b.len - 1] ^= 1;
	n = sign(key, EVP_sha512(), signature);
	assert_int_equal(judge(digest[0], signature, n), ERR_DENIED);
	n = sign(other, EVP_sha256(), signature);
	assert_int_equal(judge(digest[0], signature, n), ERR_DENIED);
	free(pem);
}

static void keys_sign_launches(void **state)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *ec2 = EVP_EC_gen("P-384"), *rsa = EVP_RSA_gen(2048);

	(void)state;
	assert_int_equal(launch_fixture_make(&fixture, false, true, 2), 0);
	signed_with(ec, ec2);
	signed_with(ec2, ec);
	signed_with(rsa, ec);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(ec2);
	EVP_PKEY_free(rsa);
}

static void keys_that_may_not_be(void **state)
{
	EVP_PKEY *keys[] = { EVP_RSA_gen(1024), EVP_EC_gen("P-224"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
	uint8_t der[LAUNCH_KEY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char *pem = pem_of(keys[i]);
		size_t n = sizeof(der);

		assert_int_equal(rules_key_of_pem(pem, der, &n), ERR_INVAL);
		free(pem);
		EVP_PKEY_free(keys[i]);
	}
	assert_int_equal(rules_key_of_pem("no key", der, &(size_t){ sizeof(der) }), ERR_INVAL);
	assert_int_equal(rules_key_of_pem("", der, &(size_t){ sizeof(der) }), ERR_INVAL);
}

/* One that says it is encrypted has nobody asked for a password: the manager may have a terminal. */
static void keys_that_ask(void **state)
{
	static const char pem[] = "-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
				  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
	uint8_t der[LAUNCH_KEY_MAX];
	char asked;
	int terminal, status;
	pid_t pid = forkpty(&terminal, NULL, NULL, NULL);

	(void)state;
	if (pid == 0)
		_exit(rules_key_of_pem(pem, der, &(size_t){ sizeof(der) }) == ERR_INVAL ? 0 : 1);
	assert_true(pid > 0);
	assert_true(read(terminal, &asked, 1) <= 0);
	close(terminal);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(startup_and_the_h_crtm),
		cmocka_unit_test(damaged_logs),
		cmocka_unit_test(events_that_may_not_be),
		cmocka_unit_test(digests_are_added_and_removed),
		cmocka_unit_test(rules_have_an_end),
		cmocka_unit_test(damaged_rules_allow_nothing),
		cmocka_unit_test(keys_sign_launches),
		cmocka_unit_test(keys_that_may_not_be),
		cmocka_unit_test(keys_that_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence from which something was left out, or that its makers had a hand in, so that a demand of the policy would come to nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "lib/eventlog.h"
#include "lib/util.h"
#include "tests/integration/attest_ask.h"
#include "tests/unit/event_log.h"

static struct host one;
static struct guest a;

static const struct question plain;

static void log_without_events(struct blob *out)
{
	struct log l;

	log_begin(&l);
	memcpy(out->bytes, l.mem, l.b.len);
	out->n = l.b.len;
}

static void trust_pem(struct vtpm_trust *t, BIO *bio)
{
	char why[VTPM_VERIFY_TEXT], *pem;
	long n = BIO_get_mem_data(bio, &pem);

	if (vtpm_trust_add(t, pem, (size_t)n, why))
		fail_msg("%s", why);
}

/* A guest that has extended a PCR since its launch, and somebody on the way who takes the log out that would show it. */
static void test_launch_log_left_out(void **state)
{
	const uint8_t more[32] = {1};
	struct question q = {.policy = "{\"launch\": {\"required\": true}}"};
	struct piece p;

	(void)state;
	log_without_events(&a.log);
	guest_pcr_extend(&a, 8, more);
	piece_make(&p, &one, &a);
	verifies(&p, &q);
	p.e.guest_log.n = 0;
	fails(&p, &q, "launch-log", "is not there");
	fails(&p, &plain, "launch-log", "is not there");
	a.log.n = 0;
}

/* A host that does not log what it has measured: a rule about that PCR finds no event to object to. */
static void test_event_left_out(void **state)
{
	static const char *const demands[] = {"\"forbidden\": [\"0100000000000000000000000000000000000000000000000000000000000000\"]", "\"allowed\": []"};
	const uint8_t digest[32] = {1};
	char policy[256];
	struct question q = {.policy = policy};
	struct piece p;

	(void)state;
	one.more_pcrs = 1u << 14;
	log_without_events(&one.log);
	for (size_t i = 0; i < ARRAY_LEN(demands); i++) {
		snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 14, %s}]}}", demands[i]);
		piece_make(&p, &one, &a);
		if (i == 0)
			verifies(&p, &q);
		if (i == 0)
			host_pcr_extend(&one, 14, digest);
		piece_make(&p, &one, &a);
		fails(&p, &q, "host-log", "does not lead to PCR 14");
	}
	one.more_pcrs = 0;
	one.log.n = 0;
}

/* Who has the manager chooses which PCRs the host quotes; a log leads to none of none. */
static void test_fewer_pcrs(void **state)
{
	const struct question q = {.policy = "{\"host\": {\"log\": true}}"};
	struct piece p;

	(void)state;
	log_without_events(&one.log);
	one.fewer_pcrs = 0x3ff;
	piece_make(&p, &one, &a);
	fails(&p, &q, "host-quote", "PCRs 0 to 9");
	one.fewer_pcrs = 1u << 9;
	piece_make(&p, &one, &a);
	fails(&p, &plain, "host-quote", "PCRs 0 to 9");
	one.fewer_pcrs = 0;
	one.log.n = 0;
}

/* A maker certifies other keys, too: in software, where anybody opens credentials with them. */
static void test_other_purpose(void **state)
{
	static const struct {
		const char *usage, *extended;
		bool good;
	} kinds[] = {
		{NULL, "2.23.133.8.1", true},			 {"critical,keyAgreement", "2.23.133.8.1", true},
		{NULL, "2.23.133.8.3", false},			 {NULL, "serverAuth", false},
		{"critical,digitalSignature", NULL, false},	 {"critical,keyAgreement", "serverAuth", false},
	};
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *maker = maker_make(key);
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t, .policy = "{\"host\": {\"ek_chain\": true}}"};
	BIO *bio = BIO_new(BIO_s_mem());
	char more[128];
	struct piece p;

	(void)state;
	PEM_write_bio_X509(bio, maker);
	trust_pem(t, bio);
	host_ek_certify(&one, maker, key, NULL, NULL);
	ek_member(&one, more);
	trust_host(t, &one, more);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		host_ek_certify(&one, maker, key, kinds[i].usage, kinds[i].extended);
		piece_make(&p, &one, &a);
		if (kinds[i].good)
			verifies(&p, &q);
		else
			fails(&p, &q, "host-chain", "for another purpose");
	}
	one.ek_cert.n = 0;
	BIO_free(bio);
	X509_free(maker);
	EVP_PKEY_free(key);
	vtpm_trust_free(t);
}

/* SHA-1 has collisions for whoever may choose what is certified. */
static void test_weak_signature(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *maker = maker_make(key), *x;
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t, .policy = "{\"host\": {\"ek_chain\": true}}"};
	BIO *bio = BIO_new(BIO_s_mem());
	const unsigned char *at = one.ek_cert.bytes;
	unsigned char *to = one.ek_cert.bytes;
	char more[128];
	struct piece p;

	(void)state;
	PEM_write_bio_X509(bio, maker);
	trust_pem(t, bio);
	host_ek_certify(&one, maker, key, NULL, NULL);
	ek_member(&one, more);
	trust_host(t, &one, more);
	x = d2i_X509(NULL, &at, (long)one.ek_cert.n);
	assert_true(x && X509_sign(x, key, EVP_sha1()) > 0 && i2d_X509(x, NULL) < (int)sizeof(one.ek_cert.bytes));
	one.ek_cert.n = (size_t)i2d_X509(x, &to);
	piece_make(&p, &one, &a);
	fails(&p, &q, "host-chain", "too weak");
	one.ek_cert.n = 0;
	BIO_free(bio);
	X509_free(x);
	X509_free(maker);
	EVP_PKEY_free(key);
	vtpm_trust_free(t);
}

/* What a list has said once stays so: the next one may be by a manager that was taken over, or a maker's for other certificates. */
static void test_revoked_before(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	X509_CRL *before = host_crl(&one, a.serial, time(NULL) - 90, time(NULL) + 3600), *now = host_crl(&one, NULL, time(NULL) - 60, time(NULL) + 3600);
	const struct question q = {.trust = t, .policy = "{\"revocation\": {\"required\": true}}"};
	BIO *bio = BIO_new(BIO_s_mem());
	struct piece p;

	(void)state;
	trust_host(t, &one, "");
	piece_make(&p, &one, &a);
	PEM_write_bio_X509_CRL(bio, now);
	trust_pem(t, bio);
	verifies(&p, &q);
	PEM_write_bio_X509_CRL(bio, before);
	trust_pem(t, bio);
	fails(&p, &q, "revocation", "is revoked");
	BIO_free(bio);
	X509_CRL_free(before);
	X509_CRL_free(now);
	vtpm_trust_free(t);
}

/* An EK that was this vTPM's once, or one of the same uuid: whoever writes the host's disk can put it into the row. */
static void test_revoked_ek(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t};
	BIO *bio = BIO_new(BIO_s_mem());
	uint8_t serial[SERIAL_LEN];
	X509_CRL *crl;
	struct piece p;

	(void)state;
	memcpy(serial, a.serial, sizeof(serial));
	serial[SERIAL_LEN - 1] = EK_ECC_P256;
	crl = host_crl(&one, serial, time(NULL) - 60, time(NULL) + 3600);
	PEM_write_bio_X509_CRL(bio, crl);
	trust_pem(t, bio);
	trust_host(t, &one, "");
	piece_make(&p, &one, &a);
	fails(&p, &q, "vtpm-ek", "is revoked");
	BIO_free(bio);
	X509_CRL_free(crl);
	vtpm_trust_free(t);
}

static int setup(void **state)
{
	(void)state;
	host_start(&one);
	guest_start(&a, 0xaa);
	guest_certify(&a, &one);
	trust = vtpm_trust_new();
	trust_host(trust, &one, "");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vtpm_trust_free(trust);
	guest_stop(&a);
	host_stop(&one);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_launch_log_left_out), cmocka_unit_test(test_event_left_out), cmocka_unit_test(test_fewer_pcrs),
		cmocka_unit_test(test_other_purpose),	     cmocka_unit_test(test_revoked_before),
		cmocka_unit_test(test_revoked_ek),		     cmocka_unit_test(test_weak_signature),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence of real TPMs verifies; every attack on it is told by its reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "lib/eventlog.h"
#include "lib/util.h"
#include "tests/integration/attest_ask.h"
#include "tests/unit/event_log.h"

static struct host one, two;
static struct guest a, b;
static struct piece good; /* of guest a on host one */

static const struct question plain;

/* ---- what is in order ---- */

static void test_verifies(void **state)
{
	(void)state;
	verifies(&good, &plain);
	assert_int_equal(report.verdict, VTPM_WARNED); /* no revocation list, and a policy that demands nothing */
	assert_int_equal(step_named("vtpm-quote")->outcome, VTPM_PASSED);
	assert_int_equal(step_named("ca-creation")->outcome, VTPM_PASSED);
	assert_int_equal(report.seen.version, a.version);
	assert_memory_equal(report.seen.host, one.ak_name, EVIDENCE_NAME);
}

static void hex_of(const struct piece *p, unsigned i, char out[static 65])
{
	assert_int_equal(hex_encode(p->outer_pcrs.bytes + 32 * i, 32, out, 65), 0);
}

/* All that can be demanded, and no warning. */
static void test_affirms(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	X509_CRL *crl = host_crl(&one, NULL, time(NULL) - 60, time(NULL) + 3600);
	BIO *bio = BIO_new(BIO_s_mem());
	char pcr[65], policy[1024], *pem;
	struct question q = {.trust = t, .policy = policy};
	long n;

	(void)state;
	PEM_write_bio_X509_CRL(bio, crl);
	n = BIO_get_mem_data(bio, &pem);
	assert_int_equal(vtpm_trust_add(t, pem, (size_t)n, policy), 0);
	trust_host(t, &one, "");
	hex_of(&good, 4, pcr);
	snprintf(policy, sizeof(policy),
		 "{\"host\": {\"pcrs\": [{\"description\": \"as it is\", \"pcrs\": {\"sha256\": {\"4\": \"%s\"}}}]}, \"freshness\": {\"mode\": \"strict\", "
		 "\"discontinuities\": 0}, \"revocation\": {\"required\": true, \"max_age\": 600}, \"guest\": {\"ek_certificate\": true}}",
		 pcr);
	verifies(&good, &q);
	for (size_t i = 0; i < report.steps; i++)
		if (report.step[i].outcome == VTPM_WARNED)
			fail_msg("%s: %s", report.step[i].name, report.step[i].text);
	assert_int_equal(report.verdict, VTPM_PASSED);
	q.later = 1200;
	fails(&good, &q, "revocation", "older than 600 s");
	q.later = 4000;
	fails(&good, &q, "revocation", "out of date");
	BIO_free(bio);
	X509_CRL_free(crl);
	vtpm_trust_free(t);
}

/* ---- whose it is ---- */

static void test_other_guest(void **state)
{
	const struct question for_b = {.uuid = b.uuid};
	struct piece p;

	(void)state;
	fails(&good, &for_b, "subject", "and not about");
	piece_begin(&p, &one, &a); /* the inner quote of a under a binding that is for b */
	piece_inner(&p, &a);
	memcpy(p.b.uuid, b.uuid, sizeof(p.b.uuid));
	piece_bind(&p, 0, 1);
	piece_quote(&p, &one);
	piece_anchor(&p, &one);
	fails(&p, &for_b, "vtpm-key", "has not certified this attestation key for vTPM");
	p.e.ak.cert = (struct evidence_view){b.ak_cert.bytes, b.ak_cert.len};
	fails(&p, &for_b, "vtpm-key", "of another key");
	piece_begin(&p, &one, &b); /* and with all that is b's but the quote */
	piece_inner(&p, &a);
	piece_bind(&p, 0, 1);
	piece_quote(&p, &one);
	piece_anchor(&p, &one);
	fails(&p, &for_b, "vtpm-quote", "not by its attestation key");
}

static void test_other_host(void **state)
{
	struct piece p, other;

	(void)state;
	piece_make(&other, &two, &b);
	p = good; /* as they are, from two pieces */
	p.e.outer = other.e.outer;
	fails(&p, &plain, "host-quote", "not by the host's attestation key");
	p.e.host_ak = other.e.host_ak;
	fails(&p, &plain, "host-quote", "not about this binding");
	p = good; /* host two quotes a binding of host one */
	p.e.host_ak = other.e.host_ak;
	piece_quote(&p, &two);
	memcpy(p.b.anchor, two.anchor, sizeof(p.b.anchor));
	piece_bind(&p, 0, 1);
	piece_quote(&p, &two);
	piece_anchor(&p, &two);
	p.e.anchor_pub = other.e.anchor_pub;
	fails(&p, &plain, "ca", "has not certified this CA key");
	p.e.ca = other.e.ca;
	p.e.ca_certify = other.e.ca_certify;
	p.e.ca_creation = other.e.ca_creation;
	p.e.ca_created = other.e.ca_created;
	fails(&p, &plain, "vtpm-key", "has not certified this attestation key");
}

static void test_old_nonce(void **state)
{
	const uint8_t nonce[32] = {1, 2, 3};
	const struct question q = {.nonce = nonce};
	struct piece p = good;

	(void)state;
	fails(&p, &q, "nonce", "an old one");
	p.b.nonce = nonce; /* and with the new one written into it */
	piece_bind(&p, 2, 5);
	fails(&p, &q, "host-quote", "not about this binding");
	piece_quote(&p, &one); /* by a manager that has no more than the old quote of the vTPM */
	piece_anchor(&p, &one);
	fails(&p, &q, "vtpm-quote", "not for this nonce");
}

static void test_planted_key(void **state)
{
	struct guest g;
	struct piece p;

	(void)state;
	guest_start(&g, 0x77);
	guest_certify(&g, &one);
	piece_make(&p, &one, &g);
	verifies(&p, &plain);
	guest_plant(&g);
	piece_make(&p, &one, &g); /* the other key lies where the platform takes it from */
	fails(&p, &plain, "vtpm-key", "planted");
	guest_stop(&g);
}

static void test_unknown_tpm(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t};

	(void)state;
	trust_host(t, &two, "");
	fails(&good, &q, "host-key", "is not enrolled");
	vtpm_trust_free(t);
}

/* ---- the certificate of the chip ---- */

static void test_chain(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new(), *roots = vtpm_trust_new();
	struct question q = {.trust = t, .policy = "{\"host\": {\"ek_chain\": true}}"};
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	X509 *maker = maker_make(key), *forger = maker_make(other);
	BIO *bio = BIO_new(BIO_s_mem());
	char why[VTPM_VERIFY_TEXT], more[128], *pem;
	struct piece p;
	long n;

	(void)state;
	trust_host(t, &one, "");
	fails(&good, &q, "host-chain", "it may be a software TPM");
	PEM_write_bio_X509(bio, maker);
	n = BIO_get_mem_data(bio, &pem);
	host_ek_certify(&one, forger, other, NULL, NULL);
	piece_make(&p, &one, &a);
	fails(&p, &q, "host-chain", "enrolment names no endorsement key");
	ek_member(&one, more);
	trust_host(roots, &one, more);
	assert_int_equal(vtpm_trust_add(roots, pem, (size_t)n, why), 0);
	q.trust = roots;
	fails(&p, &q, "host-chain", "does not verify");
	host_ek_certify(&one, maker, key, NULL, NULL);
	piece_make(&p, &one, &a);
	verifies(&p, &q);
	q.later = 5000;
	fails(&p, &q, "host-chain", "expired");
	one.ek_cert.n = 0;
	BIO_free(bio);
	X509_free(maker);
	X509_free(forger);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	vtpm_trust_free(t);
	vtpm_trust_free(roots);
}

static void test_revoked(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	X509_CRL *crl = host_crl(&one, a.serial, time(NULL) - 60, time(NULL) + 3600), *older = host_crl(&one, NULL, time(NULL) - 90, time(NULL) + 3600),
		 *others = host_crl(&two, NULL, time(NULL) - 60, time(NULL) + 3600);
	const struct question q = {.trust = t, .policy = "{\"revocation\": {\"required\": true}}"};
	BIO *bio = BIO_new(BIO_s_mem());
	char why[VTPM_VERIFY_TEXT], *pem;
	long n;

	(void)state;
	trust_host(t, &one, "");
	PEM_write_bio_X509_CRL(bio, others);
	n = BIO_get_mem_data(bio, &pem);
	assert_int_equal(vtpm_trust_add(t, pem, (size_t)n, why), 0);
	fails(&good, &q, "revocation", "there is no revocation list");
	PEM_write_bio_X509_CRL(bio, older);
	PEM_write_bio_X509_CRL(bio, crl);
	n = BIO_get_mem_data(bio, &pem);
	assert_int_equal(vtpm_trust_add(t, pem, (size_t)n, why), 0);
	fails(&good, &q, "revocation", "is revoked");
	BIO_free(bio);
	X509_CRL_free(crl);
	X509_CRL_free(older);
	X509_CRL_free(others);
	vtpm_trust_free(t);
}

/* ---- the state ---- */

static void test_rolled_back(void **state)
{
	struct vtpm_known known;
	const struct question q = {.known = &known};
	struct piece p;

	(void)state;
	verifies(&good, &plain);
	known = report.seen;
	verifies(&good, &q);
	known.version++; /* a newer one was seen */
	fails(&good, &q, "known", "rolled back");
	memcpy(p.nonce, one.anchor, 32); /* the store of before this, put back */
	host_anchor_extend(&one);
	piece_begin(&p, &one, &a);
	memset(p.b.anchor, 0x11, sizeof(p.b.anchor));
	piece_inner(&p, &a);
	piece_bind(&p, 0, 1);
	piece_quote(&p, &one);
	piece_anchor(&p, &one);
	fails(&p, &plain, "anchor", "the store was put back");
	piece_make(&p, &one, &a);
	p.e.anchor = good.e.anchor; /* what was certified before */
	fails(&p, &plain, "anchor", "belongs to another evidence");
}

static void test_cloned(void **state)
{
	struct vtpm_known known;
	const struct question q = {.known = &known};
	struct guest copy = a; /* the same TPM, certified by the other host's CA */
	struct piece p;

	(void)state;
	verifies(&good, &plain);
	known = report.seen;
	guest_certify(&copy, &two);
	piece_make(&p, &two, &copy);
	verifies(&p, &plain); /* by itself it is in order: only what is known tells */
	fails(&p, &q, "known", "was cloned");
	copy.epoch = 2; /* a restore, as it is permitted */
	piece_make(&p, &two, &copy);
	verifies(&p, &q);
	assert_int_equal(step_named("known")->outcome, VTPM_WARNED);
	known = report.seen;
	fails(&good, &q, "known", "former owner's copy");
}

static void test_freshness(void **state)
{
	struct question q = {.policy = "{\"freshness\": {\"mode\": \"strict\"}}"};
	struct piece p;

	(void)state;
	piece_begin(&p, &one, &a);
	p.b.mode = EVIDENCE_BOUNDED;
	p.b.discontinuities = 2;
	piece_inner(&p, &a);
	piece_bind(&p, 4, 5); /* the odd one */
	piece_quote(&p, &one);
	piece_anchor(&p, &one);
	fails(&p, &q, "freshness", "mode is bounded");
	q.policy = "{\"freshness\": {\"discontinuities\": 1}}";
	fails(&p, &q, "freshness", "2 discontinuities");
	q.policy = NULL;
	verifies(&p, &q);
	assert_int_equal(step_named("freshness")->outcome, VTPM_WARNED);
}

static void test_reset_between(void **state)
{
	struct host h;
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t};
	struct guest g;
	struct piece p;

	(void)state;
	host_start(&h);
	guest_start(&g, 0x66);
	guest_certify(&g, &h);
	trust_host(t, &h, "");
	piece_make(&p, &h, &g);
	verifies(&p, &q);
	host_reset(&h);
	piece_anchor(&p, &h); /* over the same root */
	fails(&p, &q, "host-clock", "was reset");
	piece_make(&p, &h, &g);
	verifies(&p, &q);
	guest_stop(&g);
	host_stop(&h);
	vtpm_trust_free(t);
}

/* ---- what was booted ---- */

static const char *const events[] = {"shim", "grub", "xen", "linux"};

static void log_of(struct blob *out, const char *const *texts, size_t n)
{
	struct log l;

	log_begin(&l);
	for (size_t i = 0; i < n; i++)
		log_event(&l, 8, EV_IPL, texts[i], strlen(texts[i]) + 1, NULL);
	memcpy(out->bytes, l.mem, l.b.len);
	out->n = l.b.len;
}

/* A host that has booted, with a log: its own, for these PCRs cannot be taken back. */
static void boot(struct host *h, struct guest *g, struct vtpm_trust *t)
{
	uint8_t digest[32];

	host_start(h);
	guest_start(g, 0x55);
	guest_certify(g, h);
	trust_host(t, h, "");
	for (size_t i = 0; i < ARRAY_LEN(events); i++) {
		sha256(events[i], strlen(events[i]) + 1, digest);
		host_pcr_extend(h, 8, digest);
		guest_pcr_extend(g, 8, digest);
	}
	log_of(&h->log, events, ARRAY_LEN(events));
	log_of(&g->log, events, ARRAY_LEN(events));
}

static void host_logs(struct host *h, struct guest *g, const struct question *q)
{
	static const char *const edited[] = {"shim", "grub", "xem", "linux"}, *const reordered[] = {"shim", "grub", "linux", "xen"};
	struct blob right = h->log;
	struct piece p;

	log_of(&h->log, edited, 4);
	piece_make(&p, h, g);
	fails(&p, q, "host-log", "edited, reordered or cut");
	log_of(&h->log, reordered, 4);
	piece_make(&p, h, g);
	fails(&p, q, "host-log", "edited, reordered or cut");
	log_of(&h->log, events, 3);
	piece_make(&p, h, g);
	fails(&p, q, "host-log", "edited, reordered or cut");
	log_of(&h->log, events, 0);
	piece_make(&p, h, g);
	fails(&p, q, "host-log", "edited, reordered or cut");
	h->log = right;
	piece_make(&p, h, g);
	verifies(&p, q);
	log_of(&h->log, edited, 4); /* the same on the way to the verifier */
	fails(&p, q, "attached", "changed on the way");
	h->log = right;
}

static void launch_logs(struct host *h, struct guest *g, const struct question *q)
{
	static const char *const edited[] = {"shim", "grub", "xem", "linux"};
	const uint8_t more[32] = {1};
	struct blob right = g->log;
	struct question beside = *q;
	struct piece p;

	piece_make(&p, h, g);
	log_of(&g->log, edited, 4);
	p.e.guest_log.n = g->log.n;
	fails(&p, q, "launch-log", "edited, reordered or cut");
	g->log = right;
	p.e.guest_log.n = right.n - 1;
	fails(&p, q, "launch-log", "edited, reordered or cut");
	log_of(&g->log, edited, 4); /* a manager that says another was launched */
	piece_make(&p, h, g);
	fails(&p, q, "launch-log", "does not lead to the guest's PCR 8");
	g->log = right;
	piece_make(&p, h, g);
	p.e.guest_log.n = 0; /* the log comes beside it, or not */
	fails(&p, q, "launch-log", "is not there");
	beside.launch_log = &right;
	verifies(&p, &beside);
	right.bytes[right.n - 1] ^= 1;
	fails(&p, &beside, "launch-log", "edited, reordered or cut");
	right.bytes[right.n - 1] ^= 1;
	guest_pcr_extend(g, 8, more);
	piece_make(&p, h, g);
	fails(&p, q, "launch-log", "has extended it");
}

static void launches(struct host *h, struct guest *g, struct vtpm_trust *t)
{
	char hex[65], policy[256];
	struct question q = {.trust = t, .policy = "{\"launch\": {\"required\": true}}"};
	struct piece p;

	piece_make(&p, h, g);
	verifies(&p, &q);
	fails(&good, &(struct question){.policy = q.policy}, "launch", "was not measured");
	q.policy = policy;
	snprintf(policy, sizeof(policy), "{\"launch\": {\"digests\": [\"%064d\"]}}", 0);
	fails(&p, &q, "launch", "is not among those");
	assert_int_equal(hex_encode(p.b.launch[0], 32, hex, sizeof(hex)), 0);
	snprintf(policy, sizeof(policy), "{\"launch\": {\"digests\": [\"%s\"]}}", hex);
	verifies(&p, &q);
	assert_int_equal(step_named("launch")->outcome, VTPM_PASSED);
}

static void rules(struct host *h, struct guest *g, struct vtpm_trust *t)
{
	char xen[65], policy[512];
	struct question q = {.trust = t, .policy = policy};
	uint8_t digest[32];
	struct piece p;

	sha256("xen", sizeof("xen"), digest);
	assert_int_equal(hex_encode(digest, 32, xen, sizeof(xen)), 0);
	piece_make(&p, h, g);
	snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 8, \"required\": [\"%s\"]}]}}", xen);
	verifies(&p, &q);
	snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 8, \"forbidden\": [\"%s\"]}]}}", xen);
	fails(&p, &q, "host-events", "is forbidden");
	snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 8, \"allowed\": [\"%s\"]}]}}", xen);
	fails(&p, &q, "host-events", "not among those that are allowed");
	snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 5, \"required\": [\"%s\"]}]}}", xen);
	fails(&p, &q, "host-events", "has no event");
	snprintf(policy, sizeof(policy), "{\"host\": {\"events\": [{\"pcr\": 23, \"required\": [\"%s\"]}]}}", xen);
	fails(&p, &q, "host-events", "has not quoted PCR 23");
}

static void test_boots(void **state)
{
	struct vtpm_trust *t = vtpm_trust_new();
	const struct question q = {.trust = t};
	char pcr[65], policy[256];
	const struct question demanding = {.trust = t, .policy = policy};
	const uint8_t other[32] = {9};
	struct guest g;
	struct host h;
	struct piece p;

	(void)state;
	boot(&h, &g, t);
	piece_make(&p, &h, &g);
	if (getenv("EVIDENCE_OUT")) /* for the tools of others */
		piece_write(&p, getenv("EVIDENCE_OUT"));
	host_logs(&h, &g, &q);
	launches(&h, &g, t);
	rules(&h, &g, t);
	launch_logs(&h, &g, &q);
	piece_make(&p, &h, &g);
	hex_of(&p, 8, pcr);
	h.log.n = g.log.n = 0;
	snprintf(policy, sizeof(policy), "{\"host\": {\"pcrs\": [{\"pcrs\": {\"sha256\": {\"8\": \"%s\"}}}]}}", pcr);
	piece_make(&p, &h, &g);
	verifies(&p, &demanding);
	host_pcr_extend(&h, 8, other); /* and now it has booted something else */
	piece_make(&p, &h, &g);
	fails(&p, &demanding, "host-pcrs", "booted something else");
	p.outer_pcrs = good.outer_pcrs; /* the values of before are not what was quoted */
	fails(&p, &demanding, "host-quote", "not those that its TPM has quoted");
	guest_stop(&g);
	host_stop(&h);
	vtpm_trust_free(t);
}

/* ---- damage ---- */

/* With logs and a chain: no bit of any of it may be another. */
static void test_every_bit(void **state)
{
	static const char *const launch[] = {"kernel"};
	struct vtpm_policy *policy = policy_of(ANY);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *maker = maker_make(key);
	uint8_t *mem = malloc(EVIDENCE_MAX);
	struct vtpm_verify_input in;
	struct piece p;

	(void)state;
	host_ek_certify(&two, maker, key, NULL, NULL);
	log_of(&two.log, NULL, 0); /* PCRs of zeros, and a log without events */
	log_of(&b.log, launch, 0);
	guest_certify(&b, &two);
	piece_make(&p, &two, &b);
	in = (struct vtpm_verify_input){.evidence = mem, .nonce = p.nonce, .nonce_len = 32, .trust = trust, .policy = policy, .time = (uint64_t)time(NULL)};
	in.evidence_len = piece_encode(&p, mem, EVIDENCE_MAX);
	vtpm_verify(&in, &report);
	if (report.verdict == VTPM_FAILED)
		fail_msg("%s", report.step[report.steps - 1].text);
	for (size_t i = 0; i < in.evidence_len * 8; i++) {
		mem[i / 8] ^= (uint8_t)(1u << i % 8);
		vtpm_verify(&in, &report);
		if (report.verdict != VTPM_FAILED || !report.step[report.steps - 1].text[0])
			fail_msg("with bit %zu of byte %zu changed it verifies", i % 8, i / 8);
		mem[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (size_t n = 0; n < in.evidence_len; n++) {
		struct vtpm_verify_input cut = in;

		cut.evidence_len = n;
		vtpm_verify(&cut, &report);
		assert_int_equal(report.verdict, VTPM_FAILED);
		assert_string_equal(report.step[report.steps - 1].name, "format");
	}
	two.ek_cert.n = two.log.n = b.log.n = 0;
	guest_certify(&b, &one);
	X509_free(maker);
	EVP_PKEY_free(key);
	vtpm_policy_free(policy);
	free(mem);
}

static int setup(void **state)
{
	(void)state;
	host_start(&one);
	host_start(&two);
	guest_start(&a, 0xaa);
	guest_start(&b, 0xbb);
	guest_certify(&a, &one);
	guest_certify(&b, &one);
	trust = vtpm_trust_new();
	trust_host(trust, &one, "");
	trust_host(trust, &two, "");
	piece_make(&good, &one, &a);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vtpm_trust_free(trust);
	guest_stop(&a);
	guest_stop(&b);
	host_stop(&one);
	host_stop(&two);
	return 0;
}

/* An argument: the tests of that name only. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verifies),     cmocka_unit_test(test_affirms),	cmocka_unit_test(test_other_guest),
		cmocka_unit_test(test_other_host),   cmocka_unit_test(test_old_nonce),	cmocka_unit_test(test_planted_key),
		cmocka_unit_test(test_unknown_tpm),  cmocka_unit_test(test_chain),	cmocka_unit_test(test_revoked),
		cmocka_unit_test(test_rolled_back),  cmocka_unit_test(test_cloned),	cmocka_unit_test(test_freshness),
		cmocka_unit_test(test_reset_between), cmocka_unit_test(test_boots),	cmocka_unit_test(test_every_bit),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}

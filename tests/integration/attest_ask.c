/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/attest_ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/util.h"
#include "tests/unit/event_log.h"

struct vtpm_trust *trust;
struct vtpm_report report;

static void trust_text(struct vtpm_trust *t, const char *text)
{
	char why[VTPM_VERIFY_TEXT] = "";

	if (vtpm_trust_add(t, text, strlen(text), why))
		fail_msg("%s", why);
}

void trust_host(struct vtpm_trust *t, const struct host *h, const char *more)
{
	char text[512], name[2 * EVIDENCE_NAME + 1];

	assert_int_equal(hex_encode(h->ak_name, EVIDENCE_NAME, name, sizeof(name)), 0);
	snprintf(text, sizeof(text), "{\"hosts\": [{\"name\": \"rack 1\", \"ak\": \"%s\"%s}]}", name, more);
	trust_text(t, text);
}

struct vtpm_policy *policy_of(const char *text)
{
	char why[VTPM_VERIFY_TEXT] = "";
	struct vtpm_policy *p;

	if (vtpm_policy_read(text, strlen(text), &p, why))
		fail_msg("%s: %s", text, why);
	return p;
}

static void ask(const struct piece *p, const struct question *q)
{
	uint8_t *mem = malloc(EVIDENCE_MAX);
	struct vtpm_policy *policy = policy_of(q->policy ? q->policy : ANY);
	struct vtpm_verify_input in = {
		.evidence = mem,
		.evidence_len = piece_encode(p, mem, EVIDENCE_MAX),
		.nonce = q->nonce ? q->nonce : p->nonce,
		.nonce_len = sizeof(p->nonce),
		.uuid = q->uuid ? q->uuid : p->b.uuid,
		.trust = q->trust ? q->trust : trust,
		.policy = policy,
		.time = (uint64_t)(time(NULL) + q->later),
		.known = q->known,
		.nknown = q->known ? 1 : 0,
		.launch_log = q->launch_log ? q->launch_log->bytes : NULL,
		.launch_log_len = q->launch_log ? q->launch_log->n : 0,
	};

	vtpm_verify(&in, &report);
	vtpm_policy_free(policy);
	free(mem);
}

void verifies(const struct piece *p, const struct question *q)
{
	ask(p, q);
	if (report.verdict == VTPM_FAILED)
		fail_msg("%s: %s", report.step[report.steps - 1].name, report.step[report.steps - 1].text);
}

void fails(const struct piece *p, const struct question *q, const char *step, const char *reason)
{
	const struct vtpm_step *last;

	ask(p, q);
	last = &report.step[report.steps - 1];
	if (report.verdict != VTPM_FAILED || strcmp(last->name, step) != 0 || !strstr(last->text, reason))
		fail_msg("wanted a failure of %s, \"%s\"; got %s: %s", step, reason, last->name, last->text);
}

const struct vtpm_step *step_named(const char *name)
{
	for (size_t i = 0; i < report.steps; i++)
		if (!strcmp(report.step[i].name, name))
			return &report.step[i];
	fail_msg("no step %s", name);
	return NULL;
}

void piece_write(const struct piece *p, const char *path)
{
	uint8_t *mem = malloc(EVIDENCE_MAX);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(mem, piece_encode(p, mem, EVIDENCE_MAX), 1, f), 1);
	assert_int_equal(fclose(f), 0);
	free(mem);
}

X509 *maker_make(EVP_PKEY *key)
{
	X509 *x = X509_new();
	X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

	assert_true(X509_set_version(x, X509_VERSION_3) && X509_set_pubkey(x, key) && X509_gmtime_adj(X509_getm_notBefore(x), -100) &&
		    X509_gmtime_adj(X509_getm_notAfter(x), 1000) && X509_add_ext(x, ca, -1) &&
		    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"maker", -1, -1, 0) &&
		    X509_set_issuer_name(x, X509_get_subject_name(x)) && X509_sign(x, key, EVP_sha256()));
	X509_EXTENSION_free(ca);
	return x;
}

void ek_member(const struct host *h, char out[static 128])
{
	const unsigned char *at = h->ek_cert.bytes;
	X509 *x = d2i_X509(NULL, &at, (long)h->ek_cert.n);
	unsigned char *der = NULL, digest[32];
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	char hex[65];

	sha256(der, (size_t)n, digest);
	assert_int_equal(hex_encode(digest, 32, hex, sizeof(hex)), 0);
	snprintf(out, 128, ", \"ek\": \"%s\"", hex);
	OPENSSL_free(der);
	X509_free(x);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A report for people, and as an EAT attestation result (draft-ietf-rats-ear) with the claims of AR4SI. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "attest/tool.h"
#include "lib/util.h"
#include "lib/version.h"

#define EAR_PROFILE "tag:github.com,2023:veraison/ear"

/* Values of a claim (AR4SI, 2.3.4). */
enum { CLAIM_NONE = 0, CLAIM_AFFIRMED = 2, CLAIM_WARNING = 32, CLAIM_CONTRAINDICATED = 96, CLAIM_UNRECOGNIZED = 97, CLAIM_CRYPTO_FAILED = 99 };

static const char *const outcomes[] = {
	[VTPM_PASSED] = "passed", [VTPM_WARNED] = "warning", [VTPM_SKIPPED] = "not demanded", [VTPM_FAILED] = "FAILED"};
static const char *const claims[VTPM_CLAIMS] = {
	[VTPM_CLAIM_INSTANCE] = "instance-identity",
	[VTPM_CLAIM_HARDWARE] = "hardware",
	[VTPM_CLAIM_EXECUTABLES] = "executables",
	[VTPM_CLAIM_CONFIGURATION] = "configuration",
	[VTPM_CLAIM_STORAGE] = "storage-opaque",
};

void print_report(const struct vtpm_report *r)
{
	const struct vtpm_step *last = &r->step[r->steps - 1];

	for (size_t i = 0; i < r->steps; i++)
		printf("%-13s %-12s %s\n", r->step[i].name, outcomes[r->step[i].outcome], r->step[i].text);
	if (r->verdict == VTPM_FAILED)
		printf("NOT VERIFIED: %s\n", last->text);
	else
		printf("verified%s\n", r->verdict == VTPM_WARNED ? ", with warnings" : "");
}

/* Before the chain ends in signatures that verify nothing is known; behind it a failure is one of the policy. */
static int failed_value(const struct vtpm_step *s)
{
	static const char *const demands[] = {"host-pcrs", "host-events", "launch", "guest-pcrs", "freshness", "known", "revocation", "host-chain"};

	if (!strcmp(s->name, "host-key"))
		return CLAIM_UNRECOGNIZED;
	for (size_t i = 0; i < ARRAY_LEN(demands); i++)
		if (!strcmp(s->name, demands[i]))
			return CLAIM_CONTRAINDICATED;
	return CLAIM_CRYPTO_FAILED;
}

/* If anything failed, nothing else is claimed. */
static int value_of(const struct vtpm_report *r, enum vtpm_claim claim)
{
	const struct vtpm_step *last = &r->step[r->steps - 1];
	int value = CLAIM_NONE;

	if (r->verdict == VTPM_FAILED)
		return last->claim == claim ? failed_value(last) : CLAIM_NONE;
	for (size_t i = 0; i < r->steps; i++) {
		if (r->step[i].claim != claim || r->step[i].outcome == VTPM_SKIPPED)
			continue;
		if (r->step[i].outcome == VTPM_WARNED)
			return CLAIM_WARNING;
		value = CLAIM_AFFIRMED;
	}
	return value;
}

static json_t *vector(const struct vtpm_report *r)
{
	json_t *o = json_object();

	for (int i = 0; o && i < VTPM_CLAIMS; i++)
		if (json_object_set_new(o, claims[i], json_integer(value_of(r, (enum vtpm_claim)i)))) {
			json_decref(o);
			o = NULL;
		}
	return o;
}

static json_t *steps(const struct vtpm_report *r)
{
	static const char *const words[] = {
		[VTPM_PASSED] = "passed", [VTPM_WARNED] = "warning", [VTPM_SKIPPED] = "skipped", [VTPM_FAILED] = "failed"};
	json_t *list = json_array();

	for (size_t i = 0; list && i < r->steps; i++)
		if (json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "step", r->step[i].name, "result", words[r->step[i].outcome],
							  "text", r->step[i].text))) {
			json_decref(list);
			list = NULL;
		}
	return list;
}

/* Base64 for URLs, without padding (RFC 7515, 2). */
static void base64url(const uint8_t *p, size_t n, char out[static 2 * EVIDENCE_NONCE_MAX])
{
	EVP_EncodeBlock((unsigned char *)out, p, (int)n);
	for (char *c = out; *c; c++) {
		*c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
		if (*c == '=')
			*c = '\0';
	}
}

int print_ear(const struct tool *t, const struct vtpm_report *r, const uint8_t policy_id[static EVIDENCE_DIGEST])
{
	static const char *const status[] = {[VTPM_PASSED] = "affirming", [VTPM_WARNED] = "warning", [VTPM_FAILED] = "contraindicated"};
	char nonce[2 * EVIDENCE_NONCE_MAX], uuid[UUID_STR_LEN + 1], hex[2 * EVIDENCE_DIGEST + 1], policy[2 * EVIDENCE_DIGEST + 9];
	json_t *vtpm, *ear;
	char *text;

	base64url(t->nonce, t->nonce_len, nonce);
	if (hex_encode(policy_id, EVIDENCE_DIGEST, hex, sizeof(hex)))
		return ERR_RANGE;
	snprintf(policy, sizeof(policy), "sha-256:%s", hex);
	vtpm = json_pack("{s:s, s:o, s:s, s:o}", "ear.status", status[r->verdict], "ear.trustworthiness-vector", vector(r),
			 "ear.appraisal-policy-id", policy, "vtpm.steps", steps(r));
	if (vtpm && r->verdict != VTPM_FAILED) {
		uuid_format(r->seen.uuid, uuid);
		json_object_set_new(vtpm, "vtpm.uuid", json_string(uuid));
	}
	ear = json_pack("{s:s, s:I, s:{s:s, s:s}, s:s, s:{s:o}}", "eat_profile", EAR_PROFILE, "iat", (json_int_t)t->time, "ear.verifier-id",
			"developer", "vtpm", "build", "vtpm-verify " VTPM_VERSION, "eat_nonce", nonce, "submods", "vtpm", vtpm);
	text = ear ? json_dumps(ear, JSON_INDENT(2)) : NULL;
	if (text)
		puts(text);
	free(text);
	json_decref(ear);
	return text ? 0 : ERR_NOMEM;
}

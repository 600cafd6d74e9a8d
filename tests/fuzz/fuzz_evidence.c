/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evidence, and the files of who verifies it. The first byte says which. Most of what is fuzzed as evidence would fail before its
 * inner structures are read, so those are given to their parsers as well, by themselves.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "attest/cert.h"
#include "attest/tpms.h"
#include "attest/vtpm-verify.h"
#include "lib/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is decoded is encoded to the same bytes: there is one form. */
static void fuzz_form(const uint8_t *data, size_t size)
{
	uint8_t *mem = malloc(size + 1);
	struct evidence e;
	struct binding b;
	struct buf out;

	if (!mem)
		abort();
	buf_init(&out, mem, size);
	if (!evidence_decode(data, size, &e) && (evidence_encode(&e, &out) || out.len != size || memcmp(mem, data, size) != 0))
		abort();
	buf_init(&out, mem, size);
	if (!binding_decode(data, size, &b) && (binding_encode(&b, &out) || out.len != size || memcmp(mem, data, size) != 0))
		abort();
	free(mem);
}

static void fuzz_structures(const uint8_t *data, size_t size)
{
	const struct evidence_view v = {data, size};
	struct evidence_signed s;
	struct tpms_attest a;
	struct tpms_public p;
	struct tpms_nv nv;

	if (!tpms_attest_parse(&v, &a) && a.type != TPM_ST_ATTEST_NV && a.contents.n)
		abort();
	if (!tpms_nv_parse(&v, &nv) && !nv.name[1])
		abort();
	if (size > 200 && !tpms_public_parse(&v, &p))
		tpms_public_free(&p);
	if (size > 88) {
		const struct evidence_view pub = {data, 88}; /* of ECC P-256 */

		s = (struct evidence_signed){pub, {data + 88, size - 88}};
		if (!tpms_public_parse(&pub, &p)) {
			if (!tpms_signature_check(p.key, &s))
				abort(); /* nobody has signed anything */
			tpms_public_free(&p);
		}
	}
}

static void fuzz_cert(const uint8_t *data, size_t size)
{
	const struct evidence_view v = {data, size};
	uint8_t uuid[EVIDENCE_UUID] = {0}, digest[EVIDENCE_DIGEST];
	X509 *x = cert_parse(&v);

	if (x) {
		EVP_PKEY *key = X509_get0_pubkey(x);

		if (!key || !cert_is_of(x, x, key, OID_AIK_CERTIFICATE, uuid))
			X509_check_ca(x);
		if (cert_key_digest(x, digest))
			digest[0] = 0;
	}
	X509_free(x);
}

/* The host is enrolled, whoever it is, and the nonce is the right one: what comes behind that is to be reached. */
static void believe(const uint8_t *data, size_t size, struct vtpm_verify_input *in, struct vtpm_trust *trust, struct binding *b)
{
	char json[256], name[2 * EVIDENCE_NAME + 1], why[VTPM_VERIFY_TEXT];
	struct tpms_public p;
	struct evidence e;

	if (evidence_decode(data, size, &e) || binding_decode(e.binding.p, e.binding.n, b) || tpms_public_parse(&e.host_ak, &p))
		return;
	in->nonce = b->nonce;
	in->nonce_len = b->nonce_len;
	if (hex_encode(p.name, sizeof(p.name), name, sizeof(name)))
		abort();
	snprintf(json, sizeof(json), "{\"hosts\": [{\"ak\": \"%s\"}]}", name);
	if (vtpm_trust_add(trust, json, strlen(json), why))
		abort();
	tpms_public_free(&p);
}

static void fuzz_verify(const uint8_t *data, size_t size)
{
	struct vtpm_verify_input in = {.evidence = data, .evidence_len = size, .nonce = data, .nonce_len = size < 32 ? size : 32};
	struct vtpm_trust *trust = vtpm_trust_new();
	struct vtpm_policy *policy;
	char why[VTPM_VERIFY_TEXT];
	struct vtpm_report report;
	struct binding b;

	if (!trust || vtpm_policy_read("{}", 2, &policy, why))
		abort();
	in.trust = trust;
	in.policy = policy;
	believe(data, size, &in, trust, &b);
	vtpm_verify(&in, &report);
	for (size_t i = 0; i < report.steps; i++)
		if (!report.step[i].text[0])
			abort(); /* each says why */
	vtpm_policy_free(policy);
	vtpm_trust_free(trust);
}

static void fuzz_files(const uint8_t *data, size_t size)
{
	struct vtpm_trust *trust = vtpm_trust_new();
	char why[VTPM_VERIFY_TEXT] = "";
	struct vtpm_policy *policy;

	if (!trust || (vtpm_trust_add(trust, data, size, why) && !why[0]))
		abort();
	why[0] = '\0';
	if (vtpm_policy_read(data, size, &policy, why) && !why[0])
		abort();
	vtpm_policy_free(policy);
	vtpm_trust_free(trust);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 5) {
	case 0:
		fuzz_form(data + 1, size - 1);
		break;
	case 1:
		fuzz_structures(data + 1, size - 1);
		break;
	case 2:
		fuzz_cert(data + 1, size - 1);
		break;
	case 3:
		fuzz_verify(data + 1, size - 1);
		break;
	default:
		fuzz_files(data + 1, size - 1);
	}
	return 0;
}

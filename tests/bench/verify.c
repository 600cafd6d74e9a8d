/* SPDX-License-Identifier: BSD-2-Clause */
/* What it takes to verify evidence: of the processor's time, so that what else the machine does makes no difference. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "attest/tpms.h"
#include "attest/vtpm-verify.h"
#include "lib/util.h"
#include "tests/bench/bench.h"

#define TIMES 200u
#define ROUNDS 5u

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Evidence about vTPM g0; how long it is. */
static size_t evidence_get(const struct bench *b, uint8_t mem[static EVIDENCE_MAX])
{
	json_t *reply = control_call(b, "Attest", json_pack("{s:s, s:s}", "name", "g0", "nonce", "0011223344556677"));
	const char *text = json_string_value(json_object_get(reply, "evidence"));
	size_t n = text ? strlen(text) : 0;
	int len;

	if (!n || n / 4 * 3 > EVIDENCE_MAX)
		die("no evidence to be verified");
	len = EVP_DecodeBlock(mem, (const unsigned char *)text, (int)n);
	while (len > 0 && n && text[n - 1] == '=') {
		len--;
		n--;
	}
	json_decref(reply);
	return len > 0 ? (size_t)len : 0;
}

/* Its host, as if somebody had enrolled it. */
static void enroll(struct vtpm_trust *t, const uint8_t *mem, size_t n)
{
	char text[256], name[2 * EVIDENCE_NAME + 1], why[VTPM_VERIFY_TEXT];
	struct tpms_public host;
	struct evidence e;

	if (evidence_decode(mem, n, &e) || tpms_public_parse(&e.host_ak, &host) || hex_encode(host.name, EVIDENCE_NAME, name, sizeof(name)))
		die("this is no evidence");
	snprintf(text, sizeof(text), "{\"hosts\": [{\"ak\": \"%s\"}]}", name);
	if (vtpm_trust_add(t, text, strlen(text), why))
		die("%s", why);
	tpms_public_free(&host);
}

void bench_verify(const struct bench *b)
{
	uint8_t nonce[8] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77 }, *mem = malloc(EVIDENCE_MAX);
	struct vtpm_trust *trust = vtpm_trust_new();
	struct vtpm_policy *policy = NULL;
	struct vtpm_verify_input in = { .evidence = mem, .nonce = nonce, .nonce_len = sizeof(nonce), .trust = trust, .time = (uint64_t)time(NULL) };
	struct samples s = { .n = 0 };
	struct vtpm_report report;
	char why[VTPM_VERIFY_TEXT];
	double from;

	if (!mem || !trust || vtpm_policy_read("{}", 2, &policy, why))
		die("out of memory");
	in.policy = policy;
	in.evidence_len = evidence_get(b, mem);
	enroll(trust, mem, in.evidence_len);
	for (unsigned r = 0; r < ROUNDS; r++) {
		from = cpu_us();
		for (unsigned i = 0; i < TIMES; i++) {
			vtpm_verify(&in, &report);
			if (report.verdict == VTPM_FAILED)
				die("%s", report.step[report.steps - 1].text);
		}
		samples_add(&s, TIMES / (cpu_us() - from) * 1e6);
	}
	result(b, "verify_per_s", OURS, samples_median(&s));
	vtpm_policy_free(policy);
	vtpm_trust_free(trust);
	free(mem);
}

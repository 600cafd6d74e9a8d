/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "lib/util.h"

/* ---- saying ---- */

static void say(struct verify *v, const char *fmt, va_list ap)
{
	vsnprintf(v->text, VTPM_VERIFY_TEXT, fmt, ap);
}

#define SAYING(function, outcome)                                       \
	enum vtpm_outcome function(struct verify *v, const char *fmt, ...) \
	{                                                               \
		va_list ap;                                             \
                                                                        \
		va_start(ap, fmt);                                      \
		say(v, fmt, ap);                                        \
		va_end(ap);                                             \
		return outcome;                                         \
	}

SAYING(passed, VTPM_PASSED)
SAYING(warned, VTPM_WARNED)
SAYING(skipped, VTPM_SKIPPED)
SAYING(failed, VTPM_FAILED)

const char *verify_hex(const void *p, size_t n)
{
	static _Thread_local char mem[4][2 * EVIDENCE_NONCE_MAX + 1];
	static _Thread_local unsigned next;
	char *out = mem[next++ % 4];

	return hex_encode(p, n, out, sizeof(mem[0])) ? "?" : out;
}

/* ---- the form, and whom it is for ---- */

enum vtpm_outcome step_format(struct verify *v)
{
	int r = evidence_decode(v->in->evidence, v->in->evidence_len, &v->e);
	char uuid[UUID_STR_LEN + 1];

	if (r == ERR_VERSION)
		return failed(v, "the evidence has a version that this verifier does not know");
	if (r)
		return failed(v, "these %zu bytes are no evidence: not the deterministic CBOR of evidence.cddl", v->in->evidence_len);
	if (binding_decode(v->e.binding.p, v->e.binding.n, &v->b))
		return failed(v, "the binding in the evidence is not the deterministic CBOR of evidence.cddl");
	if (!v->e.guest_log.n)
		v->e.guest_log = (struct evidence_view){v->in->launch_log, v->in->launch_log_len};
	uuid_format(v->b.uuid, uuid);
	return passed(v, "%zu bytes of evidence, version %u, about vTPM %s", v->in->evidence_len, EVIDENCE_VERSION, uuid);
}

enum vtpm_outcome step_nonce(struct verify *v)
{
	const struct vtpm_verify_input *in = v->in;

	if (in->nonce_len < EVIDENCE_NONCE_MIN || in->nonce_len > EVIDENCE_NONCE_MAX)
		return failed(v, "a nonce of %zu bytes is no nonce: %u to %u", in->nonce_len, EVIDENCE_NONCE_MIN, EVIDENCE_NONCE_MAX);
	if (v->b.nonce_len != in->nonce_len || memcmp(v->b.nonce, in->nonce, in->nonce_len) != 0)
		return failed(v, "the evidence answers nonce %s, not the one that was asked with: it is an old one, or another's",
			      verify_hex(v->b.nonce, v->b.nonce_len));
	return passed(v, "it answers the nonce that was asked with, %s", verify_hex(in->nonce, in->nonce_len));
}

enum vtpm_outcome step_subject(struct verify *v)
{
	char is[UUID_STR_LEN + 1], want[UUID_STR_LEN + 1];

	uuid_format(v->b.uuid, is);
	if (!v->in->uuid)
		return warned(v, "nobody has said which vTPM it must be about; it is about %s", is);
	uuid_format(v->in->uuid, want);
	if (memcmp(v->in->uuid, v->b.uuid, EVIDENCE_UUID) != 0)
		return failed(v, "the evidence is about vTPM %s, and not about %s", is, want);
	return passed(v, "it is about the vTPM that was asked for, %s", is);
}

/* After the binding is known to be what the TPM has signed. */
enum vtpm_outcome step_attached(struct verify *v)
{
	uint8_t is[EVIDENCE_DIGEST];

	if (evidence_attached(&v->e, NULL, is))
		return failed(v, "SHA-256 cannot be computed");
	if (memcmp(is, v->b.attached, sizeof(is)) != 0)
		return failed(v, "the host's event log or a certificate of an EK is not the one that the binding names: it was changed on the way");
	return passed(v, "the host's event log (%zu bytes) and the EKs' certificates are those that the binding names", v->e.host_log.n);
}

/* ---- the chain ---- */

static const struct {
	const char *name;
	enum vtpm_claim claim;
	enum vtpm_outcome (*check)(struct verify *v);
} chain[] = {
	{"format", VTPM_CLAIM_INSTANCE, step_format},
	{"nonce", VTPM_CLAIM_INSTANCE, step_nonce},
	{"subject", VTPM_CLAIM_INSTANCE, step_subject},
	{"host-key", VTPM_CLAIM_HARDWARE, step_host_key},
	{"host-quote", VTPM_CLAIM_HARDWARE, step_outer},
	{"attached", VTPM_CLAIM_HARDWARE, step_attached},
	{"host-chain", VTPM_CLAIM_HARDWARE, step_host_chain},
	{"anchor", VTPM_CLAIM_STORAGE, step_anchor},
	{"host-clock", VTPM_CLAIM_HARDWARE, step_clock},
	{"ca", VTPM_CLAIM_INSTANCE, step_ca},
	{"ca-creation", VTPM_CLAIM_INSTANCE, step_ca_creation},
	{"vtpm-key", VTPM_CLAIM_INSTANCE, step_ak},
	{"revocation", VTPM_CLAIM_INSTANCE, step_revoked},
	{"vtpm-ek", VTPM_CLAIM_INSTANCE, step_ek},
	{"vtpm-quote", VTPM_CLAIM_INSTANCE, step_inner},
	{"host-pcrs", VTPM_CLAIM_CONFIGURATION, step_host_pcrs},
	{"host-log", VTPM_CLAIM_HARDWARE, step_host_log},
	{"host-events", VTPM_CLAIM_CONFIGURATION, step_host_events},
	{"launch", VTPM_CLAIM_EXECUTABLES, step_launch},
	{"launch-log", VTPM_CLAIM_INSTANCE, step_launch_log},
	{"guest-pcrs", VTPM_CLAIM_EXECUTABLES, step_guest_pcrs},
	{"freshness", VTPM_CLAIM_STORAGE, step_freshness},
	{"known", VTPM_CLAIM_STORAGE, step_known},
};
_Static_assert(sizeof(chain) / sizeof(chain[0]) <= VTPM_VERIFY_STEPS, "a report has room for the chain");

static void remember(const struct verify *v, struct vtpm_known *k)
{
	memcpy(k->uuid, v->b.uuid, sizeof(k->uuid));
	memcpy(k->host, v->host_ak.name, sizeof(k->host));
	memcpy(k->ak, v->ak.name, sizeof(k->ak));
	k->epoch = v->b.epoch;
	k->version = v->b.version;
	k->discontinuities = v->b.discontinuities;
}

static void verify_free(struct verify *v)
{
	tpms_public_free(&v->host_ak);
	tpms_public_free(&v->ca);
	tpms_public_free(&v->ak);
	tpms_public_free(&v->ek);
	X509_free(v->ca_cert);
	X509_free(v->ak_cert);
	ERR_clear_error();
}

void vtpm_verify(const struct vtpm_verify_input *in, struct vtpm_report *out)
{
	struct verify v = {.in = in};

	memset(out, 0, sizeof(*out));
	out->verdict = VTPM_PASSED;
	for (size_t i = 0; i < ARRAY_LEN(chain) && out->verdict != VTPM_FAILED; i++) {
		struct vtpm_step *s = &out->step[out->steps++];

		v.text = s->text;
		s->name = chain[i].name;
		s->claim = chain[i].claim;
		s->outcome = chain[i].check(&v);
		if (s->outcome == VTPM_FAILED || (s->outcome == VTPM_WARNED && out->verdict == VTPM_PASSED))
			out->verdict = s->outcome;
	}
	if (out->verdict != VTPM_FAILED)
		remember(&v, &out->seen);
	verify_free(&v);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The vTPM: its keys, and what it has signed. */
#include "attest/verify.h"

#include <string.h>

#include "attest/cert.h"
#include "lib/util.h"

#define GUEST_PCRS 0xffffu

enum vtpm_outcome step_ak(struct verify *v)
{
	char uuid[UUID_STR_LEN + 1];

	uuid_format(v->b.uuid, uuid);
	if (tpms_public_parse(&v->e.ak.pub, &v->ak))
		return failed(v, "the public area of the vTPM's attestation key is damaged");
	if (memcmp(v->ak.name, v->b.ak_name, EVIDENCE_NAME) != 0)
		return failed(v, "the vTPM's attestation key %s is not the one that the binding names", verify_hex(v->ak.name, EVIDENCE_NAME));
	if (!tpms_public_attests(&v->ak))
		return failed(v, "the vTPM's attestation key is not one that signs only what its TPM says");
	v->ak_cert = cert_parse(&v->e.ak.cert);
	if (!v->ak_cert || !cert_has_key(v->ak_cert, v->ak.key))
		return failed(v, "the certificate of the vTPM's attestation key is of another key: the key was planted, or the certificate is damaged");
	if (!cert_is_of(v->ak_cert, v->ca_cert, v->ca.key, OID_AIK_CERTIFICATE, v->b.uuid))
		return failed(v, "the host's CA has not certified this attestation key for vTPM %s", uuid);
	if (v->in->policy->clock && (!cert_is_valid_at(v->ca_cert, (time_t)v->in->time) || !cert_is_valid_at(v->ak_cert, (time_t)v->in->time)))
		return failed(v, "the certificate of the vTPM's attestation key, or that of its CA, is not valid at this time");
	return passed(v, "the host's CA has certified the attestation key %s for vTPM %s", verify_hex(v->ak.name, EVIDENCE_NAME), uuid);
}

static enum vtpm_outcome look_up(struct verify *v, X509_CRL *crl, time_t now)
{
	const struct vtpm_policy *p = v->in->policy;
	const ASN1_TIME *from = X509_CRL_get0_lastUpdate(crl), *until = X509_CRL_get0_nextUpdate(crl);
	time_t oldest = now - (time_t)p->crl_age;

	if (trust_revokes(v->in->trust, X509_get_subject_name(v->ca_cert), v->ca.key, v->ak_cert))
		return failed(v, "the certificate of the vTPM's attestation key is revoked: the vTPM was destroyed, or is on another host now");
	if (!p->clock)
		return passed(v, "the certificate is not in the host's revocation list; how old that is is not checked, for the clock is not trusted");
	/* X509_cmp_time says 0 of a time that it cannot read. */
	if (X509_cmp_time(from, &now) >= 0 || !until || X509_cmp_time(until, &now) <= 0)
		return failed(v, "the host's revocation list is out of date, or not valid yet");
	if (p->crl_age && X509_cmp_time(from, &oldest) <= 0)
		return failed(v, "the host's revocation list is older than %llu s", (unsigned long long)p->crl_age);
	return passed(v, "the certificate is not in the host's revocation list");
}

enum vtpm_outcome step_revoked(struct verify *v)
{
	X509_CRL *crl = trust_crl(v->in->trust, X509_get_subject_name(v->ca_cert), v->ca.key);

	if (crl)
		return look_up(v, crl, (time_t)v->in->time);
	if (v->in->policy->crl_required)
		return failed(v, "there is no revocation list of this host's CA, and the policy demands one");
	return warned(v, "there is no revocation list of this host's CA: whether the vTPM was destroyed or restored elsewhere is not known");
}

enum vtpm_outcome step_ek(struct verify *v)
{
	X509 *x;
	bool key, ours, revoked;

	if (tpms_public_parse(&v->e.ek.pub, &v->ek))
		return failed(v, "the public area of the vTPM's endorsement key is damaged");
	if (memcmp(v->ek.name, v->b.ek_name, EVIDENCE_NAME) != 0)
		return failed(v, "the vTPM's endorsement key %s is not the one that the binding names", verify_hex(v->ek.name, EVIDENCE_NAME));
	if (!v->e.ek.cert.n && v->in->policy->vtpm_ek)
		return failed(v, "the vTPM's endorsement key has no certificate, and the policy demands one");
	if (!v->e.ek.cert.n)
		return warned(v, "the vTPM's endorsement key has no certificate: that it is this vTPM's is only the word of the host's manager");
	x = cert_parse(&v->e.ek.cert);
	key = x && cert_has_key(x, v->ek.key);
	ours = key && cert_is_of(x, v->ca_cert, v->ca.key, OID_EK_CERTIFICATE, v->b.uuid);
	revoked = ours && trust_revokes(v->in->trust, X509_get_subject_name(v->ca_cert), v->ca.key, x);
	X509_free(x);
	if (!key)
		return failed(v, "the certificate of the vTPM's endorsement key is damaged, or of another key");
	if (revoked)
		return failed(v, "the certificate of the vTPM's endorsement key is revoked: it is that of a former one");
	if (!ours && v->in->policy->vtpm_ek)
		return failed(v, "the host's CA has not certified the vTPM's endorsement key, and the policy demands it");
	if (!ours)
		return warned(v, "the vTPM's endorsement key has a certificate that another than the host's CA has issued, or for another vTPM: that it is this one's is only the word of the host's manager");
	return passed(v, "the host's CA has certified the vTPM's endorsement key, too");
}

enum vtpm_outcome step_inner(struct verify *v)
{
	uint8_t data[EVIDENCE_DIGEST], digest[EVIDENCE_DIGEST];

	if (tpms_attest_parse(&v->e.inner.by.attest, &v->inner) || v->inner.type != TPM_ST_ATTEST_QUOTE || v->inner.pcrs != GUEST_PCRS)
		return failed(v, "what the vTPM has signed is no quote of PCRs 0 to 15, SHA-256");
	if (tpms_signature_check(v->ak.key, &v->e.inner.by))
		return failed(v, "the signature of the vTPM's quote is not by its attestation key");
	if (tpms_sha256(&v->e.inner.by.attest, digest) || memcmp(digest, v->b.quote, sizeof(digest)) != 0)
		return failed(v, "the vTPM's quote is not the one that the binding names");
	if (evidence_inner_data(&v->b, data) || !tpms_equal(&v->inner.extra, data, sizeof(data)))
		return failed(v, "the vTPM's quote is not for this nonce, vTPM, keys and owner epoch");
	if (quote_values(&v->e.inner, &v->inner, v->guest_pcr))
		return failed(v, "the vTPM's PCR values are not those that it has quoted");
	return passed(v, "the vTPM has quoted its PCRs 0 to 15 for this nonce, its uuid, its keys and owner epoch %llu",
		      (unsigned long long)v->b.epoch);
}

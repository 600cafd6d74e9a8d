/* SPDX-License-Identifier: BSD-2-Clause */
/* The physical TPM: whose it is, what it has signed, and the CA in it. */
#include "attest/verify.h"

#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "attest/cert.h"

#define NV_TYPE_MASK (0xfu << 4)
#define NV_EXTEND    (4u << 4)
#define NV_ORDERLY   (1u << 26)
#define NV_WRITTEN   (1u << 29)

enum vtpm_outcome step_host_key(struct verify *v)
{
	const char *name;

	if (tpms_public_parse(&v->e.host_ak, &v->host_ak))
		return failed(v, "the public area of the host's attestation key is damaged");
	name = verify_hex(v->host_ak.name, EVIDENCE_NAME);
	v->host = trust_find(v->in->trust, v->host_ak.name);
	if (!v->host)
		return failed(v, "the host's attestation key %s is not enrolled: nobody has shown that a physical TPM has it", name);
	if (!tpms_public_attests(&v->host_ak))
		return failed(v, "the host's attestation key %s is not one that signs only what its TPM says", name);
	return passed(v, "the host's attestation key %s is enrolled%s%s", name, v->host->name[0] ? " as " : "", v->host->name);
}

/* The certificate of the pTPM's EK, up to a root. What revocation lists there are count. */
enum vtpm_outcome step_host_chain(struct verify *v)
{
	const struct vtpm_policy *p = v->in->policy;
	uint8_t key[EVIDENCE_DIGEST];
	char why[128];
	X509 *leaf;
	int r = ERR_AUTH;

	if (!p->ek_chain)
		return skipped(v, "the policy demands no certificate of the host's endorsement key: that its key is enrolled is all");
	if (!v->e.nchain)
		return failed(v, "there is no certificate of the host's endorsement key, and the policy demands one: it may be a software TPM");
	if (!v->host->has_ek)
		return failed(v, "the host's enrolment names no endorsement key, so that no certificate can be about it");
	leaf = cert_parse(&v->e.chain[0]);
	if (!leaf)
		return failed(v, "the certificate of the host's endorsement key is damaged");
	if (cert_key_digest(leaf, key) || memcmp(key, v->host->ek, sizeof(key)) != 0)
		snprintf(why, sizeof(why), "it is of another key than the one that was enrolled");
	else if (!cert_is_of_ek(leaf))
		snprintf(why, sizeof(why), "it is for another purpose: its key need not be in a TPM");
	else
		r = cert_chain(v->in->trust, leaf, &v->e, p->clock ? (time_t)v->in->time : 0, why, sizeof(why));
	X509_free(leaf);
	if (r)
		return failed(v, "the certificate of the host's endorsement key does not verify: %s", why);
	return passed(v, "the host's endorsement key has a certificate that leads to a trusted root");
}

int quote_values(const struct evidence_quote *q, const struct tpms_attest *a, uint8_t pcr[static EVIDENCE_PCRS][EVIDENCE_DIGEST])
{
	uint8_t digest[EVIDENCE_DIGEST];
	struct buf b;

	memset(pcr, 0, EVIDENCE_PCRS * EVIDENCE_DIGEST);
	if (tpms_sha256(&q->pcrs, digest) || !tpms_equal(&a->digest, digest, sizeof(digest)))
		return ERR_AUTH;
	buf_wrap(&b, q->pcrs.p, q->pcrs.n);
	for (unsigned i = 0; i < EVIDENCE_PCRS; i++)
		if (a->pcrs >> i & 1 && buf_get_bytes(&b, pcr[i], EVIDENCE_DIGEST))
			return ERR_PROTO;
	return buf_left(&b) ? ERR_PROTO : 0;
}

enum vtpm_outcome step_outer(struct verify *v)
{
	uint8_t leaf[EVIDENCE_DIGEST], root[EVIDENCE_DIGEST];

	if (tpms_attest_parse(&v->e.outer.by.attest, &v->outer) || v->outer.type != TPM_ST_ATTEST_QUOTE)
		return failed(v, "what the host's TPM has signed is no quote of SHA-256 PCRs");
	if ((v->outer.pcrs & HOST_PCRS) != HOST_PCRS)
		return failed(v, "the host's TPM has quoted PCRs %#x, and not all of PCRs 0 to 9", v->outer.pcrs);
	if (tpms_signature_check(v->host_ak.key, &v->e.outer.by))
		return failed(v, "the signature of the host's quote is not by the host's attestation key");
	if (evidence_leaf(v->e.binding.p, v->e.binding.n, leaf) ||
	    evidence_root(leaf, v->e.index, v->e.count, &v->e.proof, root))
		return failed(v, "the inclusion proof does not fit: leaf %llu of %llu", (unsigned long long)v->e.index,
			      (unsigned long long)v->e.count);
	if (evidence_outer_data(root, v->e.count, v->host_ak.name, v->outer_data))
		return failed(v, "SHA-256 cannot be computed");
	if (!tpms_equal(&v->outer.extra, v->outer_data, sizeof(v->outer_data)))
		return failed(v, "the host's quote is not about this binding: it was changed, or the quote belongs to another evidence");
	if (quote_values(&v->e.outer, &v->outer, v->host_pcr))
		return failed(v, "the host's PCR values are not those that its TPM has quoted");
	return passed(v, "the host's TPM has quoted its PCRs %#x over this binding (leaf %llu of %llu)", v->outer.pcrs,
		      (unsigned long long)v->e.index, (unsigned long long)v->e.count);
}

enum vtpm_outcome step_anchor(struct verify *v)
{
	struct tpms_nv nv;

	if (tpms_attest_parse(&v->e.anchor.attest, &v->anchor) || v->anchor.type != TPM_ST_ATTEST_NV || tpms_nv_parse(&v->e.anchor_pub, &nv))
		return failed(v, "the certification of anchor A is damaged");
	if (tpms_signature_check(v->host_ak.key, &v->e.anchor))
		return failed(v, "the signature of the certification of anchor A is not by the host's attestation key");
	if (!tpms_equal(&v->anchor.extra, v->outer_data, sizeof(v->outer_data)))
		return failed(v, "the certification of anchor A is not about this binding: it belongs to another evidence");
	if (!tpms_equal(&v->anchor.name, nv.name, sizeof(nv.name)))
		return failed(v, "what was certified as anchor A is another index than the one that the evidence describes");
	if ((nv.attributes & (NV_TYPE_MASK | NV_ORDERLY | NV_WRITTEN)) != (NV_EXTEND | NV_WRITTEN) || nv.size != EVIDENCE_DIGEST)
		return failed(v, "index %#x is no anchor: not an extend index that outlives a reset and has been written", nv.handle);
	if (v->anchor.offset || !tpms_equal(&v->anchor.contents, v->b.anchor, sizeof(v->b.anchor)))
		return failed(v, "anchor A holds another value than the host's journal says: the store was put back, or belongs to another TPM");
	return passed(v, "anchor A, index %#x, holds %s, as the host's journal says", nv.handle, verify_hex(v->b.anchor, 8));
}

enum vtpm_outcome step_clock(struct verify *v)
{
	const struct tpms_attest *a = &v->outer, *b = &v->anchor;

	if (a->reset_count != b->reset_count || a->restart_count != b->restart_count)
		return failed(v, "the host's TPM was reset or restarted between its quote and the certification of anchor A");
	if (a->firmware != b->firmware)
		return failed(v, "the host's TPM has another firmware in its quote than in the certification of anchor A");
	if (!a->safe || !b->safe)
		return failed(v, "the clock of the host's TPM is not safe: it may have gone back");
	return passed(v, "quote and certification of anchor A are of one run of the host's TPM, whose clock is safe");
}

/* ---- the CA ---- */

static bool certified(const struct verify *v, const struct evidence_signed *s, uint16_t type, struct tpms_attest *a)
{
	return !tpms_attest_parse(&s->attest, a) && a->type == type && !tpms_signature_check(v->host_ak.key, s) &&
	       tpms_equal(&a->name, v->ca.name, sizeof(v->ca.name));
}

enum vtpm_outcome step_ca(struct verify *v)
{
	uint8_t digest[EVIDENCE_DIGEST];
	struct tpms_attest a;

	if (tpms_public_parse(&v->e.ca.pub, &v->ca))
		return failed(v, "the public area of the CA key is damaged");
	if (!certified(v, &v->e.ca_certify, TPM_ST_ATTEST_CERTIFY, &a))
		return failed(v, "the host's attestation key has not certified this CA key: it is of another host, or not in a TPM");
	if (tpms_sha256(&v->e.ca.cert, digest) || !tpms_equal(&a.extra, digest, sizeof(digest)))
		return failed(v, "the host's attestation key has certified the CA key with another certificate than this one");
	if ((v->ca.attributes & (OBJECT_OF_THIS_TPM | OBJECT_SIGN | OBJECT_DECRYPT)) != (OBJECT_OF_THIS_TPM | OBJECT_SIGN))
		return failed(v, "the CA key may have come from outside of the host's TPM");
	v->ca_cert = cert_parse(&v->e.ca.cert);
	if (!v->ca_cert || !cert_has_key(v->ca_cert, v->ca.key) || X509_check_ca(v->ca_cert) != 1 ||
	    X509_verify(v->ca_cert, v->ca.key) != 1)
		return failed(v, "the CA certificate is not a self-signed one of the CA key");
	return passed(v, "the CA key is in the host's TPM: the host's attestation key has certified it with its certificate");
}

enum vtpm_outcome step_ca_creation(struct verify *v)
{
	uint8_t digest[EVIDENCE_DIGEST];
	struct tpms_attest a;

	if (!certified(v, &v->e.ca_created, TPM_ST_ATTEST_CREATION, &a) || tpms_sha256(&v->e.ca_creation, digest) ||
	    !tpms_equal(&a.digest, digest, sizeof(digest)))
		return failed(v, "the host's attestation key does not say of the CA key that it was made like this");
	if (tpms_sha256(&v->e.ca.cert, digest) || !tpms_equal(&a.extra, digest, sizeof(digest)))
		return failed(v, "what is said of the CA key's creation goes with another certificate");
	return passed(v, "the CA key was made in the host's TPM, and its creation data are genuine");
}

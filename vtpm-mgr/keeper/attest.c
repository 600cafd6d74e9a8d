/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/attest.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "attest/evidence.h"
#include "lib/secmem.h"
#include "vtpm-mgr/keeper/serve.h"
#include "vtpm-mgr/keeper/wrap.h"

#define QUOTE_TRIES 4u /* until no PCR is extended between reading and quoting it */

struct attest_job {
	struct anchor *an;
	struct enroll_key key;
	uint32_t mask;
	TPM2B_DATA over;
	struct host_quote_blob *mem;
	struct host_quote *q;
};

static const TPMT_SIG_SCHEME own = {.scheme = TPM2_ALG_NULL};

/* The Name of the key and the root that it speaks for. */
static int over_what(struct attest_job *job, const struct host_quote_request *q)
{
	uint8_t area[sizeof(TPMT_PUBLIC)], name[EVIDENCE_NAME] = {0, TPM2_ALG_SHA256};
	size_t len = 0;

	job->over.size = DIGEST_LEN;
	if (Tss2_MU_TPMT_PUBLIC_Marshal(&job->key.pub.publicArea, area, sizeof(area), &len) || wrap_sha256(area, len, name + 2))
		return ERR_CRYPTO;
	return evidence_outer_data(q->root, q->leaves, name, job->over.buffer);
}

/* The values of the mask's PCRs, one behind the other. */
static int read_values(struct tpm *t, struct attest_job *job)
{
	uint8_t pcr[PCR_COUNT][DIGEST_LEN];
	int r = tpm_pcr_read(t, job->mask, pcr);

	job->q->pcrs = job->mem->pcrs;
	job->q->pcrs_len = 0;
	for (unsigned i = 0; !r && i < PCR_COUNT; i++) {
		if (!(job->mask >> i & 1u))
			continue;
		memcpy(job->mem->pcrs + job->q->pcrs_len, pcr[i], DIGEST_LEN);
		job->q->pcrs_len += DIGEST_LEN;
	}
	return r;
}

/* Whether the quote is of the values that were read. ERR_AGAIN: one was extended in between. */
static int compare(struct tpm *t, const struct attest_job *job)
{
	uint8_t digest[DIGEST_LEN];
	TPMS_ATTEST attest;
	const TPM2B_DIGEST *d = &attest.attested.quote.pcrDigest;
	size_t at = 0;

	if (Tss2_MU_TPMS_ATTEST_Unmarshal(job->q->attest, job->q->attest_len, &at, &attest) || attest.type != TPM2_ST_ATTEST_QUOTE ||
	    wrap_sha256(job->q->pcrs, job->q->pcrs_len, digest))
		return tpm_fail(t, ERR_TPM, "TPM2_Quote: the TPM made an attestation of another kind");
	return d->size == DIGEST_LEN && !memcmp(d->buffer, digest, DIGEST_LEN) ? 0 : ERR_AGAIN;
}

static int quote_once(struct tpm *t, struct attest_job *job, ESYS_TR ak)
{
	const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(job->mask);
	TPMT_SIGNATURE *sig = NULL;
	TPM2B_ATTEST *attest = NULL;
	int r = read_values(t, job);

	if (!r)
		r = tpm_check(t, Esys_Quote(t->esys, ak, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &job->over, &own, &pcrs, &attest, &sig),
			      "TPM2_Quote");
	job->q->attest = job->mem->attest;
	job->q->sig = job->mem->sig;
	if (!r)
		r = enroll_take_attest(t, attest, sig, job->mem->attest, &job->q->attest_len, job->mem->sig, &job->q->sig_len);
	return r ? r : compare(t, job);
}

static int quote(struct tpm *t, struct attest_job *job, ESYS_TR ak)
{
	int r = ERR_AGAIN;

	for (unsigned i = 0; r == ERR_AGAIN && i < QUOTE_TRIES; i++)
		r = quote_once(t, job, ak);
	return r == ERR_AGAIN ? tpm_fail(t, ERR_BUSY, "somebody extends the host's PCRs all the time") : r;
}

static int certify_anchor(struct tpm *t, struct attest_job *job, ESYS_TR ak)
{
	enum anchor_state state = ANCHOR_VALUE;
	uint8_t value[DIGEST_LEN];
	TPMT_SIGNATURE *sig = NULL;
	TPM2B_ATTEST *attest = NULL;
	ESYS_TR second = ESYS_TR_NONE;
	struct nv_index *a = &job->an->a;
	int r = a->context == t->context ? 0 : nv_look(t, a, &state, value);

	if (!r && state != ANCHOR_VALUE)
		r = tpm_fail(t, ERR_WRONG_STATE, "anchor A is not what was defined there any more");
	if (!r)
		r = nv_public(a->handle, a->attributes | TPMA_NV_WRITTEN, job->mem->anchor_public);
	if (!r)
		r = enroll_second_session(t, &second);
	if (!r)
		r = tpm_check(t,
			      Esys_NV_Certify(t->esys, ak, a->tr, a->tr, t->session, second, ESYS_TR_NONE, &job->over, &own, DIGEST_LEN, 0, &attest,
					      &sig),
			      "TPM2_NV_Certify of anchor A");
	tpm_flush(t, &second);
	job->q->anchor = job->mem->anchor;
	job->q->anchor_sig = job->mem->anchor_sig;
	job->q->anchor_public = job->mem->anchor_public;
	job->q->anchor_public_len = NV_PUBLIC_LEN;
	return r ? r : enroll_take_attest(t, attest, sig, job->mem->anchor, &job->q->anchor_len, job->mem->anchor_sig, &job->q->anchor_sig_len);
}

static int attest_op(struct tpm *t, void *arg)
{
	struct attest_job *job = arg;
	ESYS_TR ak = ESYS_TR_NONE;
	int r = enroll_key_load(t, &job->key, &ak);

	if (!r)
		r = quote(t, job, ak);
	if (!r)
		r = certify_anchor(t, job, ak);
	tpm_flush(t, &ak);
	return r;
}

int attest_host(struct ca *ca, struct anchor *an, const struct enrolment *e, const struct host_quote_request *over, struct host_quote_blob *mem,
		struct host_quote *q)
{
	struct attest_job job = {.an = an, .mask = over->mask, .mem = mem, .q = q};
	int r = an->known ? enroll_key_open(ca, e, &job.key) : tpm_fail(ca->tpm, ERR_WRONG_STATE, "the anchors are not open");

	if (!r)
		r = over_what(&job, over);
	if (!r)
		r = tpm_run(ca->tpm, attest_op, &job);
	secmem_wipe(&job.key.auth, sizeof(job.key.auth));
	return r;
}

int serve_host_quote(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct host_quote_request q;
	struct host_quote_blob blob;
	struct host_quote quote = {0};
	uint8_t mem[HOST_QUOTE_MAX];
	struct enrolment e;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || host_quote_request_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	r = enroll_record_decode(q.record, q.record_len, &e) ? tpm_fail(&k->tpm, ERR_AUTH, "the record of the attestation key is damaged") : 0;
	if (!r)
		r = attest_host(&k->ca, &k->anchor, &e, &q, &blob, &quote);
	buf_init(&b, mem, sizeof(mem));
	if (!r)
		r = host_quote_encode(&b, &quote);
	return serve_reply(k, id, r, mem, b.len);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/enroll.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/ek.h"
#include "vtpm-mgr/keeper/wrap.h"

struct enroll_job {
	struct ca *ca;
	struct enroll_key key;
	TPM2B_DATA qualifying;
	struct enrolment_blob *mem;
	struct enrolment *e;
};

/* The AK's auth; secret, to be wiped. */
static int ak_auth(const struct ca *ca, TPM2B_AUTH *auth)
{
	int r = wrap_derive_ak(ca->auth, auth->buffer);

	auth->size = KEY_LEN;
	/* A TPM drops trailing zeros of an auth value (TPM 2.0 Part 1, 19.6.4.3): there shall be none. */
	auth->buffer[KEY_LEN - 1] |= 1;
	return r;
}

static int ak_create(struct tpm *t, struct enroll_job *job)
{
	TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.userAuth = job->key.auth};
	const TPML_PCR_SELECTION no_pcrs = {0};
	const TPM2B_DATA outside = {0};
	TPM2B_PUBLIC in = {0}, *pub = NULL;
	TPM2B_PRIVATE *priv = NULL;
	TSS2_RC rc;
	int r;

	ak_template(&in.publicArea);
	rc = Esys_Create(t->esys, t->srk, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in, &outside, &no_pcrs, &priv, &pub, NULL,
			 NULL, NULL);
	secmem_wipe(&sensitive, sizeof(sensitive));
	r = tpm_check(t, rc, "TPM2_Create of the attestation key");
	if (!r) {
		job->key.pub = *pub;
		job->key.priv = *priv;
	}
	Esys_Free(pub);
	Esys_Free(priv);
	return r;
}

int enroll_key_load(struct tpm *t, const struct enroll_key *k, ESYS_TR *handle)
{
	int r = tpm_load(t, &k->pub, &k->priv, "the attestation key", handle);

	return r ? r : tpm_check(t, Esys_TR_SetAuth(t->esys, *handle, &k->auth), "auth of the attestation key");
}

int enroll_key_open(struct ca *ca, const struct enrolment *e, struct enroll_key *k)
{
	if (!ca->cert)
		return tpm_fail(ca->tpm, ERR_WRONG_STATE, "there is no CA");
	if (ak_auth(ca, &k->auth))
		return tpm_fail(ca->tpm, ERR_CRYPTO, "the attestation key's auth cannot be derived");
	return tpm_blob_decode(ca->tpm, e->pub, e->pub_len, e->priv, e->priv_len, &k->pub, &k->priv);
}

int enroll_second_session(struct tpm *t, ESYS_TR *session)
{
	int r = tpm_session(t, TPM2_SE_HMAC, session);

	return r ? r
		 : tpm_check(t, Esys_TRSess_SetAttributes(t->esys, *session, TPMA_SESSION_CONTINUESESSION, 0xff), "session attributes");
}

int enroll_take_attest(struct tpm *t, TPM2B_ATTEST *attest, TPMT_SIGNATURE *sig, uint8_t mem[static ATTEST_MAX], size_t *len,
		       uint8_t sig_mem[static ATTEST_SIG_MAX], size_t *sig_len)
{
	int r = 0;

	*len = *sig_len = 0;
	if (attest->size > ATTEST_MAX || sig->sigAlg != TPM2_ALG_ECDSA || Tss2_MU_TPMT_SIGNATURE_Marshal(sig, sig_mem, ATTEST_SIG_MAX, sig_len)) {
		r = tpm_fail(t, ERR_TPM, "the TPM made an attestation of another kind");
	} else {
		memcpy(mem, attest->attestationData, attest->size);
		*len = attest->size;
	}
	Esys_Free(attest);
	Esys_Free(sig);
	return r;
}

static int certify(struct tpm *t, struct enroll_job *job, ESYS_TR ca, ESYS_TR ak)
{
	const TPMT_SIG_SCHEME own = {.scheme = TPM2_ALG_NULL};
	ESYS_TR second = ESYS_TR_NONE;
	TPMT_SIGNATURE *sig = NULL;
	TPM2B_ATTEST *attest = NULL;
	int r = enroll_second_session(t, &second);

	if (!r)
		r = tpm_check(t, Esys_Certify(t->esys, ca, ak, t->session, second, ESYS_TR_NONE, &job->qualifying, &own, &attest, &sig),
			      "TPM2_Certify of the certificate key");
	tpm_flush(t, &second);
	job->e->attest = job->mem->attest;
	job->e->sig = job->mem->sig;
	return r ? r : enroll_take_attest(t, attest, sig, job->mem->attest, &job->e->attest_len, job->mem->sig, &job->e->sig_len);
}

static int certify_creation(struct tpm *t, struct enroll_job *job, ESYS_TR ca, ESYS_TR ak)
{
	const TPMT_SIG_SCHEME own = {.scheme = TPM2_ALG_NULL};
	TPM2B_CREATION_DATA data = {0};
	TPMT_TK_CREATION ticket;
	TPM2B_DIGEST hash = {.size = DIGEST_LEN};
	TPMT_SIGNATURE *sig = NULL;
	TPM2B_ATTEST *attest = NULL;
	struct enrolment *e = job->e;
	size_t at = 0;
	int r;

	if (Tss2_MU_TPM2B_CREATION_DATA_Unmarshal(job->ca->creation, job->ca->creation_len, &at, &data))
		return tpm_fail(t, ERR_AUTH, "what is stored of the certificate key's creation is damaged");
	e->creation = job->mem->creation;
	e->creation_len = at - 2; /* without its size */
	memcpy(job->mem->creation, job->ca->creation + 2, e->creation_len);
	if (Tss2_MU_TPMT_TK_CREATION_Unmarshal(job->ca->creation, job->ca->creation_len, &at, &ticket) || at != job->ca->creation_len ||
	    wrap_sha256(e->creation, e->creation_len, hash.buffer))
		return tpm_fail(t, ERR_AUTH, "what is stored of the certificate key's creation is damaged");
	r = tpm_check(t,
		      Esys_CertifyCreation(t->esys, ak, ca, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &job->qualifying, &hash, &own, &ticket,
					   &attest, &sig),
		      "TPM2_CertifyCreation of the certificate key");
	e->creation_attest = job->mem->creation_attest;
	e->creation_sig = job->mem->creation_sig;
	return r ? r
		 : enroll_take_attest(t, attest, sig, job->mem->creation_attest, &e->creation_attest_len, job->mem->creation_sig, &e->creation_sig_len);
}

static int new_op(struct tpm *t, void *arg)
{
	struct enroll_job *job = arg;
	ESYS_TR ca = ESYS_TR_NONE, ak = ESYS_TR_NONE;
	int r;

	memset(job->e, 0, sizeof(*job->e));
	r = ak_create(t, job);
	if (!r)
		r = enroll_key_load(t, &job->key, &ak);
	if (!r)
		r = ca_load(t, job->ca, &ca);
	if (!r)
		r = certify(t, job, ca, ak);
	if (!r)
		r = certify_creation(t, job, ca, ak);
	tpm_flush(t, &ca);
	tpm_flush(t, &ak);
	return r;
}

static int job_init(struct enroll_job *job, struct ca *ca)
{
	unsigned char *der = NULL;
	int len, r;

	if (!ca->cert)
		return tpm_fail(ca->tpm, ERR_WRONG_STATE, "there is no CA");
	job->ca = ca;
	job->qualifying.size = DIGEST_LEN;
	len = i2d_X509(ca->cert, &der);
	r = len <= 0 || wrap_sha256(der, (size_t)len, job->qualifying.buffer) || ak_auth(ca, &job->key.auth) ? ERR_CRYPTO : 0;
	OPENSSL_free(der);
	return r ? tpm_fail(ca->tpm, r, "the attestation key's auth cannot be derived") : 0;
}

int enroll_new(struct ca *ca, struct enrolment_blob *mem, struct enrolment *e)
{
	struct enroll_job job = {.mem = mem, .e = e};
	int r = job_init(&job, ca);

	if (!r)
		r = tpm_run(ca->tpm, new_op, &job);
	if (!r)
		r = tpm_blob_encode(ca->tpm, &job.key.pub, &job.key.priv, mem->pub, &e->pub_len, mem->priv, &e->priv_len);
	e->pub = mem->pub;
	e->priv = mem->priv;
	secmem_wipe(&job.key.auth, sizeof(job.key.auth));
	return r;
}

/* What it has certified must be the Name of the key that is open, and the certificate that goes with it. */
static int names_ca(const struct enroll_job *job, const struct enrolment *e)
{
	uint8_t area[sizeof(TPMT_PUBLIC)], name[2 + DIGEST_LEN] = {0, TPM2_ALG_SHA256};
	TPMS_ATTEST attest;
	const TPM2B_NAME *n = &attest.attested.certify.name;
	size_t at = 0, len = 0;

	if (Tss2_MU_TPMS_ATTEST_Unmarshal(e->attest, e->attest_len, &at, &attest) || at != e->attest_len || attest.type != TPM2_ST_ATTEST_CERTIFY ||
	    Tss2_MU_TPMT_PUBLIC_Marshal(&job->ca->pub.publicArea, area, sizeof(area), &len) || wrap_sha256(area, len, name + 2))
		return ERR_AUTH;
	return n->size == sizeof(name) && !memcmp(n->name, name, sizeof(name)) && attest.extraData.size == DIGEST_LEN &&
			       !memcmp(attest.extraData.buffer, job->qualifying.buffer, DIGEST_LEN)
		       ? 0
		       : ERR_AUTH;
}

static int check_op(struct tpm *t, void *arg)
{
	const struct enroll_job *job = arg;
	ESYS_TR ak = ESYS_TR_NONE;
	int r = enroll_key_load(t, &job->key, &ak);

	tpm_flush(t, &ak);
	return r;
}

int enroll_check(struct ca *ca, const struct enrolment *e)
{
	struct enroll_job job = {0};
	int r = job_init(&job, ca);

	if (!r)
		r = tpm_blob_decode(ca->tpm, e->pub, e->pub_len, e->priv, e->priv_len, &job.key.pub, &job.key.priv);
	if (!r && names_ca(&job, e))
		r = tpm_fail(ca->tpm, ERR_AUTH, "it is of another certificate key");
	if (!r)
		r = tpm_run(ca->tpm, check_op, &job);
	secmem_wipe(&job.key.auth, sizeof(job.key.auth));
	return r;
}

/* ---- credential activation (TPM 2.0 Part 1, 24) ---- */

#define TOOL_MAGIC   0xbadcc0deu /* tpm2_makecredential's file: magic, version 1, then the two structures */
#define TOOL_VERSION 1u

struct activate_job {
	struct enroll_job ak;
	enum ek_kind kind;
	TPM2B_ID_OBJECT blob;
	TPM2B_ENCRYPTED_SECRET secret;
	uint8_t *out;
	size_t *out_len;
};

static int credential_decode(const uint8_t *blob, size_t len, struct activate_job *job)
{
	uint32_t magic, version;
	size_t at = 8;
	struct buf b;

	buf_wrap(&b, blob, len);
	if (buf_get_u32be(&b, &magic) || buf_get_u32be(&b, &version) || magic != TOOL_MAGIC || version != TOOL_VERSION ||
	    Tss2_MU_TPM2B_ID_OBJECT_Unmarshal(blob, len, &at, &job->blob) ||
	    Tss2_MU_TPM2B_ENCRYPTED_SECRET_Unmarshal(blob, len, &at, &job->secret) || at != len)
		return ERR_INVAL;
	/* An encrypted seed is as long as the modulus; for ECC it is a point. */
	job->kind = job->secret.size == 256 ? EK_RSA2048 : EK_ECC_P256;
	return 0;
}

/* A policy session that has satisfied the EK's policy: PolicySecret(TPM_RH_ENDORSEMENT). */
static int ek_session(struct tpm *t, ESYS_TR *session)
{
	int r = tpm_session(t, TPM2_SE_POLICY, session);

	return r ? r
		 : tpm_check(t,
			     Esys_PolicySecret(t->esys, ESYS_TR_RH_ENDORSEMENT, *session, t->session, ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL,
					       NULL, 0, NULL, NULL),
			     "TPM2_PolicySecret of the endorsement hierarchy");
}

static int activate(struct tpm *t, struct activate_job *job, ESYS_TR ak, ESYS_TR ek, ESYS_TR session)
{
	TPM2B_DIGEST *out = NULL;
	TSS2_RC rc;
	int r;

	rc = Esys_ActivateCredential(t->esys, ak, ek, t->session, session, ESYS_TR_NONE, &job->blob, &job->secret, &out);
	if (!(rc & TSS2_RC_LAYER_MASK) && rc & TPM2_RC_FMT1 && rc & TPM2_RC_P) /* about a parameter: it is of another EK or AK */
		return tpm_fail(t, ERR_DENIED, "the credential is not for this endorsement key and this attestation key");
	r = tpm_check(t, rc, "TPM2_ActivateCredential");
	if (r)
		return r;
	*job->out_len = out->size <= SECRET_MAX ? out->size : 0;
	memcpy(job->out, out->buffer, *job->out_len);
	secmem_wipe(out, sizeof(*out));
	Esys_Free(out);
	return 0;
}

static int activate_op(struct tpm *t, void *arg)
{
	struct activate_job *job = arg;
	ESYS_TR ak = ESYS_TR_NONE, ek = ESYS_TR_NONE, session = ESYS_TR_NONE;
	TPM2B_PUBLIC *pub = NULL;
	int r;

	r = enroll_ek_load(t, job->kind, &ek, &pub);
	Esys_Free(pub);
	if (!r)
		r = enroll_key_load(t, &job->ak.key, &ak);
	if (!r)
		r = ek_session(t, &session);
	if (!r)
		r = activate(t, job, ak, ek, session);
	tpm_flush(t, &session);
	tpm_flush(t, &ak);
	tpm_flush(t, &ek);
	return r;
}

int enroll_activate(struct ca *ca, const struct enrolment *e, const uint8_t *blob, size_t len, uint8_t secret[static SECRET_MAX],
		    size_t *secret_len)
{
	struct activate_job job = {.out = secret, .out_len = secret_len};
	int r = job_init(&job.ak, ca);

	*secret_len = 0;
	if (!r)
		r = tpm_blob_decode(ca->tpm, e->pub, e->pub_len, e->priv, e->priv_len, &job.ak.key.pub, &job.ak.key.priv);
	if (!r && credential_decode(blob, len, &job))
		r = tpm_fail(ca->tpm, ERR_INVAL, "this is no credential as tpm2_makecredential writes it");
	if (!r)
		r = tpm_run(ca->tpm, activate_op, &job);
	secmem_wipe(&job.ak.key.auth, sizeof(job.ak.key.auth));
	return r;
}

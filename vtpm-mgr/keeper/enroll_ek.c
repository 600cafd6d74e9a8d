/* SPDX-License-Identifier: BSD-2-Clause */
/* The endorsement keys of the physical TPM, and what its maker has left of certificates (TCG EK Credential Profile 2.0, 2.2.1.4). */
#include "vtpm-mgr/keeper/enroll.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "vtpm-mgr/keeper/ek.h"

#define NV_PIECE 512u /* every TPM reads that much at once */

static const uint32_t cert_index[EK_KINDS] = {[EK_RSA2048] = 0x01c00002, [EK_ECC_P256] = 0x01c0000a};

struct ek_job {
	enum ek_kind kind;
	uint8_t *pub, *cert;
	size_t *pub_len, *cert_len;
};

int enroll_ek_load(struct tpm *t, enum ek_kind kind, ESYS_TR *handle, TPM2B_PUBLIC **pub)
{
	const TPM2B_SENSITIVE_CREATE sensitive = {0};
	const TPML_PCR_SELECTION no_pcrs = {0};
	const TPM2B_DATA outside = {0};
	TPM2B_PUBLIC in = {0};
	TSS2_RC rc;

	ek_template(kind, &in.publicArea);
	if (kind == EK_RSA2048)
		in.publicArea.unique.rsa.size = 256;
	else
		in.publicArea.unique.ecc.x.size = in.publicArea.unique.ecc.y.size = 32;
	rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in, &outside, &no_pcrs,
				handle, pub, NULL, NULL, NULL);
	if (rc)
		*handle = ESYS_TR_NONE;
	if (!(rc & TSS2_RC_LAYER_MASK) && (tpm_rc_base(rc) == TPM2_RC_BAD_AUTH || tpm_rc_base(rc) == TPM2_RC_AUTH_FAIL))
		return tpm_fail(t, ERR_WRONG_STATE, "the endorsement hierarchy of the TPM has a password");
	return tpm_check(t, rc, "TPM2_CreatePrimary of the endorsement key");
}

/* What cannot be read is not there: the keeper has no other right to it. */
static bool is_absent(TSS2_RC rc)
{
	return rc && !(rc & TSS2_RC_LAYER_MASK);
}

static int cert_size(struct tpm *t, ESYS_TR nv, size_t *len)
{
	TPM2B_NV_PUBLIC *pub = NULL;
	int r = tpm_session_audits(t, true);

	if (!r)
		r = tpm_check(t, Esys_NV_ReadPublic(t->esys, nv, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL), "TPM2_NV_ReadPublic of a certificate");
	if (!r)
		r = tpm_session_audits(t, false);
	*len = !r && pub->nvPublic.dataSize <= CERT_MAX ? pub->nvPublic.dataSize : 0;
	Esys_Free(pub);
	return r;
}

static int cert_read(struct tpm *t, ESYS_TR nv, uint8_t *cert, size_t *len)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	size_t at = 0, want, size = *len;
	TSS2_RC rc;

	*len = 0;
	for (; at < size; at += want) {
		want = size - at < NV_PIECE ? size - at : NV_PIECE;
		rc = Esys_NV_Read(t->esys, nv, nv, t->session, ESYS_TR_NONE, ESYS_TR_NONE, (UINT16)want, (UINT16)at, &data);
		if (is_absent(rc))
			return tpm_session_audits(t, false);
		if (rc)
			return tpm_check(t, rc, "TPM2_NV_Read of a certificate");
		want = data->size < want ? data->size : want;
		memcpy(cert + at, data->buffer, want);
		Esys_Free(data);
		if (!want)
			return 0;
	}
	*len = at;
	return 0;
}

static int read_cert(struct tpm *t, struct ek_job *job)
{
	ESYS_TR nv = ESYS_TR_NONE;
	TSS2_RC rc;
	int r = tpm_session_audits(t, true);

	*job->cert_len = 0;
	if (r)
		return r;
	rc = Esys_TR_FromTPMPublic(t->esys, cert_index[job->kind], t->session, ESYS_TR_NONE, ESYS_TR_NONE, &nv);
	if (is_absent(rc))
		return tpm_session_audits(t, false);
	r = tpm_check(t, rc, "TPM2_NV_ReadPublic of a certificate");
	if (!r)
		r = cert_size(t, nv, job->cert_len);
	return r ? r : cert_read(t, nv, job->cert, job->cert_len);
}

static int ek_op(struct tpm *t, void *arg)
{
	struct ek_job *job = arg;
	ESYS_TR handle = ESYS_TR_NONE;
	TPM2B_PUBLIC *pub = NULL;
	int r = enroll_ek_load(t, job->kind, &handle, &pub);

	*job->pub_len = 0;
	if (!r && Tss2_MU_TPM2B_PUBLIC_Marshal(pub, job->pub, PUBLIC_MAX, job->pub_len))
		r = tpm_fail(t, ERR_TPM, "the endorsement key is larger than %u bytes", PUBLIC_MAX);
	Esys_Free(pub);
	tpm_flush(t, &handle);
	return r ? r : read_cert(t, job);
}

int enroll_ek(struct tpm *t, enum ek_kind kind, uint8_t pub[static PUBLIC_MAX], size_t *pub_len, uint8_t cert[static CERT_MAX],
	      size_t *cert_len)
{
	struct ek_job job = {.kind = kind, .pub = pub, .pub_len = pub_len, .cert = cert, .cert_len = cert_len};

	return tpm_run(t, ek_op, &job);
}

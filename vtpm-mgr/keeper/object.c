/* SPDX-License-Identifier: BSD-2-Clause */
/* What operations ask of the TPM: random bytes, PCRs, objects under the SRK. */
#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/tpm.h"

#define PCR_READ_TRIES 32u

int tpm_random(struct tpm *t, uint8_t *p, size_t n)
{
	TPM2B_DIGEST *random;
	TSS2_RC rc;

	while (n) {
		rc = Esys_GetRandom(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, (UINT16)(n > 32 ? 32 : n),
				    &random);
		if (rc)
			return tpm_check(t, rc, "TPM2_GetRandom");
		size_t got = random->size < n ? random->size : n;

		memcpy(p, random->buffer, got);
		secmem_wipe(random, sizeof(*random));
		Esys_Free(random);
		if (!got)
			return tpm_fail(t, ERR_TPM, "TPM2_GetRandom: the TPM has no random bytes");
		p += got;
		n -= got;
	}
	return 0;
}

TPML_PCR_SELECTION tpm_pcr_selection(uint32_t mask)
{
	TPML_PCR_SELECTION s = {.count = 1};

	s.pcrSelections[0].hash = TPM2_ALG_SHA256;
	s.pcrSelections[0].sizeofSelect = 3;
	for (unsigned i = 0; i < 3; i++)
		s.pcrSelections[0].pcrSelect[i] = (BYTE)(mask >> (8 * i));
	return s;
}

/* Copies what one response holds; *got is the mask of it. */
static int pcr_copy(struct tpm *t, const TPML_PCR_SELECTION *sel, const TPML_DIGEST *values, uint32_t want,
		    uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint32_t *got)
{
	uint32_t at = 0, mask = 0;

	for (unsigned i = 0; sel->count && i < 3 && i < sel->pcrSelections[0].sizeofSelect; i++)
		mask |= (uint32_t)sel->pcrSelections[0].pcrSelect[i] << (8 * i);
	if (!mask || mask & ~want || sel->pcrSelections[0].hash != TPM2_ALG_SHA256)
		return tpm_fail(t, ERR_TPM, "TPM2_PCR_Read: the TPM has no SHA-256 bank with the PCRs asked for");
	for (unsigned i = 0; i < PCR_COUNT; i++) {
		if (!(mask >> i & 1))
			continue;
		if (at >= values->count || values->digests[at].size != DIGEST_LEN)
			return tpm_fail(t, ERR_TPM, "TPM2_PCR_Read: the response has not the values it says it has");
		memcpy(pcr[i], values->digests[at++].buffer, DIGEST_LEN);
	}
	*got = mask;
	return 0;
}

/* At most eight PCRs fit into one response; *counter tells whether another moment is another state. */
static int pcr_read_some(struct tpm *t, uint32_t want, uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint32_t *got,
			 UINT32 *counter)
{
	TPML_PCR_SELECTION in = tpm_pcr_selection(want), *out = NULL;
	TPML_DIGEST *values = NULL;
	TSS2_RC rc;
	int r;

	rc = Esys_PCR_Read(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &in, counter, &out, &values);
	r = tpm_check(t, rc, "TPM2_PCR_Read");
	if (!r)
		r = pcr_copy(t, out, values, want, pcr, got);
	Esys_Free(out);
	Esys_Free(values);
	return r;
}

static int pcr_read_all(struct tpm *t, uint32_t mask, uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	UINT32 first = 0, counter = 0;
	uint32_t got = 0, left = mask;
	int r;

	for (unsigned tries = 0; tries < PCR_READ_TRIES; tries++) {
		for (left = mask; left; left &= ~got) {
			r = pcr_read_some(t, left, pcr, &got, &counter);
			if (r)
				return r;
			if (left == mask)
				first = counter;
			if (counter != first)
				break;
		}
		if (!left)
			return 0;
	}
	return tpm_fail(t, ERR_TPM, "TPM2_PCR_Read: the PCRs change faster than they can be read");
}

/*
 * The values are no secret and neither parameter can be encrypted; the session goes along as an
 * audit session, for the HMAC over the response (TPM 2.0 Part 1, 19.6).
 */
int tpm_pcr_read(struct tpm *t, uint32_t mask, uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	int r;

	memset(pcr, 0, PCR_COUNT * DIGEST_LEN);
	r = tpm_session_audits(t, true);
	if (!r)
		r = pcr_read_all(t, mask, pcr);
	if (!r)
		r = tpm_session_audits(t, false);
	return r;
}

int tpm_reset_count(struct tpm *t, uint32_t *count)
{
	TPMS_TIME_INFO *now = NULL;
	int r = tpm_session_audits(t, true);

	if (!r)
		r = tpm_check(t, Esys_ReadClock(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &now), "TPM2_ReadClock");
	if (!r)
		r = tpm_session_audits(t, false);
	if (!r)
		*count = now->clockInfo.resetCount;
	Esys_Free(now);
	return r;
}

int tpm_load(struct tpm *t, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv, const char *what, ESYS_TR *handle)
{
	TSS2_RC rc;

	rc = Esys_Load(t->esys, t->srk, t->session, ESYS_TR_NONE, ESYS_TR_NONE, priv, pub, handle);
	if (!rc)
		return 0;
	*handle = ESYS_TR_NONE;
	/* INTEGRITY, or any complaint about a parameter: the command itself was intact, or its HMAC had failed. */
	if (!(rc & TSS2_RC_LAYER_MASK) && rc & TPM2_RC_FMT1 && (rc & TPM2_RC_P || tpm_rc_base(rc) == TPM2_RC_INTEGRITY))
		return tpm_fail(t, ERR_AUTH, "%s is damaged or was made by another TPM: TPM2_Load: %s", what,
				Tss2_RC_Decode(rc));
	return tpm_check(t, rc, "TPM2_Load");
}

int tpm_blob_decode(struct tpm *t, const uint8_t *pub, size_t pub_len, const uint8_t *priv, size_t priv_len,
		    TPM2B_PUBLIC *out_pub, TPM2B_PRIVATE *out_priv)
{
	size_t a = 0, b = 0;

	memset(out_pub, 0, sizeof(*out_pub));
	memset(out_priv, 0, sizeof(*out_priv));
	if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(pub, pub_len, &a, out_pub) || a != pub_len ||
	    Tss2_MU_TPM2B_PRIVATE_Unmarshal(priv, priv_len, &b, out_priv) || b != priv_len)
		return tpm_fail(t, ERR_AUTH,
				"a stored TPM object is damaged: it is not a TPM2B_PUBLIC and TPM2B_PRIVATE");
	return 0;
}

int tpm_blob_encode(struct tpm *t, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
		    uint8_t out_pub[static SEALED_BLOB_MAX], size_t *pub_len, uint8_t out_priv[static SEALED_BLOB_MAX],
		    size_t *priv_len)
{
	*pub_len = *priv_len = 0;
	if (Tss2_MU_TPM2B_PUBLIC_Marshal(pub, out_pub, SEALED_BLOB_MAX, pub_len) ||
	    Tss2_MU_TPM2B_PRIVATE_Marshal(priv, out_priv, SEALED_BLOB_MAX, priv_len))
		return tpm_fail(t, ERR_RANGE, "an object of this TPM is larger than %u bytes", SEALED_BLOB_MAX);
	return 0;
}

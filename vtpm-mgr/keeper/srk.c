/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/srk.h"

#include <string.h>

#include <tss2/tss2_mu.h>

/* TCG EK Credential Profile 2.0, templates H-1 and H-2 as storage keys: no policy, usable with an empty auth. */
#define SRK_ATTRIBUTES                                                                                                 \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | \
	 TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static void srk_template_ecc(TPM2B_PUBLIC *pub)
{
	TPMS_ECC_PARMS *ecc = &pub->publicArea.parameters.eccDetail;

	memset(pub, 0, sizeof(*pub));
	pub->publicArea.type = TPM2_ALG_ECC;
	pub->publicArea.nameAlg = TPM2_ALG_SHA256;
	pub->publicArea.objectAttributes = SRK_ATTRIBUTES | TPMA_OBJECT_NODA;
	ecc->symmetric.algorithm = TPM2_ALG_AES;
	ecc->symmetric.keyBits.aes = 128;
	ecc->symmetric.mode.aes = TPM2_ALG_CFB;
	ecc->scheme.scheme = TPM2_ALG_NULL;
	ecc->curveID = TPM2_ECC_NIST_P256;
	ecc->kdf.scheme = TPM2_ALG_NULL;
	pub->publicArea.unique.ecc.x.size = 32;
	pub->publicArea.unique.ecc.y.size = 32;
}

static void srk_template_rsa(TPM2B_PUBLIC *pub)
{
	TPMS_RSA_PARMS *rsa = &pub->publicArea.parameters.rsaDetail;

	memset(pub, 0, sizeof(*pub));
	pub->publicArea.type = TPM2_ALG_RSA;
	pub->publicArea.nameAlg = TPM2_ALG_SHA256;
	pub->publicArea.objectAttributes = SRK_ATTRIBUTES | TPMA_OBJECT_NODA;
	rsa->symmetric.algorithm = TPM2_ALG_AES;
	rsa->symmetric.keyBits.aes = 128;
	rsa->symmetric.mode.aes = TPM2_ALG_CFB;
	rsa->scheme.scheme = TPM2_ALG_NULL;
	rsa->keyBits = 2048;
}

/* Compares as marshalled: every field that counts and no padding. */
static bool public_equal(const TPM2B_PUBLIC *a, const TPM2B_PUBLIC *b)
{
	uint8_t x[sizeof(TPM2B_PUBLIC)], y[sizeof(TPM2B_PUBLIC)];
	size_t nx = 0, ny = 0;

	return !Tss2_MU_TPMT_PUBLIC_Marshal(&a->publicArea, x, sizeof(x), &nx) &&
	       !Tss2_MU_TPMT_PUBLIC_Marshal(&b->publicArea, y, sizeof(y), &ny) && nx == ny && !memcmp(x, y, nx);
}

bool srk_is_storage_key(const TPM2B_PUBLIC *pub)
{
	TPM2B_PUBLIC want;

	if (pub->publicArea.type == TPM2_ALG_ECC)
		srk_template_ecc(&want);
	else
		srk_template_rsa(&want);
	want.publicArea.unique = pub->publicArea.unique;
	/* systemd makes it without noDA, which says nothing for a key with an empty auth. */
	want.publicArea.objectAttributes &= ~TPMA_OBJECT_NODA;
	want.publicArea.objectAttributes |= pub->publicArea.objectAttributes & TPMA_OBJECT_NODA;
	return public_equal(pub, &want);
}

/* ESYS computes the Name from the public area, and does not take the TPM's word for it. */
static int srk_name_get(struct tpm *t, uint8_t name[static TPM_NAME_MAX], size_t *name_len)
{
	TPM2B_NAME *n = NULL;
	int r;

	r = tpm_check(t, Esys_TR_GetName(t->esys, t->srk, &n), "Name of the SRK");
	if (!r && (!n->size || n->size > TPM_NAME_MAX))
		r = tpm_fail(t, ERR_TPM, "the Name of the SRK has %u bytes", n->size);
	if (!r) {
		memcpy(name, n->name, n->size);
		*name_len = n->size;
	}
	Esys_Free(n);
	return r;
}

static TSS2_RC srk_lookup(struct tpm *t, ESYS_TR session)
{
	TSS2_RC rc;

	rc = Esys_TR_FromTPMPublic(t->esys, SRK_HANDLE, session, ESYS_TR_NONE, ESYS_TR_NONE, &t->srk);
	if (rc)
		t->srk = ESYS_TR_NONE;
	return rc;
}

int srk_find(struct tpm *t)
{
	uint8_t name[TPM_NAME_MAX];
	size_t name_len;
	TSS2_RC rc;
	int r;

	rc = srk_lookup(t, ESYS_TR_NONE);
	if (tpm_rc_base(rc) == TPM2_RC_HANDLE)
		return tpm_fail(t, ERR_TPM_IDENTITY,
				"the TPM at \"%s\" has no storage root key at 0x%08x: it was cleared, or it is another "
				"TPM than the one this store was made with",
				t->tcti_name, SRK_HANDLE);
	r = tpm_check(t, rc, "TPM2_ReadPublic of the SRK");
	if (!r)
		r = srk_name_get(t, name, &name_len);
	if (r)
		return r;
	if (name_len == t->srk_name_len && !memcmp(name, t->srk_name, name_len))
		return 0;
	return tpm_fail(t, ERR_TPM_IDENTITY,
			"the storage root key at 0x%08x of the TPM at \"%s\" is not the one this store was made with: "
			"the TPM was cleared, or it is another one",
			SRK_HANDLE, t->tcti_name);
}

static int nothing_op(struct tpm *t, void *arg)
{
	(void)t;
	(void)arg;
	return 0;
}

int srk_open(struct tpm *t, const uint8_t *name, size_t name_len)
{
	int r;

	if (!name_len || name_len > sizeof(t->srk_name))
		return tpm_fail(t, ERR_INVAL, "the pinned Name of the storage root key has %zu bytes", name_len);
	memcpy(t->srk_name, name, name_len);
	t->srk_name_len = name_len;
	r = tpm_run(t, nothing_op, NULL); /* finds the SRK and salts a session to it */
	if (r)
		t->srk_name_len = 0;
	return r;
}

/*
 * Nothing to salt a session to yet, and no secret in it: the owner's empty auth and a template.
 * What came of it is read back as from any other TPM.
 */
static int srk_make(struct tpm *t)
{
	const TPM2B_SENSITIVE_CREATE sensitive = {0};
	const TPML_PCR_SELECTION no_pcrs = {0};
	const TPM2B_DATA outside = {0};
	ESYS_TR key = ESYS_TR_NONE, persistent = ESYS_TR_NONE;
	TPM2B_PUBLIC pub;
	TSS2_RC rc;
	int r;

	srk_template_ecc(&pub);
	rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
				&pub, &outside, &no_pcrs, &key, NULL, NULL, NULL, NULL);
	if (tpm_rc_base(rc) == TPM2_RC_BAD_AUTH || tpm_rc_base(rc) == TPM2_RC_AUTH_FAIL)
		return tpm_fail(
			t, ERR_TPM,
			"the TPM has no storage root key at 0x%08x and its owner hierarchy has a password: make "
			"the key with tpm2_createprimary and tpm2_evictcontrol, then try again",
			SRK_HANDLE);
	if (rc)
		return tpm_check(t, rc, "TPM2_CreatePrimary of the SRK");
	rc = Esys_EvictControl(t->esys, ESYS_TR_RH_OWNER, key, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, SRK_HANDLE,
			       &persistent);
	r = tpm_check(t, rc, "TPM2_EvictControl of the SRK");
	tpm_flush(t, &key);
	return r;
}

static int srk_check_template(struct tpm *t, ESYS_TR session)
{
	TPM2B_PUBLIC *pub = NULL;
	TSS2_RC rc;
	int r;

	rc = Esys_ReadPublic(t->esys, t->srk, session, ESYS_TR_NONE, ESYS_TR_NONE, &pub, NULL, NULL);
	r = tpm_check(t, rc, "TPM2_ReadPublic of the SRK");
	if (!r && !srk_is_storage_key(pub))
		r = tpm_fail(
			t, ERR_TPM_IDENTITY,
			"what the TPM at \"%s\" has at 0x%08x is not a storage root key by the TCG's template (ECC "
			"P-256 or RSA 2048, restricted, decrypting, fixed to the TPM); somebody else uses that "
			"handle",
			t->tcti_name, SRK_HANDLE);
	Esys_Free(pub);
	return r;
}

static int adopt_op(struct tpm *t, void *arg)
{
	TSS2_RC rc;
	int r;

	(void)arg;
	rc = srk_lookup(t, ESYS_TR_NONE);
	if (tpm_rc_base(rc) == TPM2_RC_HANDLE) {
		r = srk_make(t);
		if (r)
			return r;
		rc = srk_lookup(t, ESYS_TR_NONE);
	}
	r = tpm_check(t, rc, "TPM2_ReadPublic of the SRK");
	if (!r)
		r = srk_check_template(t, ESYS_TR_NONE);
	if (!r)
		r = srk_name_get(t, t->srk_name, &t->srk_name_len);
	return r;
}

static int confirm_in_session(struct tpm *t)
{
	uint8_t name[TPM_NAME_MAX];
	size_t name_len = 0;
	int r;

	/* ESYS would not read again what it knows already. */
	r = tpm_check(t, Esys_TR_Close(t->esys, &t->srk), "the SRK's handle");
	if (!r)
		r = tpm_check(t, srk_lookup(t, t->session), "TPM2_ReadPublic of the SRK");
	if (!r)
		r = srk_name_get(t, name, &name_len);
	if (!r && (name_len != t->srk_name_len || memcmp(name, t->srk_name, name_len) != 0))
		r = tpm_fail(t, ERR_TPM,
			     "TPM2_ReadPublic of the SRK: a response of the TPM does not verify: somebody on the way changes it");
	return r ? r : srk_check_template(t, t->session);
}

/*
 * What was read before is nobody's word. A session salted to that key is had only with who holds it, whose HMAC is over
 * what is read now: a bit changed on the way does not become the Name that is pinned.
 */
static int confirm_op(struct tpm *t, void *arg)
{
	int r = tpm_session_audits(t, true);

	(void)arg;
	if (!r)
		r = confirm_in_session(t);
	return r ? r : tpm_session_audits(t, false);
}

int srk_adopt(struct tpm *t)
{
	int r = tpm_run(t, adopt_op, NULL);

	if (!r)
		r = tpm_run(t, confirm_op, NULL);
	if (r)
		t->srk_name_len = 0;
	return r;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/identity.h"

#include <string.h>

#include "lib/log.h"

/* TCG EK Credential Profile 2.0, template L-2: PolicySecret(TPM_RH_ENDORSEMENT). */
static const uint8_t ek_policy[DIGEST_LEN] = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
					      0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
					      0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
#define EK_ATTRIBUTES                                                                                                  \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY | \
	 TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static void ek_template(TPM2B_PUBLIC *pub)
{
	TPMS_ECC_PARMS *ecc = &pub->publicArea.parameters.eccDetail;

	memset(pub, 0, sizeof(*pub));
	pub->publicArea.type = TPM2_ALG_ECC;
	pub->publicArea.nameAlg = TPM2_ALG_SHA256;
	pub->publicArea.objectAttributes = EK_ATTRIBUTES;
	pub->publicArea.authPolicy.size = DIGEST_LEN;
	memcpy(pub->publicArea.authPolicy.buffer, ek_policy, DIGEST_LEN);
	ecc->symmetric.algorithm = TPM2_ALG_AES;
	ecc->symmetric.keyBits.aes = 128;
	ecc->symmetric.mode.aes = TPM2_ALG_CFB;
	ecc->scheme.scheme = TPM2_ALG_NULL;
	ecc->curveID = TPM2_ECC_NIST_P256;
	ecc->kdf.scheme = TPM2_ALG_NULL;
	pub->publicArea.unique.ecc.x.size = 32;
	pub->publicArea.unique.ecc.y.size = 32;
}

struct ek_job {
	uint8_t *name;
	size_t *len;
};

static int ek_op(struct tpm *t, void *arg)
{
	const TPM2B_SENSITIVE_CREATE sensitive = {0};
	const TPML_PCR_SELECTION no_pcrs = {0};
	const TPM2B_DATA outside = {0};
	struct ek_job *job = arg;
	ESYS_TR key = ESYS_TR_NONE;
	TPM2B_NAME *name = NULL;
	TPM2B_PUBLIC pub;
	TSS2_RC rc;
	int r;

	ek_template(&pub);
	*job->len = 0;
	rc = Esys_CreatePrimary(t->esys, ESYS_TR_RH_ENDORSEMENT, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &pub, &outside,
				&no_pcrs, &key, NULL, NULL, NULL, NULL);
	if (!(rc & TSS2_RC_LAYER_MASK) && (tpm_rc_base(rc) == TPM2_RC_BAD_AUTH || tpm_rc_base(rc) == TPM2_RC_AUTH_FAIL)) {
		log_warn("the endorsement hierarchy of the TPM has a password: its endorsement key is not looked at");
		return tpm_session_audits(t, false);
	}
	r = tpm_check(t, rc, "TPM2_CreatePrimary of the endorsement key");
	if (!r)
		r = tpm_check(t, Esys_TR_GetName(t->esys, key, &name), "Name of the endorsement key");
	if (!r && name->size <= TPM_NAME_MAX) {
		memcpy(job->name, name->name, name->size);
		*job->len = name->size;
	}
	Esys_Free(name);
	if (rc == 0)
		tpm_flush(t, &key);
	return r;
}

int identity_ek(struct tpm *t, uint8_t name[static TPM_NAME_MAX], size_t *len)
{
	struct ek_job job = {.name = name, .len = len};

	return tpm_run(t, ek_op, &job);
}

static int pin_op(struct tpm *t, void *arg)
{
	return tpm_reset_count(t, arg);
}

static int was_reset(struct tpm *t, uint32_t was, uint32_t is)
{
	return tpm_fail(t, ERR_TPM_IDENTITY,
			"the TPM was reset while the host ran on (resetCount was %u and is %u): what it has in its PCRs is not what was "
			"measured at the boot", was, is);
}

int identity_pin(struct tpm *t, bool accept, const uint32_t *known, uint32_t *count)
{
	int r;

	t->pinned = false;
	r = tpm_run(t, pin_op, count);
	if (!r && known && *known != *count)
		r = was_reset(t, *known, *count);
	t->pinned = !r && !accept;
	t->reset_count = *count;
	return r;
}

int identity_check(struct tpm *t)
{
	uint32_t count = 0;
	int r = t->pinned ? tpm_reset_count(t, &count) : 0;

	if (r || !t->pinned || count == t->reset_count)
		return r;
	return was_reset(t, t->reset_count, count);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/identity.h"

#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper/ek.h"

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
	TPM2B_PUBLIC pub = {0};
	TSS2_RC rc;
	int r;

	ek_template(EK_ECC_P256, &pub.publicArea);
	pub.publicArea.unique.ecc.x.size = pub.publicArea.unique.ecc.y.size = 32;
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

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/counter.h"

#include <string.h>

#define COUNTER_SIZE 8u

/* Its handle, and whether it was ever incremented. *tr is ESYS_TR_NONE if there is nothing. */
static int look_up(struct tpm *t, uint32_t handle, ESYS_TR *tr, bool *written)
{
	uint8_t empty[POLICY_NAME_LEN], full[POLICY_NAME_LEN];
	TPM2B_NAME *name = NULL;
	TSS2_RC rc;
	int r = tpm_session_audits(t, true);

	*written = false;
	*tr = ESYS_TR_NONE;
	if (r)
		return r;
	rc = Esys_TR_FromTPMPublic(t->esys, handle, t->session, ESYS_TR_NONE, ESYS_TR_NONE, tr);
	r = rc ? 0 : tpm_session_audits(t, false);
	if (!r && !(rc & TSS2_RC_LAYER_MASK) && tpm_rc_base(rc) == TPM2_RC_HANDLE) {
		*tr = ESYS_TR_NONE;
		return tpm_session_audits(t, false);
	}
	if (!r)
		r = tpm_check(t, rc, "TPM2_NV_ReadPublic of the version counter");
	if (!r)
		r = tpm_check(t, Esys_TR_GetName(t->esys, *tr, &name), "Name of the version counter");
	if (!r)
		r = policy_counter_name(handle, false, empty);
	if (!r)
		r = policy_counter_name(handle, true, full);
	if (!r) {
		*written = name->size == POLICY_NAME_LEN && !memcmp(name->name, full, POLICY_NAME_LEN);
		if (!*written && (name->size != POLICY_NAME_LEN || memcmp(name->name, empty, POLICY_NAME_LEN) != 0))
			r = tpm_fail(t, ERR_EXISTS, "what the TPM has at 0x%08x is not our counter of versions; choose another "
						    "handle with --counter", handle);
	}
	Esys_Free(name);
	return r;
}

int counter_find(struct tpm *t, uint32_t handle, ESYS_TR *tr)
{
	bool written;
	int r = look_up(t, handle, tr, &written);

	if (!r && !written)
		r = tpm_fail(t, ERR_NOTFOUND, "the TPM has no counter of versions at 0x%08x: somebody removed it", handle);
	return r;
}

static int read_value(struct tpm *t, ESYS_TR tr, uint32_t *value)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	uint64_t wide;
	struct buf b;
	int r = tpm_check(t, Esys_NV_Read(t->esys, tr, tr, t->session, ESYS_TR_NONE, ESYS_TR_NONE, COUNTER_SIZE, 0, &data),
			  "TPM2_NV_Read of the version counter");

	if (r)
		return r;
	buf_wrap(&b, data->buffer, data->size);
	if (buf_get_u64be(&b, &wide) || buf_left(&b) || wide > UINT32_MAX)
		r = tpm_fail(t, ERR_TPM, "the version counter holds nothing that a set could reach");
	else
		*value = (uint32_t)wide;
	Esys_Free(data);
	return r;
}

int counter_read(struct tpm *t, uint32_t handle, uint32_t *value)
{
	ESYS_TR tr;
	bool written;
	int r = look_up(t, handle, &tr, &written);

	*value = 0;
	return r || !written ? r : read_value(t, tr, value);
}

static int increment(struct tpm *t, ESYS_TR tr)
{
	return tpm_check(t, Esys_NV_Increment(t->esys, ESYS_TR_RH_OWNER, tr, t->session, ESYS_TR_NONE, ESYS_TR_NONE),
			 "TPM2_NV_Increment of the version counter");
}

static int define(struct tpm *t, uint32_t handle, ESYS_TR *tr)
{
	const TPM2B_NV_PUBLIC pub = {.nvPublic = {.nvIndex = handle,
						  .nameAlg = TPM2_ALG_SHA256,
						  .attributes = POLICY_COUNTER_ATTRIBUTES,
						  .dataSize = COUNTER_SIZE}};
	const TPM2B_AUTH none = {0};
	TSS2_RC rc = Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &none, &pub, tr);

	if (rc == TPM2_RC_NV_SPACE)
		return tpm_fail(t, ERR_FULL, "the TPM has no room for an NV index more");
	return tpm_check(t, rc, "TPM2_NV_DefineSpace of the version counter");
}

int counter_make(struct tpm *t, uint32_t handle)
{
	ESYS_TR tr;
	bool written;
	int r = look_up(t, handle, &tr, &written);

	if (!r && tr == ESYS_TR_NONE)
		r = define(t, handle, &tr);
	return r || written ? r : increment(t, tr);
}

int counter_raise(struct tpm *t, uint32_t handle, uint32_t to, uint32_t *value)
{
	ESYS_TR tr;
	int r = counter_find(t, handle, &tr);

	if (!r)
		r = read_value(t, tr, value);
	if (!r && to > *value && to - *value > COUNTER_RAISE_MAX)
		r = tpm_fail(t, ERR_RANGE, "from version %u to %u is more than %u steps, each of which wears the TPM out", *value, to,
			     COUNTER_RAISE_MAX);
	while (!r && *value < to) {
		r = increment(t, tr);
		if (!r)
			r = read_value(t, tr, value);
	}
	return r;
}

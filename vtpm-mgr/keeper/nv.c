/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/nv.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/wrap.h"

int nv_public(uint32_t handle, uint32_t attributes, uint8_t pub[static NV_PUBLIC_LEN])
{
	struct buf b;

	buf_init(&b, pub, NV_PUBLIC_LEN);
	if (buf_put_u32be(&b, handle) || buf_put_u16be(&b, TPM2_ALG_SHA256) || buf_put_u32be(&b, attributes) || buf_put_u16be(&b, 0) ||
	    buf_put_u16be(&b, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int nv_name(uint32_t handle, uint32_t attributes, uint8_t name[static NV_NAME_LEN])
{
	uint8_t pub[NV_PUBLIC_LEN];
	struct buf n;

	buf_init(&n, name, NV_NAME_LEN);
	if (nv_public(handle, attributes, pub) || buf_put_u16be(&n, TPM2_ALG_SHA256))
		return ERR_RANGE;
	return wrap_sha256(pub, sizeof(pub), name + 2);
}

int nv_extended(const uint8_t value[static DIGEST_LEN], const uint8_t data[static DIGEST_LEN],
		uint8_t out[static DIGEST_LEN])
{
	uint8_t both[2 * DIGEST_LEN];

	memcpy(both, value, DIGEST_LEN);
	memcpy(both + DIGEST_LEN, data, DIGEST_LEN);
	return wrap_sha256(both, sizeof(both), out);
}

static bool refused(TSS2_RC rc)
{
	return !(rc & TSS2_RC_LAYER_MASK) &&
	       (tpm_rc_base(rc) == TPM2_RC_BAD_AUTH || tpm_rc_base(rc) == TPM2_RC_AUTH_FAIL);
}

static int set_auth(struct tpm *t, ESYS_TR tr, const uint8_t *auth)
{
	TPM2B_AUTH value = {.size = auth ? KEY_LEN : 0};
	int r;

	if (auth)
		memcpy(value.buffer, auth, KEY_LEN);
	r = tpm_check(t, Esys_TR_SetAuth(t->esys, tr, &value), "auth of the anchors");
	secmem_wipe(&value, sizeof(value));
	return r;
}

int nv_owner(struct tpm *t, const uint8_t *auth)
{
	return set_auth(t, ESYS_TR_RH_OWNER, auth);
}

/* Whose Name is it: ours, not written (ANCHOR_ABSENT) or written (ANCHOR_VALUE), or another's. */
static int compare_name(struct tpm *t, const struct nv_index *x, enum anchor_state *state)
{
	uint8_t empty[NV_NAME_LEN], written[NV_NAME_LEN];
	TPM2B_NAME *name = NULL;
	int r;

	if (nv_name(x->handle, x->attributes, empty) || nv_name(x->handle, x->attributes | TPMA_NV_WRITTEN, written))
		return tpm_fail(t, ERR_CRYPTO, "the Name of an anchor cannot be computed");
	r = tpm_check(t, Esys_TR_GetName(t->esys, x->tr, &name), "Name of an anchor");
	if (r)
		return r;
	*state = ANCHOR_FOREIGN;
	if (name->size == NV_NAME_LEN && !memcmp(name->name, empty, NV_NAME_LEN))
		*state = ANCHOR_ABSENT;
	if (name->size == NV_NAME_LEN && !memcmp(name->name, written, NV_NAME_LEN))
		*state = ANCHOR_VALUE;
	Esys_Free(name);
	return 0;
}

static TSS2_RC read_rc(struct tpm *t, const struct nv_index *x, TPM2B_MAX_NV_BUFFER **data)
{
	return Esys_NV_Read(t->esys, x->tr, x->tr, t->session, ESYS_TR_NONE, ESYS_TR_NONE, DIGEST_LEN, 0, data);
}

static int take(struct tpm *t, TPM2B_MAX_NV_BUFFER *data, uint8_t value[static DIGEST_LEN])
{
	int r = 0;

	if (data->size != DIGEST_LEN)
		r = tpm_fail(t, ERR_TPM, "TPM2_NV_Read of an anchor: %u bytes", data->size);
	else
		memcpy(value, data->buffer, DIGEST_LEN);
	Esys_Free(data);
	return r;
}

int nv_read(struct tpm *t, struct nv_index *x, uint8_t value[static DIGEST_LEN])
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	int r = tpm_check(t, read_rc(t, x, &data), "TPM2_NV_Read of an anchor");

	return r ? r : take(t, data, value);
}

/* Its handle in this context; ANCHOR_MISSING if there is none. */
static int find(struct tpm *t, struct nv_index *x, enum anchor_state *state)
{
	TSS2_RC rc;
	int r = tpm_session_audits(t, true);

	if (r)
		return r;
	rc = Esys_TR_FromTPMPublic(t->esys, x->handle, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &x->tr);
	*state = ANCHOR_MISSING;
	if (!(rc & TSS2_RC_LAYER_MASK) && tpm_rc_base(rc) == TPM2_RC_HANDLE)
		return tpm_session_audits(t, false);
	r = tpm_check(t, rc, "TPM2_NV_ReadPublic of an anchor");
	if (!r)
		r = tpm_session_audits(t, false);
	if (!r)
		r = compare_name(t, x, state);
	if (!r)
		x->context = t->context;
	return r;
}

int nv_look(struct tpm *t, struct nv_index *x, enum anchor_state *state, uint8_t value[static DIGEST_LEN])
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	TSS2_RC rc;
	int r;

	memset(value, 0, DIGEST_LEN);
	x->context = 0;
	r = find(t, x, state);
	if (!r && (*state == ANCHOR_ABSENT || *state == ANCHOR_VALUE))
		r = set_auth(t, x->tr, x->auth);
	if (r || (*state != ANCHOR_ABSENT && *state != ANCHOR_VALUE))
		return r;
	rc = read_rc(t, x, &data);
	if (refused(rc)) {
		*state = ANCHOR_AUTH;
		return 0;
	}
	/* The auth of one that was not written is looked at, too, before the TPM says that there is nothing to read. */
	if (*state == ANCHOR_ABSENT && rc == TPM2_RC_NV_UNINITIALIZED)
		return 0;
	r = tpm_check(t, rc, "TPM2_NV_Read of an anchor");
	if (!r)
		r = take(t, data, value);
	return !r && *state == ANCHOR_ABSENT ? tpm_fail(t, ERR_TPM, "an anchor was written while it was looked at") : r;
}

int nv_extend(struct tpm *t, struct nv_index *x, const uint8_t data[static DIGEST_LEN])
{
	TPM2B_MAX_NV_BUFFER in = {.size = DIGEST_LEN};
	TSS2_RC rc;

	memcpy(in.buffer, data, DIGEST_LEN);
	rc = Esys_NV_Extend(t->esys, x->tr, x->tr, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &in);
	secmem_wipe(&in, sizeof(in));
	return tpm_check(t, rc, "TPM2_NV_Extend of an anchor");
}

int nv_define(struct tpm *t, struct nv_index *x)
{
	TPM2B_NV_PUBLIC pub = {.nvPublic = {.nvIndex = x->handle,
					    .nameAlg = TPM2_ALG_SHA256,
					    .attributes = x->attributes,
					    .dataSize = DIGEST_LEN}};
	TPM2B_AUTH auth = {.size = KEY_LEN};
	TSS2_RC rc;

	memcpy(auth.buffer, x->auth, KEY_LEN);
	rc = Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &auth, &pub, &x->tr);
	secmem_wipe(&auth, sizeof(auth));
	if (rc == TPM2_RC_NV_SPACE || tpm_rc_base(rc) == TPM2_RC_ATTRIBUTES)
		return tpm_fail(t, ERR_FULL, "the TPM has no room for an NV index more, or not for one of that kind");
	return tpm_check(t, rc, "TPM2_NV_DefineSpace of an anchor");
}

int nv_undefine(struct tpm *t, struct nv_index *x)
{
	TSS2_RC rc = Esys_TR_FromTPMPublic(t->esys, x->handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &x->tr);

	x->context = 0;
	if (!(rc & TSS2_RC_LAYER_MASK) && tpm_rc_base(rc) == TPM2_RC_HANDLE)
		return 0;
	if (!rc)
		rc = Esys_NV_UndefineSpace(t->esys, ESYS_TR_RH_OWNER, x->tr, t->session, ESYS_TR_NONE, ESYS_TR_NONE);
	return tpm_check(t, rc, "TPM2_NV_UndefineSpace of an anchor");
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/policy.h"

#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "vtpm-mgr/keeper/counter.h"

/* ---- keys and signatures ---- */

static int key_load(struct tpm *t, const struct policy_key *key, ESYS_TR *handle)
{
	TPM2B_PUBLIC pub = {0};
	size_t at = 0;
	TSS2_RC rc;

	*handle = ESYS_TR_NONE;
	if (!policy_key_valid(key) || Tss2_MU_TPMT_PUBLIC_Unmarshal(key->pub, key->len, &at, &pub.publicArea))
		return tpm_fail(t, ERR_AUTH, "a key of the policy is damaged");
	/* Into a hierarchy, for only then the TPM gives its word in a ticket (TPM 2.0 Part 3, 20.1). */
	rc = Esys_LoadExternal(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, NULL, &pub, ESYS_TR_RH_OWNER, handle);
	if (rc)
		*handle = ESYS_TR_NONE;
	return tpm_check(t, rc, "TPM2_LoadExternal of a key of the policy");
}

static void signature_set(TPMT_SIGNATURE *out, uint8_t scheme, const uint8_t *signature, size_t len)
{
	memset(out, 0, sizeof(*out));
	if (scheme == SCHEME_ECDSA) {
		out->sigAlg = TPM2_ALG_ECDSA;
		out->signature.ecdsa.hash = TPM2_ALG_SHA256;
		out->signature.ecdsa.signatureR.size = out->signature.ecdsa.signatureS.size = DIGEST_LEN;
		memcpy(out->signature.ecdsa.signatureR.buffer, signature, DIGEST_LEN);
		memcpy(out->signature.ecdsa.signatureS.buffer, signature + DIGEST_LEN, DIGEST_LEN);
	} else {
		out->sigAlg = TPM2_ALG_RSASSA;
		out->signature.rsassa.hash = TPM2_ALG_SHA256;
		out->signature.rsassa.sig.size = (UINT16)len;
		memcpy(out->signature.rsassa.sig.buffer, signature, len);
	}
}

/* Any complaint about the signature, its kind or its size, as opposed to the way there. */
static bool is_wrong_signature(TSS2_RC rc)
{
	return !(rc & TSS2_RC_LAYER_MASK) && rc & TPM2_RC_FMT1 && rc & TPM2_RC_P;
}

int policy_verify(struct tpm *t, const struct policy_key *key, const uint8_t hash[static DIGEST_LEN], uint8_t scheme,
		  const uint8_t *signature, size_t len, TPMT_TK_VERIFIED **ticket)
{
	TPM2B_DIGEST digest = {.size = DIGEST_LEN};
	TPMT_TK_VERIFIED *word = NULL;
	TPMT_SIGNATURE s;
	ESYS_TR handle;
	TSS2_RC rc;
	int r = signature_valid(scheme, len) ? key_load(t, key, &handle) : ERR_AUTH;

	if (r)
		return r;
	memcpy(digest.buffer, hash, DIGEST_LEN);
	signature_set(&s, scheme, signature, len);
	rc = Esys_VerifySignature(t->esys, handle, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &digest, &s, &word);
	tpm_flush(t, &handle);
	if (is_wrong_signature(rc)) {
		r = tpm_session_audits(t, false);
		return r ? r : tpm_fail(t, ERR_AUTH, "the signature is not that of the key: %s", Tss2_RC_Decode(rc));
	}
	r = tpm_check(t, rc, "TPM2_VerifySignature");
	if (!r && ticket)
		*ticket = word;
	else
		Esys_Free(word);
	return r;
}

/* ---- the commands of a policy ---- */

/* It has nothing to encrypt either way, as PolicyOR: the session goes along to audit. */
static int do_locality(struct tpm *t, ESYS_TR s)
{
	int r = tpm_session_audits(t, true);

	if (!r)
		r = tpm_check(t,
			      Esys_PolicyLocality(t->esys, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, TPMA_LOCALITY_TPM2_LOC_ZERO),
			      "TPM2_PolicyLocality");
	return r ? r : tpm_session_audits(t, false);
}

/* pcr NULL: whatever the PCRs hold. */
static int do_pcr(struct tpm *t, ESYS_TR s, uint32_t mask, const uint8_t (*pcr)[DIGEST_LEN])
{
	TPML_PCR_SELECTION sel = tpm_pcr_selection(mask);
	TPM2B_DIGEST digest = {.size = pcr ? DIGEST_LEN : 0};
	int r = pcr ? policy_pcr_digest(mask, pcr, digest.buffer) : 0;

	if (r)
		return tpm_fail(t, r, "the digest of the PCRs cannot be calculated");
	return tpm_check(t, Esys_PolicyPCR(t->esys, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &digest, &sel), "TPM2_PolicyPCR");
}

static int do_version(struct tpm *t, ESYS_TR s, uint32_t counter, uint32_t version)
{
	TPM2B_OPERAND operand = {.size = 8};
	ESYS_TR nv = ESYS_TR_NONE;
	struct buf b;
	int r = counter_find(t, counter, &nv);

	buf_init(&b, operand.buffer, sizeof(operand.buffer));
	if (!r)
		r = buf_put_u64be(&b, version);
	if (r)
		return r;
	return tpm_check(t,
			 Esys_PolicyNV(t->esys, nv, nv, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &operand, 0, POLICY_NV_LE),
			 "TPM2_PolicyNV of the version");
}

static int make_ref(struct tpm *t, const char *group, bool recovery, TPM2B_NONCE *ref)
{
	ref->size = DIGEST_LEN;
	return policy_ref(group, recovery, ref->buffer) ? tpm_fail(t, ERR_CRYPTO, "a policyRef cannot be calculated") : 0;
}

/* ticket NULL: in a trial, which looks at none. */
static int do_authorize(struct tpm *t, ESYS_TR s, const struct policy_way *w, const uint8_t approved[static DIGEST_LEN],
			const TPMT_TK_VERIFIED *ticket)
{
	static const TPMT_TK_VERIFIED none = {.tag = TPM2_ST_VERIFIED, .hierarchy = TPM2_RH_NULL};
	TPM2B_DIGEST policy = {.size = DIGEST_LEN};
	TPM2B_NAME name = {.size = POLICY_NAME_LEN};
	TPM2B_NONCE ref;
	int r = make_ref(t, w->group, false, &ref);

	if (!r)
		r = policy_key_name(&w->policy->signer, name.name);
	if (r)
		return r;
	memcpy(policy.buffer, approved, DIGEST_LEN);
	return tpm_check(t,
			 Esys_PolicyAuthorize(t->esys, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &policy, &ref, &name,
					      ticket ? ticket : &none),
			 "TPM2_PolicyAuthorize");
}

/* nonce NULL: in a trial, which looks at neither that nor the signature. */
static int do_signed(struct tpm *t, ESYS_TR s, const struct policy *p, const char *group, const TPM2B_NONCE *nonce,
		     uint32_t seconds, const TPMT_SIGNATURE *signature)
{
	ESYS_TR key = ESYS_TR_NONE;
	TPM2B_NONCE ref;
	TSS2_RC rc;
	int r = make_ref(t, group, true, &ref);

	if (!r)
		r = key_load(t, &p->recovery, &key);
	if (r)
		return r;
	rc = Esys_PolicySigned(t->esys, key, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, nonce, NULL, &ref, (INT32)seconds, signature,
			       NULL, NULL);
	tpm_flush(t, &key);
	if (tpm_rc_base(rc) == TPM2_RC_EXPIRED)
		return tpm_fail(t, ERR_AUTH, "the recovery key's signature has expired; begin again");
	if (is_wrong_signature(rc))
		return tpm_fail(t, ERR_AUTH, "the signature is not that of the recovery key, or is over another challenge: %s; begin again",
				Tss2_RC_Decode(rc));
	return tpm_check(t, rc, "TPM2_PolicySigned");
}

/* Nothing to do where there is only one branch. */
static int do_or(struct tpm *t, ESYS_TR s, const struct policy *p, const char *group)
{
	TPML_DIGEST list = {.count = 2, .digests = {{.size = DIGEST_LEN}, {.size = DIGEST_LEN}}};
	int r;

	if (!p->recovery.len)
		return 0;
	r = policy_boot_branch(p, group, list.digests[0].buffer);
	if (!r)
		r = policy_recovery_branch(p, group, list.digests[1].buffer);
	if (r)
		return tpm_fail(t, r, "the branches of a policy cannot be calculated");
	r = tpm_session_audits(t, true);
	if (!r)
		r = tpm_check(t, Esys_PolicyOR(t->esys, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &list), "TPM2_PolicyOR");
	return r ? r : tpm_session_audits(t, false);
}

/* ---- satisfying ---- */

static int satisfy_set(struct tpm *t, const struct policy_way *w, ESYS_TR s)
{
	TPMT_TK_VERIFIED *ticket = NULL;
	uint8_t approved[DIGEST_LEN], hash[DIGEST_LEN];
	int r = policy_set_digest(w->set, w->policy->counter, approved);

	if (!r)
		r = policy_set_hash(w->set, w->policy->counter, w->group, hash);
	if (!r)
		r = policy_verify(t, &w->policy->signer, hash, w->set->scheme, w->set->signature, w->set->signature_len, &ticket);
	if (!r)
		r = do_locality(t, s);
	if (!r)
		r = do_version(t, s, w->policy->counter, w->set->version);
	if (!r)
		r = do_pcr(t, s, w->set->mask, NULL);
	if (!r)
		r = do_authorize(t, s, w, approved, ticket);
	Esys_Free(ticket);
	return r;
}

int policy_session(struct tpm *t, const struct policy_way *w, ESYS_TR *session)
{
	int r = tpm_session(t, TPM2_SE_POLICY, session);

	if (!r && w->policy->kind == POLICY_SIGNED) {
		r = satisfy_set(t, w, *session);
	} else if (!r) {
		r = do_locality(t, *session);
		if (!r)
			r = do_pcr(t, *session, w->policy->mask, NULL);
	}
	return r ? r : do_or(t, *session, w->policy, w->group);
}

int policy_recover(struct tpm *t, const struct policy *p, const char *group, const struct keeper_recover *m, ESYS_TR session)
{
	TPM2B_NONCE *nonce = NULL;
	TPMT_SIGNATURE signature;
	int r = tpm_check(t, Esys_TRSess_GetNonceTPM(t->esys, session, &nonce), "nonce of a session");

	signature_set(&signature, m->scheme, m->signature, m->signature_len);
	if (!r)
		r = do_signed(t, session, p, group, nonce, m->seconds, &signature);
	Esys_Free(nonce);
	return r ? r : do_or(t, session, p, group);
}

/* ---- trials ---- */

enum step { STEP_FIXED, STEP_SET, STEP_AUTHORIZE, STEP_SIGNED, STEP_OR };

static int do_step(struct tpm *t, const struct policy_way *w, enum step step, ESYS_TR s)
{
	static const uint8_t any[2 * DIGEST_LEN] = {1};
	TPMT_SIGNATURE signature;
	int r;

	signature_set(&signature, SCHEME_ECDSA, any, sizeof(any));
	switch (step) {
	case STEP_FIXED:
		r = do_locality(t, s);
		return r ? r : do_pcr(t, s, w->policy->mask, w->policy->pcr);
	case STEP_SET:
		r = do_locality(t, s);
		if (!r)
			r = do_version(t, s, w->policy->counter, w->set->version);
		return r ? r : do_pcr(t, s, w->set->mask, w->set->pcr);
	case STEP_AUTHORIZE:
		return do_authorize(t, s, w, any, NULL);
	case STEP_SIGNED:
		return do_signed(t, s, w->policy, w->group, NULL, 0, &signature);
	default:
		return do_or(t, s, w->policy, w->group);
	}
}

static int trial(struct tpm *t, const struct policy_way *w, enum step step, const uint8_t want[static DIGEST_LEN])
{
	TPM2B_DIGEST *got = NULL;
	ESYS_TR s = ESYS_TR_NONE;
	int r = tpm_session(t, TPM2_SE_TRIAL, &s);

	if (!r)
		r = do_step(t, w, step, s);
	if (!r)
		r = tpm_check(t, Esys_PolicyGetDigest(t->esys, s, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &got),
			      "TPM2_PolicyGetDigest");
	if (!r && (got->size != DIGEST_LEN || memcmp(got->buffer, want, DIGEST_LEN) != 0))
		r = tpm_fail(t, ERR_TPM, "the TPM computes another policy digest than we do; nothing is sealed to it");
	Esys_Free(got);
	tpm_flush(t, &s);
	return r;
}

int policy_confirm(struct tpm *t, const struct policy_way *w, const uint8_t want[static DIGEST_LEN])
{
	uint8_t d[DIGEST_LEN];
	int r = policy_boot_branch(w->policy, w->group, d);

	if (!r)
		r = trial(t, w, w->policy->kind == POLICY_SIGNED ? STEP_AUTHORIZE : STEP_FIXED, d);
	if (!r && w->set)
		r = policy_set_digest(w->set, w->policy->counter, d);
	if (!r && w->set)
		r = trial(t, w, STEP_SET, d);
	if (r || !w->policy->recovery.len)
		return r;
	r = policy_recovery_branch(w->policy, w->group, d);
	if (!r)
		r = trial(t, w, STEP_SIGNED, d);
	return r ? r : trial(t, w, STEP_OR, want);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/root.h"

#include <stdio.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/policy.h"

#define UNSEAL_TRIES 32u /* IMA extends PCR 10 all the time, and each extend voids a policy session */

/* fixedParent so that nobody can duplicate it, adminWithPolicy and no userWithAuth so that there is no way but the
 * PCRs. */
#define ROOT_ATTRIBUTES                                                                                                \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA)

struct root_job {
	uint32_t mask, flags;
	struct root_blob *blob;
	struct sealed_root *s;
	const struct sealed_root *from;
	uint8_t *root; /* KEY_LEN bytes of the caller's */
	bool fresh;    /* it is to be made */
};

static int policy_start(struct tpm *t, TPM2_SE type, uint32_t mask, const TPM2B_DIGEST *digest, ESYS_TR *policy)
{
	TPML_PCR_SELECTION sel = tpm_pcr_selection(mask);
	TSS2_RC rc;
	int r;

	r = tpm_session(t, type, policy);
	if (r)
		return r;
	rc = Esys_PolicyPCR(t->esys, *policy, t->session, ESYS_TR_NONE, ESYS_TR_NONE, digest, &sel);
	return tpm_check(t, rc, "TPM2_PolicyPCR");
}

/* Has the TPM compute the policy digest as well: a seal that nobody could satisfy must not be made. */
static int policy_confirm(struct tpm *t, const struct sealed_root *s, const uint8_t want[static DIGEST_LEN])
{
	TPM2B_DIGEST pcr_digest = {.size = DIGEST_LEN}, *got = NULL;
	ESYS_TR trial = ESYS_TR_NONE;
	int r;

	r = policy_pcr_digest(s->mask, s->pcr, pcr_digest.buffer);
	if (!r)
		r = policy_start(t, TPM2_SE_TRIAL, s->mask, &pcr_digest, &trial);
	if (!r)
		r = tpm_check(t, Esys_PolicyGetDigest(t->esys, trial, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &got),
			      "TPM2_PolicyGetDigest");
	if (!r && (got->size != DIGEST_LEN || memcmp(got->buffer, want, DIGEST_LEN) != 0))
		r = tpm_fail(t, ERR_TPM, "the TPM computes another policy digest than we do; nothing is sealed to it");
	Esys_Free(got);
	tpm_flush(t, &trial);
	return r;
}

/* One attempt. *again: a PCR was extended meanwhile, so that the session's policy is void. */
static int unseal_once(struct tpm *t, ESYS_TR object, uint32_t mask, uint8_t root[static KEY_LEN], bool *again)
{
	static const TPM2B_DIGEST now = {.size = 0}; /* whatever the PCRs hold */
	TPM2B_SENSITIVE_DATA *data = NULL;
	ESYS_TR policy = ESYS_TR_NONE;
	TSS2_RC rc;
	int r;

	*again = false;
	r = policy_start(t, TPM2_SE_POLICY, mask, &now, &policy);
	if (r)
		goto out;
	rc = Esys_Unseal(t->esys, object, policy, t->session, ESYS_TR_NONE, &data);
	*again = rc == TPM2_RC_PCR_CHANGED;
	if (*again || tpm_rc_base(rc) == TPM2_RC_POLICY_FAIL)
		r = tpm_fail(t, ERR_PCR, "the PCRs are not what the seal demands");
	else
		r = tpm_check(t, rc, "TPM2_Unseal");
	if (!r && data->size != KEY_LEN)
		r = tpm_fail(t, ERR_AUTH, "the sealed root key has %u bytes and not %u", data->size, KEY_LEN);
	if (!r)
		memcpy(root, data->buffer, KEY_LEN);
out:
	if (data)
		secmem_wipe(data, sizeof(*data));
	Esys_Free(data);
	tpm_flush(t, &policy);
	return r;
}

/* Says what a person can act on. The recorded values may be wrong themselves: they only explain. */
static int explain_refusal(struct tpm *t, const struct sealed_root *s)
{
	uint8_t now[PCR_COUNT][DIGEST_LEN];
	char is[2 * DIGEST_LEN + 1], wants[2 * DIGEST_LEN + 1];
	size_t at = 0;
	uint32_t left = s->mask;
	int i, r;

	r = tpm_pcr_read(t, s->mask, now);
	if (r)
		return r;
	t->text[0] = '\0';
	for (; (i = policy_differing_pcr(left, now, s->pcr)) >= 0; left &= ~(1u << i)) {
		if (hex_encode(now[i], DIGEST_LEN, is, sizeof(is)) ||
		    hex_encode(s->pcr[i], DIGEST_LEN, wants, sizeof(wants)))
			return ERR_RANGE;
		at += (size_t)snprintf(t->text + at, sizeof(t->text) - at,
				       "PCR %d is %.16s... and the seal wants %.16s...; ", i, is, wants);
		if (at > TEXT_MAX - 160u) /* room for one more of these, and for the end */
			break;
	}
	if (!at)
		return tpm_fail(t, ERR_PCR,
				"the TPM says that the PCRs are not what the seal demands, though each is what was "
				"recorded: the record was changed, or a PCR has been extended and the TPM reset since");
	snprintf(t->text + at, sizeof(t->text) - at, "the host did not boot what it was sealed to");
	return ERR_PCR;
}

/* The template; only its authPolicy differs from seal to seal. */
static void root_template(TPM2B_PUBLIC *pub)
{
	memset(pub, 0, sizeof(*pub));
	pub->publicArea.type = TPM2_ALG_KEYEDHASH;
	pub->publicArea.nameAlg = TPM2_ALG_SHA256;
	pub->publicArea.objectAttributes = ROOT_ATTRIBUTES;
	pub->publicArea.authPolicy.size = DIGEST_LEN;
	pub->publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
}

/* A blob that asks for less than PCRs was not made here. */
static bool is_root(const TPM2B_PUBLIC *pub)
{
	const TPMT_PUBLIC *p = &pub->publicArea;

	return p->type == TPM2_ALG_KEYEDHASH && p->nameAlg == TPM2_ALG_SHA256 &&
	       p->objectAttributes == ROOT_ATTRIBUTES && p->authPolicy.size == DIGEST_LEN &&
	       p->parameters.keyedHashDetail.scheme.scheme == TPM2_ALG_NULL;
}

static int root_unseal(struct tpm *t, const struct sealed_root *s, uint8_t root[static KEY_LEN])
{
	ESYS_TR object = ESYS_TR_NONE;
	TPM2B_PRIVATE priv;
	TPM2B_PUBLIC pub;
	bool again = true;
	int r;

	r = tpm_blob_decode(t, s->pub, s->pub_len, s->priv, s->priv_len, &pub, &priv);
	if (!r && !is_root(&pub))
		r = tpm_fail(t, ERR_AUTH, "the sealed root is damaged: it is not an object sealed to PCRs");
	if (!r)
		r = tpm_load(t, &pub, &priv, "the sealed root", &object);
	if (r)
		return r;
	for (unsigned i = 0; i < UNSEAL_TRIES && again; i++)
		r = unseal_once(t, object, s->mask, root, &again);
	tpm_flush(t, &object);
	if (again)
		return tpm_fail(t, ERR_TPM, "TPM2_Unseal: PCRs were extended during each of %u attempts", UNSEAL_TRIES);
	return r == ERR_PCR ? explain_refusal(t, s) : r;
}

static int choose_pcrs(struct tpm *t, uint32_t mask, uint32_t flags, struct sealed_root *s)
{
	int empty, r;

	r = tpm_pcr_read(t, mask ? mask : POLICY_DEFAULT_CANDIDATES, s->pcr);
	if (r)
		return r;
	s->mask = mask ? mask : policy_default_mask(s->pcr);
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (!(s->mask >> i & 1))
			memset(s->pcr[i], 0, DIGEST_LEN);
	empty = policy_empty_pcr(s->mask, s->pcr);
	s->flags = empty < 0 ? flags & ~SEAL_INSECURE_PCRS : flags; /* remembered only where it was needed */
	if (empty < 0 || flags & SEAL_INSECURE_PCRS)
		return 0;
	return tpm_fail(t, ERR_PCR,
			"PCR %d is all %s: nothing was measured into it, so a seal to it binds nothing; measure the "
			"boot, choose other PCRs with --seal-pcrs, or accept it with --insecure-pcrs",
			empty, s->pcr[empty][0] ? "ones" : "zero");
}

/* Two sources: neither a TPM with a bad generator nor a host with one knows the root alone. */
static int root_random(struct tpm *t, uint8_t root[static KEY_LEN])
{
	uint8_t ours[KEY_LEN];
	int r;

	r = tpm_random(t, root, KEY_LEN);
	if (!r)
		r = random_bytes(ours, sizeof(ours));
	for (size_t i = 0; !r && i < KEY_LEN; i++)
		root[i] ^= ours[i];
	secmem_wipe(ours, sizeof(ours));
	return r;
}

static int root_create(struct tpm *t, const uint8_t policy[static DIGEST_LEN], const uint8_t root[static KEY_LEN],
		       struct root_blob *blob, struct sealed_root *s)
{
	TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = KEY_LEN};
	const TPML_PCR_SELECTION no_pcrs = {0};
	const TPM2B_DATA outside = {0};
	TPM2B_PRIVATE *priv = NULL;
	TPM2B_PUBLIC in, *pub = NULL;
	TSS2_RC rc;
	int r;

	root_template(&in);
	memcpy(in.publicArea.authPolicy.buffer, policy, DIGEST_LEN);
	memcpy(sensitive.sensitive.data.buffer, root, KEY_LEN);
	rc = Esys_Create(t->esys, t->srk, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in, &outside, &no_pcrs,
			 &priv, &pub, NULL, NULL, NULL);
	secmem_wipe(&sensitive, sizeof(sensitive));
	r = tpm_check(t, rc, "TPM2_Create of the sealed root");
	if (!r)
		r = tpm_blob_encode(t, pub, priv, blob->pub, &s->pub_len, blob->priv, &s->priv_len);
	s->pub = blob->pub;
	s->priv = blob->priv;
	Esys_Free(pub);
	Esys_Free(priv);
	return r;
}

/* Unseals what was just sealed: a group that could never be opened again must not be used once. */
static int root_prove(struct tpm *t, const struct sealed_root *s, const uint8_t root[static KEY_LEN])
{
	uint8_t back[KEY_LEN] = {0};
	int r;

	r = root_unseal(t, s, back);
	if (!r && !secmem_equal(back, root, KEY_LEN))
		r = tpm_fail(t, ERR_TPM, "the TPM gives back another root key than was sealed");
	secmem_wipe(back, sizeof(back));
	return r;
}

static int seal_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;
	uint8_t policy[DIGEST_LEN];
	int r;

	r = choose_pcrs(t, job->mask, job->flags, job->s);
	if (!r)
		r = policy_auth_digest(job->s->mask, job->s->pcr, policy);
	if (!r)
		r = policy_confirm(t, job->s, policy);
	if (!r && job->fresh)
		r = root_random(t, job->root);
	if (!r)
		r = root_create(t, policy, job->root, job->blob, job->s);
	if (!r)
		r = root_prove(t, job->s, job->root);
	return r;
}

int root_new(struct tpm *t, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
	     uint8_t root[static KEY_LEN])
{
	struct root_job job = {.mask = mask, .flags = flags, .blob = blob, .s = s, .root = root, .fresh = true};

	return tpm_run(t, seal_op, &job);
}

int root_seal(struct tpm *t, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
	      uint8_t root[static KEY_LEN])
{
	struct root_job job = {.mask = mask, .flags = flags, .blob = blob, .s = s, .root = root};

	return tpm_run(t, seal_op, &job);
}

static int open_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;

	return root_unseal(t, job->from, job->root);
}

int root_open(struct tpm *t, const struct sealed_root *s, uint8_t root[static KEY_LEN])
{
	struct root_job job = {.from = s, .root = root};

	if (!s->mask)
		return tpm_fail(t, ERR_AUTH, "the sealed root is damaged: it names no PCR");
	return tpm_run(t, open_op, &job);
}

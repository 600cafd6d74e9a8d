/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/root.h"

#include <stdio.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/policy.h"
#include "vtpm-mgr/keeper/policy_look.h"
#include "vtpm-mgr/keeper/wrap.h"

#define UNSEAL_TRIES 32u /* IMA extends PCR 10 all the time, and each extend voids a policy session */

/* fixedParent so that nobody can duplicate it, adminWithPolicy and no userWithAuth so that there is no way but the
 * policy. */
#define ROOT_ATTRIBUTES                                                                                                \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA)

struct root_job {
	const char *group;
	uint32_t mask, flags;
	const struct keeper_group_open *from;
	const struct keeper_policy_seal *to;
	const struct keeper_recover *signature;
	ESYS_TR session;
	struct root_blob *blob;
	struct sealed_root *s;
	uint8_t *root; /* KEY_LEN bytes of the caller's */
	uint8_t *was;  /* the same */
	bool fresh;    /* it is to be made */
};

/* ---- unsealing ---- */

/* With a session that has satisfied the policy. *again: a PCR was extended meanwhile, so that what it has satisfied is void. */
static int unseal_in(struct tpm *t, ESYS_TR object, ESYS_TR policy, uint8_t root[static KEY_LEN], bool *again)
{
	TPM2B_SENSITIVE_DATA *data = NULL;
	TSS2_RC rc = Esys_Unseal(t->esys, object, policy, t->session, ESYS_TR_NONE, &data);
	int r;

	*again = rc == TPM2_RC_PCR_CHANGED;
	if (rc == TPM2_RC_LOCALITY)
		r = tpm_fail(t, ERR_PCR, "our commands reach the TPM at another locality than 0, to which the root is sealed");
	else if (*again || tpm_rc_base(rc) == TPM2_RC_POLICY_FAIL)
		r = tpm_fail(t, ERR_PCR, "the TPM says that the policy is not satisfied");
	else
		r = tpm_check(t, rc, "TPM2_Unseal");
	if (!r && data->size != KEY_LEN)
		r = tpm_fail(t, ERR_AUTH, "the sealed root key has %u bytes and not %u", data->size, KEY_LEN);
	if (!r)
		memcpy(root, data->buffer, KEY_LEN);
	if (data)
		secmem_wipe(data, sizeof(*data));
	Esys_Free(data);
	return r;
}

static int unseal_once(struct tpm *t, ESYS_TR object, const struct policy_way *w, uint8_t root[static KEY_LEN], bool *again)
{
	ESYS_TR policy = ESYS_TR_NONE;
	int r = policy_session(t, w, &policy);

	/* What a PolicyAuthorize answers when PCRs are not those of the set any more (TPM 2.0 Part 3, 23.16.1). */
	*again = r == ERR_TPM && w->set && tpm_rc_base(t->rc) == TPM2_RC_VALUE;
	if (*again)
		r = ERR_PCR;
	if (!r)
		r = unseal_in(t, object, policy, root, again);
	tpm_flush(t, &policy);
	return r;
}

/* By whatever seems to lead there; *again as above. */
static int unseal_somehow(struct tpm *t, ESYS_TR object, const struct keeper_group_open *from, const struct pcr_sets *sets,
			  uint8_t root[static KEY_LEN], bool *again)
{
	struct policy_way way = {.policy = &from->root.policy, .group = from->group};
	struct policy_look look;
	int r = policy_look(t, way.policy, from->group, sets, 0, &look);

	*again = false;
	if (r)
		return r;
	if (!look.opens)
		return tpm_fail(t, ERR_PCR, "%s", look.reason);
	if (way.policy->kind == POLICY_FIXED)
		return unseal_once(t, object, &way, root, again);
	r = ERR_PCR;
	for (unsigned i = 0; i < look.n && r == ERR_PCR && !*again; i++) {
		if (look.sets[i].verdict != SET_OPENS)
			continue;
		way.set = &sets->v[i];
		r = unseal_once(t, object, &way, root, again);
	}
	return r;
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

/* A blob that asks for less, or for something else than what stands beside it, was not made here. */
static bool is_root(const TPM2B_PUBLIC *pub, const struct keeper_group_open *from)
{
	const TPMT_PUBLIC *p = &pub->publicArea;
	uint8_t policy[DIGEST_LEN];

	return p->type == TPM2_ALG_KEYEDHASH && p->nameAlg == TPM2_ALG_SHA256 &&
	       p->objectAttributes == ROOT_ATTRIBUTES && p->authPolicy.size == DIGEST_LEN &&
	       p->parameters.keyedHashDetail.scheme.scheme == TPM2_ALG_NULL && from->root.policy.mask &&
	       !policy_auth_digest(&from->root.policy, from->group, policy) && !memcmp(p->authPolicy.buffer, policy, DIGEST_LEN);
}

static int root_load(struct tpm *t, const struct keeper_group_open *from, ESYS_TR *object)
{
	const struct sealed_root *s = &from->root;
	TPM2B_PRIVATE priv;
	TPM2B_PUBLIC pub;
	int r = tpm_blob_decode(t, s->pub, s->pub_len, s->priv, s->priv_len, &pub, &priv);

	*object = ESYS_TR_NONE;
	if (!r && !is_root(&pub, from))
		r = tpm_fail(t, ERR_AUTH, "the sealed root is damaged: it is not an object sealed to the policy that is recorded with it");
	return r ? r : tpm_load(t, &pub, &priv, "the sealed root", object);
}

/* What was unsealed is what the row says that it is. */
static int check_id(struct tpm *t, const struct keeper_group_open *from, const uint8_t root[static KEY_LEN])
{
	uint8_t id[ROOT_ID_LEN];
	int r = wrap_root_id(root, id);

	return !r && memcmp(id, from->root.root_id, ROOT_ID_LEN) != 0
		       ? tpm_fail(t, ERR_AUTH, "the sealed root is damaged: it is another one than is recorded with it")
		       : r;
}

static int root_unseal(struct tpm *t, const struct keeper_group_open *from, uint8_t root[static KEY_LEN])
{
	struct pcr_sets sets;
	ESYS_TR object;
	bool again = true;
	int r = root_load(t, from, &object);

	if (r)
		return r;
	sets_decode(from->sets, from->sets_len, &sets);
	for (unsigned i = 0; i < UNSEAL_TRIES && again; i++)
		r = unseal_somehow(t, object, from, &sets, root, &again);
	tpm_flush(t, &object);
	if (again)
		return tpm_fail(t, ERR_TPM, "TPM2_Unseal: PCRs were extended during each of %u attempts", UNSEAL_TRIES);
	return r ? r : check_id(t, from, root);
}

/* ---- sealing ---- */

/* The present values into a fixed policy, whose mask may be 0: the default set. */
static int choose_pcrs(struct tpm *t, struct policy *p)
{
	int empty, r;

	r = tpm_pcr_read(t, p->mask ? p->mask : POLICY_DEFAULT_CANDIDATES, p->pcr);
	if (r)
		return r;
	p->mask = p->mask ? p->mask : policy_default_mask(p->pcr);
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (!(p->mask >> i & 1))
			memset(p->pcr[i], 0, DIGEST_LEN);
	empty = policy_empty_pcr(p->mask, p->pcr);
	if (empty < 0)
		p->flags &= ~SEAL_INSECURE_PCRS; /* remembered only where it was needed */
	if (empty < 0 || p->flags & SEAL_INSECURE_PCRS)
		return 0;
	return tpm_fail(t, ERR_PCR,
			"PCR %d is all %s: nothing was measured into it, so a seal to it binds nothing; measure the "
			"boot, choose other PCRs with --seal-pcrs (of a group: --pcrs), or accept it with --insecure-pcrs",
			empty, p->pcr[empty][0] ? "ones" : "zero");
}

/* Calculated twice, and each set of it: what cannot be satisfied is not sealed to. */
static int confirm(struct tpm *t, const char *group, const struct policy *p, const struct pcr_sets *sets,
		   const uint8_t digest[static DIGEST_LEN])
{
	struct policy_way w = {.policy = p, .group = group};
	int r = 0;

	if (p->kind == POLICY_FIXED)
		return policy_confirm(t, &w, digest);
	if (!sets->n || sets->damaged)
		return tpm_fail(t, ERR_INVAL, "a signed policy begins with PCR sets that its key has signed");
	for (unsigned i = 0; i < sets->n && !r; i++) {
		w.set = &sets->v[i];
		r = policy_confirm(t, &w, digest);
	}
	return r;
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
static int root_prove(struct tpm *t, const char *group, const struct sealed_root *s, const uint8_t *sets, size_t sets_len,
		      const uint8_t root[static KEY_LEN])
{
	struct keeper_group_open made = {.root = *s, .sets = sets, .sets_len = sets_len};
	uint8_t back[KEY_LEN] = {0};
	int r;

	snprintf(made.group, sizeof(made.group), "%s", group);
	r = root_unseal(t, &made, back);
	if (!r && !secmem_equal(back, root, KEY_LEN))
		r = tpm_fail(t, ERR_TPM, "the TPM gives back another root key than was sealed");
	secmem_wipe(back, sizeof(back));
	return r;
}

/* To the policy that s has. */
static int root_seal_as(struct tpm *t, const char *group, const uint8_t *sets, size_t sets_len, const uint8_t root[static KEY_LEN],
			struct root_blob *blob, struct sealed_root *s)
{
	struct pcr_sets list;
	uint8_t digest[DIGEST_LEN];
	int r;

	sets_decode(sets, sets_len, &list);
	if (s->policy.kind != POLICY_FIXED && !s->policy.mask && list.n)
		s->policy.mask = list.v[0].mask;
	r = policy_auth_digest(&s->policy, group, digest);
	if (!r)
		r = confirm(t, group, &s->policy, &list, digest);
	if (!r)
		r = root_create(t, digest, root, blob, s);
	if (!r)
		r = wrap_root_id(root, s->root_id);
	return r ? r : root_prove(t, group, s, sets, sets_len, root);
}

/* The same, of a fixed one to the values that are. */
static int root_seal(struct tpm *t, const char *group, const uint8_t *sets, size_t sets_len, const uint8_t root[static KEY_LEN],
		     struct root_blob *blob, struct sealed_root *s)
{
	int r = s->policy.kind == POLICY_FIXED ? choose_pcrs(t, &s->policy) : 0;

	return r ? r : root_seal_as(t, group, sets, sets_len, root, blob, s);
}

/* ---- operations ---- */

static int new_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;
	int r = root_random(t, job->root);

	job->s->policy = (struct policy){.kind = POLICY_FIXED, .mask = job->mask, .flags = job->flags};
	return r ? r : root_seal(t, job->group, NULL, 0, job->root, job->blob, job->s);
}

int root_new(struct tpm *t, const char *group, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
	     uint8_t root[static KEY_LEN])
{
	struct root_job job = {.group = group, .mask = mask, .flags = flags, .blob = blob, .s = s, .root = root};

	return tpm_run(t, new_op, &job);
}

static int restore_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;

	job->s->policy = (struct policy){.kind = POLICY_FIXED, .mask = job->mask, .flags = job->flags};
	return root_seal(t, job->group, NULL, 0, job->root, job->blob, job->s);
}

int root_restore(struct tpm *t, const char *group, uint32_t mask, uint32_t flags, struct root_blob *blob, struct sealed_root *s,
		 uint8_t root[static KEY_LEN])
{
	struct root_job job = {.group = group, .mask = mask, .flags = flags, .blob = blob, .s = s, .root = root};

	return tpm_run(t, restore_op, &job);
}

/* The values that the policy has, not those that are: what was measured since is not sealed to, and the root before does not open on it. */
static int renew_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;
	int r = root_unseal(t, job->from, job->was);

	if (!r)
		r = root_random(t, job->root);
	job->s->policy = job->from->root.policy;
	return r ? r : root_seal_as(t, job->from->group, job->from->sets, job->from->sets_len, job->root, job->blob, job->s);
}

int root_renew(struct tpm *t, const struct keeper_group_open *from, struct root_blob *blob, struct sealed_root *s,
	       uint8_t root[static KEY_LEN], uint8_t was[static KEY_LEN])
{
	struct root_job job = {.from = from, .blob = blob, .s = s, .root = root, .was = was};

	return tpm_run(t, renew_op, &job);
}

static int open_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;

	return root_unseal(t, job->from, job->root);
}

int root_open(struct tpm *t, const struct keeper_group_open *from, uint8_t root[static KEY_LEN])
{
	struct root_job job = {.from = from, .root = root};

	return tpm_run(t, open_op, &job);
}

static int reseal_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;
	int r = root_unseal(t, job->from, job->root);

	job->s->policy = job->to->policy;
	return r ? r : root_seal(t, job->from->group, job->to->sets, job->to->sets_len, job->root, job->blob, job->s);
}

int root_reseal(struct tpm *t, const struct keeper_group_open *from, const struct keeper_policy_seal *to, struct root_blob *blob,
		struct sealed_root *s, uint8_t root[static KEY_LEN])
{
	struct root_job job = {.from = from, .to = to, .blob = blob, .s = s, .root = root};

	return tpm_run(t, reseal_op, &job);
}

static int recover_op(struct tpm *t, void *arg)
{
	struct root_job *job = arg;
	ESYS_TR object;
	bool again;
	int r = root_load(t, job->from, &object);

	if (!r)
		r = policy_recover(t, &job->from->root.policy, job->from->group, job->signature, job->session);
	if (!r)
		r = unseal_in(t, object, job->session, job->root, &again);
	if (!r)
		r = check_id(t, job->from, job->root);
	tpm_flush(t, &object);
	job->s->policy = job->from->root.policy;
	if (r || job->s->policy.kind == POLICY_SIGNED)
		return r;
	return root_seal(t, job->from->group, NULL, 0, job->root, job->blob, job->s);
}

int root_recover(struct tpm *t, const struct keeper_group_open *from, const struct keeper_recover *signature, ESYS_TR session,
		 struct root_blob *blob, struct sealed_root *s, uint8_t root[static KEY_LEN])
{
	struct root_job job = {.from = from, .signature = signature, .session = session, .blob = blob, .s = s, .root = root};

	return tpm_run(t, recover_op, &job);
}

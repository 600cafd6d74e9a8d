/* SPDX-License-Identifier: BSD-2-Clause */
/* GROUP_OPEN, and the requests of vtpm-mgr/proto/keeper.h about policies. */
#include "vtpm-mgr/keeper/serve.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/counter.h"
#include "vtpm-mgr/keeper/policy_look.h"
#include "vtpm-mgr/keeper/root.h"
#include "vtpm-mgr/keeper/wrap.h"

/* Before the TPM is asked for anything. */
static int group_room(struct keeper *k, const char *group)
{
	if (groups_room(&k->groups, group))
		return tpm_fail(&k->tpm, ERR_FULL, "there are %u groups, and that is the limit", KEEPER_GROUPS_MAX);
	return 0;
}

int serve_group_new(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_group_new q;
	struct root_blob blob;
	struct sealed_root s = {0};
	uint8_t mem[SEALED_ROOT_MAX];
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_new_decode(&m->body, &q) || buf_left(&m->body) || q.flags & SEAL_SHARE)
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = group_room(k, q.group);
	if (!r)
		r = root_new(&k->tpm, q.group, q.mask, q.flags, &blob, &s, k->root);
	if (!r)
		r = sealed_root_encode(&b, &s);
	if (!r)
		r = groups_replace(&k->groups, q.group, k->root);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

/* Takes what was unsealed; the group is open. Of a shared one that is the chip's share: the other is there, or it stays locked. */
static int take_root(struct keeper *k, const char *group, uint32_t flags)
{
	const struct group_key *now = groups_keys(&k->groups, group);
	int r = 0;

	if (flags & SEAL_SHARE && (!now || !now->shared))
		return tpm_fail(&k->tpm, ERR_DENIED, "it needs its second share: vtpmctl group unlock %s", group);
	if (flags & SEAL_SHARE)
		r = wrap_combine(k->root, now->share, k->root);
	if (!r)
		r = groups_open(&k->groups, group, k->root);
	if (r == ERR_EXISTS)
		return tpm_fail(&k->tpm, r, "group %s is open with another root: its row was changed meanwhile, by a rotation or on the disk", group);
	if (!r)
		groups_shut(&k->groups, group, false);
	if (!r)
		groups_recovered(&k->groups, group, false);
	return r;
}

/* What is unsealed is of no use without the other share; a new seal is. */
static bool locked_by_share(const struct keeper *k, const struct keeper_group_open *q)
{
	return q->root.policy.flags & SEAL_SHARE && !groups_find(&k->groups, q->group);
}

/* The outcomes that say that this is not the chip, the boot or the seal it was; a TPM that does not answer says nothing. */
static bool is_breach(const struct keeper *k, const char *group, int r)
{
	const struct group_key *slot = groups_keys(&k->groups, group);

	return (r == ERR_PCR && !(slot && slot->recovered)) || r == ERR_TPM_IDENTITY || r == ERR_AUTH;
}

int serve_group_open(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_group_open q;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	r = group_room(k, q.group);
	/* Once more: nothing of what was found out about this TPM counts. */
	if (!r && groups_find(&k->groups, q.group))
		tpm_forget(&k->tpm);
	if (!r)
		r = root_open(&k->tpm, &q, k->root);
	if (!r)
		r = take_root(k, q.group, q.root.policy.flags);
	if (is_breach(k, q.group, r))
		groups_shut(&k->groups, q.group, true);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, NULL, 0);
}

struct look_job {
	const struct keeper_group_open *q;
	struct pcr_sets sets;
	uint32_t least;
	struct policy_look look;
};

static int look_op(struct tpm *t, void *arg)
{
	struct look_job *job = arg;

	return policy_look(t, &job->q->root.policy, job->q->group, &job->sets, job->least, &job->look);
}

static int look(struct keeper *k, const struct keeper_group_open *q, uint32_t least, struct look_job *job)
{
	job->q = q;
	job->least = least;
	sets_decode(q->sets, q->sets_len, &job->sets);
	return tpm_run(&k->tpm, look_op, job);
}

int serve_policy_look(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_group_open q;
	uint8_t mem[POLICY_LOOK_MAX];
	struct look_job job;
	uint32_t least;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || buf_get_u32le(&m->body, &least) ||
	    buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = look(k, &q, least, &job);
	if (!r)
		r = policy_look_encode(&b, &job.look);
	return serve_reply(k, id, r, mem, b.len);
}

struct counter_job {
	struct anchor *an;
	uint32_t handle, to, value;
};

static int make_op(struct tpm *t, void *arg)
{
	struct counter_job *job = arg;
	int r = anchor_as_owner(job->an);

	return r ? r : counter_make(t, job->handle);
}

static int raise_op(struct tpm *t, void *arg)
{
	struct counter_job *job = arg;
	int r = anchor_as_owner(job->an);

	return r ? r : counter_raise(t, job->handle, job->to, &job->value);
}

int serve_policy_seal(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct counter_job job = {.an = &k->anchor};
	struct keeper_group_open q;
	struct keeper_policy_seal to;
	struct sealed_root s = {0};
	uint8_t mem[SEALED_ROOT_MAX];
	struct root_blob blob;
	struct buf b;
	uint64_t id;
	int r = 0;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || keeper_policy_seal_decode(&m->body, &to) ||
	    buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	job.handle = to.policy.counter;
	if (to.policy.kind == POLICY_SIGNED)
		r = tpm_run(&k->tpm, make_op, &job);
	if (!r)
		r = root_reseal(&k->tpm, &q, &to, &blob, &s, k->root);
	if (!r)
		r = take_root(k, q.group, q.root.policy.flags);
	if (!r)
		r = sealed_root_encode(&b, &s);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

/* A raise that would lock this very host out is a mistake, or somebody's who cannot do worse. */
static int check_raise(struct keeper *k, const struct keeper_group_open *q, uint32_t version)
{
	struct look_job job;
	int r;

	if (q->root.policy.kind != POLICY_SIGNED)
		return tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is sealed to fixed values: there is no version to raise", q->group);
	r = look(k, q, version, &job);
	if (r || job.look.opens)
		return r;
	return tpm_fail(&k->tpm, ERR_PCR, "with that as the least version nothing would unseal group %s on this boot: %s", q->group,
			job.look.reason);
}

int serve_policy_raise(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct counter_job job = {.an = &k->anchor};
	struct keeper_group_open q;
	uint8_t mem[4];
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || buf_get_u32le(&m->body, &job.to) ||
	    buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	job.handle = q.root.policy.counter;
	r = check_raise(k, &q, job.to);
	if (!r)
		r = tpm_run(&k->tpm, raise_op, &job);
	if (!r)
		r = buf_put_u32le(&b, job.value);
	return serve_reply(k, id, r, mem, b.len);
}

/* ---- recovery ---- */

static int begin_op(struct tpm *t, void *arg)
{
	struct keeper_recovery *rec = arg;

	tpm_flush(t, &rec->session);
	rec->context = t->context;
	return tpm_session(t, TPM2_SE_POLICY, &rec->session);
}

int serve_recover_begin(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_recovery *rec = &k->recovery;
	struct keeper_group_open q;
	TPM2B_NONCE *nonce = NULL;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	if (rec->context != k->tpm.context)
		rec->session = ESYS_TR_NONE;
	r = q.root.policy.recovery.len ? tpm_run(&k->tpm, begin_op, rec)
				       : tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s has no recovery key", q.group);
	if (!r)
		r = tpm_check(&k->tpm, Esys_TRSess_GetNonceTPM(k->tpm.esys, rec->session, &nonce), "nonce of a session");
	r = serve_reply(k, id, r, nonce ? nonce->buffer : NULL, nonce ? nonce->size : 0);
	Esys_Free(nonce);
	return r;
}

int serve_recover(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct keeper_recovery *rec = &k->recovery;
	struct keeper_group_open q;
	struct keeper_recover how;
	struct sealed_root s = {0};
	uint8_t mem[SEALED_ROOT_MAX];
	struct root_blob blob;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || keeper_recover_decode(&m->body, &how) ||
	    buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = rec->session != ESYS_TR_NONE && k->tpm.esys && rec->context == k->tpm.context
		    ? group_room(k, q.group)
		    : tpm_fail(&k->tpm, ERR_WRONG_STATE, "there is no challenge that could be answered: begin again");
	if (!r)
		r = root_recover(&k->tpm, &q, &how, rec->session, &blob, &s, k->root);
	if (!r)
		tpm_flush(&k->tpm, &rec->session); /* after a failure the context has gone, and it with that */
	rec->session = ESYS_TR_NONE;
	if (!r)
		r = s.pub_len && locked_by_share(k, &q) ? 0 : take_root(k, q.group, q.root.policy.flags);
	if (!r)
		groups_recovered(&k->groups, q.group, true);
	if (!r && s.pub_len)
		r = sealed_root_encode(&b, &s);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

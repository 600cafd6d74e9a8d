/* SPDX-License-Identifier: BSD-2-Clause */
/* The requests of vtpm-mgr/proto/escrow.h. */
#include "vtpm-mgr/keeper/serve.h"

#include <string.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "vtpm-mgr/escrow/code.h"
#include "vtpm-mgr/keeper/root.h"
#include "vtpm-mgr/keeper/wrap.h"

static int read_empty(struct ipc_msg *m, uint64_t *id)
{
	return buf_get_u64le(&m->body, id) || buf_left(&m->body) ? ERR_PROTO : 0;
}

static int read_group(struct ipc_msg *m, uint64_t *id, char group[static NAME_MAX_LEN + 1])
{
	return buf_get_u64le(&m->body, id) || group_name_decode(&m->body, group) || buf_left(&m->body) ? ERR_PROTO : 0;
}

/* ---- out, to the offline keys ---- */

int serve_recovery_keys(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[1 + RECOVERY_KEYS_MAX * DIGEST_LEN];
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = buf_put_u8(&b, (uint8_t)k->offline.n);
	if (!r)
		r = buf_put_bytes(&b, k->offline.fingerprints, k->offline.n * DIGEST_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

/* The root comes from the chip for this and is not kept. */
static int wrap_for(struct keeper *k, const struct escrow_wrap *q, struct buf *out)
{
	struct escrow_tag tag = {.what = q->what};
	EVP_PKEY *key = offline_find(&k->offline, q->fingerprint);
	const uint8_t *secret = q->what == ESCROW_OWNER ? anchor_owner(&k->anchor) : k->root;
	int r;

	if (!key)
		return tpm_fail(&k->tpm, ERR_NOTFOUND, "that is none of the recovery keys that this keeper was started with");
	if (!secret)
		return tpm_fail(&k->tpm, ERR_WRONG_STATE, "the record of the anchors is not open");
	memcpy(tag.group, q->group.group, sizeof(tag.group));
	r = root_open(&k->tpm, &q->group, k->root);
	if (!r)
		r = wrap_root_id(k->root, tag.root_id);
	if (!r)
		r = buf_put_bytes(out, tag.root_id, ROOT_ID_LEN);
	return r ? r : escrow_seal(key, &tag, secret, out);
}

int serve_escrow_wrap(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[ROOT_ID_LEN + ENVELOPE_MAX];
	struct escrow_wrap q;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || escrow_wrap_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = wrap_for(k, &q, &b);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

/* ---- back ---- */

/* For each recovery key, the nonce: whoever has none of them, and so is not to say what a root is, does not learn it. */
static int put_nonces(const struct offline *o, const uint8_t nonce[static CHALLENGE_NONCE_LEN], struct buf *out)
{
	uint8_t mem[ENVELOPE_MAX], ctx[ESCROW_CONTEXT_MAX];
	struct buf context, envelope;
	int r = buf_put_u8(out, (uint8_t)o->n);

	for (unsigned i = 0; i < o->n && !r; i++) {
		buf_init(&context, ctx, sizeof(ctx));
		buf_init(&envelope, mem, sizeof(mem));
		r = nonce_context(&context);
		if (!r)
			r = envelope_seal(o->keys[i], &context, nonce, &envelope);
		if (!r)
			r = buf_put_var(out, mem, envelope.len);
	}
	return r;
}

static int make_challenge(struct keeper *k, struct buf *out)
{
	char code[CODE_STR_LEN + 1];
	uint8_t der[PUBKEY_MAX];
	size_t len = 0;
	int r;

	if (!k->offline.n)
		return tpm_fail(&k->tpm, ERR_NOTFOUND, "this keeper was started with no recovery key, so there is nobody who could answer: put the "
				"public key into the directory of --recovery-keys, and start vtpm-mgr anew");
	r = challenge_new(&k->challenge, challenge_now(), der, &len);
	if (!r)
		r = challenge_code(k->challenge.nonce, der, len, code);
	if (!r)
		r = put_nonces(&k->offline, k->challenge.nonce, out);
	if (!r)
		r = buf_put_var(out, der, len);
	if (!r)
		log_warn("recovery: the code of the challenge is %s; it is good for %u minutes, or until the next one", code,
			 CHALLENGE_SECONDS / 60);
	return r;
}

int serve_challenge(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[CHALLENGE_MAX];
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = make_challenge(k, &b);
	return serve_reply(k, id, r, mem, b.len);
}

static int restore(struct keeper *k, const struct root_restore *q, struct root_blob *blob, struct sealed_root *s)
{
	int r = groups_room(&k->groups, q->tag.group);

	if (r)
		return tpm_fail(&k->tpm, r, "there are %u groups, and that is the limit", KEEPER_GROUPS_MAX);
	if (groups_find(&k->groups, q->tag.group))
		return tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is open: there is nothing to recover", q->tag.group);
	r = challenge_open(&k->challenge, challenge_now(), q, k->root);
	if (r == ERR_TIMEOUT)
		return tpm_fail(&k->tpm, r, "the challenge has expired, was used, or is of a keeper that has ended: make a new one");
	if (r)
		return tpm_fail(&k->tpm, r,
				"the answer does not verify: it is for another challenge or host, is not of this root, or was changed");
	r = root_restore(&k->tpm, q->tag.group, q->mask, q->flags, blob, s, k->root);
	if (r || q->flags & SEAL_SHARE) /* what is sealed is one share, and the group stays locked */
		return r;
	return groups_open(&k->groups, q->tag.group, k->root);
}

int serve_root_restore(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[SEALED_ROOT_MAX];
	struct root_restore q;
	struct sealed_root s = {0};
	struct root_blob blob;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || root_restore_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = restore(k, &q, &blob, &s);
	if (!r)
		r = sealed_root_encode(&b, &s);
	secmem_wipe(k->root, KEY_LEN);
	return serve_reply(k, id, r, mem, b.len);
}

/* ---- rotation ---- */

static const struct group_key *successor(struct keeper *k, const char *group)
{
	const struct group_key *next = groups_next(&k->groups, group);

	if (!next)
		(void)tpm_fail(&k->tpm, ERR_WRONG_STATE, "the root of group %s has no successor", group);
	return next;
}

/* The root that was sealed is the one that is open: its policy is the group's. */
static int check_before(struct keeper *k, const struct group_key *now, uint8_t was[static KEY_LEN])
{
	int r = now->shared ? wrap_combine(was, now->share, was) : 0;

	if (!r)
		r = groups_open(&k->groups, now->group, was);
	return r == ERR_EXISTS ? tpm_fail(&k->tpm, ERR_AUTH, "the row of group %s has another root than is open: it was changed", now->group) : r;
}

static int make_successor(struct keeper *k, const struct keeper_group_open *q, struct buf *out)
{
	const struct group_key *now = groups_keys(&k->groups, q->group), *next;
	uint8_t row[WRAPPED_KEY_LEN], extend[WRAPPED_KEY_LEN], id[ROOT_ID_LEN];
	struct sealed_root s = {0};
	struct root_blob blob;
	int r;

	if (!now)
		return tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is not open", q->group);
	if (now->shut) /* the new seal would take the PCRs for good that the old one refuses */
		return tpm_fail(&k->tpm, ERR_PCR, "group %s could not be unsealed once more: its root is not rotated", q->group);
	if (now->shared != !!(q->root.policy.flags & SEAL_SHARE))
		return tpm_fail(&k->tpm, ERR_AUTH, "the row of group %s was changed: it says another thing of a second share", q->group);
	r = root_renew(&k->tpm, q, &blob, &s, k->root, k->give->key);
	if (!r)
		r = check_before(k, now, k->give->key);
	if (!r && now->shared)
		r = wrap_combine(k->root, now->share, k->root);
	if (!r)
		r = wrap_root_id(k->root, id);
	if (!r)
		r = groups_succeed(&k->groups, q->group, k->root);
	if (r)
		return r;
	next = groups_next(&k->groups, q->group);
	r = wrap_former(next->key, FORMER_ROW, now->row, row);
	if (!r)
		r = wrap_former(next->key, FORMER_EXTEND, now->extend, extend);
	if (!r)
		r = sealed_root_encode(out, &s);
	if (!r && (buf_put_bytes(out, row, sizeof(row)) || buf_put_bytes(out, extend, sizeof(extend)) ||
		   buf_put_bytes(out, id, sizeof(id))))
		r = ERR_RANGE;
	return r;
}

int serve_group_reseal(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[SEALED_ROOT_MAX + FORMER_LEN + ROOT_ID_LEN];
	struct keeper_group_open q;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || keeper_group_open_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = make_successor(k, &q, &b);
	secmem_wipe(k->root, KEY_LEN);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, mem, b.len);
}

int serve_key_reseal(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t wrapped[WRAPPED_KEY_LEN];
	const struct group_key *next;
	struct key_binding to;
	struct key_reseal q;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || key_reseal_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	next = successor(k, q.binding.group);
	r = next ? serve_unwrap(k, &q.binding, q.wrapped, q.wrapped_len) : ERR_WRONG_STATE;
	to = q.binding;
	memcpy(to.config, q.config, DIGEST_LEN);
	if (!r)
		r = wrap_vtpm_key(next->key, &to, k->give->key, wrapped);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, wrapped, sizeof(wrapped));
}

int serve_ca_reseal(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t wrapped[WRAPPED_KEY_LEN];
	const struct group_key *next;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	next = successor(k, GROUP_DEFAULT);
	r = next ? ca_reseal(&k->ca, next->key, wrapped) : ERR_WRONG_STATE;
	return serve_reply(k, id, r, wrapped, sizeof(wrapped));
}

int serve_anchor_reseal(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[ANCHOR_RECORD_SIZE];
	struct anchor_record record;
	struct buf b;
	uint64_t id;
	int r;

	if (read_empty(m, &id))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = anchor_reseal(&k->anchor, &record);
	if (!r)
		r = anchor_record_encode(&b, &record);
	return serve_reply(k, id, r, mem, b.len);
}

int serve_group_switch(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	char group[NAME_MAX_LEN + 1];
	uint64_t id;
	int r;

	if (read_group(m, &id, group))
		return ERR_PROTO;
	r = successor(k, group) ? groups_switch(&k->groups, group) : ERR_WRONG_STATE;
	return serve_reply(k, id, r, NULL, 0);
}

static int end_rotation(struct keeper *k, struct ipc_msg *m, void (*end)(struct groups *g, const char *group))
{
	char group[NAME_MAX_LEN + 1];
	uint64_t id;

	if (read_group(m, &id, group))
		return ERR_PROTO;
	end(&k->groups, group);
	return serve_reply(k, id, 0, NULL, 0);
}

int serve_group_switched(void *peer, struct ipc_msg *m)
{
	return end_rotation(peer, m, groups_forget_former);
}

int serve_group_return(void *peer, struct ipc_msg *m)
{
	return end_rotation(peer, m, groups_return);
}

int serve_group_former(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	const struct group_key *now = groups_keys(&k->groups, GROUP_DEFAULT);
	const uint8_t *row, *extend;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_view(&m->body, WRAPPED_KEY_LEN, &row) ||
	    buf_get_view(&m->body, WRAPPED_KEY_LEN, &extend) || buf_left(&m->body))
		return ERR_PROTO;
	r = now ? unwrap_former(now->key, FORMER_ROW, row, k->root)
		: tpm_fail(&k->tpm, ERR_WRONG_STATE, "group %s is not open", GROUP_DEFAULT);
	if (!r)
		r = unwrap_former(now->key, FORMER_EXTEND, extend, k->give->key);
	if (!r)
		r = groups_take_former(&k->groups, GROUP_DEFAULT, k->root, k->give->key);
	secmem_wipe(k->root, KEY_LEN);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, NULL, 0);
}

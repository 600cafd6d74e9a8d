/* SPDX-License-Identifier: BSD-2-Clause */
/* The requests of vtpm-mgr/proto/share.h. */
#include "vtpm-mgr/keeper/serve.h"

#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/root.h"
#include "vtpm-mgr/keeper/wrap.h"

/* Both halves of a shared root, and the root that they make; in locked memory, as k->give is. */
#define SHARE(k) ((k)->give->key)

static int signed_key(struct keeper *k, const uint8_t *nonce, struct buf *out)
{
	uint8_t der[PUBKEY_MAX], mem[64 + CHALLENGE_NONCE_LEN + PUBKEY_MAX], digest[DIGEST_LEN], signature[SHARE_SIGNATURE_LEN];
	struct buf b;
	size_t len = 0;
	int r;

	buf_init(&b, mem, sizeof(mem));
	r = share_begin(&k->share, challenge_now(), nonce, der, &len);
	if (!r)
		r = share_signed(&b, nonce, der, len);
	if (!r)
		r = wrap_sha256(mem, b.len, digest);
	if (!r)
		r = ca_vouch(&k->ca, digest, signature);
	if (!r && (buf_put_var(out, der, len) || buf_put_bytes(out, signature, sizeof(signature))))
		r = ERR_RANGE;
	if (r)
		share_end(&k->share);
	return r;
}

int serve_share_begin(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[4 + PUBKEY_MAX + SHARE_SIGNATURE_LEN];
	const uint8_t *nonce;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_view(&m->body, CHALLENGE_NONCE_LEN, &nonce) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = signed_key(k, nonce, &b);
	return serve_reply(k, id, r, mem, b.len);
}

static int receive(struct keeper *k, const char *group, const uint8_t *envelope, size_t len)
{
	int r = share_receive(&k->share, challenge_now(), group, envelope, len, SHARE(k));

	return r ? tpm_fail(&k->tpm, r, "the share does not arrive: it took too long, or somebody on the way changed it; try again") : 0;
}

static int new_shared(struct keeper *k, const struct group_new_shared *q, struct buf *out)
{
	uint8_t id[ROOT_ID_LEN];
	struct sealed_root s = {0};
	struct root_blob blob;
	int r = groups_room(&k->groups, q->group.group);

	if (r)
		return tpm_fail(&k->tpm, r, "there are %u groups, and that is the limit", KEEPER_GROUPS_MAX);
	r = receive(k, q->group.group, q->envelope, q->envelope_len);
	if (!r)
		r = root_new(&k->tpm, q->group.group, q->group.mask, q->group.flags, &blob, &s, k->root);
	if (!r)
		r = wrap_combine(k->root, SHARE(k), k->root);
	if (!r)
		r = wrap_root_id(k->root, id);
	if (!r)
		r = sealed_root_encode(out, &s);
	if (!r)
		r = buf_put_bytes(out, id, sizeof(id));
	if (!r)
		r = groups_replace(&k->groups, q->group.group, k->root);
	if (!r)
		groups_keep_share(&k->groups, q->group.group, SHARE(k));
	return r;
}

int serve_group_new_shared(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[SEALED_ROOT_MAX + ROOT_ID_LEN];
	struct group_new_shared q;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || group_new_shared_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = new_shared(k, &q, &b);
	secmem_wipe(k->root, KEY_LEN);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, mem, b.len);
}

/* One try. A wrong share is told from a right one by nothing but the root that it makes. */
static int try_share(struct keeper *k, const struct group_unlock *q)
{
	uint64_t now = challenge_now();
	uint8_t id[ROOT_ID_LEN];
	bool right;
	int r = root_open(&k->tpm, &q->group, k->root);

	if (!r)
		r = wrap_combine(k->root, SHARE(k), k->root);
	if (!r)
		r = wrap_root_id(k->root, id);
	if (r)
		return r;
	right = secmem_equal(id, q->root_id, ROOT_ID_LEN);
	share_tried(&k->share, q->root_id, now, right);
	if (!right)
		return tpm_fail(&k->tpm, ERR_DENIED, "group %s stays locked: that is not its second share", q->group.group);
	r = groups_open(&k->groups, q->group.group, k->root);
	if (!r)
		groups_keep_share(&k->groups, q->group.group, SHARE(k));
	return r;
}

int serve_group_unlock(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct group_unlock q;
	uint64_t id, wait;
	int r;

	if (buf_get_u64le(&m->body, &id) || group_unlock_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	wait = share_must_wait(&k->share, q.root_id, challenge_now());
	if (wait)
		r = tpm_fail(&k->tpm, ERR_BUSY, "too many wrong shares for group %s: try again in %llu s", q.group.group, (unsigned long long)wait);
	else
		r = groups_room(&k->groups, q.group.group);
	if (!r)
		r = receive(k, q.group.group, q.envelope, q.envelope_len);
	if (!r)
		r = try_share(k, &q);
	secmem_wipe(k->root, KEY_LEN);
	secmem_wipe(k->give, sizeof(*k->give));
	return serve_reply(k, id, r, NULL, 0);
}

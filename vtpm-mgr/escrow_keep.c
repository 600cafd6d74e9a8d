/* SPDX-License-Identifier: BSD-2-Clause */
/* What offline keys hold of the roots: the keeper makes it, one key after the other; the store keeps it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"
#include "vtpm-mgr/reroot.h"

void escrow_meta_key(uint8_t what, const char *group, char key[static NAME_MAX_LEN + 16])
{
	if (what == ESCROW_OWNER)
		snprintf(key, NAME_MAX_LEN + 16, "escrow-owner");
	else
		snprintf(key, NAME_MAX_LEN + 16, "escrow:%s", group);
}

int escrow_load(struct mgr *m, uint8_t what, const char *group, uint8_t *mem, struct escrow_set *set)
{
	char key[NAME_MAX_LEN + 16];
	size_t len = ESCROW_SET_MAX;
	int err;

	escrow_meta_key(what, group, key);
	err = store_meta_get(m->store, key, mem, &len);
	if (err == ERR_RANGE)
		return ERR_AUTH;
	if (!err && !len) /* the keeper had no recovery keys then */
		return ERR_NOTFOUND;
	return err ? err : escrow_set_decode(mem, len, set);
}

/* ---- which keys ---- */

struct asking {
	struct mgr *m;
	keeper_done *done;
	void *arg;
};

static int take_keys(struct recovery_keys *keys, const struct keeper_reply *r)
{
	struct buf b;
	uint8_t n;

	buf_wrap(&b, r->result, r->result_len);
	if (buf_get_u8(&b, &n) || n > RECOVERY_KEYS_MAX || buf_get_bytes(&b, keys->fingerprints, n * DIGEST_LEN) || buf_left(&b))
		return ERR_PROTO;
	keys->n = n;
	return 0;
}

static void on_keys(void *arg, const struct keeper_reply *r)
{
	struct asking *a = arg;
	struct keeper_reply out = {.code = r->code};

	snprintf(out.text, sizeof(out.text), "%s", r->text);
	if (!out.code)
		out.code = take_keys(&a->m->keeper.recovery, r);
	a->done(a->arg, &out);
	free(a);
}

void escrow_ask_keys(struct mgr *m, keeper_done *done, void *arg)
{
	struct asking *a = calloc(1, sizeof(*a));

	if (!a) {
		done(arg, &(struct keeper_reply){.code = ERR_NOMEM});
		return;
	}
	*a = (struct asking){.m = m, .done = done, .arg = arg};
	keeper_ask_once(m, KEEPER_RECOVERY_KEYS, NULL, on_keys, a);
}

/* ---- making one ---- */

struct making {
	struct mgr *m;
	uint8_t what;
	char group[NAME_MAX_LEN + 1];
	uint8_t root[SEALED_ROOT_MAX];
	size_t root_len;
	struct set_list sets; /* PCR sets, which may be needed to unseal it */
	unsigned i;
	uint8_t set[ESCROW_SET_MAX];
	struct buf out;
	escrow_done *done;
	void *arg;
};

static void making_end(struct making *k, int code, const char *text)
{
	k->done(k->arg, code, text, k->set, code || !k->m->keeper.recovery.n ? 0 : k->out.len);
	free(k);
}

static void wrap_next(struct making *k);

static void on_wrapped(void *arg, const struct keeper_reply *r)
{
	struct making *k = arg;
	const uint8_t *id, *envelope;
	struct buf b;
	int err = r->code;

	buf_wrap(&b, r->result, r->result_len);
	if (!err && (buf_get_view(&b, ROOT_ID_LEN, &id) || buf_left(&b) < ENVELOPE_MIN || buf_left(&b) > ENVELOPE_MAX))
		err = ERR_PROTO;
	if (!err && k->i == 0 && (buf_put_bytes(&k->out, id, ROOT_ID_LEN) || buf_put_u8(&k->out, (uint8_t)k->m->keeper.recovery.n)))
		err = ERR_RANGE;
	if (!err && (buf_get_view(&b, r->result_len - ROOT_ID_LEN, &envelope) ||
		     buf_put_var(&k->out, envelope, r->result_len - ROOT_ID_LEN)))
		err = ERR_RANGE;
	if (err) {
		making_end(k, err, r->code ? r->text : err_text(err));
		return;
	}
	k->i++;
	wrap_next(k);
}

static void wrap_next(struct making *k)
{
	const struct recovery_keys *keys = &k->m->keeper.recovery;
	struct escrow_wrap req = {.what = k->what, .group = {.sets = k->sets.mem, .sets_len = k->sets.len}};
	uint8_t mem[KEEPER_ESCROW_WRAP_MAX];
	struct buf b, root;

	if (k->i >= keys->n) {
		making_end(k, 0, "");
		return;
	}
	snprintf(req.group.group, sizeof(req.group.group), "%s", k->group);
	memcpy(req.fingerprint, keys->fingerprints[k->i], DIGEST_LEN);
	buf_wrap(&root, k->root, k->root_len);
	buf_init(&b, mem, sizeof(mem));
	if (sealed_root_decode(&root, &req.group.root) || buf_left(&root) || escrow_wrap_encode(&b, &req))
		making_end(k, ERR_AUTH, "the group's row in the store is damaged");
	else
		keeper_ask_once(k->m, KEEPER_ESCROW_WRAP, &b, on_wrapped, k);
}

static void on_keys_for_making(void *arg, const struct keeper_reply *r)
{
	struct making *k = arg;

	if (r->code)
		making_end(k, r->code, r->text);
	else
		wrap_next(k);
}

void escrow_make(struct mgr *m, uint8_t what, const char *group, const uint8_t *root, size_t root_len, escrow_done *done, void *arg)
{
	struct making *k = root_len <= SEALED_ROOT_MAX ? calloc(1, sizeof(*k)) : NULL;

	if (!k) {
		done(arg, ERR_NOMEM, err_text(ERR_NOMEM), NULL, 0);
		return;
	}
	k->m = m;
	k->what = what;
	snprintf(k->group, sizeof(k->group), "%s", group);
	memcpy(k->root, root, root_len);
	k->root_len = root_len;
	sets_load(m, group, &k->sets);
	k->done = done;
	k->arg = arg;
	buf_init(&k->out, k->set, sizeof(k->set));
	escrow_ask_keys(m, on_keys_for_making, k);
}

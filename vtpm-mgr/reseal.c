/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Another root for a group while its vTPMs run. The keeper makes a successor, and wraps everything under it anew:
 *
 *	GROUP_RESEAL	a new root, sealed to the PCRs of now
 *	KEY_RESEAL	each vTPM's key, due to be replaced from then on (renew.c); of "default" also CA_RESEAL and ANCHOR_RESEAL
 *	escrow_make	the offline keys' copies
 *	one commit	all of that and the group's leaf, in one transaction. Its row is the first that is made with the new root, and it is
 *			anchored: GROUP_SWITCH, MAC, transaction, V, A (batch.c)
 *	GROUP_SWITCHED	the root before is forgotten
 *
 * A crash before the transaction leaves the root before, whole; after it the new one, whole. Rows from before it are verified with the keys
 * "former" until the new row is anchored. Nothing is made, imported or set meanwhile: what comes waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"
#include "vtpm-mgr/reroot.h"

#define SETTLE_MS 20u /* between two looks at what is being made */
#define META_MAX  6u

struct key {
	int64_t id;
	struct key_binding binding;
	uint8_t config[DIGEST_LEN]; /* once its row says that it is due */
	uint8_t wrapped[WRAPPED_KEY_LEN];
};

struct reseal {
	struct mgr *m;
	struct call *c;
	bool all;
	unsigned done_groups;
	json_t *names;	   /* of the groups that are done */
	struct group *g;   /* the one in hand */
	struct loop_timer settle;
	uint8_t root_id[ROOT_ID_LEN], share[SHARE_RECORD_SIZE], was[DIGEST_LEN]; /* was: of its row at the beginning */
	uint8_t root[SEALED_ROOT_MAX], former[FORMER_LEN], record[ANCHOR_RECORD_SIZE], ca[CA_KEY_MAX];
	size_t root_len, ca_len;
	struct sealed_root sealed; /* views into root */
	uint8_t escrow[ESCROW_SET_MAX], owner[ESCROW_SET_MAX];
	size_t escrow_len, owner_len;
	struct key *keys; /* as the store has them; keys[i] is in hand */
	size_t nkeys, i;
	struct store_rewrap *rewraps; /* of those that could be unwrapped */
	size_t n, damaged;
	struct store_meta meta[META_MAX];
	struct store_reseal store;
	bool committing;
	bool holds;
	uint64_t renewed; /* m->renewed at its beginning */
};

static void next_group(struct reseal *s);

/* ---- how it ends ---- */

static void forget_group(struct reseal *s)
{
	free(s->keys);
	free(s->rewraps);
	s->keys = NULL;
	s->rewraps = NULL;
	s->nkeys = s->i = s->n = s->damaged = 0;
	s->committing = s->holds = false;
}

bool reseal_holds(const struct mgr *m)
{
	return m->reseal && m->reseal->holds;
}

static void reseal_end(struct reseal *s, int code, const char *text)
{
	struct mgr *m = s->m;

	mgr_audit(m, s->c, "reseal", NULL, code, s->g ? s->g->name : "");
	if (code)
		call_error(s->c, code, "group %s keeps its root: %s%s", s->g ? s->g->name : "", text,
			   s->done_groups ? "; those before it are done" : "");
	else if (renew_wait(m, s->c, s->names, s->renewed))
		call_error(s->c, ERR_NOMEM, "the roots are rotated; out of memory");
	loop_timer_cancel(&m->loop, &s->settle);
	forget_group(s);
	json_decref(s->names);
	m->reseal = NULL;
	free(s);
	renew_all(m);
	provision_go_on(m);
}

void reseal_interrupt(struct mgr *m)
{
	struct reseal *s = m->reseal;

	if (!s || !s->committing || batch_has_switched(m)) /* what is on the disk is the base of the recovery that follows */
		return;
	change_abandon(m, s);
	keeper_end(m, "it has a successor of a root that is not stored");
	reseal_end(s, ERR_TPM_LOST, "the keeper, or the TPM, was lost meanwhile; try again");
}

void reseal_close(struct mgr *m)
{
	struct reseal *s = m->reseal;

	if (!s)
		return;
	change_abandon(m, s);
	changes_wait_no_more(m, s);
	loop_timer_cancel(&m->loop, &s->settle);
	forget_group(s);
	json_decref(s->names);
	free(s);
	m->reseal = NULL;
}

/* ---- the commit ---- */

/* What a start, or a backend that goes on for another, hands to the keeper is what the row had then. */
static void tell_running(struct reseal *s)
{
	for (struct vtpm *v = s->m->vtpms; v; v = v->next)
		for (size_t i = 0; i < s->n; i++)
			if (v->row.id == s->rewraps[i].id) {
				memcpy(v->row.wrapped, s->rewraps[i].new, WRAPPED_KEY_LEN);
				v->row.key_due = true;
			}
}

static void on_forgotten(void *arg, const struct keeper_reply *r)
{
	(void)arg;
	(void)r;
}

static void forget_former(struct reseal *s)
{
	uint8_t mem[KEEPER_GROUP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (s->m->keeper.state == KEEPER_READY && !group_name_encode(&b, s->g->name))
		keeper_ask(s->m, KEEPER_GROUP_SWITCHED, &b, on_forgotten, NULL);
	reseal_settled(s->m);
}

static void on_returned(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	if (r->code)
		keeper_end(m, "it has a successor of a root that is not stored");
}

/* Nothing is stored: the keeper may have the successor in the place of the root, and the next row is made with what it has after this. */
static void give_back(struct reseal *s)
{
	uint8_t mem[KEEPER_GROUP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (group_name_encode(&b, s->g->name))
		keeper_end(s->m, "it has a successor of a root that is not stored");
	else
		keeper_ask_once(s->m, KEEPER_GROUP_RETURN, &b, on_returned, s->m);
}

static void on_stored(void *arg, int code)
{
	struct reseal *s = arg;

	if (code) {
		give_back(s);
		reseal_end(s, code, code == ERR_NOTFOUND ? "a vTPM was changed meanwhile; try again"
				: code == ERR_WRONG_STATE ? "its row was changed meanwhile; try again"
							  : store_why(s->m->store));
		return;
	}
	tell_running(s);
	forget_former(s);
	group_policy_set(s->g, &s->sealed.policy);
	json_array_append_new(s->names, json_string(s->g->name));
	log_info("group %s: it has another root, and %zu keys of vTPMs are wrapped under it", s->g->name, s->n);
	if (s->damaged)
		log_warn("group %s: %zu vTPMs are quarantined, and their keys stay under the root before: they can never be opened",
			 s->g->name, s->damaged);
	mgr_audit(s->m, s->c, "reseal", NULL, 0, s->g->name);
	s->done_groups++;
	next_group(s);
}

static void add_meta(struct reseal *s, const char *key, const void *value, size_t len)
{
	struct store_meta *meta = &s->meta[s->store.nmeta++];

	snprintf(meta->key, sizeof(meta->key), "%s", key);
	meta->value = value;
	meta->len = len;
}

static void collect_meta(struct reseal *s)
{
	char key[NAME_MAX_LEN + 16];

	s->store = (struct store_reseal){.rewraps = s->rewraps, .nrewraps = s->n, .meta = s->meta};
	escrow_meta_key(ESCROW_ROOT, s->g->name, key);
	add_meta(s, key, s->escrow, s->escrow_len);
	if (s->g->flags & SEAL_SHARE && !share_renew(s->m, s->g->name, s->root_id, s->share)) {
		share_meta_key(s->g->name, key);
		add_meta(s, key, s->share, sizeof(s->share));
	}
	if (strcmp(s->g->name, DEFAULT_GROUP) != 0)
		return;
	add_meta(s, "escrow-owner", s->owner, s->owner_len);
	add_meta(s, "anchors", s->record, sizeof(s->record));
	add_meta(s, "ca", s->ca, s->ca_len);
	add_meta(s, "former", s->former, sizeof(s->former));
}

static void submit(struct reseal *s)
{
	struct change *ch = change_new(STORE_GROUP_SEAL, on_stored, s);
	int err = ch ? leaf_of_group(s->g->name, s->root, s->root_len, s->g->mode, &ch->leaf) : ERR_NOMEM;

	if (err) {
		if (ch)
			change_free(ch);
		reseal_end(s, err, err_text(err));
		return;
	}
	collect_meta(s);
	memcpy(ch->was, s->was, DIGEST_LEN);
	memcpy(ch->c.uuid, ch->leaf.uuid, UUID_LEN);
	ch->c.group = s->g->name;
	ch->c.sealed = s->root;
	ch->c.sealed_len = s->root_len;
	ch->c.reseal = &s->store;
	ch->switches = true;
	s->committing = true;
	change_submit(s->m, ch);
}

/* ---- what the offline keys hold ---- */

static void on_owner(void *arg, int code, const char *text, const uint8_t *set, size_t len)
{
	struct reseal *s = arg;

	if (code) {
		reseal_end(s, code, text);
		return;
	}
	memcpy(s->owner, set, len);
	s->owner_len = len;
	submit(s);
}

static void on_escrow(void *arg, int code, const char *text, const uint8_t *set, size_t len)
{
	struct reseal *s = arg;

	if (code) {
		reseal_end(s, code, text);
		return;
	}
	memcpy(s->escrow, set, len);
	s->escrow_len = len;
	if (strcmp(s->g->name, DEFAULT_GROUP) != 0 || s->m->continuity.record.flags & ANCHOR_SHARED)
		submit(s);
	else
		escrow_make(s->m, ESCROW_OWNER, s->g->name, s->root, s->root_len, on_owner, s);
}

static void keep_escrow(struct reseal *s)
{
	escrow_make(s->m, ESCROW_ROOT, s->g->name, s->root, s->root_len, on_escrow, s);
}

/* ---- of group "default": the CA's auth, the anchors' record ---- */

static void on_record(void *arg, const struct keeper_reply *r)
{
	struct reseal *s = arg;

	if (r->code || r->result_len != sizeof(s->record)) {
		reseal_end(s, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(s->record, r->result, sizeof(s->record));
	keep_escrow(s);
}

static int put_ca_auth(struct reseal *s, const uint8_t auth[static WRAPPED_KEY_LEN])
{
	uint8_t mem[CA_KEY_MAX];
	struct ca_key ca;
	struct buf b;
	int err = keeper_ca_request(s->m, mem, &b);

	if (!err)
		err = ca_key_decode(&b, &ca);
	if (err)
		return ERR_AUTH;
	ca.auth = auth;
	ca.auth_len = WRAPPED_KEY_LEN;
	buf_init(&b, s->ca, sizeof(s->ca));
	err = ca_key_encode(&b, &ca);
	s->ca_len = b.len;
	return err;
}

static void on_ca(void *arg, const struct keeper_reply *r)
{
	struct reseal *s = arg;
	int err = r->code ? r->code : r->result_len != WRAPPED_KEY_LEN ? ERR_PROTO : put_ca_auth(s, r->result);

	if (err)
		reseal_end(s, err, r->code ? r->text : "the CA's row in the store is damaged");
	else
		keeper_ask_once(s->m, KEEPER_ANCHOR_RESEAL, NULL, on_record, s);
}

static void keys_done(struct reseal *s)
{
	if (!strcmp(s->g->name, DEFAULT_GROUP))
		keeper_ask_once(s->m, KEEPER_CA_RESEAL, NULL, on_ca, s);
	else
		keep_escrow(s);
}

/* ---- the vTPMs' keys, one after the other ---- */

static void next_key(struct reseal *s);

static void on_key(void *arg, const struct keeper_reply *r)
{
	struct reseal *s = arg;
	struct store_rewrap *w = &s->rewraps[s->n];

	if (r->code == ERR_AUTH) { /* it is quarantined, or will be: its key is nobody's any more */
		s->damaged++;
	} else if (r->code || r->result_len != WRAPPED_KEY_LEN) {
		reseal_end(s, r->code ? r->code : ERR_PROTO, r->text);
		return;
	} else {
		w->id = s->keys[s->i].id;
		memcpy(w->old, s->keys[s->i].wrapped, WRAPPED_KEY_LEN);
		memcpy(w->new, r->result, WRAPPED_KEY_LEN);
		w->due = true;
		s->n++;
	}
	s->i++;
	next_key(s);
}

static void next_key(struct reseal *s)
{
	uint8_t mem[KEEPER_KEY_RESEAL_MAX];
	struct key_reseal req = {.wrapped_len = WRAPPED_KEY_LEN};
	struct buf b;

	if (s->i == s->nkeys) {
		keys_done(s);
		return;
	}
	req.binding = s->keys[s->i].binding;
	req.wrapped = s->keys[s->i].wrapped;
	memcpy(req.config, s->keys[s->i].config, DIGEST_LEN);
	buf_init(&b, mem, sizeof(mem));
	if (key_reseal_encode(&b, &req))
		reseal_end(s, ERR_RANGE, err_text(ERR_RANGE));
	else
		keeper_ask_once(s->m, KEEPER_KEY_RESEAL, &b, on_key, s);
}

static int key_make(struct key *k, const struct store_vtpm *row)
{
	struct store_vtpm due = *row;
	struct key_binding to;
	int err = vtpm_binding(row, &k->binding);

	due.key_due = true;
	if (!err)
		err = vtpm_binding(&due, &to);
	k->id = row->id;
	memcpy(k->wrapped, row->wrapped, WRAPPED_KEY_LEN);
	memcpy(k->config, to.config, DIGEST_LEN);
	return err;
}

static int list_key(void *arg, const struct store_vtpm *row)
{
	struct reseal *s = arg;
	struct key *more;

	if (strcmp(row->group, s->g->name) != 0)
		return 0;
	if (row->damaged || row->wrapped_len != WRAPPED_KEY_LEN) {
		s->damaged++;
		return 0;
	}
	more = realloc(s->keys, (s->nkeys + 1) * sizeof(*more));
	if (!more)
		return ERR_NOMEM;
	s->keys = more;
	return key_make(&s->keys[s->nkeys++], row);
}

static void on_successor(void *arg, const struct keeper_reply *r)
{
	struct reseal *s = arg;
	struct buf b;
	int err = r->code;

	if (!err && (r->result_len <= FORMER_LEN + ROOT_ID_LEN || r->result_len - FORMER_LEN - ROOT_ID_LEN > sizeof(s->root)))
		err = ERR_PROTO;
	if (err) {
		reseal_end(s, err, r->text);
		return;
	}
	s->root_len = r->result_len - FORMER_LEN - ROOT_ID_LEN;
	memcpy(s->root, r->result, s->root_len);
	memcpy(s->former, r->result + s->root_len, FORMER_LEN);
	memcpy(s->root_id, r->result + s->root_len + FORMER_LEN, ROOT_ID_LEN);
	buf_wrap(&b, s->root, s->root_len);
	if (sealed_root_decode(&b, &s->sealed) || buf_left(&b))
		err = ERR_PROTO;
	if (!err)
		err = store_vtpm_each(s->m->store, list_key, s);
	if (!err) {
		s->rewraps = calloc(s->nkeys + 1, sizeof(*s->rewraps));
		err = s->rewraps ? 0 : ERR_NOMEM;
	}
	if (err)
		reseal_end(s, err, err_text(err));
	else
		next_key(s);
}

/* ---- which group, and when ---- */

/* Nothing is on its way to the store that has a key of its own. */
static void on_quiet(void *arg)
{
	struct reseal *s = arg;
	uint8_t mem[KEEPER_GROUP_OPEN_MAX];
	struct set_list sets;
	struct buf b;

	sets_load(s->m, s->g->name, &sets);
	buf_init(&b, mem, sizeof(mem));
	if (group_row_hash(s->m, s->g, s->was) || group_request(s->m, s->g, sets.mem, sets.len, &b))
		reseal_end(s, ERR_AUTH, "its row in the store is damaged");
	else
		keeper_ask_once(s->m, KEEPER_GROUP_RESEAL, &b, on_successor, s);
}

static void on_settled(void *arg)
{
	struct reseal *s = arg;

	/* What is being made has a key under the root that there is. */
	if (provision_in_hand(s->m) || !renew_still(s->m))
		loop_timer_set(&s->m->loop, &s->settle, SETTLE_MS, on_settled, s);
	else
		changes_wait(s->m, on_quiet, s);
}

static void on_gate(void *arg, const struct keeper_reply *r)
{
	struct reseal *s = arg;

	if (r->code) {
		reseal_end(s, r->code, r->text);
		return;
	}
	if (!strcmp(s->g->name, DEFAULT_GROUP))
		pool_free(s->m);
	s->holds = true;
	on_settled(s);
}

/* Of all that are to be done, one after the other; those that are not open are left as they are, and said. */
static void next_group(struct reseal *s)
{
	struct group *g = s->g;

	forget_group(s);
	do
		g = s->all ? (g ? g->next : s->m->keeper.groups) : NULL;
	while (g && !g->open);
	if (!g) {
		reseal_end(s, 0, "");
		return;
	}
	s->g = g;
	keeper_open_group(s->m, g->name, on_gate, s);
}

void reseal_start(struct mgr *m, const char *group, struct call *c)
{
	struct group *g = group ? group_find(m, group) : NULL;
	struct reseal *s;

	if (group && !g) {
		call_error(c, ERR_NOTFOUND, "there is no group %s", group);
		return;
	}
	if (m->reseal || m->transfer) {
		call_error(c, ERR_BUSY, m->reseal ? "roots are being rotated already" : "a backup or restore is on its way; try again");
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	s->m = m;
	s->c = c;
	s->names = json_array();
	s->all = !group;
	s->renewed = m->renewed;
	m->reseal = s;
	s->g = g;
	if (g)
		keeper_open_group(m, g->name, on_gate, s);
	else
		next_group(s);
}

/* ---- after a crash in between ---- */

void reseal_remind(struct mgr *m, keeper_done *done, void *arg)
{
	uint8_t mem[FORMER_LEN];
	size_t len = sizeof(mem);
	struct buf b;

	if (store_meta_get(m->store, "former", mem, &len) || len != FORMER_LEN) {
		done(arg, &(struct keeper_reply){.code = 0});
		return;
	}
	buf_wrap(&b, mem, len);
	keeper_ask_once(m, KEEPER_GROUP_FORMER, &b, done, arg);
}

void reseal_settled(struct mgr *m)
{
	uint8_t mem[FORMER_LEN];
	size_t len = sizeof(mem);

	if (store_meta_get(m->store, "former", mem, &len) != ERR_NOTFOUND && store_meta_remove(m->store, "former"))
		log_warn("the keys of the root before are still in the store, under the one of now: %s", store_why(m->store));
}

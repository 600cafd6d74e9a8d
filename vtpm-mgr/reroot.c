/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store whose roots the TPM does not give out any more, with the answer of an offline key. Two ways:
 *
 *	the TPM is the one it was	each root is sealed to the PCRs of now. The anchors are there as before, so the store is
 *					proven to be the newest, and the new seals are one commit more
 *	it was cleared, or is another	as at --init: SRK, roots, CA key, anchors, a genesis row, and then the disk, in one
 *					transaction. Nothing proves that the store is the newest: an operator accepts that, and each leaf
 *					has one discontinuity more
 *					(reroot_move.c)
 *
 * In the second the recovered root must open the record of the anchors, and the last row of the journal must be made with it and
 * vouch for the leaves: so it is this store's root, and the store is what it once was as a whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/reroot.h"

void reroot_order_free(struct reroot_order *order)
{
	free(order->answers);
	order->answers = NULL;
	order->n = 0;
}

/* ---- how it ends ---- */

#define PLACED_TEXT                                                                                                                            \
	"the backup is in the state directory, and was not moved onto this TPM; start vtpm-mgr, and go on with vtpmctl recovery challenge"

/* Of a store that was made of a backup. */
static void init_end(struct mgr *m, int code, const char *text)
{
	if (code)
		log_error(PLACED_TEXT ": %s (%s)", text, err_text(code));
	else
		log_info("initialised %s with a backup: its roots are sealed in this TPM", m->cfg.state_dir);
	m->exit_code = code ? 1 : 0;
	loop_stop(&m->loop);
}

static json_t *names_of(const struct reroot *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->nback; i++)
		json_array_append_new(list, json_string(r->back[i].group));
	return list;
}

void reroot_end(struct reroot *r, int code, const char *text)
{
	struct mgr *m = r->m;

	m->continuity.releasing = false;
	mgr_audit(m, r->c, "recover", NULL, code,
		  r->moved ? "onto another TPM; that the store is the newest is an operator's word" : "sealed to the PCRs of now");
	if (code) {
		call_error(r->c, code, m->cfg.init ? PLACED_TEXT ": %s" : "nothing is recovered: %s", text);
		keeper_end(m, "a recovery came to nothing"); /* it may know a chip, or roots, that are not this store's */
	} else {
		log_warn(r->moved ? "the store was moved onto this TPM by a recovery key: that it is the newest is an operator's word"
				  : "roots were sealed to the PCRs of now by a recovery key");
		call_reply(r->c, json_pack("{s:o, s:b}", "groups", names_of(r), "moved", (int)r->moved));
	}
	if (m->cfg.init)
		init_end(m, code, text);
	reroot_order_free(&r->order);
	free(r->back);
	free(r);
}

/* The manager's picture of what the keeper has open. */
void reroot_mark_open(struct reroot *r)
{
	for (size_t i = 0; i < r->nback; i++) {
		struct group *g = group_find(r->m, r->back[i].group);

		if (!g)
			continue;
		g->needs_share = g->flags & SEAL_SHARE;
		g->open = !g->needs_share;
		g->reason[0] = '\0';
		g->locked = g->recovered = false;
		group_policy_set(g, &r->back[i].sealed.policy);
	}
}

/* ---- the same TPM: commits as others are ---- */

static void store_next(struct reroot *r);

static void on_sealed_stored(void *arg, int code)
{
	struct reroot *r = arg;

	if (code) {
		reroot_end(r, code, store_why(r->m->store));
		return;
	}
	r->stored++;
	store_next(r);
}

static void store_next(struct reroot *r)
{
	const struct regained *b = &r->back[r->stored];
	struct group *g = r->stored < r->nback ? group_find(r->m, b->group) : NULL;
	struct change *ch;
	int err;

	if (r->stored == r->nback) {
		reroot_end(r, 0, "");
		return;
	}
	ch = g ? change_new(STORE_GROUP_SEAL, on_sealed_stored, r) : NULL;
	err = ch ? leaf_of_group(b->group, b->root, b->len, g->mode, &ch->leaf) : ERR_NOMEM;
	if (err) {
		if (ch)
			change_free(ch);
		reroot_end(r, err, err_text(err));
		return;
	}
	memcpy(ch->was, b->was, DIGEST_LEN);
	memcpy(ch->c.uuid, ch->leaf.uuid, UUID_LEN);
	ch->c.group = b->group;
	ch->c.sealed = b->root;
	ch->c.sealed_len = b->len;
	change_submit(r->m, ch);
}

static void on_continuity(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;

	if (reply->code)
		reroot_end(r, reply->code, reply->text);
	else
		store_next(r);
}

static void go_on_here(struct reroot *r)
{
	reroot_mark_open(r);
	r->m->continuity.releasing = false;
	keeper_open_group(r->m, DEFAULT_GROUP, on_continuity, r);
}

/* ---- the roots ---- */

static void restore_next(struct reroot *r);

/* The group's row says which root it has, and the journal vouches for the row. */
static int check_root(struct reroot *r, struct regained *b)
{
	const struct group *g = group_find(r->m, b->group);
	uint8_t mem[SEALED_ROOT_MAX];
	struct sealed_root row;
	int err = g ? group_root(r->m, g, mem, &row) : ERR_NOTFOUND;

	if (!err)
		err = group_row_hash(r->m, g, b->was);
	return err ? err : memcmp(row.root_id, b->sealed.root_id, ROOT_ID_LEN) != 0 ? ERR_AUTH : 0;
}

int reroot_vouched(const struct reroot *r)
{
	for (size_t i = 0; i < r->nback; i++) {
		const struct regained *b = &r->back[i];
		const struct group *g = group_find(r->m, b->group);
		const struct leaf *leaf;
		struct store_leaf l;

		if (!g || leaf_of_group(b->group, b->root, b->len, g->mode, &l))
			return ERR_AUTH;
		leaf = leaves_find(&r->m->continuity.leaves, l.uuid);
		if (!leaf || memcmp(leaf->l.hash, b->was, DIGEST_LEN) != 0)
			return ERR_AUTH;
	}
	return 0;
}

/* A root that is back; on failure it has ended. */
static int take_root(struct reroot *r, const char *group, const uint8_t *root, size_t len, const char *why)
{
	struct regained *b = &r->back[r->nback];
	char text[TEXT_MAX + 1];
	struct buf in;
	int err = len > sizeof(b->root) ? ERR_PROTO : 0;

	if (!err) {
		memcpy(b->root, root, len);
		b->len = len;
		buf_wrap(&in, b->root, b->len);
		err = sealed_root_decode(&in, &b->sealed) || buf_left(&in) ? ERR_PROTO : 0;
	}
	if (err) {
		reroot_end(r, err, why);
		return err;
	}
	snprintf(b->group, sizeof(b->group), "%s", group);
	err = check_root(r, b);
	if (err) {
		snprintf(text, sizeof(text), "group %s: that is another root than the group has, as of before a rotation, or its row was changed", b->group);
		reroot_end(r, err, text);
		return err;
	}
	r->nback++;
	return 0;
}

static void on_restored(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;

	if (reply->code) {
		reroot_end(r, reply->code, reply->text);
	} else if (!take_root(r, r->order.answers[r->i].tag.group, reply->result, reply->result_len, reply->text)) {
		r->i++;
		restore_next(r);
	}
}

static bool is_wanted(const struct reroot *r, const char *name)
{
	const struct group *g = group_find(r->m, name);

	return g && !g->open;
}

static void restore_next(struct reroot *r)
{
	const struct reroot_answer *a;
	struct root_restore req = {.mask = r->order.mask, .flags = r->order.flags};
	uint8_t mem[KEEPER_ROOT_RESTORE_MAX];
	const struct group *g;
	struct buf b;

	while (r->i < r->order.n && !is_wanted(r, r->order.answers[r->i].tag.group))
		r->i++;
	if (r->i == r->order.n) {
		if (r->moved)
			reroot_move(r);
		else
			go_on_here(r);
		return;
	}
	a = &r->order.answers[r->i];
	req.tag = a->tag;
	g = group_find(r->m, a->tag.group);
	if (g)
		req.flags |= g->flags & SEAL_SHARE;
	req.envelope = a->envelope;
	req.envelope_len = a->len;
	buf_init(&b, mem, sizeof(mem));
	if (root_restore_encode(&b, &req))
		reroot_end(r, ERR_RANGE, err_text(ERR_RANGE));
	else
		keeper_ask_once(r->m, KEEPER_ROOT_RESTORE, &b, on_restored, r);
}

/* ---- its beginning ---- */

static void on_adopted(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	struct keeper_adopted a;
	struct buf b;

	buf_wrap(&b, reply->result, reply->result_len);
	if (reply->code || keeper_adopted_decode(&b, &a) || buf_left(&b)) {
		reroot_end(r, reply->code ? reply->code : ERR_PROTO, reply->text);
		return;
	}
	memcpy(r->name, a.name, a.name_len);
	r->name_len = a.name_len;
	memcpy(r->ek, a.ek, a.ek_len);
	r->ek_len = a.ek_len;
	restore_next(r);
}

const struct reroot_answer *reroot_answer_for(const struct reroot_order *o, const char *group)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->answers[i].tag.group, group))
			return &o->answers[i];
	return NULL;
}

/* Whether there is anything to recover, and the operator knows what it means. */
static int check_order(struct mgr *m, struct reroot_order *order, struct call *c, bool moved)
{
	bool any = false;

	for (size_t i = 0; i < order->n && !any; i++) {
		const struct group *g = group_find(m, order->answers[i].tag.group);

		any = g && !g->open;
	}
	if (m->continuity.releasing)
		call_error(c, ERR_BUSY, "a recovery, or the release of a store, is on its way; try again");
	else if (!any || (m->keeper.state != KEEPER_FOREIGN && m->keeper.state != KEEPER_READY))
		call_error(c, ERR_WRONG_STATE, "there is nothing to recover: the root is open, or the TPM does not answer; see vtpmctl status");
	else if (!reroot_answer_for(order, DEFAULT_GROUP))
		call_error(c, ERR_INVAL, "the answer has no root of group %s in it", DEFAULT_GROUP);
	else if (moved && !order->accept_rollback)
		call_error(c, ERR_INVAL, "%s", REROOT_MOVED_TEXT);
	else
		return 0;
	return ERR_INVAL;
}

/* NULL: the call has been answered. */
static struct reroot *reroot_new(struct mgr *m, struct reroot_order *order, struct call *c, bool moved)
{
	struct reroot *r = calloc(1, sizeof(*r));

	if (r)
		r->back = calloc(order->n, sizeof(*r->back));
	if (!r || !r->back) {
		free(r);
		reroot_order_free(order);
		call_error(c, ERR_NOMEM, "out of memory");
		return NULL;
	}
	r->m = m;
	r->c = c;
	r->order = *order;
	r->moved = moved;
	m->continuity.releasing = true; /* nor does another one begin, or a keeper's start */
	return r;
}

void reroot_go_on(struct mgr *m, struct reroot_order *order, struct call *c, const struct reroot_first *first)
{
	struct reroot *r = reroot_new(m, order, c, true);
	struct group *g = group_find(m, DEFAULT_GROUP);

	if (!r) {
		init_end(m, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	memcpy(r->name, first->name, first->name_len);
	r->name_len = first->name_len;
	memcpy(r->ek, first->ek, first->ek_len);
	r->ek_len = first->ek_len;
	if (take_root(r, DEFAULT_GROUP, first->root, first->len, err_text(ERR_PROTO)))
		return;
	g->open = true; /* check_root has found it */
	restore_next(r);
}

void reroot_start(struct mgr *m, struct reroot_order *order, struct call *c)
{
	bool moved = m->keeper.state == KEEPER_FOREIGN;
	struct reroot *r;

	if (check_order(m, order, c, moved)) {
		reroot_order_free(order);
		return;
	}
	r = reroot_new(m, order, c, moved);
	if (!r)
		return;
	if (moved)
		keeper_ask_once(m, KEEPER_ADOPT, NULL, on_adopted, r);
	else
		restore_next(r);
}

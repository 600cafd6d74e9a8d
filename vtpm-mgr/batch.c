/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One commit at a time (docs/continuity.md, "Commit"); what comes meanwhile is the next one:
 *
 *	batch_form	what waits, its leaves, the root over all leaves, the row
 *	batch_mac	the keeper authenticates the row
 *	batch_write	(1) one durable transaction with states, leaves and row
 *	batch_extend	(2) V, (3) A unless the row is plain; the keeper reads both back
 *	batch_done	(4) the answers
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/reroot.h"

#define PRUNE_AT 64u /* rows that are not needed any more before they are removed, all at once */

struct before {
	struct store_leaf leaf;
	bool had;
};

struct batch {
	bool on_disk;
	const char *switches; /* the group whose root has a successor; the change's */
	struct change *list;
	size_t n, nbefore;
	struct store_change changes[COMMIT_BATCH];
	struct before *before; /* the leaves that it changed, to take it back */
	struct store_leaf *put;
	const struct store_leaf **put_ptr;
	size_t nput;
	uint8_t gone[COMMIT_BATCH][UUID_LEN];
	size_t ngone;
	struct journal_row row;
	struct store_row stored;
	uint8_t wear[WEAR_SIZE];
};

struct change *batch_changes(const struct mgr *m)
{
	return m->continuity.batch ? m->continuity.batch->list : NULL;
}

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	free(b->before);
	free(b->put);
	free(b->put_ptr);
	free(b);
}

/* ---- forming ---- */

static struct batch *batch_new(struct mgr *m, uint8_t kind, size_t leaves)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->row.kind = kind;
	b->before = calloc(leaves + 1, sizeof(*b->before));
	b->put = calloc(leaves + 1, sizeof(*b->put));
	b->put_ptr = calloc(leaves + 1, sizeof(*b->put_ptr));
	if (b->before && b->put && b->put_ptr && !leaves_reserve(&m->continuity.leaves, leaves))
		return b;
	batch_free(b);
	return NULL;
}

static void remember(struct mgr *m, struct batch *b, const uint8_t uuid[static UUID_LEN])
{
	const struct leaf *old = leaves_find(&m->continuity.leaves, uuid);
	struct before *was = &b->before[b->nbefore++];

	was->had = old != NULL;
	if (old)
		was->leaf = old->l;
	else
		memcpy(was->leaf.uuid, uuid, UUID_LEN);
}

static int put_leaf(struct mgr *m, struct batch *b, const struct store_leaf *l)
{
	remember(m, b, l->uuid);
	b->put[b->nput] = *l;
	b->put_ptr[b->nput] = &b->put[b->nput];
	b->nput++;
	return leaves_put(&m->continuity.leaves, l);
}

static int remove_leaf(struct mgr *m, struct batch *b, const uint8_t uuid[static UUID_LEN])
{
	remember(m, b, uuid);
	memcpy(b->gone[b->ngone++], uuid, UUID_LEN);
	return leaves_remove(&m->continuity.leaves, uuid);
}

/* The leaves as they were before it. Room is there, so that this fails only with the hash function. */
static void batch_take_back(struct mgr *m, struct batch *b)
{
	int err = 0;

	while (b->nbefore && !err) {
		const struct before *was = &b->before[--b->nbefore];

		err = was->had ? leaves_put(&m->continuity.leaves, &was->leaf)
			       : leaves_remove(&m->continuity.leaves, was->leaf.uuid);
	}
	if (err)
		continuity_lost(m, err, "the leaves cannot be hashed");
}

static int put_restored(struct mgr *m, struct batch *b, const struct store_restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->n && !err; i++)
		err = put_leaf(m, b, &r->v[i].leaf);
	return err;
}

/* What a change makes of its leaf. An error concerns it alone. */
static int apply_op(struct mgr *m, struct batch *b, struct change *ch)
{
	const struct leaf *now = leaves_find(&m->continuity.leaves, ch->c.uuid);
	struct store_leaf l = ch->leaf;
	int err = 0;

	switch (ch->c.op) {
	case STORE_DELETE:
		return remove_leaf(m, b, ch->c.uuid);
	case STORE_RESTORE:
		return put_restored(m, b, ch->c.restore);
	case STORE_UPDATE:
		if (!now || ch->c.version != now->l.version + 1)
			return now ? ERR_WRONG_STATE : ERR_NOTFOUND;
		l = now->l;
		l.discontinuities += ch->c.rollback; /* its guest goes on from an older state, by its own policy */
		if (ch->c.row)
			l.certs = ch->leaf.certs;
		/* fallthrough */
	case STORE_INSERT:
		l.version = ch->c.version;
		err = leaf_hash(ch->c.sealed, ch->c.sealed_len, l.hash);
		break;
	case STORE_CONFIGURE:
		if (!now || now->l.version != l.version)
			return ERR_WRONG_STATE;
		break;
	case STORE_GROUP_SEAL: /* two that were made from one row would undo each other; one that the journal does not vouch for is no base */
	case STORE_GROUP_LAUNCH: /* of which there may be none */
		if (!leaf_is(now, ch->was))
			return ERR_WRONG_STATE;
		break;
	case STORE_GROUP:
	case STORE_RELEASE:
		break;
	}
	return err ? err : put_leaf(m, b, &l);
}

/* And of that of the list of what is revoked. */
static int apply(struct mgr *m, struct batch *b, struct change *ch)
{
	struct store_leaf l;
	int err = apply_op(m, b, ch);

	return err || !revocations_extend(&m->continuity.leaves, &ch->metas, &l) ? err : put_leaf(m, b, &l);
}

/* A restore is a batch of its own, of as many leaves as it likes. */
static bool ends_batch(const struct change *next, const struct batch *b)
{
	return next->c.op == STORE_RESTORE && b->n > 0;
}

/* Moves what waits into it, up to and with the first removal or restore: what follows may be under the same uuid. */
static void take_changes(struct mgr *m, struct batch *b)
{
	struct continuity *c = &m->continuity;
	struct change **end = &b->list;
	bool removal = false;

	while (c->queue && b->n < COMMIT_BATCH && !removal && !ends_batch(c->queue, b)) {
		struct change *ch = c->queue;
		bool anchoring = change_anchors(m, ch);
		int err = apply(m, b, ch);

		c->queue = ch->next;
		ch->next = NULL;
		if (err) {
			change_finish(ch, err);
			continue;
		}
		removal = ch->c.op == STORE_DELETE || ch->c.op == STORE_RESTORE;
		if (ch->switches)
			b->switches = ch->c.group;
		if (anchoring && b->row.kind == ROW_PLAIN)
			b->row.kind = ROW_ANCHOR;
		b->changes[b->n++] = ch->c;
		*end = ch;
		end = &ch->next;
	}
}

/* Model: make_row. Power was lost: kept in their leaves, and so in whatever is shown of them from now on. */
static int count_discontinuities(struct mgr *m, struct batch *b)
{
	int err = 0;

	for (size_t i = 0; i < m->continuity.leaves.n && !err; i++) {
		struct store_leaf l = m->continuity.leaves.v[i].l;

		if (l.epoch == 0 || l.mode != MODE_BOUNDED) /* a group, or a guest that has lost nothing */
			continue;
		l.discontinuities++;
		err = put_leaf(m, b, &l);
	}
	return err;
}

/* Model: make_row. */
static int row_make(struct mgr *m, struct batch *b)
{
	struct continuity *c = &m->continuity;
	struct buf buf;
	int err;

	b->row.n = c->last + 1;
	b->row.reset_count = c->view.reset_count;
	memcpy(b->row.prev, c->last_hash, DIGEST_LEN);
	memcpy(b->row.a_prev, c->view.a, DIGEST_LEN);
	memcpy(b->row.v_prev, c->view.v, DIGEST_LEN);
	err = leaves_root(&c->leaves, b->row.root);
	b->stored.n = b->row.n;
	buf_init(&buf, b->stored.row, sizeof(b->stored.row));
	return err ? err : journal_row_encode(&buf, &b->row);
}

/* ---- its end ---- */

/*
 * Nothing of it happened: it goes back to where it came from. What nobody waits for any more is forgotten: its vTPM may be
 * powered on again from the state before it.
 */
static void batch_requeue(struct mgr *m, struct batch *b)
{
	struct change **end = &b->list;

	batch_take_back(m, b);
	while (*end) {
		struct change *ch = *end;

		if (ch->arg) {
			end = &ch->next;
			continue;
		}
		*end = ch->next;
		change_free(ch);
	}
	*end = m->continuity.queue;
	m->continuity.queue = b->list;
	batch_free(b);
}

static void finish_all(struct change *list, int code)
{
	while (list) {
		struct change *ch = list;

		list = ch->next;
		change_finish(ch, code);
	}
}

static void batch_failed(struct mgr *m, struct batch *b, int code, const char *text)
{
	struct change *list = b->list;
	uint8_t kind = b->row.kind;

	batch_take_back(m, b);
	batch_free(b);
	finish_all(list, code);
	changes_settled(m);
	if (kind == ROW_OPEN)
		recovery_opened(m, code, text);
	if (kind == ROW_CLOSE)
		mgr_closed(m, code);
}

/* Model: acknowledge. Step 4. */
static void batch_done(struct mgr *m, struct batch *b)
{
	struct continuity *c = &m->continuity;
	struct change *list = b->list;
	uint8_t kind = b->row.kind;

	if (kind == ROW_PLAIN)
		wear_dirty(m);
	else
		wear_clean(m);
	c->commits++;
	c->changes += b->n;
	batch_free(b);
	finish_all(list, 0);
	changes_settled(m);
	if (kind == ROW_OPEN)
		recovery_opened(m, 0, "");
	if (kind == ROW_CLOSE)
		mgr_closed(m, 0);
}

/* Model: opened. */
void batch_answer_written(struct mgr *m, int code)
{
	struct change *list = m->continuity.written;

	m->continuity.written = NULL;
	finish_all(list, code);
	if (list)
		changes_settled(m);
}

bool batch_has_switched(const struct mgr *m)
{
	return m->continuity.batch && m->continuity.batch->switches && m->continuity.batch->on_disk;
}

/* Model: crash. */
void batch_interrupt(struct mgr *m)
{
	struct continuity *c = &m->continuity;
	struct batch *b = c->batch;
	struct change **end = &c->written;

	reseal_interrupt(m);
	c->batch = NULL;
	if (!b)
		return;
	if (!b->on_disk) {
		batch_requeue(m, b);
		if (!c->written)
			changes_settled(m);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = b->list;
	batch_free(b);
}

/* ---- the anchors ---- */

/* Model: stopped. */
static void on_extended(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct continuity *c = &m->continuity;
	struct batch *b = c->batch;
	struct buf buf;

	if (!b)
		return;
	buf_wrap(&buf, r->result, r->result_len);
	if (r->code || buf_get_bytes(&buf, c->view.a, DIGEST_LEN) || buf_get_bytes(&buf, c->view.v, DIGEST_LEN)) {
		continuity_lost(m, r->code ? r->code : ERR_PROTO, r->code ? r->text : "the keeper's answer is malformed");
		return;
	}
	c->batch = NULL;
	batch_done(m, b);
}

/* Model: extend_v, extend_a. */
static void batch_extend(struct mgr *m)
{
	struct batch *b = m->continuity.batch;
	struct buf buf;

	buf_wrap(&buf, b->stored.row, sizeof(b->stored.row));
	keeper_ask_once(m, KEEPER_ANCHOR_EXTEND, &buf, on_extended, m);
}

/* ---- the disk ---- */

static void report(struct mgr *m, int err)
{
	struct continuity *c = &m->continuity;

	if (err && err != c->store_result)
		log_error("the store cannot be written: %s (%s); guests get an error for commands that change their TPM, "
			  "until it can",
			  store_why(m->store), err_text(err));
	if (!err && c->store_result)
		log_info("the store can be written again");
	c->store_result = err;
}

/* Some cannot be stored, each for a reason of its own: they are told, and the row is made anew for the others. */
static void without_the_failed(struct mgr *m, struct batch *b)
{
	struct change **p = &b->list;

	for (size_t i = 0; i < b->n; i++) {
		struct change *ch = *p;

		if (!b->changes[i].result) {
			p = &ch->next;
			continue;
		}
		*p = ch->next;
		change_finish(ch, b->changes[i].result);
	}
	batch_requeue(m, b);
}

/* Model: write_row. */
static int transaction(struct mgr *m, struct batch *b)
{
	struct continuity *c = &m->continuity;
	const bool anchoring = b->row.kind != ROW_PLAIN;
	const struct store_meta wear = {.key = "wear", .value = b->wear, .len = WEAR_SIZE};
	struct store_tail tail = {.leaves = b->put_ptr,
				  .nleaves = b->nput,
				  .gone = (const uint8_t(*)[UUID_LEN])b->gone,
				  .ngone = b->ngone,
				  .row = &b->stored,
				  .meta = &wear,
				  .nmeta = anchoring ? 1 : 0};
	int err;

	if (c->anchored >= c->first + PRUNE_AT)
		tail.prune = c->anchored;
	if (anchoring)
		wear_spend(m, b->wear);
	err = store_commit(m->store, b->changes, b->n, &tail);
	if (!err && tail.prune)
		c->first = tail.prune;
	return err;
}

/* Model: write_row. Step 1. A row that was authenticated and is not written is never used: the next one has its number. */
static void batch_write(struct mgr *m)
{
	struct continuity *c = &m->continuity;
	struct batch *b = c->batch;
	int err = transaction(m, b);

	if (!err)
		err = row_hash(&b->stored, c->last_hash);
	if (!err) {
		report(m, 0);
		c->last = b->row.n;
		b->on_disk = true;
		batch_extend(m);
		return;
	}
	c->batch = NULL;
	if (err == ERR_AGAIN) {
		without_the_failed(m, b);
		return;
	}
	report(m, err);
	batch_failed(m, b, err, store_why(m->store));
}

static void on_mac(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct batch *b = m->continuity.batch;

	if (!b)
		return;
	if (r->code || r->result_len != DIGEST_LEN) {
		continuity_lost(m, r->code ? r->code : ERR_PROTO, r->code ? r->text : "the keeper's answer is malformed");
		return;
	}
	memcpy(b->stored.mac, r->result, DIGEST_LEN);
	batch_write(m);
}

/* Model: make_row. */
static void batch_mac(struct mgr *m)
{
	struct batch *b = m->continuity.batch;
	struct buf buf;

	buf_wrap(&buf, b->stored.row, sizeof(b->stored.row));
	keeper_ask_once(m, KEEPER_ROW_MAC, &buf, on_mac, m);
}

static void on_switched(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	if (!m->continuity.batch)
		return;
	if (r->code)
		continuity_lost(m, r->code, r->text);
	else
		batch_mac(m);
}

/* This row, and what follows it, are made with the successor of a root; rows before it are never made anew. */
static void batch_switch(struct mgr *m)
{
	uint8_t mem[KEEPER_GROUP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (group_name_encode(&b, m->continuity.batch->switches))
		continuity_lost(m, ERR_RANGE, err_text(ERR_RANGE));
	else
		keeper_ask_once(m, KEEPER_GROUP_SWITCH, &b, on_switched, m);
}

/* ---- beginning ---- */

static void batch_begin(struct mgr *m, struct batch *b)
{
	int err = row_make(m, b);

	if (err) {
		batch_failed(m, b, err, err_text(err));
		return;
	}
	m->continuity.batch = b;
	if (b->switches)
		batch_switch(m);
	else
		batch_mac(m);
}

/* Model: serve. What kind of row is due, before it is known what is in it. */
static uint8_t kind_due(const struct mgr *m)
{
	const struct continuity *c = &m->continuity;

	if (c->close_due && !c->queue)
		return ROW_CLOSE;
	return c->checkpoint_due || c->record.flags & ANCHOR_STRICT_ONLY ? ROW_ANCHOR : ROW_PLAIN;
}

/* Model: serve. */
static void batch_form(struct mgr *m)
{
	uint8_t kind = kind_due(m);
	const struct change *first = m->continuity.queue;
	size_t leaves = first && first->c.op == STORE_RESTORE ? first->c.restore->n : 0;
	struct batch *b = batch_new(m, kind, COMMIT_BATCH + (leaves > COMMIT_BATCH ? leaves : COMMIT_BATCH));

	if (!b) {
		changes_fail(m, ERR_NOMEM);
		return;
	}
	take_changes(m, b);
	if (b->n == 0 && kind == ROW_PLAIN)
		batch_free(b);
	else
		batch_begin(m, b);
}

void commit_flush(struct mgr *m)
{
	struct continuity *c = &m->continuity;

	/* Nobody will open it any more. */
	if (c->queue && (c->state == CONTINUITY_QUARANTINED ||
			 (m->draining && c->state == CONTINUITY_WAITING && m->keeper.state != KEEPER_STARTING)))
		changes_fail(m, c->code ? c->code : ERR_CLOSED);
	if (c->state != CONTINUITY_OPEN || c->batch || (!c->queue && !c->checkpoint_due && !c->close_due))
		return;
	batch_form(m);
}

/* Model: make_row. */
void batch_open(struct mgr *m, bool power_lost)
{
	struct batch *b = batch_new(m, ROW_OPEN, m->continuity.leaves.n);
	int err = 0;

	if (!b) {
		recovery_opened(m, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	if (power_lost)
		err = count_discontinuities(m, b);
	if (err)
		batch_failed(m, b, err, err_text(err));
	else
		batch_begin(m, b);
}

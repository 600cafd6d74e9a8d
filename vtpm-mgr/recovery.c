/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a new keeper finds (docs/continuity.md, "Recovery"), before anything is served:
 *
 *	recovery_anchors   the record's anchors, by Name, authorisation and value; the TPM's resets
 *	recovery_rows	   every row of the journal: its MAC, its link, which of them A and V hold the value of
 *	recovery_decide	   the table (recovery_table.c)
 *	recovery_leaves	   the leaves are those that the last row vouches for
 *	batch_open	   a new open row on it, with what the anchors hold now
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/reroot.h"

/* One walk through the journal. */
struct recovery {
	struct mgr *m;
	struct recovery_facts facts;
	struct store_row rows[ROWS_VERIFY_MAX]; /* being verified */
	struct journal_row parsed[ROWS_VERIFY_MAX];
	size_t n;
	bool any, broken;	   /* a row was seen; a row since A's, or the one itself, is not what it should be */
	uint64_t first, last, a_n; /* numbers */
	uint8_t last_hash[DIGEST_LEN], root[DIGEST_LEN];
};

int row_hash(const struct store_row *row, uint8_t hash[static DIGEST_LEN])
{
	return leaf_hash(row->row, sizeof(row->row), hash);
}

int record_load(struct mgr *m, struct anchor_record *record)
{
	uint8_t mem[ANCHOR_RECORD_SIZE];
	size_t len = sizeof(mem);
	struct buf b;
	int err = store_meta_get(m->store, "anchors", mem, &len);

	buf_wrap(&b, mem, err ? 0 : len);
	return err || anchor_record_decode(&b, record) || buf_left(&b) ? ERR_AUTH : 0;
}

int record_encode(const struct anchor_record *record, uint8_t mem[static ANCHOR_RECORD_SIZE])
{
	struct buf b;

	buf_init(&b, mem, ANCHOR_RECORD_SIZE);
	return anchor_record_encode(&b, record);
}

/* ---- how it ends ---- */

/* Model: quarantined. Named, kept; nothing is written and nothing is served. */
static void quarantine(struct mgr *m, enum recovery_outcome o)
{
	struct continuity *c = &m->continuity;
	bool news = c->state != CONTINUITY_QUARANTINED && !(c->decided && c->outcome == o);

	c->state = CONTINUITY_QUARANTINED;
	c->code = ERR_QUARANTINE;
	c->decided = true;
	c->outcome = o;
	snprintf(c->reason, sizeof(c->reason), "the store is quarantined: %s", recovery_sentence(o));
	if (news) {
		log_error("%s; nothing of it is changed and no vTPM is served; see vtpmctl status and docs/continuity.md",
			  c->reason);
		mgr_audit(m, NULL, "quarantine", NULL, ERR_QUARANTINE, c->reason);
	}
	batch_answer_written(m, ERR_QUARANTINE);
	keeper_boot_done(m);
}

/* Not now: whoever asks next, or the timer, has it tried again. */
static void put_off(struct mgr *m, int code, const char *text)
{
	continuity_lost(m, code, text);
	keeper_boot_done(m);
}

static void on_owned(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	if (r->code)
		log_warn("the owner hierarchy of the TPM keeps its empty password: %s", r->text);
	else
		m->continuity.view.owner = OWNER_OURS;
}

/* Whose rows of groups the journal does not vouch for are not used: somebody planted them. */
static void check_groups(struct mgr *m)
{
	uint8_t mem[STORE_META_MAX];
	struct store_leaf want;
	struct leaf *leaf;

	for (struct group *g = m->keeper.groups; g; g = g->next) {
		size_t len = sizeof(mem);
		int err = store_group_get(m->store, g->name, mem, &len);

		leaf = NULL;
		if (!err && !leaf_of_group(g->name, mem, len, MODE_BOUNDED, &want))
			leaf = leaves_find(&m->continuity.leaves, want.uuid);
		g->vouched = leaf && !memcmp(leaf->l.hash, want.hash, DIGEST_LEN);
		g->mode = leaf ? leaf->l.mode : MODE_STRICT;
		if (!g->vouched)
			log_error("group %s: its row in the store is not the one that the journal vouches for; it is not used",
				  g->name);
	}
}

/* Model: opened. */
void recovery_opened(struct mgr *m, int code, const char *text)
{
	struct continuity *c = &m->continuity;

	if (code) {
		put_off(m, code, text);
		return;
	}
	c->state = CONTINUITY_OPEN;
	c->code = 0;
	c->reason[0] = '\0';
	c->retry_ms = 0;
	loop_timer_cancel(&m->loop, &c->retry);
	check_groups(m);
	reseal_settled(m);
	batch_answer_written(m, 0); /* the base contains it, and A holds a row on it */
	held_take_over(m);
	if (c->view.owner == OWNER_EMPTY && !(c->record.flags & ANCHOR_SHARED))
		keeper_ask_once(m, KEEPER_ANCHOR_OWN, NULL, on_owned, m);
	keeper_boot_done(m);
}

/* ---- step by step ---- */

/* Model: decide. Whether the last row vouches for the leaves in the store. */
static int recovery_leaves(struct recovery *rec)
{
	struct leaves *leaves = &rec->m->continuity.leaves;
	uint8_t root[DIGEST_LEN];
	int err = leaves_load(leaves, rec->m->store);

	if (!err)
		err = leaves_root(leaves, root);
	if (!err && memcmp(root, rec->root, DIGEST_LEN) != 0)
		err = ERR_AUTH;
	return err;
}

/*
 * Model: decide.
 * A manager that has written rows finds the last of them: otherwise the disk was changed under it. So the base contains
 * whatever a batch that was interrupted had written.
 */
static bool ends_with_ours(const struct recovery *rec)
{
	const struct continuity *c = &rec->m->continuity;

	return !c->last || (c->last == rec->last && !memcmp(c->last_hash, rec->last_hash, DIGEST_LEN));
}

/* Model: decide. */
static void recovery_end(struct recovery *rec)
{
	struct mgr *m = rec->m;
	struct continuity *c = &m->continuity;
	enum recovery_outcome o = recovery_decide(&rec->facts);
	int err = 0;

	if (!recovery_refuses(o) && (rec->broken || !ends_with_ours(rec)))
		o = RECOVERY_JOURNAL;
	if (!recovery_refuses(o)) {
		err = recovery_leaves(rec);
		o = err == ERR_AUTH ? RECOVERY_LEAVES : o;
	}
	if (recovery_refuses(o)) {
		free(rec);
		quarantine(m, o);
		return;
	}
	c->decided = true;
	c->outcome = o;
	c->first = rec->first;
	c->last = rec->last;
	c->anchored = rec->a_n;
	memcpy(c->last_hash, rec->last_hash, DIGEST_LEN);
	free(rec);
	if (err) {
		put_off(m, err, store_why(m->store));
		return;
	}
	log_info("%s", recovery_sentence(o));
	batch_open(m, o == RECOVERY_POWER_LOST);
}

/* Model: decide. Each row from A's on must be ours, and follow the one before it. */
static int take_row(struct recovery *rec, size_t i, const struct row_view *after)
{
	const struct journal_row *row = &rec->parsed[i];
	const struct anchor_view *now = &rec->m->continuity.view;
	bool a = after->ok && row->kind != ROW_PLAIN && rec->facts.a == ANCHOR_VALUE &&
		 !memcmp(after->a_after, now->a, DIGEST_LEN);
	bool follows = rec->any && row->n == rec->last + 1 && !memcmp(row->prev, rec->last_hash, DIGEST_LEN);

	if (a) {
		rec->facts.a_row = true;
		rec->facts.a_kind = row->kind;
		rec->facts.a_reset_count = row->reset_count;
		rec->a_n = row->n;
		rec->broken = false;
	} else if (!after->ok || !follows) {
		rec->broken = true;
	}
	if (after->ok && rec->facts.v == ANCHOR_VALUE && !memcmp(after->v_after, now->v, DIGEST_LEN)) {
		rec->facts.v_row = true;
		rec->facts.v_fits = !memcmp(row->a_prev, now->a, DIGEST_LEN) ||
				    !memcmp(after->a_after, now->a, DIGEST_LEN);
	}
	if (!rec->any)
		rec->first = row->n;
	rec->any = true;
	rec->last = row->n;
	memcpy(rec->root, row->root, DIGEST_LEN);
	return row_hash(&rec->rows[i], rec->last_hash);
}

static void recovery_rows(struct recovery *rec);

static void on_rows(void *arg, const struct keeper_reply *r)
{
	struct recovery *rec = arg;
	struct mgr *m = rec->m;
	struct row_view after;
	struct buf b;
	int err = r->code;

	buf_wrap(&b, r->result, r->result_len);
	for (size_t i = 0; i < rec->n && !err; i++) {
		err = row_view_decode(&b, &after);
		if (!err)
			err = take_row(rec, i, &after);
	}
	if (err) {
		free(rec);
		put_off(m, err, r->code ? r->text : err_text(err));
		return;
	}
	recovery_rows(rec);
}

/* The next rows, as the keeper is asked about them. ERR_AUTH: one is none. */
static int read_rows(struct recovery *rec, struct buf *b)
{
	int err = store_journal_read(rec->m->store, rec->any ? rec->last + 1 : 0, rec->rows, ROWS_VERIFY_MAX, &rec->n);

	for (size_t i = 0; i < rec->n && !err; i++) {
		struct buf row;

		buf_wrap(&row, rec->rows[i].row, sizeof(rec->rows[i].row));
		if (journal_row_decode(&row, &rec->parsed[i]) || rec->parsed[i].n != rec->rows[i].n)
			return ERR_AUTH;
		if (buf_put_bytes(b, rec->rows[i].row, JOURNAL_ROW_SIZE) ||
		    buf_put_bytes(b, rec->rows[i].mac, DIGEST_LEN))
			err = ERR_RANGE;
	}
	return err;
}

/* Model: decide. */
static void recovery_rows(struct recovery *rec)
{
	struct mgr *m = rec->m;
	uint8_t mem[ROWS_VERIFY_MAX * ROW_SEALED_SIZE];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = read_rows(rec, &b);
	if (err) {
		free(rec);
		if (err == ERR_AUTH)
			quarantine(m, RECOVERY_JOURNAL);
		else
			put_off(m, err, store_why(m->store));
	} else if (rec->n == 0) {
		recovery_end(rec);
	} else {
		keeper_ask_once(m, KEEPER_ROWS_VERIFY, &b, on_rows, rec);
	}
}

static void on_anchors(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct continuity *c = &m->continuity;
	struct recovery *rec;
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code == ERR_AUTH) {
		quarantine(m, RECOVERY_RECORD);
		return;
	}
	if (r->code || anchor_view_decode(&b, &c->view)) {
		put_off(m, r->code ? r->code : ERR_PROTO, r->code ? r->text : "the keeper's answer is malformed");
		return;
	}
	rec = calloc(1, sizeof(*rec));
	if (!rec) {
		put_off(m, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	rec->m = m;
	rec->facts = (struct recovery_facts){.a = c->view.a_state,
					     .v = c->view.v_state,
					     .strict_only = c->record.flags & ANCHOR_STRICT_ONLY,
					     .reset_count = c->view.reset_count};
	recovery_rows(rec);
}

/* Model: decide. */
static void recovery_anchors(struct mgr *m)
{
	uint8_t mem[ANCHOR_RECORD_SIZE] = { 0 };
	struct buf b;

	buf_wrap(&b, mem, sizeof(mem));
	if (record_load(m, &m->continuity.record) || record_encode(&m->continuity.record, mem))
		quarantine(m, RECOVERY_RECORD);
	else
		keeper_ask_once(m, KEEPER_ANCHOR_OPEN, &b, on_anchors, m);
}

void recovery_begin(struct mgr *m)
{
	if (m->continuity.state != CONTINUITY_QUARANTINED)
		m->continuity.state = CONTINUITY_RECOVERING;
	wear_load(m);
	recovery_anchors(m);
}

/* ---- its state ---- */

int continuity_init(struct mgr *m)
{
	return leaves_init(&m->continuity.leaves);
}

void continuity_free(struct mgr *m)
{
	loop_timer_cancel(&m->loop, &m->continuity.checkpoint);
	loop_timer_cancel(&m->loop, &m->continuity.retry);
	batch_interrupt(m);
	changes_drop(m);
	leaves_free(&m->continuity.leaves);
}

static void on_retry(void *arg)
{
	keeper_boot_again(arg);
}

/* Model: crash. */
void continuity_lost(struct mgr *m, int code, const char *text)
{
	struct continuity *c = &m->continuity;

	if (c->state == CONTINUITY_OPEN || c->state == CONTINUITY_RECOVERING) {
		if (c->state == CONTINUITY_OPEN || strcmp(c->reason, text) != 0) /* once, however often it is tried again */
			log_error("durable changes wait: %s (%s)", text, err_text(code));
		c->state = CONTINUITY_WAITING;
	}
	if (c->state == CONTINUITY_WAITING) {
		c->code = code;
		snprintf(c->reason, sizeof(c->reason), "%s", text);
	}
	batch_interrupt(m);
	if (m->draining || c->state != CONTINUITY_WAITING) {
		mgr_check_drained(m);
		return;
	}
	c->retry_ms = c->retry_ms ? c->retry_ms * 2 : RESPAWN_MIN_MS;
	if (c->retry_ms > RESPAWN_MAX_MS)
		c->retry_ms = RESPAWN_MAX_MS;
	loop_timer_set(&m->loop, &c->retry, c->retry_ms, on_retry, m);
}

int continuity_why(struct mgr *m, char text[static TEXT_MAX + 1])
{
	const struct continuity *c = &m->continuity;
	const struct group *g = group_find(m, DEFAULT_GROUP);

	if (c->state == CONTINUITY_OPEN)
		return 0;
	if (c->state != CONTINUITY_QUARANTINED && g && !g->open && g->reason[0]) {
		snprintf(text, TEXT_MAX + 1, "group %s: %.400s", DEFAULT_GROUP, g->reason);
		return ERR_PCR;
	}
	snprintf(text, TEXT_MAX + 1, "%s", c->reason[0] ? c->reason : "the anchors in the TPM are not open yet");
	return c->code ? c->code : ERR_BUSY;
}

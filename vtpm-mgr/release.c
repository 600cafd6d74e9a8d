/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Out of quarantine, because an operator accepts that the state, or the whole store, may be an old one. Each is a row of
 * its own, is in the audit log, and leaves one discontinuity more in every leaf that it concerns.
 *
 *	one vTPM   the state on the disk becomes the newest: its leaf is made anew, and its key is wrapped for a new epoch, on
 *		   a line of its own: no row of before has it, nor anything that a QEMU has saved. Certificates are revoked if those that
 *		   are there, or the keys, are not those that were issued
 *	the store  each vTPM that is off begins a line of its own; both anchors are defined anew, a genesis row on what the disk holds is
 *		   extended into them, and only then it is written: as at provisioning, a crash in between leaves the store quarantined
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/keeper_client.h"

int release_line(uint64_t *epoch)
{
	uint64_t line = 0;
	int err = 0;

	while (!err && !line) {
		err = random_bytes(&line, sizeof(line));
		line >>= 64 - EPOCH_LINE_BITS;
	}
	*epoch = line << EPOCH_LINE_SHIFT;
	return err;
}

/* ---- one vTPM ---- */

struct vtpm_release {
	struct mgr *m;
	struct call *c;
	struct store_vtpm row, to; /* as it was read, and as it is to be */
};

static void vtpm_release_end(struct vtpm_release *r, int code, const char *text)
{
	mgr_audit(r->m, r->c, "release", &r->row, code, "rollback accepted");
	if (code)
		call_error(r->c, code, "%s is not released: %s", r->row.name, text);
	else
		call_reply(r->c, NULL);
	free(r);
}

/* Whether it may be released, as things are now; *why: why not. */
static int may_release(struct mgr *m, const struct store_vtpm *row, const char **why)
{
	*why = "it is powered on; stop it first";
	if (vtpm_powered(m, row->uuid))
		return ERR_WRONG_STATE;
	*why = "it is not quarantined";
	if (!vtpm_why_quarantined(m, row))
		return ERR_WRONG_STATE;
	*why = "its row is damaged; put it right, or restore it from a backup";
	if (row->damaged || row->wrapped_len != WRAPPED_KEY_LEN)
		return ERR_QUARANTINE;
	*why = "its group's root is being rotated; try again";
	if (m->reseal)
		return ERR_BUSY;
	*why = "it is being restored, destroyed or changed";
	return vtpm_held_back(m, row->uuid) || changes_destroy(m, row->id) || changes_configure(m, row->uuid) ? ERR_BUSY : 0;
}

/* The same once more, of the row that is there now: what the keeper was asked may have taken its time. */
static int still_may(const struct vtpm_release *r, const char **why)
{
	struct store_vtpm *now = malloc(sizeof(*now));
	int err = now ? store_vtpm_by_uuid(r->m->store, r->row.uuid, now) : ERR_NOMEM;

	*why = "it was changed or destroyed meanwhile";
	if (!err && (now->id != r->row.id || now->wrapped_len != r->row.wrapped_len ||
		     memcmp(now->wrapped, r->row.wrapped, WRAPPED_KEY_LEN) != 0))
		err = ERR_WRONG_STATE;
	if (!err)
		err = may_release(r->m, now, why);
	free(now);
	return err;
}

static void on_vtpm_released(void *arg, int code)
{
	struct vtpm_release *r = arg;

	vtpm_release_end(r, code, code == ERR_NOTFOUND ? "it was changed or destroyed meanwhile" : err_text(code));
}

/* The leaf of the state that is on the disk. */
static int leaf_on_disk(const struct vtpm_release *r, struct store_leaf *l)
{
	const struct leaf *known = leaves_find(&r->m->continuity.leaves, r->row.uuid);
	const struct group *g = group_find(r->m, r->row.group);
	uint8_t *sealed = malloc(SEALED_STATE_MAX);
	size_t len = SEALED_STATE_MAX;
	int err = sealed ? 0 : ERR_NOMEM;

	if (!err && !g)
		err = ERR_NOTFOUND;
	if (!err)
		err = store_state_get(r->m->store, r->row.uuid, &l->version, sealed, &len);
	if (!err)
		err = leaf_hash(sealed, len, l->hash);
	free(sealed);
	if (err)
		return err;
	memcpy(l->uuid, r->row.uuid, UUID_LEN);
	l->epoch = r->to.epoch;
	l->mode = known ? known->l.mode : g->mode;
	l->discontinuities = (known ? known->l.discontinuities : 0) + 1;
	return 0;
}

/*
 * What the leaf says of its keys and certificates stays, if that is what is there. Otherwise what was issued is revoked, and the keys that are there are
 * its keys by the operator's word, until they are certified anew.
 */
static int accept_keys(struct vtpm_release *r, struct change *ch)
{
	const struct leaf *known = leaves_find(&r->m->continuity.leaves, r->row.uuid);
	struct certs c;
	int err = known ? certs_load(r->m->store, &known->l, &r->row, &c) : ERR_AUTH;

	if (err != ERR_AUTH) {
		ch->leaf.certs = known->l.certs;
		return err;
	}
	err = known ? certs_revoke(r->m, &ch->metas, &known->l.certs, REVOKED_SUPERSEDED) : 0;
	c = (struct certs){ .kinds = known ? known->l.certs.kinds : AK_ONLY };
	return err ? err : certs_put(&ch->metas, &ch->leaf, &r->row, &c);
}

/* Nothing is on its way to the disk. */
static void submit(void *arg)
{
	struct vtpm_release *r = arg;
	const char *why;
	int err = still_may(r, &why);
	struct change *ch = err ? NULL : change_new(STORE_RELEASE, on_vtpm_released, r);

	if (!ch) {
		vtpm_release_end(r, err ? err : ERR_NOMEM, err ? why : err_text(ERR_NOMEM));
		return;
	}
	why = "its state is missing or damaged";
	err = leaf_on_disk(r, &ch->leaf);
	if (!err) {
		why = "its certificates cannot be revoked";
		err = accept_keys(r, ch);
	}
	if (err) {
		change_free(ch);
		vtpm_release_end(r, err, err == ERR_NOMEM ? err_text(err) : why);
		return;
	}
	memcpy(ch->c.uuid, r->row.uuid, UUID_LEN);
	ch->c.row = &r->row;
	ch->c.to = &r->to;
	change_submit(r->m, ch);
}

static void on_rebound(void *arg, const struct keeper_reply *reply)
{
	struct vtpm_release *r = arg;
	int err = reply->code ? reply->code : reply->result_len != WRAPPED_KEY_LEN ? ERR_PROTO : 0;

	if (err) {
		vtpm_release_end(r, err, reply->text[0] ? reply->text : err_text(err));
		return;
	}
	memcpy(r->to.wrapped, reply->result, WRAPPED_KEY_LEN);
	changes_wait(r->m, submit, r);
}

static int build_request(const struct vtpm_release *r, struct buf *b)
{
	struct keeper_key_rebind q = {.wrapped = r->row.wrapped, .wrapped_len = r->row.wrapped_len};
	int err = vtpm_binding(&r->row, &q.from);

	if (!err)
		err = vtpm_binding(&r->to, &q.to);
	return err ? err : keeper_key_rebind_encode(b, &q);
}

static void on_vtpm_gate(void *arg, const struct keeper_reply *reply)
{
	struct vtpm_release *r = arg;
	uint8_t mem[KEEPER_KEY_REBIND_MAX];
	struct buf b;
	int err = reply->code;

	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = build_request(r, &b);
	if (err)
		vtpm_release_end(r, err, reply->code ? reply->text : err_text(err));
	else
		keeper_ask(r->m, KEEPER_KEY_REBIND, &b, on_rebound, r);
}

void release_vtpm(struct mgr *m, const struct store_vtpm *row, struct call *c)
{
	struct vtpm_release *r;
	const char *why;
	int err = may_release(m, row, &why);

	if (err) {
		call_error(c, err, "%s is not released: %s", row->name, why);
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*r = (struct vtpm_release){.m = m, .c = c, .row = *row, .to = *row};
	err = release_line(&r->to.epoch);
	if (err)
		vtpm_release_end(r, err, err_text(err));
	else
		keeper_open_group(m, row->group, on_vtpm_gate, r);
}

/* ---- the store ---- */

struct store_release {
	struct mgr *m;
	struct call *c;
	size_t at;		   /* leaf in hand */
	struct store_vtpm vtpm;	   /* whose it is */
	struct store_rewrap *keys; /* of those that can go along */
	size_t nkeys;
	uint8_t (*left)[UUID_LEN]; /* the others */
	size_t nleft;
	struct anchor_record record;
	struct journal_row row;
	struct store_row stored;
};

/* Their leaves are of lines that they have not begun: none would be started. */
static void leave_behind(struct store_release *r)
{
	static const char why[] = "its group was not open, or its row not in order, when the store was released: it is to be released by itself";

	for (size_t i = 0; i < r->nleft; i++) {
		int err = store_vtpm_by_uuid(r->m->store, r->left[i], &r->vtpm);

		if (err || r->vtpm.quarantine[0])
			continue;
		err = store_vtpm_quarantine(r->m->store, r->left[i], why);
		mgr_audit(r->m, NULL, "quarantine", &r->vtpm, ERR_QUARANTINE, why);
		log_warn("%s: quarantined: %s%s", r->vtpm.name, why, err ? "; that cannot be recorded" : "");
	}
}

static void store_release_end(struct store_release *r, int code, const char *text)
{
	struct mgr *m = r->m;

	m->continuity.releasing = false;
	mgr_audit(m, r->c, "release", NULL, code, "the whole store; rollback accepted");
	if (code) {
		call_error(r->c, code, "the store is not released: %s", text);
	} else {
		log_warn("the store was released from quarantine: an operator accepts that it may be an old one");
		leave_behind(r);
		call_reply(r->c, NULL);
		keeper_boot_again(m);
	}
	free(r->keys);
	free(r->left);
	free(r);
}

/* Model: provision. */
static int write_it(struct store_release *r)
{
	struct leaves *leaves = &r->m->continuity.leaves;
	const struct store_leaf **put = calloc(leaves->n + 1, sizeof(*put));
	uint8_t record[ANCHOR_RECORD_SIZE];
	const struct store_meta meta = {.key = "anchors", .value = record, .len = sizeof(record)};
	int err = put ? record_encode(&r->record, record) : ERR_NOMEM;

	for (size_t i = 0; i < leaves->n && !err; i++)
		put[i] = &leaves->v[i].l;
	if (!err)
		err = store_commit(r->m->store, NULL, 0,
				   &(struct store_tail){.leaves = put,
							.nleaves = leaves->n,
							.row = &r->stored,
							.prune = r->row.n,
							.meta = &meta,
							.nmeta = 1,
							.rewraps = r->keys,
							.nrewraps = r->nkeys});
	free(put);
	r->m->continuity.last = 0; /* whatever was the last row before */
	return err;
}

static void on_extended(void *arg, const struct keeper_reply *reply)
{
	struct store_release *r = arg;
	int err = reply->code;

	if (!err)
		err = write_it(r);
	store_release_end(r, err, reply->code ? reply->text : store_why(r->m->store));
}

/* Model: provision. */
static void on_mac(void *arg, const struct keeper_reply *reply)
{
	struct store_release *r = arg;
	struct buf b;

	if (reply->code || reply->result_len != DIGEST_LEN) {
		store_release_end(r, reply->code ? reply->code : ERR_PROTO, reply->text);
		return;
	}
	memcpy(r->stored.mac, reply->result, DIGEST_LEN);
	buf_wrap(&b, r->stored.row, sizeof(r->stored.row));
	keeper_ask_once(r->m, KEEPER_ANCHOR_EXTEND, &b, on_extended, r);
}

/* The number of the row that is the last one on the disk, whatever else is wrong with it. */
static int last_row(struct store *s, uint64_t *last)
{
	struct store_row rows[ROWS_VERIFY_MAX];
	size_t n;
	int err;

	*last = 0;
	do {
		err = store_journal_read(s, *last + 1, rows, ROWS_VERIFY_MAX, &n);
		if (n)
			*last = rows[n - 1].n;
	} while (!err && n);
	/* One that cannot be read has at most a number that is in the way, and then this is refused. */
	return err == ERR_AUTH ? 0 : err;
}

/* Model: provision. */
static int genesis(struct store_release *r, uint32_t reset_count)
{
	struct leaves *leaves = &r->m->continuity.leaves;
	struct buf b;
	int err = leaves_count_all(leaves);

	if (!err)
		err = last_row(r->m->store, &r->row.n);
	r->row.n++;
	r->row.kind = ROW_GENESIS;
	r->row.reset_count = reset_count;
	if (!err)
		err = random_bytes(r->row.prev, DIGEST_LEN);
	if (!err)
		err = leaves_root(leaves, r->row.root);
	r->stored.n = r->row.n;
	buf_init(&b, r->stored.row, sizeof(r->stored.row));
	return err ? err : journal_row_encode(&b, &r->row);
}

/* Model: provision. */
static void on_renewed(void *arg, const struct keeper_reply *reply)
{
	struct store_release *r = arg;
	struct anchor_view view;
	struct buf b;
	int err = reply->code;

	buf_wrap(&b, reply->result, reply->result_len);
	if (err || anchor_record_decode(&b, &r->record) || anchor_view_decode(&b, &view)) {
		store_release_end(r, err ? err : ERR_PROTO, reply->text);
		return;
	}
	err = genesis(r, view.reset_count);
	if (err) {
		store_release_end(r, err, err_text(err));
		return;
	}
	buf_wrap(&b, r->stored.row, sizeof(r->stored.row));
	keeper_ask_once(r->m, KEEPER_ROW_MAC, &b, on_mac, r);
}

/* Model: provision. */
static void renew_anchors(struct store_release *r)
{
	uint8_t mem[ANCHOR_RECORD_SIZE] = {0};
	struct buf b;

	buf_wrap(&b, mem, sizeof(mem));
	if (record_encode(&r->record, mem))
		store_release_end(r, ERR_RANGE, err_text(ERR_RANGE));
	else
		keeper_ask_once(r->m, KEEPER_ANCHOR_RENEW, &b, on_renewed, r);
}

static void next_line(struct store_release *r);

static void does_not_follow(struct store_release *r)
{
	memcpy(r->left[r->nleft++], r->m->continuity.leaves.v[r->at].l.uuid, UUID_LEN);
}

static void on_line(void *arg, const struct keeper_reply *reply)
{
	struct store_release *r = arg;

	if (reply->code == ERR_AUTH) {
		does_not_follow(r);
	} else if (reply->code || reply->result_len != WRAPPED_KEY_LEN) {
		store_release_end(r, reply->code ? reply->code : ERR_PROTO, reply->text);
		return;
	} else {
		memcpy(r->keys[r->nkeys++].new, reply->result, WRAPPED_KEY_LEN);
	}
	r->at++;
	next_line(r);
}

/* The leaf in hand begins a line; b: what the keeper is asked for its row. ERR_AUTH: that cannot follow, and does not fit any more. */
static int line_begin(struct store_release *r, struct buf *b)
{
	struct leaves *leaves = &r->m->continuity.leaves;
	struct store_leaf l = leaves->v[r->at].l;
	struct store_rewrap *k = &r->keys[r->nkeys];
	struct store_vtpm *row = &r->vtpm;
	struct keeper_key_rebind q = {.wrapped = row->wrapped, .wrapped_len = WRAPPED_KEY_LEN};
	const uint64_t was = l.epoch;
	const struct group *g;
	int err = release_line(&l.epoch);

	if (!err)
		err = leaves_put(leaves, &l);
	if (!err)
		err = store_vtpm_by_uuid(r->m->store, l.uuid, row);
	if (err)
		return err == ERR_NOTFOUND ? ERR_AUTH : err;
	g = group_find(r->m, row->group);
	if (row->damaged || row->epoch != was || row->wrapped_len != WRAPPED_KEY_LEN || !g || !g->open)
		return ERR_AUTH;
	*k = (struct store_rewrap){.id = row->id, .due = row->key_due, .epoch = l.epoch};
	memcpy(k->old, row->wrapped, WRAPPED_KEY_LEN);
	err = vtpm_binding(row, &q.from);
	q.to = q.from;
	q.to.epoch = l.epoch;
	return err ? err : keeper_key_rebind_encode(b, &q);
}

/* One that is on keeps its line: what its QEMU saves next is bound to the one that it was started with. */
static bool begins_line(const struct mgr *m, const struct store_leaf *l)
{
	return l->epoch != 0 && !vtpm_powered(m, l->uuid);
}

static void next_line(struct store_release *r)
{
	const struct leaves *leaves = &r->m->continuity.leaves;
	uint8_t mem[KEEPER_KEY_REBIND_MAX];
	struct buf b;
	int err = ERR_AUTH;

	buf_init(&b, mem, sizeof(mem));
	for (; r->at < leaves->n; r->at++) {
		if (!begins_line(r->m, &leaves->v[r->at].l))
			continue;
		err = line_begin(r, &b);
		if (err != ERR_AUTH)
			break;
		does_not_follow(r);
	}
	if (r->at == leaves->n)
		renew_anchors(r);
	else if (err)
		store_release_end(r, err, err_text(err));
	else
		keeper_ask_once(r->m, KEEPER_KEY_REBIND, &b, on_line, r);
}

static int lines_prepare(struct store_release *r)
{
	struct leaves *leaves = &r->m->continuity.leaves;
	int err = leaves_load(leaves, r->m->store);

	if (err)
		return err;
	r->keys = calloc(leaves->n + 1, sizeof(*r->keys));
	r->left = calloc(leaves->n + 1, sizeof(*r->left));
	return r->keys && r->left ? 0 : ERR_NOMEM;
}

/* Looked at once more: what is wrong may have been put right. */
static void on_store_gate(void *arg, const struct keeper_reply *reply)
{
	struct store_release *r = arg;
	int err;

	if (r->m->continuity.state != CONTINUITY_QUARANTINED) {
		store_release_end(r, ERR_WRONG_STATE, reply->code ? reply->text : "it is not quarantined");
		return;
	}
	if (r->m->continuity.releasing) {
		call_error(r->c, ERR_BUSY, "the store is being released already");
		free(r);
		return;
	}
	r->m->continuity.releasing = true;
	if (record_load(r->m, &r->record)) {
		store_release_end(r, ERR_AUTH, "its record of the anchors is missing or damaged: put that back first (value anchors of "
					       "the table meta)");
		return;
	}
	err = lines_prepare(r);
	if (err)
		store_release_end(r, err, err == ERR_AUTH ? "the table leaf is damaged" : err_text(err));
	else
		next_line(r);
}

void release_store(struct mgr *m, struct call *c)
{
	struct store_release *r = calloc(1, sizeof(*r));

	if (!r) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*r = (struct store_release){.m = m, .c = c};
	keeper_open_group(m, DEFAULT_GROUP, on_store_gate, r);
}

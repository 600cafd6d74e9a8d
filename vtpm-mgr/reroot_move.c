/* SPDX-License-Identifier: BSD-2-Clause */
/* A store whose roots are back in the keeper, on another TPM: is it this store, then as at --init, the chip before the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/reroot.h"

#define META_MAX 8u

/* ---- another TPM: the last steps ---- */

/* It is done in any case: what is said of it is in the status. */
static void on_open_again(void *arg, const struct keeper_reply *reply)
{
	if (reply->code)
		log_error("the store was moved, and is not open: %s (%s)", reply->text, err_text(reply->code));
	reroot_end(arg, 0, "");
}

static void on_owned(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	struct mgr *m = r->m;

	if (reply->code) /* the store has the value: each start tries again */
		log_warn("the owner hierarchy of the TPM keeps its empty password: %s", reply->text);
	if (m->cfg.init) {
		reroot_end(r, 0, "");
		return;
	}
	m->keeper.ca_open = true;
	m->keeper.reason[0] = '\0';
	m->keeper.state = KEEPER_READY;
	m->keeper.reset_known = false;
	m->continuity.state = CONTINUITY_WAITING;
	m->continuity.last = 0; /* whatever was the last row before */
	reroot_mark_open(r);
	m->continuity.releasing = false;
	keeper_open_group(m, DEFAULT_GROUP, on_open_again, r);
}

static void add(struct store_meta *meta, size_t *n, const char *key, const void *value, size_t len)
{
	snprintf(meta[*n].key, sizeof(meta[*n].key), "%s", key);
	meta[*n].value = value;
	meta[*n].len = len;
	++*n;
}

/* Model: provision. */
static int reroot_write(struct reroot *r)
{
	struct mgr *m = r->m;
	struct leaves *leaves = &m->continuity.leaves;
	const struct store_leaf **put = calloc(leaves->n + 1, sizeof(*put));
	struct store_change *changes = calloc(r->nback + 1, sizeof(*changes));
	struct store_tail tail = {.leaves = put, .nleaves = leaves->n, .row = &r->stored_row, .prune = r->row.n};
	struct store_meta meta[META_MAX];
	struct buf when;
	int err = put && changes ? 0 : ERR_NOMEM;

	for (size_t i = 0; i < leaves->n && !err; i++)
		put[i] = &leaves->v[i].l;
	for (size_t i = 0; i < r->nback && !err; i++)
		changes[i] = (struct store_change){.op = STORE_GROUP_SEAL,
						   .group = r->back[i].group,
						   .sealed = r->back[i].root,
						   .sealed_len = r->back[i].len};
	buf_init(&when, r->when, sizeof(r->when));
	if (!err)
		err = buf_put_u64le(&when, (uint64_t)time(NULL));
	m->continuity.wear = (struct wear){.tokens = m->cfg.anchor_writes}; /* another chip's flash */
	wear_spend(m, r->wear);
	tail.meta = meta;
	add(meta, &tail.nmeta, "srk_name", r->name, r->name_len);
	add(meta, &tail.nmeta, "ek_name", r->ek, r->ek_len);
	add(meta, &tail.nmeta, "ca", r->ca, r->ca_len);
	add(meta, &tail.nmeta, "former-cas", r->former_cas, r->former_cas_len);
	add(meta, &tail.nmeta, "anchors", r->record, sizeof(r->record));
	add(meta, &tail.nmeta, "wear", r->wear, sizeof(r->wear));
	add(meta, &tail.nmeta, "escrow-owner", r->owner, r->owner_len);
	add(meta, &tail.nmeta, "moved", r->when, sizeof(r->when));
	if (!err)
		err = store_commit(m->store, changes, r->nback, &tail);
	free(changes);
	free(put);
	return err;
}

/* ---- its first row, before the disk: docs/continuity.md, "Provisioning" ---- */

/* Model: provision. */
static void on_reroot_extended(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	int err = reply->code ? reply->code : reroot_write(r);

	if (err)
		reroot_end(r, err, reply->code ? reply->text : store_why(r->m->store));
	else
		keeper_ask_once(r->m, KEEPER_ANCHOR_OWN, NULL, on_owned, r);
}

/* Model: provision. */
static void on_reroot_mac(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	struct buf b;

	if (reply->code || reply->result_len != DIGEST_LEN) {
		reroot_end(r, reply->code ? reply->code : ERR_PROTO, reply->text);
		return;
	}
	memcpy(r->stored_row.mac, reply->result, DIGEST_LEN);
	buf_wrap(&b, r->stored_row.row, sizeof(r->stored_row.row));
	keeper_ask_once(r->m, KEEPER_ANCHOR_EXTEND, &b, on_reroot_extended, r);
}

/* Each vTPM may have lost something, and each group that is back has another seal. */
static int change_leaves(struct reroot *r)
{
	struct leaves *leaves = &r->m->continuity.leaves;
	int err = leaves_count_all(leaves);

	for (size_t i = 0; i < r->nback && !err; i++) {
		struct regained *b = &r->back[i];
		const struct leaf *was;

		err = leaf_of_group(b->group, b->root, b->len, MODE_STRICT, &b->leaf);
		was = err ? NULL : leaves_find(leaves, b->leaf.uuid);
		if (was)
			b->leaf.mode = was->l.mode;
		if (!err)
			err = leaves_put(leaves, &b->leaf);
	}
	return err;
}

/* Model: provision. */
static int reroot_genesis(struct reroot *r)
{
	struct buf b;
	int err = change_leaves(r);

	r->row = (struct journal_row){.n = r->stored_row.n + 1, .kind = ROW_GENESIS, .reset_count = r->row.reset_count};
	if (!err)
		err = random_bytes(r->row.prev, DIGEST_LEN);
	if (!err)
		err = leaves_root(&r->m->continuity.leaves, r->row.root);
	r->stored_row.n = r->row.n;
	buf_init(&b, r->stored_row.row, sizeof(r->stored_row.row));
	return err ? err : journal_row_encode(&b, &r->row);
}

/* Model: provision. */
static void begin_journal(struct reroot *r)
{
	struct buf b;
	int err = reroot_genesis(r);

	buf_wrap(&b, r->stored_row.row, sizeof(r->stored_row.row));
	if (err)
		reroot_end(r, err, err_text(err));
	else
		keeper_ask_once(r->m, KEEPER_ROW_MAC, &b, on_reroot_mac, r);
}

static void on_owner_kept(void *arg, int code, const char *text, const uint8_t *set, size_t len)
{
	struct reroot *r = arg;

	if (code) {
		reroot_end(r, code, text);
		return;
	}
	memcpy(r->owner, set, len);
	r->owner_len = len;
	begin_journal(r);
}

static const struct regained *default_back(const struct reroot *r)
{
	const struct regained *b = r->back;

	while (strcmp(b->group, DEFAULT_GROUP) != 0) /* without an answer for it nothing has begun */
		b++;
	return b;
}

/* Model: provision. */
static void on_reroot_anchors(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	struct anchor_view view;
	struct buf b;
	int err = reply->code;

	buf_wrap(&b, reply->result, reply->result_len);
	if (!err && (buf_get_bytes(&b, r->record, sizeof(r->record)) || anchor_view_decode(&b, &view)))
		err = ERR_PROTO;
	if (err) {
		reroot_end(r, err, reply->text);
		return;
	}
	r->row.reset_count = view.reset_count;
	if (r->old.flags & ANCHOR_SHARED)
		begin_journal(r);
	else
		escrow_make(r->m, ESCROW_OWNER, DEFAULT_GROUP, default_back(r)->root, default_back(r)->len, on_owner_kept, r);
}

/* The certificate of the CA that went with its chip: endorsement keys that it certified verify against it as before. */
static int keep_former_ca(struct reroot *r)
{
	uint8_t mem[CA_KEY_MAX];
	size_t len = sizeof(r->former_cas);
	struct ca_key ca;
	struct buf b;
	int err = keeper_ca_request(r->m, mem, &b);

	if (err || ca_key_decode(&b, &ca))
		return 0; /* damaged: nothing to keep */
	buf_init(&b, r->former_cas, sizeof(r->former_cas));
	err = buf_put_var(&b, ca.cert, ca.cert_len);
	len -= b.len;
	if (!err && !store_meta_get(r->m->store, "former-cas", r->former_cas + b.len, &len))
		b.len += len; /* of as many chips as there is room for */
	r->former_cas_len = b.len;
	return err;
}

/* Model: provision. */
static void on_reroot_ca(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	const struct anchor_new req = {.a = r->old.a, .v = r->old.v, .flags = r->old.flags & ANCHOR_SHARED};
	uint8_t mem[ANCHOR_NEW_SIZE];
	struct buf b;
	int err = reply->code ? reply->code : reply->result_len > sizeof(r->ca) ? ERR_PROTO : keep_former_ca(r);

	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = anchor_new_encode(&b, &req);
	if (err) {
		reroot_end(r, err, reply->code ? reply->text : err_text(err));
		return;
	}
	memcpy(r->ca, reply->result, reply->result_len);
	r->ca_len = reply->result_len;
	keeper_ask_once(r->m, KEEPER_ANCHOR_NEW, &b, on_reroot_anchors, r);
}

/* ---- is it this store's root, and is the store whole? ---- */

/* Model: decide. */
static void on_last_row(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	struct leaves *leaves = &r->m->continuity.leaves;
	struct journal_row row;
	struct row_view view = {0};
	uint8_t root[DIGEST_LEN] = {0};
	struct buf b, in;
	int err = reply->code;

	buf_wrap(&b, reply->result, reply->result_len);
	buf_wrap(&in, r->stored_row.row, sizeof(r->stored_row.row));
	if (!err && (row_view_decode(&b, &view) || journal_row_decode(&in, &row)))
		err = ERR_PROTO;
	if (!err && !view.ok)
		err = ERR_AUTH;
	if (!err)
		err = leaves_load(leaves, r->m->store);
	if (!err)
		err = leaves_root(leaves, root);
	if (!err)
		err = reroot_vouched(r);
	if (!err && (row.n != r->stored_row.n || memcmp(root, row.root, DIGEST_LEN) != 0))
		err = ERR_AUTH;
	if (err)
		reroot_end(r, err,
			   err == ERR_AUTH ? "the journal does not vouch for what the store has: it was changed; put a whole copy back"
					   : reply->text);
	else
		keeper_ask_once(r->m, KEEPER_CA_NEW, NULL, on_reroot_ca, r);
}

/* Model: decide. */
static void on_reroot_record(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;
	uint8_t mem[ROW_SEALED_SIZE];
	struct buf b;
	int err = reply->code == ERR_AUTH ? ERR_AUTH : reply->code;

	if (err) {
		reroot_end(r, err, err == ERR_AUTH ? "that root is not the one that this store was made with" : reply->text);
		return;
	}
	err = store_last_row(r->m->store, &r->stored_row);
	buf_init(&b, mem, sizeof(mem));
	if (!err && (buf_put_bytes(&b, r->stored_row.row, JOURNAL_ROW_SIZE) || buf_put_bytes(&b, r->stored_row.mac, DIGEST_LEN)))
		err = ERR_RANGE;
	if (err)
		reroot_end(r, err, "the journal is damaged; put a whole copy of the store back");
	else
		keeper_ask_once(r->m, KEEPER_ROWS_VERIFY, &b, on_last_row, r);
}

/* Model: decide. What the TPM has at the handles is of no interest: the record must open. */
static void check_record(struct reroot *r)
{
	uint8_t mem[ANCHOR_RECORD_SIZE] = {0};
	struct buf b;

	buf_wrap(&b, mem, sizeof(mem));
	if (record_load(r->m, &r->old) || record_encode(&r->old, mem))
		reroot_end(r, ERR_AUTH, "the store's record of the anchors is missing or damaged; put a whole copy of the store back");
	else
		keeper_ask_once(r->m, KEEPER_ANCHOR_OPEN, &b, on_reroot_record, r);
}

static void on_remind(void *arg, const struct keeper_reply *reply)
{
	struct reroot *r = arg;

	if (reply->code)
		reroot_end(r, reply->code, reply->text);
	else
		check_record(r);
}

void reroot_move(struct reroot *r)
{
	reseal_remind(r->m, on_remind, r);
}

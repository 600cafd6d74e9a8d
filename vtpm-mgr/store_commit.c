/* SPDX-License-Identifier: BSD-2-Clause */
/* One transaction for many changes, with the leaves that describe them and the row of the journal that vouches for all. */
#include "vtpm-mgr/store_sqlite.h"

#include "lib/log.h"

/* ---- single changes ---- */

/* id 0: the next one that is free. */
static int insert_row(struct store *s, const struct store_vtpm *v, int64_t id)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_INSERT);

	bind_uuid(st, 1, v->uuid);
	bind_str(st, 2, v->name);
	bind_str(st, 3, v->group);
	sqlite3_bind_int64(st, 4, (int64_t)v->epoch);
	sqlite3_bind_int64(st, 5, v->user);
	sqlite3_bind_int64(st, 6, v->state_max);
	sqlite3_bind_int64(st, 7, v->commit_rate);
	sqlite3_bind_int64(st, 8, v->locality_max);
	sqlite3_bind_int64(st, 9, v->snapshots);
	sqlite3_bind_int64(st, 10, (int64_t)v->rollbacks);
	sqlite3_bind_int64(st, 11, v->created);
	bind_bytes(st, 12, v->machine, v->has_machine ? UUID_LEN : 0);
	bind_bytes(st, 13, v->token, v->has_token ? DIGEST_LEN : 0);
	bind_bytes(st, 14, v->wrapped, v->wrapped_len);
	bind_str(st, 15, v->quarantine);
	for (int i = 0; i < (int)STORE_EK_KINDS; i++) {
		bind_bytes(st, 16 + i, v->ek_public[i].data, v->ek_public[i].len);
		bind_bytes(st, 18 + i, v->cert[i].data, v->cert[i].len);
	}
	if (id > 0)
		sqlite3_bind_int64(st, 20, id);
	sqlite3_bind_int64(st, 21, v->launch);
	bind_bytes(st, 22, v->rules.data, v->rules.len);
	sqlite3_bind_int64(st, 23, v->key_due);
	return store_exec(s, st);
}

static int insert_state(struct store *s, const uint8_t uuid[static UUID_LEN], uint64_t version, const uint8_t *sealed,
			size_t sealed_len)
{
	sqlite3_stmt *st = store_stmt(s, SQL_STATE_INSERT);

	bind_uuid(st, 1, uuid);
	sqlite3_bind_int64(st, 2, (int64_t)version);
	bind_bytes(st, 3, sealed, sealed_len);
	return store_exec(s, st);
}

/* What was asked for must be what can be read back: the bounds of read_vtpm. */
static bool insertable(const struct store_vtpm *v, uint64_t version)
{
	for (size_t i = 0; i < STORE_EK_KINDS; i++) {
		if (v->ek_public[i].len > CERT_MAX || v->cert[i].len > CERT_MAX)
			return false;
	}
	return name_valid(v->name) && name_valid(v->group) && v->epoch >= 1 && v->epoch <= INT64_MAX && v->user >= -1 &&
	       v->user <= UINT32_MAX && v->locality_max <= LOCALITY_TOP && v->snapshots <= SNAPSHOTS_ALLOW &&
	       v->launch <= LAUNCH_OFF && v->rules.len <= STORE_RULES_MAX &&
	       v->rollbacks < INT64_MAX && v->created >= 0 &&
	       v->wrapped_len == WRAPPED_KEY_LEN && version >= 1 && version <= INT64_MAX;
}

/* Why an update met no row. */
static int missed(struct store *s, const uint8_t uuid[static UUID_LEN])
{
	sqlite3_stmt *st = store_stmt(s, SQL_STATE_GET);
	int err;

	bind_uuid(st, 1, uuid);
	err = store_row(s, st);
	if (err)
		return err;
	store_done(st);
	return ERR_WRONG_STATE;
}

static int rewrap(struct store *s, const struct store_rewrap *w)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_REWRAP);
	int err;

	sqlite3_bind_int64(st, 1, w->id);
	bind_bytes(st, 2, w->new, WRAPPED_KEY_LEN);
	bind_bytes(st, 3, w->old, WRAPPED_KEY_LEN);
	sqlite3_bind_int64(st, 4, w->due);
	sqlite3_bind_int64(st, 5, (int64_t)w->epoch);
	err = store_exec(s, st);
	if (err || sqlite3_changes(s->db) == 1)
		return err;
	st = store_stmt(s, SQL_VTPM_EXISTS);
	sqlite3_bind_int64(st, 1, w->id);
	err = store_row(s, st);
	if (!err)
		store_done(st);
	return err == ERR_NOTFOUND ? 0 : err ? err : ERR_NOTFOUND;
}

static int rewrap_all(struct store *s, const struct store_rewrap *w, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = rewrap(s, &w[i]);
	return err;
}

static int put_meta(struct store *s, const struct store_meta *meta, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		sqlite3_stmt *st = store_stmt(s, meta[i].value ? SQL_META_PUT : SQL_META_DELETE);

		bind_str(st, 1, meta[i].key);
		if (meta[i].value)
			bind_bytes(st, 2, meta[i].value, meta[i].len);
		err = meta[i].len > STORE_META_MAX ? ERR_RANGE : store_exec(s, st);
	}
	return err;
}

static int update_keys(struct store *s, const struct store_vtpm *v)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_KEYS);

	bind_uuid(st, 1, v->uuid);
	for (int i = 0; i < (int)STORE_EK_KINDS; i++) {
		bind_bytes(st, 2 + i, v->ek_public[i].data, v->ek_public[i].len);
		bind_bytes(st, 4 + i, v->cert[i].data, v->cert[i].len);
	}
	return store_exec(s, st);
}

static int update_state(struct store *s, const struct store_change *c)
{
	sqlite3_stmt *st;
	int err;

	if (c->version < 1 || c->version > INT64_MAX)
		return ERR_WRONG_STATE;
	st = store_stmt(s, SQL_STATE_UPDATE);
	bind_uuid(st, 1, c->uuid);
	sqlite3_bind_int64(st, 2, (int64_t)c->version);
	bind_bytes(st, 3, c->sealed, c->sealed_len);
	err = store_exec(s, st);
	if (!err && sqlite3_changes(s->db) != 1)
		return missed(s, c->uuid);
	if (!err && c->rewrap)
		err = rewrap(s, c->rewrap);
	if (!err && c->row)
		err = update_keys(s, c->row);
	if (err || !c->rollback)
		return err;
	st = store_stmt(s, SQL_VTPM_ROLLBACK);
	bind_uuid(st, 1, c->uuid);
	return store_exec(s, st);
}

static int configure_vtpm(struct store *s, const struct store_change *c)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_CONFIGURE);
	int err;

	bind_uuid(st, 1, c->row->uuid);
	sqlite3_bind_int64(st, 2, c->to->snapshots);
	bind_bytes(st, 3, c->to->wrapped, WRAPPED_KEY_LEN);
	bind_bytes(st, 4, c->row->wrapped, c->row->wrapped_len);
	sqlite3_bind_int64(st, 5, (int64_t)c->to->epoch);
	sqlite3_bind_int64(st, 6, c->op == STORE_RELEASE);
	sqlite3_bind_int64(st, 7, c->to->launch);
	bind_bytes(st, 8, c->to->rules.data, c->to->rules.len);
	err = store_exec(s, st);
	return !err && sqlite3_changes(s->db) != 1 ? ERR_NOTFOUND : err;
}

int store_vtpm_put(struct store *s, const struct store_vtpm *v, int64_t id, uint64_t version, const uint8_t *sealed,
		   size_t sealed_len)
{
	int err;

	if (!insertable(v, version))
		return ERR_INVAL;
	err = insert_row(s, v, id);
	return err ? err : insert_state(s, v->uuid, version, sealed, sealed_len);
}

static int delete_vtpm(struct store *s, const struct store_change *c)
{
	int err = store_exec_id(s, SQL_STATE_DELETE, c->id);

	if (!err)
		err = store_exec_id(s, SQL_VTPM_DELETE, c->id);
	if (!err && sqlite3_changes(s->db) != 1)
		err = ERR_NOTFOUND;
	return err;
}

static int insert_group(struct store *s, const struct store_change *c)
{
	sqlite3_stmt *st;
	int err;

	if (!name_valid(c->group))
		return ERR_INVAL;
	if (c->sealed_len > STORE_META_MAX)
		return ERR_RANGE;
	st = store_stmt(s, SQL_GROUP_PUT);
	bind_str(st, 1, c->group);
	bind_bytes(st, 2, c->sealed, c->sealed_len);
	err = store_exec(s, st);
	return err || !c->reseal ? err : put_meta(s, c->reseal->meta, c->reseal->nmeta);
}

static int seal_group(struct store *s, const struct store_change *c)
{
	sqlite3_stmt *st = store_stmt(s, SQL_GROUP_SEAL);
	int err;

	if (c->sealed_len > STORE_META_MAX)
		return ERR_RANGE;
	bind_str(st, 1, c->group);
	bind_bytes(st, 2, c->sealed, c->sealed_len);
	err = store_exec(s, st);
	if (!err && sqlite3_changes(s->db) != 1)
		err = ERR_NOTFOUND;
	if (!err && c->reseal)
		err = rewrap_all(s, c->reseal->rewraps, c->reseal->nrewraps);
	return err || !c->reseal ? err : put_meta(s, c->reseal->meta, c->reseal->nmeta);
}

static int apply_op(struct store *s, const struct store_change *c)
{
	switch (c->op) {
	case STORE_UPDATE:
		return update_state(s, c);
	case STORE_INSERT:
		return store_vtpm_put(s, c->row, 0, c->version, c->sealed, c->sealed_len);
	case STORE_DELETE:
		return delete_vtpm(s, c);
	case STORE_CONFIGURE:
	case STORE_RELEASE:
		return configure_vtpm(s, c);
	case STORE_GROUP:
		return insert_group(s, c);
	case STORE_GROUP_LAUNCH:
		return 0; /* its meta is all */
	case STORE_GROUP_SEAL:
		return seal_group(s, c);
	case STORE_RESTORE:
		return store_restore_put(s, c->restore);
	}
	return ERR_INVAL;
}

static int apply(struct store *s, const struct store_change *c)
{
	int err = apply_op(s, c);

	return err ? err : put_meta(s, c->meta, c->nmeta);
}

/* ---- all of them ---- */

/* A damaged page, a wrong version or a name that is taken concerns one vTPM. */
static bool concerns_one(const struct store *s, int err)
{
	return (err == ERR_WRONG_STATE || err == ERR_NOTFOUND || err == ERR_AUTH || err == ERR_RANGE || err == ERR_EXISTS ||
		err == ERR_INVAL) &&
	       !sqlite3_get_autocommit(s->db);
}

/* 0; ERR_AGAIN: some concern one vTPM each, and have their result; or what ends the transaction. */
static int apply_all(struct store *s, struct store_change *changes, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		changes[i].result = apply(s, &changes[i]);
		if (!changes[i].result)
			continue;
		if (!concerns_one(s, changes[i].result))
			return changes[i].result;
		err = ERR_AGAIN;
	}
	return err;
}

int store_commit(struct store *s, struct store_change *changes, size_t n, const struct store_tail *tail)
{
	bool erased = false;
	int err = store_begin(s);

	if (!err)
		err = apply_all(s, changes, n);
	if (!err)
		err = put_meta(s, tail->meta, tail->nmeta);
	if (!err)
		err = rewrap_all(s, tail->rewraps, tail->nrewraps);
	if (!err)
		err = store_journal_put(s, tail);
	/* secure_delete has overwritten a key in the database; the log still holds pages from before. */
	for (size_t i = 0; i < n; i++)
		erased |= changes[i].op == STORE_DELETE || (changes[i].op == STORE_GROUP_SEAL && changes[i].reseal) || changes[i].rewrap;
	if (!err && erased)
		s->dirty_wal = true;
	if (!err || !sqlite3_get_autocommit(s->db))
		err = store_end(s, err);
	if (!err && erased && s->dirty_wal)
		log_warn("store: an erased key may still be in the log, which is wiped as soon as possible: %s", s->why);
	for (size_t i = 0; i < n && err && err != ERR_AGAIN; i++)
		changes[i].result = err;
	return err;
}

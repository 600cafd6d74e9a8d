/* SPDX-License-Identifier: BSD-2-Clause */
/* Named values, groups, and the pool of instances that have no name yet. */
#include "vtpm-mgr/store_sqlite.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

/* ---- meta and groups ---- */

/* Value by text key, the shape of meta and of groups. */
static int value_get(struct store *s, enum store_sql which, const char *key, void *p, size_t *len)
{
	sqlite3_stmt *st = store_stmt(s, which);
	int err;

	bind_str(st, 1, key);
	err = store_row(s, st);
	if (err)
		return err;
	err = col_copy(st, 0, p, len);
	store_done(st);
	return err;
}

static int value_put(struct store *s, enum store_sql which, const char *key, const void *p, size_t len)
{
	sqlite3_stmt *st;
	int err;

	if (len > STORE_META_MAX)
		return ERR_RANGE;
	err = store_begin(s);
	if (err)
		return err;
	st = store_stmt(s, which);
	bind_str(st, 1, key);
	bind_bytes(st, 2, p, len);
	return store_end(s, store_exec(s, st));
}

int store_meta_get(struct store *s, const char *key, void *p, size_t *len)
{
	return value_get(s, SQL_META_GET, key, p, len);
}

int store_meta_put(struct store *s, const char *key, const void *p, size_t len)
{
	return value_put(s, SQL_META_PUT, key, p, len);
}

int store_group_get(struct store *s, const char *name, void *p, size_t *len)
{
	return value_get(s, SQL_GROUP_GET, name, p, len);
}

int store_group_put(struct store *s, const char *name, const void *p, size_t len)
{
	return name_valid(name) ? value_put(s, SQL_GROUP_PUT, name, p, len) : ERR_INVAL;
}

static int group_name(struct store *s, int64_t id, char name[static NAME_MAX_LEN + 1])
{
	sqlite3_stmt *st = store_stmt(s, SQL_GROUP_NAME);
	int err;

	sqlite3_bind_int64(st, 1, id);
	err = store_row(s, st);
	if (err)
		return err;
	err = col_name(st, 0, name);
	store_done(st);
	return err;
}

int store_group_each(struct store *s, int (*row)(void *arg, const char *name), void *arg)
{
	char name[NAME_MAX_LEN + 1];
	struct ids ids;
	int err = ids_load(s, SQL_GROUP_IDS, &ids);

	if (err)
		return err;
	for (size_t i = 0; i < ids.n && !err; i++) {
		err = group_name(s, ids.v[i], name);
		if (err == ERR_AUTH) { /* the vTPMs that name it will say that it is not there */
			log_error("store: group row %lld is damaged; it is kept and left out", (long long)ids.v[i]);
			err = 0;
			continue;
		}
		if (err == ERR_NOTFOUND) /* the callback removed it */
			err = 0;
		else if (!err)
			err = row(arg, name);
	}
	free(ids.v);
	return err;
}

/* ---- the pool ---- */

int store_pool_put(struct store *s, const struct store_pool_row *row, const uint8_t *sealed, size_t sealed_len)
{
	sqlite3_stmt *st;
	int err;

	if (row->wrapped_len != WRAPPED_KEY_LEN || row->version < 1 || row->version > INT64_MAX)
		return ERR_INVAL;
	err = store_begin(s);
	if (err)
		return err;
	st = store_stmt(s, SQL_POOL_PUT);
	bind_uuid(st, 1, row->uuid);
	bind_bytes(st, 2, row->wrapped, row->wrapped_len);
	sqlite3_bind_int64(st, 3, (int64_t)row->version);
	bind_bytes(st, 4, sealed, sealed_len);
	return store_end(s, store_exec(s, st));
}

/* The first row whose uuid is not in skip. */
static int pool_pick(struct store *s, const uint8_t (*skip)[UUID_LEN], size_t nskip, int64_t *id)
{
	sqlite3_stmt *st = store_stmt(s, SQL_POOL_IDS);
	uint8_t uuid[UUID_LEN];
	int err;

	while ((err = store_row(s, st)) == 0) {
		size_t i = 0;

		if (col_exact(st, 1, uuid, UUID_LEN))
			continue;
		while (i < nskip && memcmp(skip[i], uuid, UUID_LEN) != 0)
			i++;
		if (i == nskip)
			break;
	}
	if (!err)
		*id = sqlite3_column_int64(st, 0);
	store_done(st);
	return err;
}

int store_pool_get(struct store *s, const uint8_t (*skip)[UUID_LEN], size_t nskip, struct store_pool_row *row, void *p,
		   size_t *len)
{
	sqlite3_stmt *st;
	int64_t id;
	int64_t n = 0;
	int err = pool_pick(s, skip, nskip, &id);

	if (err)
		return err;
	memset(row, 0, sizeof(*row));
	st = store_stmt(s, SQL_POOL_LOAD);
	sqlite3_bind_int64(st, 1, id);
	err = store_row(s, st);
	if (err)
		return err;
	err = col_exact(st, 0, row->uuid, UUID_LEN);
	if (!err)
		err = col_wrapped(st, 1, row->wrapped, &row->wrapped_len);
	if (!err)
		err = col_int(st, 2, 1, INT64_MAX, &n);
	if (!err)
		err = col_copy(st, 3, p, len);
	store_done(st);
	row->version = err ? 0 : (uint64_t)n;
	return err;
}

int store_pool_drop(struct store *s, const uint8_t uuid[static UUID_LEN])
{
	int err = store_begin(s);

	if (err)
		return err;
	err = store_exec_uuid(s, SQL_POOL_DROP, uuid);
	if (!err && sqlite3_changes(s->db) != 1)
		err = ERR_NOTFOUND;
	return store_end(s, err);
}

int store_pool_count(struct store *s, uint32_t *n)
{
	sqlite3_stmt *st = store_stmt(s, SQL_POOL_COUNT);
	int64_t count = 0;
	int err = store_row(s, st);

	*n = 0;
	if (err)
		return err;
	err = col_int(st, 0, 0, UINT32_MAX, &count);
	store_done(st);
	*n = (uint32_t)count;
	return err;
}

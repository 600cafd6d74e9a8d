/* SPDX-License-Identifier: BSD-2-Clause */
/* Named values and groups. */
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

int store_meta_put(struct store *s, const char *key, const void *p, size_t len)
{
	sqlite3_stmt *st;
	int err;

	if (len > STORE_META_MAX)
		return ERR_RANGE;
	err = store_begin(s);
	if (err)
		return err;
	st = store_stmt(s, SQL_META_PUT);
	bind_str(st, 1, key);
	bind_bytes(st, 2, p, len);
	return store_end(s, store_exec(s, st));
}

int store_meta_remove(struct store *s, const char *key)
{
	sqlite3_stmt *st;
	int err = store_begin(s);

	if (err)
		return err;
	st = store_stmt(s, SQL_META_DELETE);
	bind_str(st, 1, key);
	return store_end(s, store_exec(s, st));
}

int store_meta_get(struct store *s, const char *key, void *p, size_t *len)
{
	return value_get(s, SQL_META_GET, key, p, len);
}

static int meta_row(sqlite3_stmt *st, int (*row)(void *arg, const char *key, const uint8_t *p, size_t len), void *arg)
{
	char key[NAME_MAX_LEN + 16];
	uint8_t mem[STORE_META_MAX];
	size_t len = sizeof(mem);
	const char *text;
	int err;

	text = sqlite3_column_type(st, 0) == SQLITE_TEXT ? (const char *)sqlite3_column_text(st, 0) : NULL;
	if (!text || strlen(text) >= sizeof(key))
		return ERR_AUTH;
	memcpy(key, text, strlen(text) + 1);
	err = col_copy(st, 1, mem, &len);
	if (err)
		return err == ERR_RANGE ? ERR_AUTH : err;
	return row(arg, key, mem, len);
}

int store_meta_each(struct store *s, const char *prefix, int (*row)(void *arg, const char *key, const uint8_t *p, size_t len), void *arg)
{
	sqlite3_stmt *st = store_stmt(s, SQL_META_EACH);
	int err;

	bind_str(st, 1, prefix);
	while ((err = store_row(s, st)) == 0) {
		err = meta_row(st, row, arg);
		if (err) {
			store_done(st);
			return err;
		}
	}
	return err == ERR_NOTFOUND ? 0 : err;
}

int store_group_get(struct store *s, const char *name, void *p, size_t *len)
{
	return value_get(s, SQL_GROUP_GET, name, p, len);
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and binding single columns. The store's files share it; see store_sqlite.h. */
#include "vtpm-mgr/store_sqlite.h"

#include <stdlib.h>
#include <string.h>

int col_int(sqlite3_stmt *st, int col, int64_t min, int64_t max, int64_t *v)
{
	if (sqlite3_column_type(st, col) != SQLITE_INTEGER)
		return ERR_AUTH;
	*v = sqlite3_column_int64(st, col);
	return *v < min || *v > max ? ERR_AUTH : 0;
}

/* A blob of any length; *p is NULL and *n 0 for an empty one. The view ends with the row. */
int col_blob(sqlite3_stmt *st, int col, const void **p, size_t *n)
{
	*p = NULL;
	*n = 0;
	if (sqlite3_column_type(st, col) != SQLITE_BLOB)
		return ERR_AUTH;
	*p = sqlite3_column_blob(st, col);
	*n = (size_t)sqlite3_column_bytes(st, col);
	return !*p && *n ? ERR_NOMEM : 0;
}

int col_exact(sqlite3_stmt *st, int col, void *out, size_t len)
{
	const void *p;
	size_t n;
	int err = col_blob(st, col, &p, &n);

	if (err || n != len)
		return err ? err : ERR_AUTH;
	memcpy(out, p, len);
	return 0;
}

int col_optional(sqlite3_stmt *st, int col, void *out, size_t len, bool *there)
{
	const void *p;
	size_t n;
	int err = col_blob(st, col, &p, &n);

	*there = false;
	if (err || n == 0)
		return err;
	err = col_exact(st, col, out, len);
	*there = err == 0;
	return err;
}

/* *len is the room and then the length. */
int col_copy(sqlite3_stmt *st, int col, void *out, size_t *len)
{
	const void *p;
	size_t n;
	int err = col_blob(st, col, &p, &n);

	if (err)
		return err;
	if (n > *len)
		return ERR_RANGE;
	if (n)
		memcpy(out, p, n);
	*len = n;
	return 0;
}

/* A valid name; anything else, a NUL in it included, is damage. */
int col_name(sqlite3_stmt *st, int col, char out[static NAME_MAX_LEN + 1])
{
	const char *s;

	out[0] = '\0';
	if (sqlite3_column_type(st, col) != SQLITE_TEXT)
		return ERR_AUTH;
	s = (const char *)sqlite3_column_text(st, col);
	if (!s)
		return ERR_NOMEM;
	if (strlen(s) != (size_t)sqlite3_column_bytes(st, col) || !name_valid(s))
		return ERR_AUTH;
	memcpy(out, s, strlen(s) + 1);
	return 0;
}

/* A truncated or overlong key is data: wrapped_len tells, and the caller names it. */
int col_wrapped(sqlite3_stmt *st, int col, uint8_t wrapped[static WRAPPED_KEY_LEN], size_t *len)
{
	const void *p;
	size_t n;
	int err = col_blob(st, col, &p, &n);

	if (n)
		memcpy(wrapped, p, n < WRAPPED_KEY_LEN ? n : WRAPPED_KEY_LEN);
	*len = n;
	return err;
}

void bind_uuid(sqlite3_stmt *st, int i, const uint8_t uuid[static UUID_LEN])
{
	sqlite3_bind_blob(st, i, uuid, UUID_LEN, SQLITE_STATIC);
}

/* An absent blob is an empty one, never NULL. */
void bind_bytes(sqlite3_stmt *st, int i, const void *p, size_t n)
{
	sqlite3_bind_blob64(st, i, n ? p : "", n, SQLITE_STATIC);
}

void bind_str(sqlite3_stmt *st, int i, const char *s)
{
	sqlite3_bind_text(st, i, s, -1, SQLITE_STATIC);
}

/* ---- lists of row numbers: callbacks may use the store, so no statement stays open meanwhile ---- */

static int ids_add(struct ids *ids, int64_t id)
{
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 64;
		int64_t *v = reallocarray(ids->v, cap, sizeof(*v));

		if (!v)
			return ERR_NOMEM;
		ids->v = v;
		ids->cap = cap;
	}
	ids->v[ids->n++] = id;
	return 0;
}

int ids_load(struct store *s, enum store_sql which, struct ids *ids)
{
	sqlite3_stmt *st = store_stmt(s, which);
	int err;

	memset(ids, 0, sizeof(*ids));
	while ((err = store_row(s, st)) == 0) {
		err = ids_add(ids, sqlite3_column_int64(st, 0));
		if (err)
			break;
	}
	store_done(st);
	if (err == ERR_NOTFOUND)
		return 0;
	free(ids->v);
	return err;
}

int store_exec_id(struct store *s, enum store_sql which, int64_t id)
{
	sqlite3_stmt *st = store_stmt(s, which);

	sqlite3_bind_int64(st, 1, id);
	return store_exec(s, st);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The journal's rows and the leaves. */
#include "vtpm-mgr/store_sqlite.h"

#include <string.h>

#include "vtpm-mgr/proto/backend.h"

/* ---- leaves ---- */

static int read_leaf(sqlite3_stmt *st, struct store_leaf *l)
{
	int64_t epoch = 0, version = 0, mode = 0, discontinuities = 0, kinds = 0;

	memset(l, 0, sizeof(*l));
	if (col_exact(st, 0, l->uuid, UUID_LEN) || col_int(st, 1, 0, INT64_MAX, &epoch) ||
	    col_int(st, 2, 1, INT64_MAX, &version) || col_int(st, 3, 0, MODE_LAST, &mode) ||
	    col_int(st, 4, 0, INT64_MAX, &discontinuities) || col_exact(st, 5, l->hash, DIGEST_LEN) ||
	    col_int(st, 6, 0, ALL_KINDS, &kinds) || col_exact(st, 7, l->certs.serial, SERIAL_LEN) ||
	    col_exact(st, 8, l->certs.hash, DIGEST_LEN))
		return ERR_AUTH;
	l->epoch = (uint64_t)epoch;
	l->version = (uint64_t)version;
	l->mode = (uint8_t)mode;
	l->discontinuities = (uint64_t)discontinuities;
	l->certs.kinds = (uint8_t)kinds;
	return 0;
}

int store_leaf_each(struct store *s, int (*row)(void *arg, const struct store_leaf *l), void *arg)
{
	sqlite3_stmt *st = store_stmt(s, SQL_LEAF_EACH);
	struct store_leaf l;
	int err;

	while ((err = store_row(s, st)) == 0) {
		err = read_leaf(st, &l);
		if (!err)
			err = row(arg, &l);
		if (err)
			break;
	}
	store_done(st);
	return err == ERR_NOTFOUND ? 0 : err;
}

static int put_leaf(struct store *s, const struct store_leaf *l)
{
	sqlite3_stmt *st = store_stmt(s, SQL_LEAF_PUT);

	bind_uuid(st, 1, l->uuid);
	sqlite3_bind_int64(st, 2, (int64_t)l->epoch);
	sqlite3_bind_int64(st, 3, (int64_t)l->version);
	sqlite3_bind_int64(st, 4, l->mode);
	sqlite3_bind_int64(st, 5, (int64_t)l->discontinuities);
	bind_bytes(st, 6, l->hash, DIGEST_LEN);
	sqlite3_bind_int64(st, 7, l->certs.kinds);
	bind_bytes(st, 8, l->certs.serial, SERIAL_LEN);
	bind_bytes(st, 9, l->certs.hash, DIGEST_LEN);
	return store_exec(s, st);
}

static int delete_leaf(struct store *s, const uint8_t uuid[static UUID_LEN])
{
	sqlite3_stmt *st = store_stmt(s, SQL_LEAF_DELETE);

	bind_uuid(st, 1, uuid);
	return store_exec(s, st);
}

/* ---- rows ---- */

static int read_row(sqlite3_stmt *st, struct store_row *r)
{
	int64_t number = 0;

	if (col_int(st, 0, 0, INT64_MAX, &number) || col_exact(st, 1, r->row, JOURNAL_ROW_SIZE) ||
	    col_exact(st, 2, r->mac, DIGEST_LEN))
		return ERR_AUTH;
	r->n = (uint64_t)number;
	return 0;
}

int store_last_row(struct store *s, struct store_row *row)
{
	sqlite3_stmt *st = store_stmt(s, SQL_JOURNAL_LAST);
	int err = store_row(s, st);

	if (err)
		return err;
	err = read_row(st, row);
	store_done(st);
	return err;
}

int store_journal_read(struct store *s, uint64_t from, struct store_row *rows, size_t max, size_t *n)
{
	sqlite3_stmt *st = store_stmt(s, SQL_JOURNAL_READ);
	int err = 0;

	*n = 0;
	if (from > INT64_MAX)
		return 0;
	sqlite3_bind_int64(st, 1, (int64_t)from);
	sqlite3_bind_int64(st, 2, (int64_t)max);
	while (*n < max && (err = store_row(s, st)) == 0) {
		err = read_row(st, &rows[*n]);
		if (err)
			break;
		++*n;
	}
	store_done(st);
	return err == ERR_NOTFOUND ? 0 : err;
}

static int prune(struct store *s, uint64_t below)
{
	sqlite3_stmt *st = store_stmt(s, SQL_JOURNAL_PRUNE);

	sqlite3_bind_int64(st, 1, below > INT64_MAX ? INT64_MAX : (int64_t)below);
	return store_exec(s, st);
}

static int put_row(struct store *s, const struct store_row *r)
{
	sqlite3_stmt *st = store_stmt(s, SQL_JOURNAL_INSERT);

	sqlite3_bind_int64(st, 1, (int64_t)r->n);
	bind_bytes(st, 2, r->row, JOURNAL_ROW_SIZE);
	bind_bytes(st, 3, r->mac, DIGEST_LEN);
	return store_exec(s, st);
}

int store_journal_put(struct store *s, const struct store_tail *t)
{
	int err = 0;

	for (size_t i = 0; i < t->nleaves && !err; i++)
		err = put_leaf(s, t->leaves[i]);
	for (size_t i = 0; i < t->ngone && !err; i++)
		err = delete_leaf(s, t->gone[i]);
	if (!err && t->prune)
		err = prune(s, t->prune);
	return err ? err : put_row(s, t->row);
}

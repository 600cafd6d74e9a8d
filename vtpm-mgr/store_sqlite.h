/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to the SQLite engine of vtpm-mgr/store.h: store_sqlite.c opens the file, keeps the
 * statements and the transactions; store_rows.c reads rows, store_commit.c writes them; store_journal.c has the journal
 * and the leaves. Nothing that SQLite
 * hands back is trusted: whoever could write the file could have put any type and any length
 * into any column, also against the schema.
 */
#ifndef VTPM_MGR_STORE_SQLITE_H
#define VTPM_MGR_STORE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "vtpm-mgr/store.h"

enum store_sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_META_GET,
	SQL_META_PUT,
	SQL_META_EACH,
	SQL_META_DELETE,
	SQL_GROUP_GET,
	SQL_GROUP_PUT,
	SQL_GROUP_SEAL,
	SQL_GROUP_IDS,
	SQL_GROUP_NAME,
	SQL_VTPM_IDS,
	SQL_VTPM_LOAD,
	SQL_VTPM_BY_NAME,
	SQL_VTPM_BY_UUID,
	SQL_VTPM_INSERT,
	SQL_VTPM_QUARANTINE,
	SQL_VTPM_CONFIGURE,
	SQL_VTPM_KEYS,
	SQL_VTPM_REWRAP,
	SQL_VTPM_EXISTS,
	SQL_VTPM_ROLLBACK,
	SQL_VTPM_DELETE,
	SQL_STATE_GET,
	SQL_STATE_INSERT,
	SQL_STATE_UPDATE,
	SQL_STATE_DELETE,
	SQL_LEAF_EACH,
	SQL_LEAF_PUT,
	SQL_LEAF_DELETE,
	SQL_JOURNAL_READ,
	SQL_JOURNAL_LAST,
	SQL_JOURNAL_INSERT,
	SQL_JOURNAL_PRUNE,
	SQL_COUNT
};

/* store_schema.c: what sqlite_schema must hold, and the statements. */
struct store_table {
	const char *name;
	const char *sql;
};
extern const struct store_table store_tables[];
extern const size_t store_ntables;
extern const char *const store_sql[SQL_COUNT];

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmt[SQL_COUNT];
	char *wal;	/* path of the write-ahead log */
	bool dirty_wal; /* it still holds frames of a deleted vTPM: to be wiped as soon as that works */
	char why[TEXT_MAX + 1];
};

#define LOCALITY_TOP 4

/* The columns of SQL_VTPM_LOAD, in its order. */
enum vtpm_column {
	COL_ID,
	COL_UUID,
	COL_NAME,
	COL_GROUP,
	COL_EPOCH,
	COL_USER,
	COL_STATE_MAX,
	COL_COMMIT_RATE,
	COL_LOCALITY_MAX,
	COL_SNAPSHOTS,
	COL_LAUNCH,
	COL_RULES,
	COL_ROLLBACKS,
	COL_CREATED,
	COL_MACHINE,
	COL_TOKEN,
	COL_WRAPPED,
	COL_KEY_DUE,
	COL_QUARANTINE,
	COL_EK_PUBLIC,
	COL_CERT = COL_EK_PUBLIC + (int)STORE_EK_KINDS,
	COL_VERSION = COL_CERT + (int)STORE_EK_KINDS,
	COL_SEALED_LEN,
	COL_ORPHANED,
};

/* What holds for a connection, whatever the file says; whether it is a store of ours, and of which release; the statements. */
CHECKED int store_configure(struct store *s);
CHECKED int store_identify(struct store *s, const char *path, bool *empty, char why[static TEXT_MAX + 1]);
CHECKED int store_prepare(struct store *s);
/* Makes a file of these bytes the store of dir, which has none. */
CHECKED int store_place(const char *dir, const uint8_t *bytes, size_t len);
/* store_restore.c: part of a transaction. */
CHECKED int store_restore_put(struct store *s, const struct store_restore *r);
/* store_commit.c. */
CHECKED int store_vtpm_put(struct store *s, const struct store_vtpm *v, int64_t id, uint64_t version, const uint8_t *sealed,
			   size_t sealed_len);

/* Keeps the engine's words for store_why and returns the code that fits rc. */
CHECKED int store_fail(struct store *s, int rc);

/* A statement, reset and without bindings. */
sqlite3_stmt *store_stmt(struct store *s, enum store_sql which);
/* Steps to a row: 0, ERR_NOTFOUND if there is none, or an error. The row stays readable until store_done. */
CHECKED int store_row(struct store *s, sqlite3_stmt *st);
/* Steps a statement without rows to its end and resets it. */
CHECKED int store_exec(struct store *s, sqlite3_stmt *st);
/* Ends reading. */
void store_done(sqlite3_stmt *st);

CHECKED int store_begin(struct store *s);
/* Commits if err is 0, otherwise rolls back and returns err. After a failure nothing is left open: the next transaction
 * starts anew. */
CHECKED int store_end(struct store *s, int err);

/*
 * Moves everything from the log into the database and fills the log with zeros, so that it holds no old page, and so
 * that commits overwrite blocks that exist: they need no change of the file's size and thus no journal write of the
 * file system.
 */
CHECKED int store_wal_renew(struct store *s);

/* A column that has not the type or the bounds that it must have is ERR_AUTH. */
CHECKED int col_int(sqlite3_stmt *st, int col, int64_t min, int64_t max, int64_t *v);
/* A blob of any length; *p is NULL and *n 0 for an empty one. The view ends with the row. */
CHECKED int col_blob(sqlite3_stmt *st, int col, const void **p, size_t *n);
/* A blob of exactly len bytes. */
CHECKED int col_exact(sqlite3_stmt *st, int col, void *out, size_t len);
/* The same, or an empty one: *there is false. */
CHECKED int col_optional(sqlite3_stmt *st, int col, void *out, size_t len, bool *there);
/* A blob; *len is the room and then the length; ERR_RANGE if it does not fit. */
CHECKED int col_copy(sqlite3_stmt *st, int col, void *out, size_t *len);
/* A valid name; anything else, one with a NUL in it included, is damage. */
CHECKED int col_name(sqlite3_stmt *st, int col, char out[static NAME_MAX_LEN + 1]);
/* A missing, truncated or overlong key is data: *len tells, and the caller names it. */
CHECKED int col_wrapped(sqlite3_stmt *st, int col, uint8_t wrapped[static WRAPPED_KEY_LEN], size_t *len);

/* What is bound must stay until the statement is done. An empty blob is empty, never NULL. */
void bind_uuid(sqlite3_stmt *st, int i, const uint8_t uuid[static UUID_LEN]);
void bind_bytes(sqlite3_stmt *st, int i, const void *p, size_t n);
void bind_str(sqlite3_stmt *st, int i, const char *s);

/* Row numbers. Lists are made of them first, because callbacks may use the store meanwhile. */
struct ids {
	int64_t *v; /* freed by the caller */
	size_t n, cap;
};
CHECKED int ids_load(struct store *s, enum store_sql which, struct ids *ids);
/* What a transaction's tail says: leaves, pruning, the row. */
CHECKED int store_journal_put(struct store *s, const struct store_tail *t);
/* Executes a statement that addresses one row by its number. */
CHECKED int store_exec_id(struct store *s, enum store_sql which, int64_t id);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One SQLite commit, with the pragmas that vtpm-mgr/store_sqlite.c uses, on the same file system, and nothing else. */
#include <sqlite3.h>
#include <stdlib.h>

#include "lib/util.h"
#include "tests/bench/bench.h"

/* Blobs are cut out of noise: sealed states have nothing in common, and SQLite writes no page that stays the same. */
#define NOISE (1024u * 1024u)
#define STEP  61u

/* More than fit into the log before its first checkpoint: from there on it is overwritten, not grown. */
#define WARM_UP 600u

struct commits {
	sqlite3 *db;
	sqlite3_stmt *begin, *update, *commit;
	uint8_t *noise;
	size_t at; /* of the next blob in it */
	size_t len;
};

static void run(struct commits *s, const char *sql)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		die("SQLite: %s: %s", sql, sqlite3_errmsg(s->db));
}

static sqlite3_stmt *prepare(struct commits *s, const char *sql)
{
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
		die("SQLite: %s: %s", sql, sqlite3_errmsg(s->db));
	return st;
}

static void step(struct commits *s, sqlite3_stmt *st)
{
	if (sqlite3_step(st) != SQLITE_DONE)
		die("SQLite: %s", sqlite3_errmsg(s->db));
	sqlite3_reset(st);
}

static void fill(struct commits *s, unsigned rows)
{
	char sql[128];

	run(s, "CREATE TABLE state (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, "
	       "sealed BLOB NOT NULL) STRICT");
	for (unsigned i = 0; i < rows; i++) {
		snprintf(sql, sizeof(sql), "INSERT INTO state VALUES (%u, randomblob(16), 0, zeroblob(%zu))", i,
			 s->len);
		run(s, sql);
	}
	s->begin = prepare(s, "BEGIN IMMEDIATE");
	s->update = prepare(s, "UPDATE state SET version = version + 1, sealed = ?2 WHERE id = ?1");
	s->commit = prepare(s, "COMMIT");
}

struct commits *commits_open(const struct bench *b, unsigned rows, size_t bytes)
{
	static const char *const pragmas[] = {
		"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
		"PRAGMA secure_delete = ON",	   "PRAGMA foreign_keys = ON",	"PRAGMA cell_size_check = ON",
		"PRAGMA temp_store = MEMORY",	   "PRAGMA mmap_size = 0",	"PRAGMA cache_size = -8192",
		"PRAGMA wal_autocheckpoint = 2048",
	};
	struct commits *s = calloc(1, sizeof(*s));
	char path[256];

	snprintf(path, sizeof(path), "%s/floor.db", b->lab);
	remove(path);
	if (!s || sqlite3_open(path, &s->db) != SQLITE_OK)
		die("%s cannot be opened", path);
	s->len = bytes;
	s->noise = malloc(NOISE + bytes);
	if (!s->noise || random_bytes(s->noise, NOISE + bytes))
		die("no noise to be had");
	for (size_t i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]); i++)
		run(s, pragmas[i]);
	fill(s, rows);
	for (unsigned i = 0; i < WARM_UP; i++)
		commits_run(s, 1);
	return s;
}

void commits_run(struct commits *s, unsigned n)
{
	step(s, s->begin);
	for (unsigned i = 0; i < n; i++) {
		sqlite3_bind_int64(s->update, 1, (sqlite3_int64)i);
		s->at = (s->at + STEP) % NOISE;
		sqlite3_bind_blob(s->update, 2, s->noise + s->at, (int)s->len, SQLITE_STATIC);
		step(s, s->update);
	}
	step(s, s->commit);
}

void commits_close(struct commits *s)
{
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->update);
	sqlite3_finalize(s->commit);
	sqlite3_close(s->db);
	free(s->noise);
	free(s);
}

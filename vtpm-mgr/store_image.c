/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies of the store in memory, and reading them as a store. On the disk a copy would leave wrapped keys in blocks
 * that nobody overwrites, and a vTPM that is destroyed would not be.
 *
 * The store is one connection that locks others out. SQLite's backup of a connection passes the changes that this
 * connection makes meanwhile on to the copy, so that a copy is of one instant, its last step, and no commit waits for
 * it.
 */
#include "vtpm-mgr/store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_PAGES 128

/* https://sqlite.org/fileformat2.html, section 1.3: 2 is a write-ahead log, of which there is none in memory. */
#define HEADER_WRITE_VERSION 18
#define HEADER_READ_VERSION  19
#define HEADER_SIZE	     100u

struct store_copy {
	struct store *of;
	sqlite3 *db;
	sqlite3_backup *backup; /* NULL: it is complete */
};

static int memory_open(sqlite3 **db)
{
	sqlite3_int64 limit = STORE_COPY_MAX;
	int rc = sqlite3_open_v2("copy", db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, "memdb");

	if (rc == SQLITE_OK)
		rc = sqlite3_file_control(*db, "main", SQLITE_FCNTL_SIZE_LIMIT, &limit);
	return rc == SQLITE_OK ? 0 : ERR_NOMEM;
}

int store_copy_begin(struct store *s, struct store_copy **out)
{
	struct store_copy *c = calloc(1, sizeof(*c));
	int err;

	*out = NULL;
	if (!c)
		return ERR_NOMEM;
	c->of = s;
	err = memory_open(&c->db);
	if (!err)
		c->backup = sqlite3_backup_init(c->db, "main", s->db, "main");
	if (!c->backup) {
		store_copy_free(c);
		return err ? err : ERR_NOMEM;
	}
	*out = c;
	return 0;
}

/* What the copy's connection says is what there is to say. */
static int copy_failed(struct store_copy *c, int rc)
{
	struct store of_copy = {.db = c->db};
	int err = store_fail(&of_copy, rc);

	memcpy(c->of->why, of_copy.why, sizeof(of_copy.why));
	return err;
}

int store_copy_step(struct store_copy *c)
{
	int rc = sqlite3_backup_step(c->backup, STEP_PAGES);

	if (rc == SQLITE_OK)
		return ERR_AGAIN;
	if (rc != SQLITE_DONE && rc != SQLITE_BUSY && rc != SQLITE_LOCKED)
		return copy_failed(c, rc);
	if (rc != SQLITE_DONE)
		return ERR_AGAIN;
	rc = sqlite3_backup_finish(c->backup);
	c->backup = NULL;
	return rc == SQLITE_OK ? 0 : copy_failed(c, rc);
}

static int execute(struct store_copy *c, const char *sql)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : copy_failed(c, rc);
}

static int list_kept(struct store_copy *c, const uint8_t (*uuids)[UUID_LEN], size_t n)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db, "INSERT OR IGNORE INTO temp.kept (uuid) VALUES (?1)", -1, &st, NULL);

	for (size_t i = 0; i < n && rc == SQLITE_OK; i++) {
		sqlite3_bind_blob(st, 1, uuids[i], UUID_LEN, SQLITE_STATIC);
		rc = sqlite3_step(st) == SQLITE_DONE ? sqlite3_reset(st) : SQLITE_ERROR;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_OK ? 0 : copy_failed(c, rc);
}

/* Takes image over. */
static int attach(sqlite3 **db, uint8_t *image, size_t len, unsigned flags)
{
	int rc = sqlite3_open_v2(":memory:", db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	image[HEADER_WRITE_VERSION] = image[HEADER_READ_VERSION] = 1;
	if (rc == SQLITE_OK)
		return sqlite3_deserialize(*db, "main", image, (sqlite3_int64)len, (sqlite3_int64)len,
					   SQLITE_DESERIALIZE_FREEONCLOSE | flags);
	sqlite3_free(image);
	return rc;
}

/* A connection that may write to it: the one that it was made with would ask for the log. */
static int reopen(struct store_copy *c)
{
	sqlite3_int64 len = 0;
	unsigned char *image = sqlite3_serialize(c->db, "main", &len, 0);
	int rc;

	sqlite3_close(c->db);
	c->db = NULL;
	if (!image || len < (sqlite3_int64)HEADER_SIZE) {
		sqlite3_free(image);
		return ERR_NOMEM;
	}
	rc = attach(&c->db, image, (size_t)len, SQLITE_DESERIALIZE_RESIZEABLE);
	return rc == SQLITE_OK ? 0 : ERR_NOMEM;
}

int store_copy_keep(struct store_copy *c, const uint8_t (*uuids)[UUID_LEN], size_t n)
{
	int err = reopen(c);

	if (!err)
		err = execute(c, "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; BEGIN; "
				 "CREATE TEMP TABLE kept (uuid BLOB PRIMARY KEY)");
	if (!err)
		err = list_kept(c, uuids, n);
	if (!err)
		err = execute(c, "DELETE FROM main.leaf WHERE uuid IN (SELECT uuid FROM main.vtpm) AND uuid NOT IN "
				 "(SELECT uuid FROM temp.kept); "
				 "DELETE FROM main.state WHERE uuid NOT IN (SELECT uuid FROM temp.kept); "
				 "DELETE FROM main.vtpm WHERE uuid NOT IN (SELECT uuid FROM temp.kept); "
				 "COMMIT; VACUUM");
	return err;
}

const uint8_t *store_copy_bytes(const struct store_copy *c, size_t *len)
{
	sqlite3_int64 n = 0;
	const uint8_t *image = sqlite3_serialize(c->db, "main", &n, SQLITE_SERIALIZE_NOCOPY);

	*len = image && n > 0 ? (size_t)n : 0;
	return image;
}

void store_copy_free(struct store_copy *c)
{
	if (!c)
		return;
	if (c->backup)
		sqlite3_backup_finish(c->backup);
	sqlite3_close(c->db);
	free(c);
}

/* ---- reading one ---- */

uint8_t *store_image_alloc(size_t len)
{
	return sqlite3_malloc64(len);
}

void store_image_free(uint8_t *image)
{
	sqlite3_free(image);
}

int store_image_open(struct store **out, uint8_t *image, size_t len, char why[static TEXT_MAX + 1])
{
	struct store *s = calloc(1, sizeof(*s));
	bool empty = false;
	int err;

	*out = NULL;
	snprintf(why, TEXT_MAX + 1, "out of memory");
	if (!s || len < HEADER_SIZE) {
		sqlite3_free(image);
		free(s);
		return s ? ERR_AUTH : ERR_NOMEM;
	}
	err = attach(&s->db, image, len, SQLITE_DESERIALIZE_READONLY) == SQLITE_OK ? store_configure(s) : ERR_NOMEM;
	if (!err)
		err = store_identify(s, "the backup", &empty, why);
	if (!err && empty)
		err = ERR_AUTH;
	if (!err)
		err = store_prepare(s);
	if (err) {
		store_close(s);
		return err;
	}
	*out = s;
	return 0;
}

int store_image_write(const struct store *image, const char *dir)
{
	sqlite3_int64 len = 0;
	const uint8_t *bytes = sqlite3_serialize(image->db, "main", &len, SQLITE_SERIALIZE_NOCOPY);

	return bytes ? store_place(dir, bytes, (size_t)len) : ERR_NOMEM;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The SQLite engine of the store: file, schema, statements, transactions, errors. */
#include "vtpm-mgr/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/log.h"

#define STORE_FILE     "vtpm.db"
#define UNFINISHED     "the store at %s was never finished, or is truncated: if nothing is lost, remove it and run vtpm-mgr --init"
#define APPLICATION_ID 0x7654504d /* "vTPM": file(1) and we tell a store by it */
/*
 * Pages in the log before it is moved into the database. A state of 10 kB is about four: every few hundred
 * commits one of them pays for a checkpoint, and 64 guests that write at once do so some eight times before it.
 */
#define WAL_PAGES 2048
#define PAGE_SIZE 4096
#define WAL_BYTES (32 + WAL_PAGES * (PAGE_SIZE + 24)) /* https://sqlite.org/fileformat2.html, section 4.1 */
/* The log is made full size at once only where that leaves this many times as much free. */
#define WAL_ROOM_FACTOR 4u

/* ---- errors ---- */

/* An I/O error by what the system said: a quota or a file system remounted read-only is none of the disk's faults. */
static int io_error(int errnum)
{
	switch (err_from_errno(errnum)) {
	case ERR_FULL:
		return ERR_FULL;
	case ERR_READONLY:
		return ERR_READONLY;
	default:
		return ERR_IO;
	}
}

static int constraint_error(int rc)
{
	if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
		return ERR_NOTFOUND;
	return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ? ERR_EXISTS : ERR_INVAL;
}

static int map_error(int rc, int errnum)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ERR_FULL;
	case SQLITE_READONLY:
		return ERR_READONLY;
	case SQLITE_IOERR:
		return io_error(errnum);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR: /* our SQL is fixed: it fails only where the file is not what we made */
		return ERR_AUTH;
	case SQLITE_CONSTRAINT:
		return constraint_error(rc);
	case SQLITE_CANTOPEN:
		return err_from_errno(errnum);
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_DENIED;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_TOOBIG:
		return ERR_RANGE;
	default:
		return ERR_SYS;
	}
}

int store_fail(struct store *s, int rc)
{
	snprintf(s->why, sizeof(s->why), "%s", sqlite3_errmsg(s->db));
	return map_error(rc, sqlite3_system_errno(s->db));
}

const char *store_why(const struct store *s)
{
	return s->why;
}

/* ---- statements and transactions ---- */

sqlite3_stmt *store_stmt(struct store *s, enum store_sql which)
{
	sqlite3_reset(s->stmt[which]);
	sqlite3_clear_bindings(s->stmt[which]);
	return s->stmt[which];
}

int store_row(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int err;

	if (rc == SQLITE_ROW)
		return 0;
	err = rc == SQLITE_DONE ? ERR_NOTFOUND : store_fail(s, rc);
	store_done(st);
	return err;
}

void store_done(sqlite3_stmt *st)
{
	/* The result of a reset is that of the last step, which its caller has seen. */
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

int store_exec(struct store *s, sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	int err = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_fail(s, rc);

	store_done(st);
	return err;
}

int store_begin(struct store *s)
{
	return store_exec(s, store_stmt(s, SQL_BEGIN));
}

int store_end(struct store *s, int err)
{
	if (!err)
		err = store_exec(s, store_stmt(s, SQL_COMMIT));
	/* SQLite has rolled back some failures by itself; a failed COMMIT leaves the transaction open. */
	if (err && !sqlite3_get_autocommit(s->db)) {
		sqlite3_step(store_stmt(s, SQL_ROLLBACK));
		store_done(s->stmt[SQL_ROLLBACK]);
	}
	if (!err && s->dirty_wal)
		s->dirty_wal = store_wal_renew(s) != 0;
	return err;
}

/* ---- the write-ahead log ---- */

static int fill_zero(int fd, off_t from, off_t to)
{
	static const uint8_t zeros[64 * 1024];

	while (from < to) {
		size_t n = to - from < (off_t)sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
		ssize_t r = pwrite(fd, zeros, n, from);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return io_error(r < 0 ? errno : ENOSPC);
		from += r;
	}
	return fdatasync(fd) ? io_error(errno) : 0;
}

/* The size to give the log: what it has, or the full one where there is plenty of room. */
static int wal_size(int fd, off_t *old, off_t *size)
{
	struct stat sb;
	struct statvfs vfs;

	if (fstat(fd, &sb) || fstatvfs(fd, &vfs))
		return ERR_IO;
	*old = sb.st_size;
	*size = sb.st_size > WAL_BYTES ? WAL_BYTES : sb.st_size;
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize / WAL_ROOM_FACTOR > WAL_BYTES)
		*size = WAL_BYTES;
	return 0;
}

int store_wal_renew(struct store *s)
{
	int in_log = -1;
	int moved = -1;
	int fd;
	int err;
	off_t old;
	off_t size;
	/* RESTART: everything is in the database and synced there, and the next writer begins at the log's start. */
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, &in_log, &moved);

	if (rc != SQLITE_OK)
		return store_fail(s, rc);
	if (in_log != moved)
		return ERR_BUSY;
	fd = open(s->wal, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return io_error(errno);
	/*
	 * The header goes first, by itself: without it the rest is not a log. Were its frames wiped from the end
	 * while the header stood, a crash in between would replay the older part of them over the database.
	 */
	err = wal_size(fd, &old, &size);
	if (!err)
		err = fill_zero(fd, 0, old < PAGE_SIZE ? old : PAGE_SIZE);
	if (!err)
		err = fill_zero(fd, 0, old);
	/* Room that cannot be had now only makes commits slower. */
	if (!err && size > old && fill_zero(fd, old, size) && ftruncate(fd, old))
		err = io_error(errno);
	if (!err && size < old && ftruncate(fd, size))
		err = io_error(errno);
	close(fd);
	return err;
}

/* ---- opening ---- */

__attribute__((format(printf, 3, 4))) static int refuse(char *why, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, TEXT_MAX + 1, fmt, ap);
	va_end(ap);
	return err;
}

/* Nobody but us and root may put files there: a foreign journal file would be replayed into the store. */
static int check_dir(const char *dir, char *why)
{
	struct stat sb;

	if (stat(dir, &sb)) {
		int errnum = errno;

		return refuse(why, err_from_errno(errnum), "%s: %s", dir, strerror(errnum));
	}
	if (!S_ISDIR(sb.st_mode))
		return refuse(why, ERR_INVAL, "%s is not a directory", dir);
	if (sb.st_uid != geteuid() && sb.st_uid != 0)
		return refuse(why, ERR_DENIED, "%s belongs to uid %u, neither to us nor to root", dir, sb.st_uid);
	if (sb.st_mode & (S_IWGRP | S_IWOTH))
		return refuse(why, ERR_DENIED, "%s can be written by others: chmod go-w %s", dir, dir);
	return 0;
}

/* The file by itself, before SQLite opens it: mode 0600, which its log and journal inherit. */
static int check_file(const char *path, bool create, char *why)
{
	struct stat sb;
	int fd;

	if (create) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 && errno != EEXIST) {
			int errnum = errno;

			return refuse(why, err_from_errno(errnum), "%s cannot be made: %s", path, strerror(errnum));
		}
		fd_close(&fd);
	}
	if (lstat(path, &sb))
		return refuse(why, err_from_errno(errno), "there is no store at %s: make one with vtpm-mgr --init",
			      path);
	if (!S_ISREG(sb.st_mode) || (sb.st_uid != geteuid() && sb.st_uid != 0))
		return refuse(why, ERR_DENIED, "%s is not a file of ours", path);
	if (!create && sb.st_size == 0) /* SQLite would make a database of it */
		return refuse(why, ERR_NOTFOUND, UNFINISHED, path);
	if ((sb.st_mode & 077) && chmod(path, 0600))
		return refuse(why, ERR_DENIED, "%s can be read by others, and its mode cannot be changed", path);
	if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS)) { /* SQLite would open it for reading only */
		int errnum = errno;

		return refuse(why, err_from_errno(errnum), "%s cannot be written: %s", path, strerror(errnum));
	}
	return 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) ? io_error(errno) : 0;

	fd_close(&fd);
	return err;
}

/* The directory is ours alone: what is there under the other name is what an earlier try has left. */
int store_place(const char *dir, const uint8_t *bytes, size_t len)
{
	char *path = NULL, *part = NULL;
	int fd = -1, err = ERR_NOMEM;

	if (asprintf(&path, "%s/" STORE_FILE, dir) < 0 || asprintf(&part, "%s/" STORE_FILE ".part", dir) < 0)
		goto out;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	err = fd < 0 ? io_error(errno) : 0;
	while (len > 0 && !err) {
		ssize_t r = write(fd, bytes, len);

		if (r <= 0 && errno != EINTR)
			err = io_error(errno);
		bytes += r > 0 ? r : 0;
		len -= r > 0 ? (size_t)r : 0;
	}
	if (!err && (fsync(fd) || renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE)))
		err = errno == EEXIST ? ERR_EXISTS : io_error(errno);
	if (!err)
		err = sync_dir(dir);
	if (err && fd >= 0)
		unlink(part);
out:
	fd_close(&fd);
	free(part);
	free(path);
	return err;
}

/* Runs SQL that gives at most one row, and hands over its first column as a number. */
static int run(struct store *s, const char *sql, int64_t *value)
{
	sqlite3_stmt *st = NULL;
	int err = 0;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW && value)
		*value = sqlite3_column_int64(st, 0);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		err = store_fail(s, rc);
	sqlite3_finalize(st);
	return err;
}

/* What holds for this connection, whatever the file says. */
int store_configure(struct store *s)
{
	static const char *const pragmas[] = {
		"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA synchronous = FULL",	  "PRAGMA secure_delete = ON",
		"PRAGMA foreign_keys = ON",	   "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON",
		"PRAGMA temp_store = MEMORY",	   "PRAGMA mmap_size = 0",	  "PRAGMA cache_size = -8192",
	};
	int err = 0;

	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	for (size_t i = 0; i < ARRAY_LEN(pragmas) && !err; i++)
		err = run(s, pragmas[i], NULL);
	return err;
}

/* Takes the lock for as long as the store is open. */
static int lock(struct store *s, const char *path, char *why)
{
	int err = run(s, "BEGIN EXCLUSIVE", NULL);

	if (!err)
		err = run(s, "COMMIT", NULL);
	if (err == ERR_BUSY)
		return refuse(why, err, "another vtpm-mgr has this store: %s", path);
	return err ? refuse(why, err, "%s: %s", path, s->why) : 0;
}

static int set_wal(struct store *s)
{
	sqlite3_stmt *st = NULL;
	const char *mode;
	int err;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_fail(s, rc);
	err = store_row(s, st);
	mode = err ? NULL : (const char *)sqlite3_column_text(st, 0);
	if (!err && (!mode || strcmp(mode, "wal") != 0))
		err = ERR_IO;
	sqlite3_finalize(st);
	return err;
}

static int make_schema(struct store *s)
{
	char number[80];
	int err = run(s, "BEGIN IMMEDIATE", NULL);

	if (err)
		return err;
	for (size_t i = 0; i < store_ntables && !err; i++)
		err = run(s, store_tables[i].sql, NULL);
	snprintf(number, sizeof(number), "PRAGMA application_id = %d", APPLICATION_ID);
	if (!err)
		err = run(s, number, NULL);
	snprintf(number, sizeof(number), "PRAGMA user_version = %d", STORE_SCHEMA);
	if (!err)
		err = run(s, number, NULL);
	if (!err)
		return run(s, "COMMIT", NULL);
	if (!sqlite3_get_autocommit(s->db) && run(s, "ROLLBACK", NULL))
		log_error("store: %s", s->why);
	return err;
}

static int check_schema(struct store *s)
{
	sqlite3_stmt *st = NULL;
	size_t i = 0;
	int err = 0;
	int rc = sqlite3_prepare_v2(s->db, "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name",
				    -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_fail(s, rc);
	for (; (err = store_row(s, st)) == 0; i++) {
		const char *name = (const char *)sqlite3_column_text(st, 0);
		const char *sql = (const char *)sqlite3_column_text(st, 1);

		if (i >= store_ntables || !name || !sql || strcmp(name, store_tables[i].name) != 0 ||
		    strcmp(sql, store_tables[i].sql) != 0)
			break;
	}
	sqlite3_finalize(st);
	if (err && err != ERR_NOTFOUND)
		return err;
	return i == store_ntables && err == ERR_NOTFOUND ? 0 : ERR_AUTH;
}

/* Ours? Of which release? Nothing is written before this is known. *empty: interrupted before its only transaction. */
int store_identify(struct store *s, const char *path, bool *empty, char why[static TEXT_MAX + 1])
{
	int64_t app = 0;
	int64_t version = 0;
	int64_t objects = 0;
	int err = run(s, "PRAGMA application_id", &app);

	if (!err)
		err = run(s, "PRAGMA user_version", &version);
	if (!err)
		err = run(s, "SELECT count(*) FROM sqlite_schema", &objects);
	if (err)
		return refuse(why, err, "%s: %s", path, s->why);
	*empty = app == 0 && version == 0 && objects == 0;
	if (*empty)
		return 0;
	if (app != APPLICATION_ID)
		return refuse(why, ERR_AUTH, "%s is not a store of vtpm-mgr", path);
	if (version > STORE_SCHEMA)
		return refuse(why, ERR_VERSION, "%s has format %lld, this release knows %d: use the newer release",
			      path, (long long)version, STORE_SCHEMA);
	if (version != STORE_SCHEMA || check_schema(s))
		return refuse(why, ERR_AUTH, "%s is damaged: its tables are not those of format %d", path,
			      STORE_SCHEMA);
	return 0;
}

static int check_or_make(struct store *s, const char *path, bool create, char *why)
{
	bool empty = false;
	int err = store_identify(s, path, &empty, why);

	if (err)
		return err;
	if (create && !empty)
		return refuse(why, ERR_EXISTS, "%s exists already", path);
	if (!create && empty)
		return refuse(why, ERR_NOTFOUND, UNFINISHED, path);
	err = set_wal(s);
	if (!err && create)
		err = make_schema(s);
	return err ? refuse(why, err, "%s: %s", path, s->why[0] ? s->why : "no write-ahead log") : 0;
}

int store_prepare(struct store *s)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; i < SQL_COUNT && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(s->db, store_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i], NULL);
	return rc == SQLITE_OK ? 0 : store_fail(s, rc);
}

static int open_log(struct store *s, const char *dir, const char *path, char *why)
{
	char limit[80];
	int err;

	snprintf(limit, sizeof(limit), "PRAGMA journal_size_limit = %d", WAL_BYTES);
	err = run(s, limit, NULL);
	if (!err)
		err = store_prepare(s);
	if (!err && asprintf(&s->wal, "%s-wal", path) < 0) {
		s->wal = NULL;
		err = ERR_NOMEM;
	}
	/*
	 * A checkpoint that fails here, because the disk is full, say, is tried again after later commits. SQLite
	 * does not report the failure of one that follows a commit, and the commit stands.
	 */
	sqlite3_wal_autocheckpoint(s->db, WAL_PAGES);
	if (!err)
		s->dirty_wal = store_wal_renew(s) != 0;
	if (!err)
		err = sync_dir(dir);
	return err ? refuse(why, err, "%s: %s", path, s->why[0] ? s->why : err_text(err)) : 0;
}

static int open_database(struct store *s, const char *path, char *why)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	int rc = sqlite3_open_v2(path, &s->db, flags, "unix");
	int err;

	if (!s->db)
		return refuse(why, ERR_NOMEM, "%s: out of memory", path);
	err = rc == SQLITE_OK ? store_configure(s) : store_fail(s, rc);
	if (err == ERR_BUSY)
		return refuse(why, err, "another vtpm-mgr has this store: %s", path);
	return err ? refuse(why, err, "%s: %s", path, s->why) : 0;
}

int store_open(struct store **out, const char *dir, bool create, char why[static TEXT_MAX + 1])
{
	struct store *s = NULL;
	char *path = NULL;
	int err = check_dir(dir, why);

	*out = NULL;
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (asprintf(&path, "%s/" STORE_FILE, dir) < 0)
		path = NULL;
	if (!s || !path) {
		free(path);
		free(s);
		return refuse(why, ERR_NOMEM, "out of memory");
	}
	err = check_file(path, create, why);
	if (!err)
		err = open_database(s, path, why);
	if (!err)
		err = lock(s, path, why);
	if (!err)
		err = check_or_make(s, path, create, why);
	if (!err)
		err = open_log(s, dir, path, why);
	free(path);
	if (err) {
		store_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(s->stmt[i]);
	/* Moves the log into the database and removes it; where that fails, the log stays and is found at the next
	 * start. */
	if (sqlite3_close(s->db) != SQLITE_OK)
		log_error("store: %s", sqlite3_errmsg(s->db));
	free(s->wal);
	free(s);
}

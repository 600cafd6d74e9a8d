/* SPDX-License-Identifier: BSD-2-Clause */
/* The store's rows, and files that somebody else has edited. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "vtpm-mgr/store_sqlite.h"

/* Edits the file as somebody with a shell would. */
static void tamper(const char *sql)
{
	char path[256];
	char *why = NULL;
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/vtpm.db", fixture_dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s", why);
	sqlite3_close(db);
}

static void test_values(void **state)
{
	struct store *s = fixture_with_vtpms(0);
	char p[16];
	size_t len = sizeof(p);

	(void)state;
	assert_int_equal(store_meta_get(s, "srk", p, &len), ERR_NOTFOUND);
	assert_int_equal(store_meta_put(s, "srk", "one", 3), 0);
	assert_int_equal(store_meta_put(s, "srk", "three", 5), 0);
	assert_int_equal(store_meta_get(s, "srk", p, &len), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(p, "three", 5);
	len = 4;
	assert_int_equal(store_meta_get(s, "srk", p, &len), ERR_RANGE);
	assert_int_equal(store_meta_put(s, "empty", NULL, 0), 0);
	assert_int_equal(store_meta_get(s, "empty", p, &len), 0);
	assert_int_equal(len, 0);
	assert_int_equal(store_meta_remove(s, "srk"), 0);
	assert_int_equal(store_meta_remove(s, "srk"), 0);
	assert_int_equal(store_meta_get(s, "srk", p, &len), ERR_NOTFOUND);
	assert_int_equal(fixture_group(s, "default"), ERR_EXISTS);
	assert_int_equal(fixture_group(s, "../x"), ERR_INVAL);
	store_close(s);
}

static int count_row(void *arg, const struct store_vtpm *v)
{
	char(*names)[NAME_MAX_LEN + 1] = arg;
	unsigned i = 0;

	while (names[i][0])
		i++;
	strcpy(names[i], v->name);
	return 0;
}

static void test_vtpm_round_trip(void **state)
{
	struct store *s = fixture_with_vtpms(3);
	struct store_vtpm v = fixture_make_vtpm(2);
	struct store_vtpm got;
	char names[8][NAME_MAX_LEN + 1] = {{0}};

	(void)state;
	assert_int_equal(store_vtpm_by_name(s, "web2", &got), 0);
	v.version = 1;
	v.sealed_len = STATE_LEN;
	assert_memory_equal(got.uuid, v.uuid, UUID_LEN);
	assert_memory_equal(got.wrapped, v.wrapped, WRAPPED_KEY_LEN);
	assert_int_equal(got.user, -1);
	assert_int_equal(got.cert[1].len, CERT_MAX);
	assert_int_equal(got.cert[0].len, 0);
	assert_int_equal(got.version, 1);
	assert_int_equal(got.sealed_len, STATE_LEN);
	assert_int_equal(fixture_insert(s, &v, 1, fixture_sealed, 1), ERR_EXISTS);
	strcpy(v.group, "absent");
	fixture_make_uuid(v.uuid, 99);
	strcpy(v.name, "other");
	assert_int_equal(fixture_insert(s, &v, 1, fixture_sealed, 1), ERR_NOTFOUND);
	assert_int_equal(store_vtpm_each(s, count_row, names), 0);
	assert_string_equal(names[0], "web1");
	assert_string_equal(names[2], "web3");
	assert_string_equal(names[3], "");
	assert_int_equal(store_vtpm_by_name(s, "nobody", &got), ERR_NOTFOUND);
	assert_int_equal(store_vtpm_quarantine(s, v.uuid, "x"), ERR_NOTFOUND);
	store_close(s);
}

/* Policy and key go together, and only where the key is the one that was read. */
static void test_configure(void **state)
{
	static const uint8_t wrapped[WRAPPED_KEY_LEN] = {7};
	struct store *s = fixture_with_vtpms(2);
	struct store_vtpm v;

	(void)state;
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_int_equal(v.snapshots, SNAPSHOTS_REFUSE);
	assert_int_equal(fixture_configure(s, &v, SNAPSHOTS_ALLOW, wrapped), 0);
	assert_int_equal(fixture_configure(s, &v, SNAPSHOTS_REFUSE, wrapped), ERR_NOTFOUND);
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_int_equal(v.snapshots, SNAPSHOTS_ALLOW);
	assert_memory_equal(v.wrapped, wrapped, WRAPPED_KEY_LEN);
	assert_int_equal(store_vtpm_by_name(s, "web2", &v), 0);
	assert_int_equal(v.snapshots, SNAPSHOTS_REFUSE);
	store_close(s);
}

static int commit_older(struct store *s, uint64_t version)
{
	struct store_change c = {
		.op = STORE_UPDATE, .version = version, .sealed = fixture_sealed, .sealed_len = STATE_LEN, .rollback = true};
	int err;

	fixture_make_uuid(c.uuid, 1);
	err = fixture_commit(s, &c, 1);
	return err == ERR_AGAIN ? c.result : err;
}

/* A rollback is counted with the change that it is, or not at all. */
static void test_rollback_counts(void **state)
{
	struct store *s = fixture_with_vtpms(2);
	struct store_vtpm v;

	(void)state;
	assert_int_equal(commit_older(s, 2), 0);
	assert_int_equal(commit_older(s, 2), ERR_WRONG_STATE);
	assert_int_equal(fixture_commit_one(s, 1, 3), 0);
	assert_int_equal(commit_older(s, 4), 0);
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_int_equal(v.rollbacks, 2);
	assert_int_equal(v.version, 4);
	assert_int_equal(store_vtpm_by_name(s, "web2", &v), 0);
	assert_int_equal(v.rollbacks, 0);
	store_close(s);
}

static int delete_row(void *arg, const struct store_vtpm *v)
{
	return fixture_delete(arg, v->id);
}

static void test_each_may_delete(void **state)
{
	struct store *s = fixture_with_vtpms(5);
	struct store_vtpm v;

	(void)state;
	assert_int_equal(store_vtpm_each(s, delete_row, s), 0);
	assert_int_equal(store_vtpm_by_name(s, "web3", &v), ERR_NOTFOUND);
	store_close(s);
}

static void test_commit_versions(void **state)
{
	struct store *s = fixture_with_vtpms(2);
	struct store_change c[4] = {{.version = 2}, {.version = 5}, {.version = 2}, {.version = 3}};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		c[i].op = STORE_UPDATE;
		c[i].sealed = fixture_sealed;
		c[i].sealed_len = STATE_LEN;
		fixture_make_uuid(c[i].uuid, i == 3 ? 1 : i + 1); /* 1, 2, 3 (absent), 1 again */
	}
	/* What concerns one of them alone is named, and nothing is stored: its row would vouch for all. */
	assert_int_equal(fixture_commit(s, c, 4), ERR_AGAIN);
	assert_int_equal(c[0].result, 0);
	assert_int_equal(c[1].result, ERR_WRONG_STATE);
	assert_int_equal(c[2].result, ERR_NOTFOUND);
	assert_int_equal(c[3].result, 0);
	assert_int_equal(fixture_version_of(s, 1), 1);
	c[1] = c[3];
	assert_int_equal(fixture_commit(s, c, 2), 0);
	assert_int_equal(fixture_commit_one(s, 1, 3), ERR_WRONG_STATE);
	assert_int_equal(fixture_commit_one(s, 1, 4), 0);
	assert_int_equal(fixture_version_of(s, 1), 4);
	assert_int_equal(fixture_version_of(s, 2), 1);
	store_close(s);
}

static void test_open_refusals(void **state)
{
	char path[256];
	FILE *f;

	(void)state;
	assert_int_equal(fixture_expect_open(false, "--init"), ERR_NOTFOUND);
	store_close(fixture_with_vtpms(1));
	assert_int_equal(fixture_expect_open(true, "exists"), ERR_EXISTS);
	assert_int_equal(fixture_expect_open(false, NULL), 0);
	tamper("PRAGMA user_version = 2");
	assert_int_equal(fixture_expect_open(false, "newer release"), ERR_VERSION);
	tamper("PRAGMA user_version = 1; CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM vtpm; END");
	assert_int_equal(fixture_expect_open(false, "damaged"), ERR_AUTH);
	tamper("DROP TRIGGER t; PRAGMA application_id = 1");
	assert_int_equal(fixture_expect_open(false, "not a store"), ERR_AUTH);
	snprintf(path, sizeof(path), "%s/vtpm.db", fixture_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 4096; i++)
		fputs("garbage", f);
	fclose(f);
	assert_int_equal(fixture_expect_open(false, "not a database"), ERR_AUTH);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(fixture_expect_open(false, NULL), ERR_DENIED);
}

static void test_interrupted_creation(void **state)
{
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/vtpm.db", fixture_dir);
	close(open(path, O_CREAT | O_RDWR, 0600));
	assert_int_equal(fixture_expect_open(false, "never finished"), ERR_NOTFOUND);
	assert_int_equal(fixture_expect_open(true, NULL), 0);
	assert_int_equal(fixture_expect_open(false, NULL), 0);
}

static void test_modes(void **state)
{
	struct store *s = fixture_with_vtpms(1);
	struct stat sb;
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/vtpm.db", fixture_dir);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	snprintf(path, sizeof(path), "%s/vtpm.db-wal", fixture_dir);
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	store_close(s);
	assert_int_equal(chmod(fixture_dir, 0777), 0);
	assert_int_equal(fixture_expect_open(false, "chmod"), ERR_DENIED);
	assert_int_equal(chmod(fixture_dir, 0700), 0);
}

/* One row is read as fast as among few: a start reads them all. */
static void test_many(void **state)
{
	struct store *s = fixture_with_vtpms(300);
	struct store_vtpm v;
	uint8_t uuid[UUID_LEN];

	(void)state;
	fixture_make_uuid(uuid, 7);
	assert_int_equal(store_vtpm_by_uuid(s, uuid, &v), 0);
	assert_in_range(sqlite3_stmt_status(s->stmt[SQL_VTPM_LOAD], SQLITE_STMTSTATUS_VM_STEP, 0), 1, 200);
	store_close(s);
}

/* Set up twice for one machine: the older one is the orphan, until the newer one is gone. */
static void test_machine(void **state)
{
	struct store *s = fixture_with_vtpms(1);
	struct store_vtpm v, other[3] = {fixture_make_vtpm(2), fixture_make_vtpm(3), fixture_make_vtpm(4)};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		other[i].has_machine = i < 2;
		other[i].has_token = true;
		fixture_make_uuid(other[i].machine, 900);
		memset(other[i].token, (int)i, DIGEST_LEN);
		assert_int_equal(fixture_insert(s, &other[i], 1, fixture_sealed, STATE_LEN), 0);
	}
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_false(v.has_machine || v.has_token || v.orphaned);
	assert_int_equal(store_vtpm_by_name(s, "web4", &v), 0);
	assert_true(v.has_token && !v.has_machine && !v.orphaned);
	assert_int_equal(store_vtpm_by_name(s, "web3", &v), 0);
	assert_true(v.has_token && v.has_machine && !v.orphaned);
	assert_memory_equal(v.token, other[1].token, DIGEST_LEN);
	assert_int_equal(fixture_delete(s, v.id), 0);
	assert_int_equal(fixture_insert(s, &other[1], 1, fixture_sealed, STATE_LEN), 0);
	assert_int_equal(store_vtpm_by_name(s, "web2", &v), 0);
	assert_true(v.orphaned);
	assert_memory_equal(v.machine, other[0].machine, UUID_LEN);
	assert_int_equal(store_vtpm_by_name(s, "web3", &v), 0);
	assert_int_equal(fixture_delete(s, v.id), 0);
	assert_int_equal(store_vtpm_by_name(s, "web2", &v), 0);
	assert_false(v.orphaned);
	store_close(s);
}

static void test_damaged_columns(void **state)
{
	static const struct {
		const char *sql;
		const char *column;
	} cases[] = {
		{"UPDATE vtpm SET name = x'00ff' WHERE id = 1", "name"},
		{"UPDATE vtpm SET name = 'a' || char(27) || '[2J' WHERE id = 1", "name"},
		{"UPDATE vtpm SET name = 'web1' || char(0) || 'x' WHERE id = 1", "name"},
		{"UPDATE vtpm SET name = '../../etc' WHERE id = 1", "name"},
		{"UPDATE vtpm SET name = 'web1', epoch = 'many' WHERE id = 1", "epoch"},
		{"UPDATE vtpm SET epoch = -1 WHERE id = 1", "epoch"},
		{"UPDATE vtpm SET epoch = 1, locality_max = 7 WHERE id = 1", "locality_max"},
		{"UPDATE vtpm SET locality_max = 0, snapshots = 2 WHERE id = 1", "snapshots"},
		{"UPDATE vtpm SET snapshots = 0, rollbacks = -1 WHERE id = 1", "rollbacks"},
		{"UPDATE vtpm SET rollbacks = 0, cert_0 = zeroblob(5000) WHERE id = 1", "cert_0"},
		{"UPDATE vtpm SET cert_0 = 17 WHERE id = 1", "cert_0"},
		{"UPDATE vtpm SET cert_0 = x'', state_max = 1e300 WHERE id = 1", "state_max"},
		{"UPDATE vtpm SET state_max = 1, machine = x'11' WHERE id = 1", "machine"},
		{"UPDATE vtpm SET machine = x'', token = zeroblob(33) WHERE id = 1", "token"},
		{"UPDATE vtpm SET token = 7 WHERE id = 1", "token"},
		{"UPDATE vtpm SET token = x'', uuid = x'11' WHERE id = 1", "uuid"},
	};
	struct store_vtpm v;
	char names[8][NAME_MAX_LEN + 1];
	struct store *s;

	(void)state;
	store_close(fixture_with_vtpms(2));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		/* Without STRICT for a moment, as an editor of the raw bytes could have it. */
		tamper("PRAGMA foreign_keys = OFF; PRAGMA writable_schema = ON; "
		       "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'vtpm'");
		tamper(cases[i].sql);
		tamper("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name = 'vtpm'");
		s = fixture_open_store(false);
		memset(names, 0, sizeof(names));
		assert_int_equal(store_vtpm_each(s, count_row, names), 0);
		assert_string_not_equal(names[1], "");
		if (store_vtpm_by_name(s, "web1", &v) == 0 && !strstr(v.quarantine, cases[i].column))
			fail_msg("%s: '%s'", cases[i].sql, v.quarantine);
		assert_int_equal(store_vtpm_by_name(s, "web2", &v), 0);
		assert_string_equal(v.quarantine, "");
		store_close(s);
	}
}

/* A row whose name cannot be used goes by its number, whatever number somebody gave it, and by no other spelling of it. */
static void test_damaged_names(void **state)
{
	static const char *const others[] = {"damaged-row-", "damaged-row-+4", "damaged-row-04", "damaged-row- 4",
					     "damaged-row-4x", "damaged-row-99999999999999999999"};
	struct store_vtpm v;
	struct store *s;

	(void)state;
	store_close(fixture_with_vtpms(3));
	tamper("UPDATE vtpm SET id = 4, name = '../a' WHERE name = 'web1'");
	tamper("UPDATE vtpm SET id = -7, name = '../b' WHERE name = 'web2'");
	tamper("UPDATE vtpm SET id = 9223372036854775807, name = '../c' WHERE name = 'web3'");
	s = fixture_open_store(false);
	assert_int_equal(store_vtpm_by_name(s, "damaged-row-4", &v), 0);
	assert_int_equal(v.id, 4);
	assert_int_equal(store_vtpm_by_name(s, "damaged-row--7", &v), 0);
	assert_int_equal(v.id, -7);
	assert_int_equal(store_vtpm_by_name(s, "damaged-row-9223372036854775807", &v), 0);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(store_vtpm_by_name(s, others[i], &v), ERR_NOTFOUND);
	store_close(s);
}

static void test_truncated_key_and_missing_state(void **state)
{
	struct store_vtpm v;
	struct store *s = fixture_with_vtpms(2);
	uint8_t uuid[UUID_LEN];
	uint64_t version;
	size_t len = STATE_LEN;

	(void)state;
	store_close(s);
	tamper("UPDATE vtpm SET wrapped = substr(wrapped, 1, 10) WHERE name = 'web1'");
	tamper("DELETE FROM state WHERE uuid = (SELECT uuid FROM vtpm WHERE name = 'web1')");
	tamper("UPDATE state SET version = -5 WHERE uuid = (SELECT uuid FROM vtpm WHERE name = 'web2')");
	s = fixture_open_store(false);
	assert_int_equal(store_vtpm_by_name(s, "web1", &v), 0);
	assert_int_equal(v.wrapped_len, 10);
	assert_false(v.damaged);
	assert_int_equal(v.version, 0);
	fixture_make_uuid(uuid, 1);
	assert_int_equal(store_state_get(s, uuid, &version, fixture_sealed, &len), ERR_NOTFOUND);
	fixture_make_uuid(uuid, 2);
	assert_int_equal(store_state_get(s, uuid, &version, fixture_sealed, &len), ERR_AUTH);
	assert_int_equal(fixture_commit_one(s, 2, 2), ERR_WRONG_STATE);
	store_close(s);
}

/* Changes bytes all over the file: rows may be gone or refused, but nothing crashes and no length is believed. */
static void look_at_everything(void)
{
	char why[TEXT_MAX + 1];
	char names[16][NAME_MAX_LEN + 1] = {{0}};
	struct store *s;

	if (store_open(&s, fixture_dir, false, why))
		return;
	for (unsigned n = 1; n <= 8; n++) {
		uint8_t p[STATE_LEN];
		uint8_t uuid[UUID_LEN];
		size_t len = sizeof(p);
		uint64_t version;

		fixture_make_uuid(uuid, n);
		if (store_state_get(s, uuid, &version, p, &len) == 0)
			assert_true(len <= sizeof(p));
	}
	if (store_vtpm_each(s, count_row, names) == 0)
		assert_string_equal(names[8], "");
	store_close(s);
}

static void test_flipped_bytes(void **state)
{
	char path[256];
	struct stat sb;

	(void)state;
	store_close(fixture_with_vtpms(8));
	snprintf(path, sizeof(path), "%s/vtpm.db", fixture_dir);
	assert_int_equal(stat(path, &sb), 0);
	srandom(1);
	for (int i = 0; i < 200; i++) {
		off_t at = random() % (i % 2 ? sb.st_size : 4096); /* half of them in the header and the schema */
		uint8_t old;
		uint8_t byte = (uint8_t)random();
		int fd = open(path, O_RDWR);

		assert_int_equal(pread(fd, &old, 1, at), 1);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		look_at_everything();
		assert_int_equal(pwrite(fd, &old, 1, at), 1);
		close(fd);
	}
}

static int count_leaf(void *arg, const struct store_leaf *l)
{
	unsigned *n = arg;

	assert_int_equal(l->version, 7 + *n);
	assert_int_equal(l->discontinuities, 2);
	assert_int_equal(l->certs.kinds, *n + 1);
	assert_int_equal(l->certs.serial[SERIAL_LEN - 1], 3);
	assert_int_equal(l->certs.hash[DIGEST_LEN - 1], 4);
	++*n;
	return 0;
}

static void test_journal(void **state)
{
	struct store_leaf leaf[2] = {{.version = 7, .discontinuities = 2}, {.version = 8, .mode = MODE_STRICT, .discontinuities = 2}};
	const struct store_leaf *put[] = {&leaf[1], &leaf[0]};
	struct store_row row = {.n = 5000}, got[4];
	uint8_t gone[1][UUID_LEN];
	struct store *s = fixture_with_vtpms(1);
	struct store_tail tail = {.leaves = put, .nleaves = 2, .row = &row};
	static const char *const wrong[] = {"UPDATE leaf SET kinds = 8", "UPDATE leaf SET kinds = -1", "UPDATE leaf SET serial = x''",
					    "UPDATE leaf SET certs = zeroblob(33)"};
	unsigned leaves = 0;
	size_t n;

	(void)state;
	fixture_make_uuid(leaf[0].uuid, 1);
	fixture_make_uuid(leaf[1].uuid, 2);
	for (uint8_t i = 0; i < 2; i++) {
		leaf[i].certs.kinds = i + 1;
		leaf[i].certs.serial[SERIAL_LEN - 1] = 3;
		leaf[i].certs.hash[DIGEST_LEN - 1] = 4;
	}
	memset(row.row, 9, sizeof(row.row));
	assert_int_equal(store_commit(s, NULL, 0, &tail), 0);
	assert_int_equal(store_leaf_each(s, count_leaf, &leaves), 0);
	assert_int_equal(leaves, 2);
	assert_int_equal(store_journal_read(s, 5000, got, 4, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(got[0].n, 5000);
	assert_memory_equal(got[0].row, row.row, sizeof(row.row));
	assert_int_equal(store_commit(s, NULL, 0, &tail), ERR_EXISTS); /* a number is used once */
	row.n++;
	memcpy(gone[0], leaf[1].uuid, UUID_LEN);
	tail = (struct store_tail){.row = &row, .prune = 5000, .gone = (const uint8_t(*)[UUID_LEN])gone, .ngone = 1};
	assert_int_equal(store_commit(s, NULL, 0, &tail), 0);
	assert_int_equal(store_journal_read(s, 0, got, 4, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(got[0].n, 5000);
	leaves = 0;
	assert_int_equal(store_leaf_each(s, count_leaf, &leaves), 0);
	assert_int_equal(leaves, 1);
	store_close(s);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		tamper(wrong[i]);
		s = fixture_open_store(false);
		assert_int_equal(store_leaf_each(s, count_leaf, &leaves), ERR_AUTH);
		store_close(s);
		tamper("UPDATE leaf SET kinds = 1, serial = zeroblob(16), certs = zeroblob(32)");
	}
	tamper("UPDATE leaf SET version = -1");
	tamper("UPDATE journal SET row = x'00' WHERE n = 5001");
	s = fixture_open_store(false);
	assert_int_equal(store_leaf_each(s, count_leaf, &leaves), ERR_AUTH);
	assert_int_equal(store_journal_read(s, 5000, got, 4, &n), ERR_AUTH);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_values),
		TEST(test_vtpm_round_trip),
		TEST(test_configure),
		TEST(test_rollback_counts),
		TEST(test_each_may_delete),
		TEST(test_commit_versions),
		TEST(test_journal),
		TEST(test_open_refusals),
		TEST(test_interrupted_creation),
		TEST(test_modes),
		TEST(test_many),
		TEST(test_machine),
		TEST(test_damaged_columns),
		TEST(test_damaged_names),
		TEST(test_truncated_key_and_missing_state),
		TEST(test_flipped_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

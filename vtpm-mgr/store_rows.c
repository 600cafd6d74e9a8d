/* SPDX-License-Identifier: BSD-2-Clause */
/* vTPMs and their states: every column is checked for type and bounds before it is believed. */
#include "vtpm-mgr/store_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/proto/backend.h"

_Static_assert(STORE_EK_KINDS == EK_KINDS && STORE_EK_KINDS == 2, "two columns each for public areas and certificates");

/* ---- columns ---- */

static int col_cert(sqlite3_stmt *st, int col, struct store_blob *out)
{
	int err;

	out->len = sizeof(out->data);
	err = col_copy(st, col, out->data, &out->len);
	if (err)
		out->len = 0;
	return err == ERR_RANGE ? ERR_AUTH : err;
}

static int col_rules(sqlite3_stmt *st, int col, struct store_rules *out)
{
	int err;

	out->len = sizeof(out->data);
	err = col_copy(st, col, out->data, &out->len);
	if (err)
		out->len = 0;
	return err == ERR_RANGE ? ERR_AUTH : err;
}

/* Our own words come back as written, others without what could upset a terminal or a JSON encoder. */
static int col_text(sqlite3_stmt *st, int col, char out[static STORE_TEXT_MAX + 1])
{
	const char *s;
	size_t n = 0;

	out[0] = '\0';
	if (sqlite3_column_type(st, col) != SQLITE_TEXT)
		return ERR_AUTH;
	s = (const char *)sqlite3_column_text(st, col);
	if (!s)
		return ERR_NOMEM;
	for (; n < STORE_TEXT_MAX && s[n]; n++)
		out[n] = s[n] >= 0x20 && s[n] < 0x7f ? s[n] : '?';
	out[n] = '\0';
	return s[n] || (size_t)sqlite3_column_bytes(st, col) != n ? ERR_AUTH : 0;
}

/* The only row number a query gives. */
static int find_id(struct store *s, sqlite3_stmt *st, int64_t *id)
{
	int err = store_row(s, st);

	if (err)
		return err;
	*id = sqlite3_column_int64(st, 0);
	store_done(st);
	return 0;
}

/* ---- vTPMs ---- */

/* Remembers the first column that is damaged; anything but damage ends the reading. */
static int note(int err, const char *column, const char **damaged)
{
	if (err == ERR_AUTH && !*damaged)
		*damaged = column;
	return err == ERR_AUTH ? 0 : err;
}

/* The numbers of a row. */
static int read_numbers(sqlite3_stmt *st, struct store_vtpm *v, const char **damaged)
{
	static const struct {
		int col;
		const char *name;
		int64_t min, max;
	} fields[] = {
		{COL_EPOCH, "epoch", 1, INT64_MAX},
		{COL_USER, "user", -1, UINT32_MAX},
		{COL_STATE_MAX, "state_max", 0, UINT32_MAX},
		{COL_COMMIT_RATE, "commit_rate", 0, UINT32_MAX},
		{COL_LOCALITY_MAX, "locality_max", 0, LOCALITY_TOP},
		{COL_SNAPSHOTS, "snapshots", SNAPSHOTS_REFUSE, SNAPSHOTS_ALLOW},
		{COL_LAUNCH, "launch", LAUNCH_AUTO, LAUNCH_OFF},
		{COL_ROLLBACKS, "rollbacks", 0, INT64_MAX - 1},
		{COL_CREATED, "created", 0, INT64_MAX},
	};
	int64_t n[ARRAY_LEN(fields)] = {0};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (col_int(st, fields[i].col, fields[i].min, fields[i].max, &n[i])) {
			n[i] = fields[i].min;
			if (!*damaged)
				*damaged = fields[i].name;
		}
	}
	v->epoch = (uint64_t)n[0];
	v->user = n[1];
	v->state_max = (uint32_t)n[2];
	v->commit_rate = (uint32_t)n[3];
	v->locality_max = (uint8_t)n[4];
	v->snapshots = (uint8_t)n[5];
	v->launch = (uint8_t)n[6];
	v->rollbacks = (uint64_t)n[7];
	v->created = n[8];
	return 0;
}

static void read_state_summary(sqlite3_stmt *st, struct store_vtpm *v)
{
	int64_t n;

	if (col_int(st, COL_VERSION, 1, INT64_MAX, &n) == 0)
		v->version = (uint64_t)n;
	if (col_int(st, COL_VERSION + 1, 0, UINT32_MAX, &n) == 0)
		v->sealed_len = (uint32_t)n;
	if (col_int(st, COL_ORPHANED, 0, 1, &n) == 0)
		v->orphaned = n == 1;
}

/*
 * A damaged row is shown, not hidden: what cannot be read is neutral, quarantine says which column it
 * was, and a name that cannot be used is replaced by one made from the row's number.
 */
static int read_vtpm(sqlite3_stmt *st, struct store_vtpm *v)
{
	static const char *const cert[] = {"cert_0", "cert_1"};
	static const char *const ek[] = {"ek_public_0", "ek_public_1"};
	const char *damaged = NULL;
	int err;

	memset(v, 0, sizeof(*v));
	v->id = sqlite3_column_int64(st, COL_ID);
	err = note(col_text(st, COL_QUARANTINE, v->quarantine), "quarantine", &damaged);
	if (!err)
		err = note(col_exact(st, COL_UUID, v->uuid, UUID_LEN), "uuid", &damaged);
	if (!err)
		err = note(col_name(st, COL_NAME, v->name), "name", &damaged);
	if (!err)
		err = note(col_name(st, COL_GROUP, v->group), "group", &damaged);
	if (!err)
		err = read_numbers(st, v, &damaged);
	if (!err)
		err = note(col_optional(st, COL_MACHINE, v->machine, UUID_LEN, &v->has_machine), "machine", &damaged);
	if (!err)
		err = note(col_optional(st, COL_TOKEN, v->token, DIGEST_LEN, &v->has_token), "token", &damaged);
	if (!err)
		err = note(col_rules(st, COL_RULES, &v->rules), "launch_rules", &damaged);
	if (!err)
		err = note(col_wrapped(st, COL_WRAPPED, v->wrapped, &v->wrapped_len), "wrapped", &damaged);
	for (int i = 0; i < (int)STORE_EK_KINDS && !err; i++) {
		err = note(col_cert(st, COL_EK_PUBLIC + i, &v->ek_public[i]), ek[i], &damaged);
		if (!err)
			err = note(col_cert(st, COL_CERT + i, &v->cert[i]), cert[i], &damaged);
	}
	if (err)
		return err;
	read_state_summary(st, v);
	if (v->name[0] == '\0')
		snprintf(v->name, sizeof(v->name), STORE_DAMAGED "%lld", (long long)v->id);
	v->damaged = damaged != NULL;
	if (damaged)
		snprintf(v->quarantine, sizeof(v->quarantine), "its row in the store is damaged: column %s", damaged);
	return 0;
}

static int load_vtpm(struct store *s, int64_t id, struct store_vtpm *v)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_LOAD);
	int err;

	sqlite3_bind_int64(st, 1, id);
	err = store_row(s, st);
	if (err)
		return err;
	err = read_vtpm(st, v);
	store_done(st);
	return err;
}

/* The row that a name made from its number stands for. */
static bool is_damaged_name(const char *name, int64_t *id)
{
	const size_t n = strlen(STORE_DAMAGED);
	char *end;

	if (strncmp(name, STORE_DAMAGED, n) != 0)
		return false;
	errno = 0;
	*id = strtoll(name + n, &end, 10);
	return errno == 0 && end > name + n && *end == '\0';
}

int store_vtpm_by_name(struct store *s, const char *name, struct store_vtpm *v)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_BY_NAME);
	int64_t id;
	int err;

	bind_str(st, 1, name);
	err = find_id(s, st, &id);
	if (err == ERR_NOTFOUND && is_damaged_name(name, &id)) {
		err = load_vtpm(s, id, v);
		return !err && strcmp(v->name, name) != 0 ? ERR_NOTFOUND : err;
	}
	if (!err)
		err = load_vtpm(s, id, v);
	/* The row came by an index, which is bytes on the disk like everything else. */
	return !err && strcmp(v->name, name) != 0 ? ERR_AUTH : err;
}

int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *v)
{
	sqlite3_stmt *st = store_stmt(s, SQL_VTPM_BY_UUID);
	int64_t id;
	int err;

	bind_uuid(st, 1, uuid);
	err = find_id(s, st, &id);
	if (!err)
		err = load_vtpm(s, id, v);
	return !err && memcmp(v->uuid, uuid, UUID_LEN) != 0 ? ERR_AUTH : err;
}

int store_vtpm_each(struct store *s, int (*row)(void *arg, const struct store_vtpm *v), void *arg)
{
	struct store_vtpm v;
	struct ids ids;
	int err = ids_load(s, SQL_VTPM_IDS, &ids);

	if (err)
		return err;
	for (size_t i = 0; i < ids.n && !err; i++) {
		err = load_vtpm(s, ids.v[i], &v);
		if (err == ERR_NOTFOUND) /* the callback removed it */
			err = 0;
		else if (!err)
			err = row(arg, &v);
	}
	free(ids.v);
	return err;
}

int store_vtpm_quarantine(struct store *s, const uint8_t uuid[static UUID_LEN], const char *why)
{
	int len = (int)strnlen(why, STORE_TEXT_MAX);
	sqlite3_stmt *st;
	int err = store_begin(s);

	if (err)
		return err;
	st = store_stmt(s, SQL_VTPM_QUARANTINE);
	bind_uuid(st, 1, uuid);
	sqlite3_bind_text(st, 2, why, len, SQLITE_STATIC);
	err = store_exec(s, st);
	if (!err && sqlite3_changes(s->db) != 1)
		err = ERR_NOTFOUND;
	return store_end(s, err);
}

/* ---- states ---- */

int store_state_get(struct store *s, const uint8_t uuid[static UUID_LEN], uint64_t *version, void *p, size_t *len)
{
	sqlite3_stmt *st = store_stmt(s, SQL_STATE_GET);
	uint8_t stored[UUID_LEN];
	int64_t n = 0;
	int err;

	bind_uuid(st, 1, uuid);
	err = store_row(s, st);
	if (err)
		return err;
	err = col_exact(st, 0, stored, UUID_LEN);
	if (!err && memcmp(stored, uuid, UUID_LEN) != 0)
		err = ERR_AUTH;
	if (!err)
		err = col_int(st, 1, 1, INT64_MAX, &n);
	if (!err)
		err = col_copy(st, 2, p, len);
	store_done(st);
	*version = err ? 0 : (uint64_t)n;
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backup and restore on the control interface. A file goes over it in pieces, each a call of its own, so that it passes
 *wherever the interface does, its client sets the pace, and no descriptor of a client is ever written or read here.
 *
 *	Backup	BackupRead…		Restore	RestoreWrite… RestoreCommit
 *
 * One at a time. It ends with its client's connection, or when that is silent for TRANSFER_IDLE_MS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/reroot.h"

#define TRANSFER_IDLE_MS 30000u
#define ID_BYTES	 16u

struct transfer {
	struct mgr *m;
	char id[2 * ID_BYTES + 1];
	struct call *call; /* being answered; NULL: its client's turn */
	struct loop_timer idle;
	struct call_bond bond;
	bool deserted; /* its client has gone in the middle of a call */
	/* One of these. */
	struct backup *backup;
	struct restore *restore;
	json_t *only; /* NULL: all */
	bool check;   /* look, and change nothing */
	struct restore_list list;
};

static void transfer_end(struct transfer *t)
{
	struct mgr *m = t->m;

	loop_timer_cancel(&m->loop, &t->idle);
	bond_end(&t->bond);
	backup_free(t->backup);
	restore_free(t->restore);
	restore_list_free(&t->list);
	json_decref(t->only);
	free(t);
	m->transfer = NULL;
}

static void on_idle(void *arg)
{
	transfer_end(arg);
}

/* A call that is being answered is brought to its end: a commit may be on its way. */
static void on_gone(void *arg)
{
	struct transfer *t = arg;

	if (t->call)
		t->deserted = true;
	else
		transfer_end(t);
}

void transfer_close(struct mgr *m)
{
	if (m->transfer && !m->restoring)
		transfer_end(m->transfer);
}

/* Its client's turn. */
static void turn(struct transfer *t, json_t *reply)
{
	struct call *c = t->call;

	t->call = NULL;
	if (t->deserted)
		transfer_end(t);
	else
		loop_timer_set(&t->m->loop, &t->idle, TRANSFER_IDLE_MS, on_idle, t);
	call_reply(c, reply);
}

/* The answer comes after the end, since it may end the client; and text may be of what ends. */
static void fail(struct transfer *t, int code, const char *text)
{
	struct call *c = t->call;
	char copy[TEXT_MAX + 1];

	snprintf(copy, sizeof(copy), "%s", text[0] ? text : err_text(code));
	transfer_end(t);
	call_error(c, code, "%s", copy);
}

/* NULL: the call has been answered. */
static struct transfer *transfer_new(struct mgr *m, struct call *c)
{
	struct transfer *t;
	uint8_t id[ID_BYTES];

	if (m->transfer || m->reseal) {
		call_error(c, ERR_BUSY, m->reseal ? "roots are being rotated; try again" : "another backup or restore is on its way");
		return NULL;
	}
	t = calloc(1, sizeof(*t));
	if (!t || random_bytes(id, sizeof(id)) || hex_encode(id, sizeof(id), t->id, sizeof(t->id)) ||
	    call_bind(c, &t->bond, on_gone, t)) {
		free(t);
		call_error(c, ERR_NOMEM, "out of memory");
		return NULL;
	}
	t->m = m;
	t->call = c;
	m->transfer = t;
	return t;
}

/* The one that a call names, which is its turn now. NULL: the call has been answered. */
static struct transfer *transfer_of(struct mgr *m, struct call *c, json_t *params, bool backup)
{
	const char *id = json_string_value(json_object_get(params, "id"));
	struct transfer *t = m->transfer;

	if (!t || !id || strcmp(t->id, id) != 0 || (t->backup != NULL) != backup) {
		call_error(c, ERR_NOTFOUND,
			   "there is no such backup or restore on its way: its client was silent for too long, or it "
			   "failed");
		return NULL;
	}
	if (t->call) {
		call_error(c, ERR_BUSY, "the last call for it is not answered yet");
		return NULL;
	}
	loop_timer_cancel(&m->loop, &t->idle);
	t->call = c;
	return t;
}

static json_t *time_text(int64_t seconds)
{
	char text[BACKUP_TIME_MAX];

	backup_time(seconds, text);
	return json_string(text);
}

/* ---- backup ---- */

static void on_begun(void *arg, int code, const char *text)
{
	struct transfer *t = arg;

	mgr_audit(t->m, t->call, "backup", NULL, code, code ? text : NULL);
	if (code)
		fail(t, code, text);
	else
		turn(t, json_pack("{s:s, s:I, s:o, s:o}", "id", t->id, "bytes", (json_int_t)backup_file_size(t->backup), "created",
				  time_text(backup_created(t->backup)), "offline_keys", describe_offline_keys(backup_keys(t->backup))));
}

void method_backup(void *arg, struct call *c, json_t *params)
{
	struct transfer *t = transfer_new(arg, c);

	(void)params;
	if (t && backup_begin(arg, NULL, 0, on_begun, t, &t->backup))
		fail(t, ERR_NOMEM, "out of memory");
}

static json_t *data_reply(const uint8_t *p, size_t n)
{
	size_t cap = 2 * n + 1;
	char *hex = malloc(cap);
	json_t *reply =
		hex && !hex_encode(p, n, hex, cap) ? json_pack("{s:s, s:b}", "data", hex, "last", (int)(n == 0)) : NULL;

	free(hex);
	return reply;
}

static void on_piece(void *arg, int code, const char *text, const uint8_t *p, size_t n)
{
	struct transfer *t = arg;
	struct call *c = t->call;
	json_t *reply = code ? NULL : data_reply(p, n);

	if (!reply) {
		fail(t, code ? code : ERR_NOMEM, text);
	} else if (n > 0) {
		turn(t, reply);
	} else {
		transfer_end(t);
		call_reply(c, reply);
	}
}

void method_backup_read(void *arg, struct call *c, json_t *params)
{
	struct transfer *t = transfer_of(arg, c, params, true);

	if (t)
		backup_next(t->backup, on_piece, t);
}

/* ---- restore ---- */

static bool names_valid(json_t *names)
{
	json_t *name;
	size_t i;

	if (!json_is_array(names) || json_array_size(names) == 0)
		return false;
	json_array_foreach(names, i,
			   name) if (!json_is_string(name) || !name_valid(json_string_value(name))) return false;
	return true;
}

void method_restore(void *arg, struct call *c, json_t *params)
{
	json_t *only = json_object_get(params, "only");
	struct transfer *t;
	bool accept, check;

	if (bool_param(c, params, "accept_rollback", &accept) || bool_param(c, params, "check", &check))
		return;
	if (!accept && !check) {
		call_error(c, ERR_INVAL,
			   "a backup is an old state by definition, with old counters of failed authorisations: say "
			   "--accept-rollback if you accept that, or --check to see what is in it");
		return;
	}
	if (only && !json_is_null(only) && !names_valid(only)) {
		call_error(c, ERR_INVAL, "only must be a list of names");
		return;
	}
	t = transfer_new(arg, c);
	if (!t)
		return;
	t->check = check;
	t->only = only && !json_is_null(only) ? json_incref(only) : NULL;
	t->restore = restore_new(arg);
	if (t->restore)
		turn(t, json_pack("{s:s, s:i}", "id", t->id, "piece_max", (int)RESTORE_PIECE_MAX));
	else
		fail(t, ERR_NOMEM, "out of memory");
}

static void refused(struct transfer *t, int code, const char *text)
{
	if (!t->check)
		mgr_audit(t->m, t->call, "restore", NULL, code, text);
	fail(t, code, text);
}

static void on_written(void *arg, int code, const char *text)
{
	struct transfer *t = arg;

	if (code)
		refused(t, code, text);
	else
		turn(t, NULL);
}

void method_restore_write(void *arg, struct call *c, json_t *params)
{
	struct transfer *t = transfer_of(arg, c, params, false);
	const char *hex = json_string_value(json_object_get(params, "data"));
	size_t len = hex ? strlen(hex) / 2 : 0;
	uint8_t data[RESTORE_PIECE_MAX];

	if (!t)
		return;
	if (!hex || strlen(hex) % 2 || len > sizeof(data) || hex_decode(hex, data, len))
		refused(t, ERR_INVAL, "data must be at most piece_max bytes, in hex");
	else
		restore_write(t->restore, data, len, on_written, t);
}

static json_t *describe_item(const struct restore_item *it)
{
	char uuid[UUID_STR_LEN + 1];
	json_t *j;

	uuid_format(it->uuid, uuid);
	j = json_pack("{s:s, s:s, s:I, s:b}", "name", it->name, "uuid", uuid, "version", (json_int_t)it->version,
		      "restored", (int)(it->chosen && !it->code));
	if (it->known)
		json_object_set_new(j, "replaced_version", json_integer((json_int_t)it->now));
	if (it->code)
		json_object_set_new(j, "reason", json_string(it->why));
	return j;
}

static json_t *describe_list(const struct transfer *t, const char *aside)
{
	json_t *list = json_array(), *j;

	for (size_t i = 0; i < t->list.n; i++)
		if (t->check || t->list.v[i].chosen || !t->only)
			json_array_append_new(list, describe_item(&t->list.v[i]));
	j = json_pack("{s:o, s:o, s:o}", "created", time_text(restore_created(t->restore)), "offline_keys",
		      describe_offline_keys(restore_keys(t->restore)), "vtpms", list);
	if (j && aside[0])
		json_object_set_new(j, "replaced", json_string(aside));
	return j;
}

static void on_committed(void *arg, int code, const char *text, const char *aside)
{
	struct transfer *t = arg;
	struct call *c = t->call;
	json_t *reply;

	if (code) {
		refused(t, code, text);
		return;
	}
	reply = describe_list(t, aside);
	transfer_end(t);
	call_reply(c, reply);
}

static void look(struct transfer *t, struct store *from)
{
	char why[TEXT_MAX + 1];
	struct call *c = t->call;
	json_t *reply;

	(void)!restore_check(t->m, from, &t->list, why); /* what cannot come back says so in the list */
	reply = describe_list(t, "");
	transfer_end(t);
	call_reply(c, reply);
}

void method_restore_commit(void *arg, struct call *c, json_t *params)
{
	struct transfer *t = transfer_of(arg, c, params, false);
	char why[TEXT_MAX + 1];
	struct store *from;
	int err;

	if (!t)
		return;
	err = restore_store(t->restore, &from, why);
	if (!err)
		err = restore_choose(t->m, from, t->only, &t->list, why);
	if (err && !(t->check && t->list.n > 0))
		refused(t, err, why);
	else if (t->check)
		look(t, from);
	else
		restore_apply(t->m, t->restore, &t->list, c, on_committed, t);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What comes back of a backup, all of it or nothing:
 *
 *	keys	the keeper wraps each anew, for a new epoch: no row of before, wherever it comes from, has it
 *	aside	what is to be replaced goes to a file of its own (backup_aside.c)
 *	commit	rows, states and leaves in one transaction, with an anchored row of the journal; each leaf has one
 *discontinuity more
 *
 * Whatever dies before the last one is over, the store is as it was.
 */
#include "vtpm-mgr/backup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/certs.h"

struct committing {
	struct mgr *m;
	struct store *from;
	struct restore_list *list;
	char when[BACKUP_TIME_MAX]; /* the backup is of, for the audit log; */
	struct call *call;	    /* for the audit log */
	aside_done *done;
	void *arg;
	size_t at; /* item whose key is being wrapped */
	struct store_vtpm row;
	struct store_restore set;
	char aside[320];
};

bool restore_holds(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	const struct restore_list *list = m->restoring ? m->restoring->list : NULL;

	for (size_t i = 0; list && i < list->n; i++)
		if (list->v[i].chosen && !memcmp(list->v[i].uuid, uuid, UUID_LEN))
			return true;
	return false;
}

int restore_find_twin(const struct mgr *m, const struct store_vtpm *row, char name[static NAME_MAX_LEN + 1])
{
	const struct committing *c = m->restoring;
	struct store_vtpm *mem = c ? malloc(sizeof(*mem)) : NULL;
	int err = c && !mem ? ERR_NOMEM : 0;

	for (size_t i = 0; c && i < c->list->n && !err; i++) {
		if (!c->list->v[i].chosen || !memcmp(c->list->v[i].uuid, row->uuid, UUID_LEN))
			continue;
		err = store_vtpm_by_uuid(c->from, c->list->v[i].uuid, mem);
		if (!err && import_is_twin(row, mem))
			err = ERR_EXISTS;
	}
	if (err == ERR_EXISTS)
		memcpy(name, mem->name, NAME_MAX_LEN + 1);
	free(mem);
	return err;
}

static void committing_end(struct committing *c, int code, const char *text)
{
	if (code && c->aside[0] && unlink(c->aside))
		log_warn("%s: it is not needed, and cannot be removed: %s", c->aside, strerror(errno));
	c->m->restoring = NULL;
	c->done(c->arg, code, text, c->aside);
	free(c->set.v);
	free(c);
}

/* ---- last: the commit ---- */

static void report(struct committing *c, const struct restore_item *it)
{
	struct mgr *m = c->m;
	char detail[240];

	if (store_vtpm_by_uuid(m->store, it->uuid, &c->row))
		return;
	if (it->known)
		snprintf(detail, sizeof(detail),
			 "rollback accepted: the backup of %s, change %llu in the place of change %llu; that is kept "
			 "in %.100s",
			 c->when, (unsigned long long)it->version, (unsigned long long)it->now, c->aside);
	else
		snprintf(detail, sizeof(detail),
			 "rollback accepted: the backup of %s, change %llu of one that was not there", c->when,
			 (unsigned long long)it->version);
	mgr_audit(m, c->call, "restore", &c->row, 0, detail);
	log_warn("%s: restored: %s", it->name, detail);
	if (!it->known)
		qemu_port_open(m, &c->row);
}

static void on_stored(void *arg, int code)
{
	struct committing *c = arg;

	for (size_t i = 0; i < c->list->n && !code; i++)
		if (c->list->v[i].chosen)
			report(c, &c->list->v[i]);
	committing_end(c, code, code ? store_why(c->m->store) : "");
}

/* What failed of it is over with it. */
static void forget_failed(struct mgr *m, const struct restore_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct vtpm *v = list->v[i].chosen ? vtpm_find(m, list->v[i].uuid) : NULL;

		if (v && !v->front)
			vtpm_free(v);
	}
}

/* Those of the backup, and of what is there, are revoked, and what is to be certified anew is remembered. */
static int revoke_both(struct committing *c, struct change *ch, const struct restore_item *it, struct store_leaf *l)
{
	const struct leaf *now = leaves_find(&c->m->continuity.leaves, it->uuid);
	int err = now ? certs_revoke(c->m, &ch->metas, &now->l.certs, REVOKED_SUPERSEDED) : 0;

	if (!err)
		err = certs_revoke(c->m, &ch->metas, &it->leaf.certs, REVOKED_SUPERSEDED);
	if (!err)
		err = store_vtpm_by_uuid(c->from, it->uuid, &c->row);
	return err ? err : certs_put(&ch->metas, l, &c->row, &(struct certs){ .kinds = it->leaf.certs.kinds });
}

static void submit(struct committing *c)
{
	char why[TEXT_MAX + 1];
	int err = restore_check(c->m, c->from, c->list, why);
	struct change *ch = err ? NULL : change_new(STORE_RESTORE, on_stored, c);

	if (!ch) {
		committing_end(c, err ? err : ERR_NOMEM, err ? why : err_text(ERR_NOMEM));
		return;
	}
	for (size_t i = 0, at = 0; i < c->list->n && !err; i++)
		if (c->list->v[i].chosen)
			err = revoke_both(c, ch, &c->list->v[i], &c->set.v[at++].leaf);
	if (err) {
		change_free(ch);
		committing_end(c, err, "its certificates cannot be revoked");
		return;
	}
	forget_failed(c->m, c->list);
	ch->c.restore = &c->set;
	change_submit(c->m, ch);
}

/* ---- what is replaced ---- */

static void on_aside(void *arg, int code, const char *text, const char *path)
{
	struct committing *c = arg;

	if (code) {
		committing_end(c, code, text);
		return;
	}
	snprintf(c->aside, sizeof(c->aside), "%s", path);
	submit(c);
}

static void set_aside(struct committing *c)
{
	uint8_t(*known)[UUID_LEN] = calloc(c->list->chosen, sizeof(*known));
	size_t n = 0;

	if (!known) {
		committing_end(c, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	for (size_t i = 0; i < c->list->n; i++)
		if (c->list->v[i].chosen && c->list->v[i].known)
			memcpy(known[n++], c->list->v[i].uuid, UUID_LEN);
	if (n > 0)
		backup_aside(c->m, (const uint8_t(*)[UUID_LEN])known, n, on_aside, c);
	else
		submit(c);
	free(known);
}

/* ---- keys ---- */

static void next_key(struct committing *c);

/* As the row of the backup has it, with one discontinuity more than anybody has seen of it. */
static int make_leaf(struct committing *c, const struct restore_item *it, struct store_restored *out)
{
	const struct leaf *now = leaves_find(&c->m->continuity.leaves, it->uuid);
	uint8_t *sealed = malloc(SEALED_STATE_MAX);
	size_t len = SEALED_STATE_MAX;
	struct store_leaf *l = &out->leaf;
	int err = sealed ? store_state_get(c->from, it->uuid, &l->version, sealed, &len) : ERR_NOMEM;

	if (!err)
		err = leaf_hash(sealed, len, l->hash);
	free(sealed);
	memcpy(l->uuid, it->uuid, UUID_LEN);
	l->epoch = out->epoch;
	l->mode = now ? now->l.mode : it->leaf.mode;
	l->discontinuities =
		now && now->l.discontinuities > it->leaf.discontinuities ? now->l.discontinuities : it->leaf.discontinuities;
	l->discontinuities++;
	return err;
}

static void on_rebound(void *arg, const struct keeper_reply *r)
{
	struct committing *c = arg;
	const struct restore_item *it = &c->list->v[c->at];
	struct store_restored *out = &c->set.v[c->set.n];
	char text[TEXT_MAX + 1];
	int err = r->code ? r->code : r->result_len != WRAPPED_KEY_LEN ? ERR_PROTO : 0;

	if (!err) {
		memcpy(out->wrapped, r->result, WRAPPED_KEY_LEN);
		err = make_leaf(c, it, out);
	}
	if (err) {
		snprintf(text, sizeof(text), "%s: %.400s", it->name, r->code ? r->text : err_text(err));
		committing_end(c, err, text);
		return;
	}
	c->set.n++;
	c->at++;
	next_key(c);
}

static int build_request(struct committing *c, struct buf *b)
{
	const struct restore_item *it = &c->list->v[c->at];
	struct store_restored *out = &c->set.v[c->set.n];
	struct keeper_key_rebind r = {.wrapped = c->row.wrapped};
	int err = store_vtpm_by_uuid(c->from, it->uuid, &c->row);

	r.wrapped_len = c->row.wrapped_len;
	memcpy(out->uuid, it->uuid, UUID_LEN);
	if (!err)
		err = release_line(&out->epoch);
	if (!err)
		err = vtpm_binding(&c->row, &r.from);
	r.to = r.from;
	r.to.epoch = out->epoch;
	return err ? err : keeper_key_rebind_encode(b, &r);
}

static void on_group(void *arg, const struct keeper_reply *r)
{
	struct committing *c = arg;
	uint8_t mem[KEEPER_KEY_REBIND_MAX];
	struct buf b;
	int err = r->code;

	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = build_request(c, &b);
	if (err)
		committing_end(c, err, r->code ? r->text : err_text(err));
	else
		keeper_ask(c->m, KEEPER_KEY_REBIND, &b, on_rebound, c);
}

static void next_key(struct committing *c)
{
	while (c->at < c->list->n && !c->list->v[c->at].chosen)
		c->at++;
	if (c->at == c->list->n)
		set_aside(c);
	else
		keeper_open_group(c->m, c->list->v[c->at].group, on_group, c);
}

void restore_apply(struct mgr *m, struct restore *r, struct restore_list *list, struct call *call, aside_done *done,
		   void *arg)
{
	struct committing *c = calloc(1, sizeof(*c));
	char why[TEXT_MAX + 1];
	struct store *from = NULL;
	int err = c ? restore_store(r, &from, why) : ERR_NOMEM;

	if (!err) {
		*c = (struct committing){.m = m, .from = from, .list = list, .call = call, .done = done, .arg = arg};
		backup_time(restore_created(r), c->when);
		c->set = (struct store_restore){.from = from, .v = calloc(list->chosen, sizeof(*c->set.v))};
		err = c->set.v ? restore_check(m, from, list, why) : ERR_NOMEM;
	}
	if (err) {
		done(arg, err, err == ERR_NOMEM ? err_text(err) : why, "");
		if (c)
			free(c->set.v);
		free(c);
		return;
	}
	m->restoring = c;
	next_key(c);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Set: a vTPM's key is bound to its settings, so the keeper wraps it anew, and both go to the row at once. The epoch rises with
 * it, in row, key and leaf: the row of before, put back, is not the one that the journal vouches for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/mgr.h"

struct setting {
	struct mgr *m;
	struct call *call;
	struct store_vtpm old, new;
	json_t *(*reply)(struct mgr *m, const struct store_vtpm *row);
	char detail[TEXT_MAX + 1]; /* for the audit log: what was changed */
};

/* Settings are read at power-on. */
static int check_off(struct mgr *m, const struct store_vtpm *row, struct call *c)
{
	const struct vtpm *v = vtpm_find(m, row->uuid);

	if (vtpm_held_back(m, row->uuid)) {
		call_error(c, ERR_BUSY, "%s %s", row->name, vtpm_held_back(m, row->uuid));
		return ERR_BUSY;
	}
	if (!v || v->state == VTPM_FAILED)
		return 0;
	call_error(c, ERR_WRONG_STATE, "%s is %s; stop it first", row->name, vtpm_state_word(v));
	return ERR_WRONG_STATE;
}

static void finish(struct setting *s, int err, const char *text)
{
	mgr_audit(s->m, s->call, "set", &s->new, err, s->detail);
	if (err)
		call_error(s->call, err, "%s is not changed: %s", s->old.name, text[0] ? text : err_text(err));
	else
		call_reply(s->call, s->reply(s->m, &s->new));
	free(s);
}

static void on_stored(void *arg, int err)
{
	struct setting *s = arg;

	finish(s, err, err == ERR_NOTFOUND ? "it was changed or destroyed meanwhile" : store_why(s->m->store));
}

static void submit(struct setting *s)
{
	const struct leaf *leaf = leaves_find(&s->m->continuity.leaves, s->old.uuid);
	struct change *ch = leaf && leaf->l.epoch == s->old.epoch ? change_new(STORE_CONFIGURE, on_stored, s) : NULL;

	if (!ch) {
		finish(s, leaf ? ERR_NOMEM : ERR_QUARANTINE, "the journal knows no such vTPM");
		return;
	}
	ch->leaf = leaf->l;
	ch->leaf.epoch = s->new.epoch;
	memcpy(ch->c.uuid, s->old.uuid, UUID_LEN);
	ch->c.row = &s->old;
	ch->c.to = &s->new;
	change_submit(s->m, ch);
}

static void on_rebound(void *arg, const struct keeper_reply *r)
{
	struct setting *s = arg;
	int err = r->code ? r->code : r->result_len != WRAPPED_KEY_LEN ? ERR_PROTO : 0;

	if (err) {
		finish(s, err, r->text);
		return;
	}
	if (check_off(s->m, &s->old, s->call)) { /* it was started meanwhile */
		free(s);
		return;
	}
	memcpy(s->new.wrapped, r->result, WRAPPED_KEY_LEN);
	submit(s);
}

static int build_request(const struct setting *s, struct buf *b)
{
	struct keeper_key_rebind r = { .wrapped = s->old.wrapped, .wrapped_len = s->old.wrapped_len };
	int err = vtpm_binding(&s->old, &r.from);

	if (!err)
		err = vtpm_binding(&s->new, &r.to);
	return err ? err : keeper_key_rebind_encode(b, &r);
}

static void on_group(void *arg, const struct keeper_reply *r)
{
	struct setting *s = arg;
	uint8_t mem[KEEPER_KEY_REBIND_MAX];
	struct buf b;
	int err = r->code;

	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = build_request(s, &b);
	if (err)
		finish(s, err, r->text);
	else
		keeper_ask(s->m, KEEPER_KEY_REBIND, &b, on_rebound, s);
}

void configure_set(struct mgr *m, const struct store_vtpm *row, const struct store_vtpm *want, const char *detail,
		   json_t *(*reply)(struct mgr *m, const struct store_vtpm *row), struct call *c)
{
	struct setting *s;

	if (row->damaged || row->wrapped_len != WRAPPED_KEY_LEN) {
		call_error(c, ERR_QUARANTINE, "%s: its row is damaged; nothing of it is changed", row->name);
		return;
	}
	if (check_off(m, row, c))
		return;
	if (m->reseal) {
		call_error(c, ERR_BUSY, "%s: its group's root is being rotated; try again", row->name);
		return;
	}
	s = malloc(sizeof(*s));
	if (!s) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*s = (struct setting){ .m = m, .call = c, .old = *row, .new = *want, .reply = reply };
	snprintf(s->detail, sizeof(s->detail), "%s", detail);
	s->new.epoch++;
	keeper_open_group(m, row->group, on_group, s);
}

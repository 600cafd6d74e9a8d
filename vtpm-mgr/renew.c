/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other keys for vTPMs whose group's root was rotated (reseal.c): each row says that its key is due, under the root of now and bound to it.
 *
 *	power-on, or another backend	KEY_HAND gives the backend two keys: what the store has is under the first
 *	its next commit			is sealed under the second, with which state, wrapped key and the end of the mark are one
 *					anchored transaction: a cut finds the one key with the one state, or the other with the other
 *	one that runs			has another backend take the place of its own, as if that had been killed (resume.c), and that
 *					one commits at once. Not while a QEMU waits for its TPM, with a backend that has the first key
 *	one that is off			changes when it is powered on next: a state that QEMU saved before is good until then
 *
 * What a backend that has ended had of a second key is forgotten; the next one gets another. Its last change may become durable all the
 * same, and bring that key: who was given the one before meanwhile starts once more, or is refused (renew_overtook).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/reroot.h"

/* Who waits until those that run have changed. */
struct renewal {
	struct renewal *next;
	struct call *c;
	json_t *names; /* of the groups, owned */
	uint64_t before; /* m->renewed, then */
};

/* Otherwise the next backend would wait for its key, or keep it. */
static bool may_store(const struct mgr *m)
{
	return !m->draining && m->keeper.state == KEEPER_READY && m->continuity.state == CONTINUITY_OPEN && !m->continuity.store_result;
}

static bool may_renew(struct vtpm *v)
{
	return v->row.key_due && v->state == VTPM_RUNNING && !v->w.killed && !v->standby && !v->has_next && !v->held &&
	       may_store(v->m) && !reseal_holds(v->m) && !takeover_waiting(v->m, v->row.uuid);
}

/* Its backend is to go, and what had it in hand had nothing to do with that. */
static void replace(struct vtpm *v)
{
	v->state = VTPM_STARTING;
	v->resuming = v->adopted = v->renewing = true;
	held_guest_update(v);
	worker_replace(&v->w);
}

void renew_try(struct vtpm *v)
{
	if (may_renew(v))
		replace(v);
}

void renew_all(struct mgr *m)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		renew_try(v);
}

bool renew_still(struct mgr *m)
{
	bool still = true;

	for (struct vtpm *v = m->vtpms; v; v = v->next) {
		if (v->has_next && v->state == VTPM_RUNNING && !v->w.killed)
			replace(v);
		still = still && !v->has_next && !v->asks_next;
	}
	return still;
}

void renew_missed(struct vtpm *v, uint32_t status)
{
	if (!v->renewing || !v->w.killed || status != 0)
		return;
	v->state = VTPM_RUNNING;
	v->resuming = v->adopted = v->renewing = false;
}

void renew_committed(struct vtpm *v)
{
	const struct store_rewrap *w = v->change->c.rewrap;
	struct vtpm *waiting = takeover_waiting(v->m, v->row.uuid);

	memcpy(v->row.wrapped, w->new, WRAPPED_KEY_LEN);
	v->row.key_due = v->has_next = false;
	v->m->renewed++;
	mgr_audit(v->m, NULL, "renew", &v->row, 0, NULL);
	log_debug("%s: it has another key", v->row.name);
	if (waiting) { /* with the key of before; its QEMU can come again */
		qemu_refused(waiting, RENEWED_TEXT);
		vtpm_send_off(waiting);
		takeover_again(v->m, v->row.uuid);
	}
}

/* ---- the two keys ---- */

int renew_bind(struct vtpm *v, struct keeper_key_hand *hand)
{
	struct key_binding to;
	int err = vtpm_binding(&v->row, &hand->binding);

	hand->renew = v->row.key_due && !v->standby && !reseal_holds(v->m);
	if (err || !hand->renew)
		return err;
	v->row.key_due = false;
	err = vtpm_binding(&v->row, &to);
	v->row.key_due = true;
	memcpy(hand->config, to.config, DIGEST_LEN);
	return err;
}

bool renew_take(struct vtpm *v, const struct keeper_reply *r)
{
	v->has_next = v->asks_next && !r->code;
	v->asks_next = false;
	if (r->code || r->result_len != (v->has_next ? WRAPPED_KEY_LEN : 0))
		return r->code != 0;
	if (v->has_next)
		memcpy(v->next_wrapped, r->result, WRAPPED_KEY_LEN);
	return true;
}

bool renew_overtook(const struct vtpm *v)
{
	struct store_vtpm *now = malloc(sizeof(*now));
	/* One that cannot be read is judged by who needs what is in it. */
	const bool other = now && !store_vtpm_by_uuid(v->m->store, v->row.uuid, now) && now->wrapped_len == WRAPPED_KEY_LEN &&
			   memcmp(now->wrapped, v->row.wrapped, WRAPPED_KEY_LEN) != 0;

	free(now);
	return other;
}

/* ---- who waits ---- */

static int count_due(void *arg, const struct store_vtpm *row)
{
	*(int *)arg += row->key_due;
	return 0;
}

int renew_due(struct mgr *m)
{
	int n = 0;

	return store_vtpm_each(m->store, count_due, &n) ? 0 : n;
}

/* One that cannot for want of a share would be waited for without end; it changes when it goes on. */
static bool in_hand(const struct mgr *m)
{
	for (const struct vtpm *v = m->vtpms; v; v = v->next)
		if (v->renewing && !v->waits_share)
			return true;
	return false;
}

int renew_wait(struct mgr *m, struct call *c, json_t *names, uint64_t before)
{
	struct renewal *r = calloc(1, sizeof(*r));

	if (!r)
		return ERR_NOMEM;
	*r = (struct renewal){.next = m->renewals, .c = c, .names = json_incref(names), .before = before};
	m->renewals = r;
	return 0;
}

static struct renewal *take(struct mgr *m)
{
	struct renewal *r = m->renewals;

	m->renewals = r->next;
	return r;
}

void renew_look(struct mgr *m)
{
	while (m->renewals && !in_hand(m)) {
		struct renewal *r = take(m);

		call_reply(r->c, json_pack("{s:o, s:I, s:i}", "groups", r->names, "changed", (json_int_t)(m->renewed - r->before),
					   "due", renew_due(m)));
		free(r);
	}
}

void renew_close(struct mgr *m)
{
	while (m->renewals) {
		struct renewal *r = take(m);

		json_decref(r->names);
		free(r);
	}
}

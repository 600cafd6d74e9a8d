/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

/* What the audit log says of it. */
static void describe(const struct launch *l, char *out, size_t cap)
{
	char digest[2 * DIGEST_LEN + 1];

	if (hex_encode(l->digest, DIGEST_LEN, digest, sizeof(digest)))
		digest[0] = '\0';
	if (l->for_domain)
		snprintf(out, cap, "domain %u, digest %s%s", l->domid, digest, l->mismatch ? ", not allowed, served" : "");
	else
		snprintf(out, cap, "digest %s%s", digest, l->mismatch ? ", not allowed, served" : "");
}

static void on_too_late(void *arg)
{
	struct vtpm *v = arg;
	char detail[160];

	describe(v->launch, detail, sizeof(detail));
	log_warn("%s: it was launched, and who it was launched for has not come in %u s; it is powered off", v->row.name,
		 v->m->cfg.launch_wait_s);
	mgr_audit(v->m, NULL, "launch", &v->row, ERR_TIMEOUT, detail);
	v->launch->waits = false;
	vtpm_deserted(v);
}

void launch_wait(struct vtpm *v)
{
	const uint64_t now = loop_now_ms();
	struct launch *l = v->launch;

	if (l->until_ms == 0)
		l->until_ms = now + v->m->cfg.launch_wait_s * (uint64_t)1000;
	loop_timer_set(&v->m->loop, &l->timer, l->until_ms > now ? l->until_ms - now : 1, on_too_late, v);
}

static void answer(struct vtpm *v, struct call *c)
{
	char digest[2 * DIGEST_LEN + 1];

	if (hex_encode(v->launch->digest, DIGEST_LEN, digest, sizeof(digest)))
		call_error(c, ERR_RANGE, "no room for a digest");
	else
		call_reply(c, json_pack("{s:s, s:I}", "digest", digest, "eventlog_size", (json_int_t)v->launch->len));
}

void launch_ready(struct vtpm *v)
{
	char detail[160];

	describe(v->launch, detail, sizeof(detail));
	mgr_audit(v->m, v->starting, "launch", &v->row, 0, detail);
	if (v->starting)
		answer(v, v->starting);
	v->starting = NULL;
	if (!v->launch->waits)
		return;
	launch_wait(v);
	held_launch_keep(v);
}

/* One that waits until the last guest's TPM is off. */
struct launch_waiting {
	struct launch_waiting *next;
	uint8_t uuid[UUID_LEN];
	struct launch *l;
	struct call *c;
};

static bool ends_soon(struct mgr *m, const struct store_vtpm *row)
{
	const struct vtpm *v = vtpm_find(m, row->uuid);

	if (!v || m->draining)
		return false;
	if (v->state == VTPM_STOPPING)
		return !v->restart;
	return v->state == VTPM_RUNNING && (xen_is_leaving(v) || (v->qemu >= 0 && qemu_has_gone(v)));
}

static bool wait_for_end(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c)
{
	struct launch_waiting *w = calloc(1, sizeof(*w));

	if (!w)
		return false;
	*w = (struct launch_waiting){ .next = m->launches, .l = l, .c = c };
	memcpy(w->uuid, row->uuid, UUID_LEN);
	m->launches = w;
	return true;
}

static void begin_waiting(struct mgr *m, struct launch_waiting *w)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	int err = row ? store_vtpm_by_uuid(m->store, w->uuid, row) : ERR_NOMEM;

	if (err) {
		call_error(w->c, err, "it cannot be launched: %s", err_text(err));
		free(w->l);
	} else {
		launch_begin(m, row, w->l, w->c);
	}
	free(row);
	free(w);
}

void launch_next(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct launch_waiting **at = &m->launches, *now = NULL, *w;

	while ((w = *at) != NULL) {
		if (memcmp(w->uuid, uuid, UUID_LEN) != 0) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = now;
		now = w;
	}
	/* The first one has it, and the others are told so, or wait again. */
	while ((w = now) != NULL) {
		now = w->next;
		begin_waiting(m, w);
	}
}

void launch_begin(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c)
{
	const bool for_domain = l->for_domain; /* a power-on that fails at once has freed it, and v */
	char why[TEXT_MAX + 1];
	struct vtpm *v;
	int err;

	if (ends_soon(m, row) && wait_for_end(m, row, l, c))
		return;
	err = vtpm_start_launched(m, row, l, c, &v, why);
	if (err) {
		call_error(c, err, "%s", why);
		free(l);
		return;
	}
	if (for_domain)
		return; /* launch_ready */
	v->starting = c;
	launch_ready(v);
}

void launch_taken(struct vtpm *v)
{
	if (!v->launch)
		return;
	v->launch->waits = false;
	loop_timer_cancel(&v->m->loop, &v->launch->timer);
	held_launch_keep(v);
}

void launch_describe(const struct vtpm *v, json_t *j)
{
	const struct launch *l = v ? v->launch : NULL;
	char digest[2 * DIGEST_LEN + 1];

	if (!l || hex_encode(l->digest, DIGEST_LEN, digest, sizeof(digest)))
		return;
	json_object_set_new(j, "launch_digest", json_string(digest));
	json_object_set_new(j, "launch_allowed", json_boolean(!l->mismatch));
	json_object_set_new(j, "launch_waits", json_boolean(l->waits));
	if (l->for_domain)
		json_object_set_new(j, "launch_domain", json_integer(l->domid));
}

void launch_moved(struct vtpm *v, unsigned domid)
{
	if (!v->launch)
		return;
	v->launch->domid = domid;
	held_launch_keep(v);
}

bool launch_waits_for(const struct vtpm *v, unsigned domid)
{
	return v->launch && v->launch->waits && v->launch->for_domain && v->launch->domid == domid;
}

void launch_free(struct vtpm *v)
{
	held_launch_drop(v);
	if (v->launch)
		loop_timer_cancel(&v->m->loop, &v->launch->timer);
	free(v->launch);
	v->launch = NULL;
}

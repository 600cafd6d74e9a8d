/* SPDX-License-Identifier: BSD-2-Clause */
/* What status says about state continuity. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vtpm-mgr/mgr.h"

const char *describe_mode(uint8_t mode)
{
	return mode == MODE_STRICT ? "strict" : "bounded";
}

static void set_time(json_t *j, const char *key, int64_t seconds)
{
	char text[32] = "";
	time_t t = (time_t)seconds;
	struct tm tm;

	if (seconds && gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		json_object_set_new(j, key, json_string(text));
}

static const char *owner_word(const struct continuity *c)
{
	if (c->record.flags & ANCHOR_SHARED)
		return "shared";
	return c->view.owner == OWNER_OURS ? "ours" : c->view.owner == OWNER_OTHER ? "another's" : "nobody";
}

static json_t *describe_wear(const struct mgr *m)
{
	struct wear w = wear_now(m);

	return json_pack("{s:I, s:I, s:I, s:I}", "today", (json_int_t)w.today, "per_day", (json_int_t)m->cfg.anchor_writes,
			 "left", (json_int_t)w.tokens, "total", (json_int_t)w.total);
}

json_t *describe_continuity(const struct mgr *m)
{
	static const char *const states[] = { "waiting", "recovering", "open", "quarantined", "stopped" };
	const struct continuity *c = &m->continuity;
	char a[16], v[16];
	json_t *j;

	snprintf(a, sizeof(a), "0x%08x", c->record.a);
	snprintf(v, sizeof(v), "0x%08x", c->record.v);
	j = json_pack("{s:s, s:s, s:s, s:b, s:s, s:I, s:I, s:o}", "state", states[c->state], "anchor_a", c->record.a ? a : "",
		      "anchor_v", c->record.a && !(c->record.flags & ANCHOR_STRICT_ONLY) ? v : "", "strict_only",
		      (int)(c->record.flags & ANCHOR_STRICT_ONLY), "owner", owner_word(c), "last_row", (json_int_t)c->last,
		      "anchored_row", (json_int_t)c->anchored, "wear", describe_wear(m));
	if (!j)
		return NULL;
	set_time(j, "anchored_at", c->anchored_at);
	set_time(j, "dirty_since", c->dirty_since);
	if (c->decided)
		json_object_set_new(j, "found", json_string(recovery_sentence(c->outcome)));
	if (c->state != CONTINUITY_OPEN && c->reason[0])
		json_object_set_new(j, "reason", json_string(c->reason));
	return j;
}

void describe_continuity_warnings(const struct mgr *m, json_t *warnings)
{
	const struct continuity *c = &m->continuity;

	if (c->record.flags & ANCHOR_SHARED)
		json_array_append_new(warnings,
				      json_string("the TPM is shared (--shared-chip): whoever may use its owner hierarchy can remove "
						  "the anchors, after which the store is quarantined; an old state is not accepted "
						  "for it"));
	else if (c->state == CONTINUITY_OPEN && c->view.owner != OWNER_OURS)
		json_array_append_new(warnings,
				      json_string("the owner hierarchy of the TPM is not the manager's: whoever may use it can remove "
						  "the anchors, after which the store is quarantined"));
	if (c->record.flags & ANCHOR_STRICT_ONLY)
		json_array_append_new(warnings,
				      json_string("the TPM has no orderly index: every durable change of every guest is written to "
						  "its flash, which wears it out"));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Who can recover the roots without the chip; and complaints until somebody can. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vtpm-mgr/reroot.h"

static json_t *hex_of(const uint8_t *p, size_t n)
{
	char hex[2 * ENVELOPE_MAX + 1];

	return json_string(hex_encode(p, n, hex, sizeof(hex)) ? "" : hex);
}

static bool kept_for(const struct escrow_set *set, const uint8_t fingerprint[static DIGEST_LEN])
{
	for (unsigned i = 0; i < set->n; i++)
		if (!memcmp(escrow_recipient(set, i), fingerprint, DIGEST_LEN))
			return true;
	return false;
}

/* For every key of now, and for one at least. */
static bool kept_for_all(const struct mgr *m, const struct escrow_set *set)
{
	const struct recovery_keys *keys = &m->keeper.recovery;
	bool all = set->n > 0;

	for (unsigned i = 0; i < keys->n; i++)
		all = all && kept_for(set, keys->fingerprints[i]);
	return all;
}

void describe_escrow(json_t *list, uint8_t what, const char *group, const struct escrow_set *set)
{
	for (unsigned i = 0; i < set->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o, s:o}", "what", what == ESCROW_OWNER ? "owner" : "root", "group",
						      group, "root_id", hex_of(set->root_id, ROOT_ID_LEN), "key",
						      hex_of(escrow_recipient(set, i), DIGEST_LEN), "envelope",
						      hex_of(set->envelopes[i], set->lens[i])));
}

static int describe_moved(struct mgr *m, json_t *j)
{
	char text[32];
	uint8_t mem[8];
	size_t len = sizeof(mem);
	uint64_t when = 0;
	struct buf b;
	struct tm tm;
	time_t t;

	if (store_meta_get(m->store, "moved", mem, &len))
		return 0;
	buf_wrap(&b, mem, len);
	if (buf_get_u64le(&b, &when))
		return 0;
	t = (time_t)when;
	if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return 0;
	return json_object_set_new(j, "moved", json_string(text));
}

json_t *describe_offline_keys(const struct recovery_keys *keys)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < keys->n; i++)
		json_array_append_new(list, hex_of(keys->fingerprints[i], DIGEST_LEN));
	return list;
}

json_t *describe_escrows(struct mgr *m)
{
	uint8_t mem[ESCROW_SET_MAX];
	json_t *list = json_array();
	struct escrow_set set;

	for (const struct group *g = m->keeper.groups; g; g = g->next)
		if (!escrow_load(m, ESCROW_ROOT, g->name, mem, &set))
			describe_escrow(list, ESCROW_ROOT, g->name, &set);
	if (!escrow_load(m, ESCROW_OWNER, DEFAULT_GROUP, mem, &set))
		describe_escrow(list, ESCROW_OWNER, DEFAULT_GROUP, &set);
	return list;
}

json_t *describe_recovery(struct mgr *m)
{
	json_t *groups = json_array(), *j;
	uint8_t mem[ESCROW_SET_MAX];
	struct escrow_set set;

	for (const struct group *g = m->keeper.groups; g; g = g->next) {
		bool kept = !escrow_load(m, ESCROW_ROOT, g->name, mem, &set) && kept_for_all(m, &set);

		json_array_append_new(groups, json_pack("{s:s, s:b}", "name", g->name, "kept", (int)kept));
	}
	j = json_pack("{s:s, s:o, s:o, s:o}", "directory", m->cfg.recovery_keys, "keys", describe_offline_keys(&m->keeper.recovery), "groups", groups, "escrows",
		      describe_escrows(m));
	if (j && describe_moved(m, j)) {
		json_decref(j);
		j = NULL;
	}
	return j;
}

void describe_recovery_warnings(struct mgr *m, json_t *warnings)
{
	uint8_t mem[ESCROW_SET_MAX];
	struct escrow_set set;
	json_t *moved = json_object();

	for (const struct group *g = m->keeper.groups; g; g = g->next)
		if (escrow_load(m, ESCROW_ROOT, g->name, mem, &set) || !kept_for_all(m, &set))
			json_array_append_new(warnings,
					      json_sprintf("group %s: if this TPM dies, is cleared, or its PCRs change for good, %s; see vtpmctl "
							   "recovery init",
							   g->name,
							   m->keeper.recovery.n ? "not every recovery key opens its root"
										: "its vTPMs are lost, because no recovery key opens its root"));
	if (!describe_moved(m, moved) && json_object_get(moved, "moved"))
		json_array_append_new(warnings, json_sprintf("the store was moved onto this TPM by recovery, at %s: that it was the newest is an "
							     "operator's word",
							     json_string_value(json_object_get(moved, "moved"))));
	json_decref(moved);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/launch.h"

void launch_meta_key(const char *group, char key[static NAME_MAX_LEN + 16])
{
	snprintf(key, NAME_MAX_LEN + 16, "launch/%s", group);
}

/* The value as it is in the store, if the journal vouches for it; *len 0: nothing was ever said. */
static int load(struct mgr *m, const char *group, uint8_t mem[static LAUNCH_POLICY_MAX], size_t *len,
		uint8_t hash[static DIGEST_LEN])
{
	char key[NAME_MAX_LEN + 16];
	const struct leaf *leaf;
	struct store_leaf want;
	int err;

	launch_meta_key(group, key);
	memset(hash, 0, DIGEST_LEN);
	err = leaf_of_launch(group, mem, 0, &want);
	leaf = err ? NULL : leaves_find(&m->continuity.leaves, want.uuid);
	*len = 0;
	if (err || !leaf)
		return err;
	*len = LAUNCH_POLICY_MAX;
	err = store_meta_get(m->store, key, mem, len);
	if (!err)
		err = leaf_of_launch(group, mem, *len, &want);
	if (err)
		return ERR_AUTH;
	memcpy(hash, want.hash, DIGEST_LEN);
	return memcmp(want.hash, leaf->l.hash, DIGEST_LEN) == 0 ? 0 : ERR_AUTH;
}

int launch_group_policy(struct mgr *m, const char *group, struct launch_policy *p, uint8_t hash[static DIGEST_LEN])
{
	uint8_t mem[LAUNCH_POLICY_MAX];
	size_t len;
	struct buf b;
	int err = load(m, group, mem, &len, hash);

	*p = (struct launch_policy){ .mode = LAUNCH_AUTO };
	if (err || len == 0)
		return err;
	buf_wrap(&b, mem, len);
	if (buf_get_u8(&b, &p->mode) || p->mode > LAUNCH_OFF || buf_left(&b) > STORE_RULES_MAX)
		return ERR_AUTH;
	p->rules.len = buf_left(&b);
	return buf_get_bytes(&b, p->rules.data, p->rules.len) ? ERR_AUTH : rules_check(&p->rules);
}

/* The vTPM's own word, or, where it has none, its group's: whether, which, and what becomes of others. */
static int effective(struct mgr *m, const struct store_vtpm *row, struct launch_policy *p, uint8_t *mismatch)
{
	uint8_t hash[DIGEST_LEN];
	struct buf b;
	int err = rules_check(&row->rules);

	if (!err)
		err = launch_group_policy(m, row->group, p, hash);
	if (!err)
		err = rules_open(row->rules.len != 0 ? &row->rules : &p->rules, &b, mismatch);
	if (err)
		return err;
	if (row->launch != LAUNCH_AUTO)
		p->mode = row->launch;
	if (!rules_empty(&row->rules))
		p->rules = row->rules;
	return 0;
}

bool launch_is_required(struct mgr *m, const struct store_vtpm *row, bool xen)
{
	struct launch_policy p;
	uint8_t mismatch;

	if (effective(m, row, &p, &mismatch))
		return true;
	return p.mode == LAUNCH_REQUIRED || (p.mode == LAUNCH_AUTO && xen);
}

int launch_admit(struct mgr *m, const struct store_vtpm *row, const struct vtpm *v, enum start_kind kind, char why[static TEXT_MAX + 1])
{
	const bool domain = v && v->front;

	if (domain && kind == START_LAUNCH) {
		snprintf(why, TEXT_MAX + 1, "%s belongs to domain %u, which must end first", row->name, xen_domid(v->front));
		return ERR_WRONG_STATE;
	}
	if (kind == START_LAUNCH || (v && v->state == VTPM_LAUNCHED) || !launch_is_required(m, row, domain || kind == START_XEN))
		return 0;
	snprintf(why, TEXT_MAX + 1,
		 "%s is only for a guest that vtpm-launch has measured and started; to have it without: vtpmctl set %s --launch off",
		 row->name, row->name);
	return ERR_DENIED;
}

int launch_judge(struct mgr *m, const struct store_vtpm *row, struct launch *l, const uint8_t *signature, size_t len,
		 char why[static TEXT_MAX + 1])
{
	const struct rules_launch what = {
		.digest = l->digest, .log = l->log, .log_len = l->len, .signature = signature, .signature_len = len };
	char digest[2 * DIGEST_LEN + 1] = "";
	struct launch_policy p;
	uint8_t mismatch = MISMATCH_REFUSE;
	int err = effective(m, row, &p, &mismatch);

	if (!err)
		err = rules_judge(&p.rules, &what);
	if (err && err != ERR_DENIED) {
		snprintf(why, TEXT_MAX + 1, "what launches %s allows cannot be read, or was changed by somebody else", row->name);
		return err;
	}
	if (!err)
		return 0;
	if (mismatch == MISMATCH_SERVE) {
		l->mismatch = true;
		return 0;
	}
	if (hex_encode(l->digest, DIGEST_LEN, digest, sizeof(digest)))
		digest[0] = '\0';
	snprintf(why, TEXT_MAX + 1, "this launch is not allowed for %s: its digest is %s; if it should be: vtpmctl launch allow %s %s",
		 row->name, digest, row->name, digest);
	return err;
}

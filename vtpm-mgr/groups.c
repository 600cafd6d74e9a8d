/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups: each has a root of its own, sealed to a policy of its own, which the keeper unseals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"
#include "vtpm-mgr/policy.h"

/* The outcomes that say that this is not the chip, the boot or the seal it was; a TPM that does not answer says nothing. */
static bool is_breach(int code)
{
	return code == ERR_PCR || code == ERR_TPM_IDENTITY || code == ERR_AUTH;
}

static void group_opened(struct mgr *m, struct group *g, const struct keeper_reply *r)
{
	if (g->open) { /* it was asked once more */
		if (is_breach(r->code) && !(g->recovered && r->code == ERR_PCR))
			recheck_failed(m, g, r->text);
		else if (!r->code)
			recheck_passed(g);
		return;
	}
	g->open = r->code == 0;
	g->locked = g->recovered = false;
	g->needs_share = r->code == ERR_DENIED && g->flags & SEAL_SHARE;
	snprintf(g->reason, sizeof(g->reason), "%s", r->text);
	if (r->code)
		log_error("group %s: its root stays sealed: %s (%s)", g->name, r->text, err_text(r->code));
	else
		log_info("group %s: root unsealed", g->name);
}

/* Beyond being open: whether what is on the disk may be served. */
static int group_usable(struct mgr *m, const struct group *g, char text[static TEXT_MAX + 1])
{
	int code = continuity_why(m, text);

	if (code || g->vouched)
		return code;
	snprintf(text, TEXT_MAX + 1, "the row of group %s in the store was changed: the journal vouches for another", g->name);
	return ERR_QUARANTINE;
}

struct group_opening {
	struct mgr *m;
	struct group *g;
	keeper_done *done; /* NULL: part of the first requests */
	void *arg;
};

/* The boot's part in what came of it: a refusal gets the event that is another; a boot that is let in is remembered. */
static void group_boot(struct mgr *m, const struct group *g, struct keeper_reply *r)
{
	if (r->code == ERR_PCR)
		bootlog_explain(&m->bootlog, m->cfg.state_dir, g->mask, r->text);
	else if (!r->code)
		bootlog_keep(&m->bootlog, m->cfg.state_dir);
}

static void on_group_opened(void *arg, const struct keeper_reply *reply)
{
	struct group_opening *o = arg;
	struct keeper_reply told = *reply, *r = &told;
	struct keeper_reply out = { .code = r->code };

	group_boot(o->m, o->g, r);
	group_opened(o->m, o->g, r);
	memcpy(out.text, r->text, sizeof(out.text));
	if (!r->code && o->done)
		out.code = group_usable(o->m, o->g, out.text);
	if (o->done)
		o->done(o->arg, &out);
	free(o);
}

int group_root(struct mgr *m, const struct group *g, uint8_t mem[static SEALED_ROOT_MAX], struct sealed_root *root)
{
	size_t len = SEALED_ROOT_MAX;
	struct buf row;
	int err = store_group_get(m->store, g->name, mem, &len);

	if (err)
		return err;
	buf_wrap(&row, mem, len);
	return sealed_root_decode(&row, root) || buf_left(&row) ? ERR_AUTH : 0;
}

int group_row_hash(struct mgr *m, const struct group *g, uint8_t hash[static DIGEST_LEN])
{
	uint8_t mem[SEALED_ROOT_MAX];
	size_t len = sizeof(mem);
	struct store_leaf leaf;
	int err = store_group_get(m->store, g->name, mem, &len);

	if (!err)
		err = leaf_of_group(g->name, mem, len, g->mode, &leaf);
	if (!err)
		memcpy(hash, leaf.hash, DIGEST_LEN);
	return err;
}

int group_request(struct mgr *m, const struct group *g, const uint8_t *sets, size_t sets_len, struct buf *b)
{
	struct keeper_group_open req = { .sets = sets, .sets_len = sets_len };
	uint8_t mem[SEALED_ROOT_MAX];
	int err = group_root(m, g, mem, &req.root);

	snprintf(req.group, sizeof(req.group), "%s", g->name);
	return err ? err : keeper_group_open_encode(b, &req);
}

void group_policy_set(struct group *g, const struct policy *p)
{
	g->kind = p->kind;
	g->mask = p->mask;
	g->flags = p->flags;
	g->has_recovery = p->recovery.len > 0;
}

/* By the recovery key: what the TPM said of its PCRs is still so. */
void group_recovered(struct mgr *m, struct group *g)
{
	g->open = g->recovered = true;
	g->locked = false;
	snprintf(g->reason, sizeof(g->reason), "it was opened by the recovery key: nothing unseals it on this boot yet");
	if (m->continuity.state != CONTINUITY_OPEN)
		keeper_boot_again(m);
}

void group_open(struct mgr *m, struct group *g, keeper_done *done, void *arg)
{
	struct group_opening *o = calloc(1, sizeof(*o));
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct set_list sets;
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	sets_load(m, g->name, &sets);
	err = o ? group_request(m, g, sets.mem, sets.len, &b) : ERR_NOMEM;
	if (err) {
		struct keeper_reply r = { .code = err };
		snprintf(r.text, sizeof(r.text), "the row of group %s in the store is damaged", g->name);
		free(o);
		group_opened(m, g, &r);
		if (done)
			done(arg, &r);
		return;
	}
	*o = (struct group_opening){ .m = m, .g = g, .done = done, .arg = arg };
	if (done)
		keeper_ask(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
	else
		keeper_ask_once(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
}

struct group *group_find(struct mgr *m, const char *name)
{
	for (struct group *g = m->keeper.groups; g; g = g->next)
		if (!strcmp(g->name, name))
			return g;
	return NULL;
}

size_t group_count(const struct mgr *m)
{
	size_t n = 0;

	for (const struct group *g = m->keeper.groups; g; g = g->next)
		n++;
	return n;
}

int group_add(struct mgr *m, const char *name, const struct sealed_root *root, bool open)
{
	struct group *g;

	if (group_count(m) >= KEEPER_GROUPS_MAX)
		return ERR_FULL;
	g = calloc(1, sizeof(*g));
	if (!g)
		return ERR_NOMEM;
	snprintf(g->name, sizeof(g->name), "%s", name);
	group_policy_set(g, &root->policy);
	g->open = open;
	g->next = m->keeper.groups;
	m->keeper.groups = g;
	if (g->flags & SEAL_INSECURE_PCRS)
		log_warn("group %s is sealed to PCRs that may bind nothing (--insecure-pcrs)", name);
	return 0;
}

struct barrier {
	struct mgr *m;
	char name[NAME_MAX_LEN + 1];
	keeper_done *done;
	void *arg;
};

/* The keeper has been started for this: what it found out about the group is fresh. */
static void on_barrier(void *arg, const struct keeper_reply *r)
{
	struct barrier *b = arg;
	struct group *g = group_find(b->m, b->name);
	struct keeper_reply out = { .code = r->code };

	snprintf(out.text, sizeof(out.text), "%s", r->text);
	if (!r->code && (!g || !g->open)) {
		out.code = !g ? ERR_NOTFOUND : g->needs_share ? ERR_DENIED : ERR_PCR;
		snprintf(out.text, sizeof(out.text), "%s", g ? g->reason : "no such group");
	} else if (!r->code) {
		out.code = group_usable(b->m, g, out.text);
	}
	b->done(b->arg, &out);
	free(b);
}

void keeper_open_group(struct mgr *m, const char *name, keeper_done *done, void *arg)
{
	struct group *g = group_find(m, name);
	bool ready = m->keeper.state == KEEPER_READY && m->continuity.state == CONTINUITY_OPEN;
	struct barrier *b;

	if (g && g->open && !g->locked && ready) {
		struct keeper_reply r = { .code = 0 };

		r.code = group_usable(m, g, r.text);
		done(arg, &r);
		return;
	}
	if (g && ready) {
		group_open(m, g, done, arg);
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!g || !b) {
		struct keeper_reply r = { .code = g ? ERR_NOMEM : ERR_NOTFOUND, .text = "no such group" };
		free(b);
		done(arg, &r);
		return;
	}
	*b = (struct barrier){ .m = m, .done = done, .arg = arg };
	snprintf(b->name, sizeof(b->name), "%s", name);
	keeper_boot_again(m);
	keeper_ask(m, KEEPER_STATUS, NULL, on_barrier, b);
}

void groups_free(struct mgr *m)
{
	while (m->keeper.groups) {
		struct group *g = m->keeper.groups;
		m->keeper.groups = g->next;
		free(g);
	}
}

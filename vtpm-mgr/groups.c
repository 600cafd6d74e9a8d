/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups: each has a root of its own, sealed to a policy of its own, which the keeper unseals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"

static void group_opened(struct group *g, const struct keeper_reply *r)
{
	g->open = r->code == 0;
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

static void on_group_opened(void *arg, const struct keeper_reply *r)
{
	struct group_opening *o = arg;
	struct keeper_reply out = { .code = r->code };

	group_opened(o->g, r);
	snprintf(out.text, sizeof(out.text), "%s", r->text);
	if (!r->code && o->done)
		out.code = group_usable(o->m, o->g, out.text);
	if (o->done)
		o->done(o->arg, &out);
	free(o);
}

static int group_request(struct mgr *m, const struct group *g, struct buf *b)
{
	struct keeper_group_open req = { 0 };
	uint8_t mem[SEALED_ROOT_MAX];
	size_t len = sizeof(mem);
	struct buf row;
	int err = store_group_get(m->store, g->name, mem, &len);

	if (err)
		return err;
	buf_wrap(&row, mem, len);
	snprintf(req.group, sizeof(req.group), "%s", g->name);
	if (sealed_root_decode(&row, &req.root) || buf_left(&row))
		return ERR_AUTH;
	return keeper_group_open_encode(b, &req);
}

void group_open(struct mgr *m, struct group *g, keeper_done *done, void *arg)
{
	struct group_opening *o = calloc(1, sizeof(*o));
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = o ? group_request(m, g, &b) : ERR_NOMEM;
	if (err) {
		struct keeper_reply r = { .code = err };
		snprintf(r.text, sizeof(r.text), "the row of group %s in the store is damaged", g->name);
		free(o);
		group_opened(g, &r);
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
	g->mask = root->mask;
	g->flags = root->flags;
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
		out.code = g ? ERR_PCR : ERR_NOTFOUND;
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

	if (g && g->open && ready) {
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

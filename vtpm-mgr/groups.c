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

struct group_opening {
	struct group *g;
	keeper_done *done; /* NULL: part of the first requests */
	void *arg;
};

static void on_group_opened(void *arg, const struct keeper_reply *r)
{
	struct group_opening *o = arg;

	group_opened(o->g, r);
	if (o->done)
		o->done(o->arg, r);
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
	*o = (struct group_opening){ .g = g, .done = done, .arg = arg };
	if (done)
		keeper_ask(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
	else
		keeper_boot_ask(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
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
	}
	b->done(b->arg, &out);
	free(b);
}

void keeper_open_group(struct mgr *m, const char *name, keeper_done *done, void *arg)
{
	struct group *g = group_find(m, name);
	struct barrier *b;

	if (g && g->open && m->keeper.state == KEEPER_READY) {
		done(arg, &(struct keeper_reply){ .code = 0 });
		return;
	}
	if (g && m->keeper.state == KEEPER_READY) {
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

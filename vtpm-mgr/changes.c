/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Durable changes between who makes them and the batch that takes them. A change that a batch has taken goes on, whoever
 * has asked for it: its backend may be gone, and it becomes durable all the same or not at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/mgr.h"

#define DAY_MS (24.0 * 3600.0 * 1000.0)

struct waiter {
	struct waiter *next;
	void (*over)(void *arg);
	void *arg;
};

static void nobody(void *arg, int code)
{
	(void)arg;
	(void)code;
}

struct change *change_new(enum store_op op, void (*done)(void *arg, int code), void *arg)
{
	struct change *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->c.op = op;
	ch->done = done;
	ch->arg = arg;
	return ch;
}

int metas_add(struct metas *list, const char *key, const void *p, size_t n)
{
	struct store_meta *m;
	void *copy = NULL;

	if (list->n == list->room) {
		size_t room = list->room ? 2 * list->room : 8;

		m = realloc(list->v, room * sizeof(*m));
		if (!m)
			return ERR_NOMEM;
		list->v = m;
		list->room = room;
	}
	if (p) {
		copy = malloc(n ? n : 1);
		if (!copy)
			return ERR_NOMEM;
		memcpy(copy, p, n);
	}
	m = &list->v[list->n++];
	snprintf(m->key, sizeof(m->key), "%s", key);
	m->value = copy;
	m->len = n;
	return 0;
}

bool metas_has(const struct metas *list, const char *key)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->v[i].key, key))
			return true;
	return false;
}

void metas_free(struct metas *list)
{
	for (size_t i = 0; i < list->n; i++)
		free((void *)(uintptr_t)list->v[i].value);
	free(list->v);
	*list = (struct metas){ 0 };
}

void change_free(struct change *ch)
{
	metas_free(&ch->metas);
	free(ch->mem);
	free(ch);
}

void change_finish(struct change *ch, int code)
{
	ch->done(ch->arg, code);
	change_free(ch);
}

bool change_anchors(const struct mgr *m, const struct change *ch)
{
	const struct leaf *leaf = leaves_find(&m->continuity.leaves, ch->c.uuid);

	return ch->c.op != STORE_UPDATE || ch->anchors || ch->metas.n || (leaf && leaf->l.mode == MODE_STRICT);
}

void change_submit(struct mgr *m, struct change *ch)
{
	struct change **p = &m->continuity.queue;

	ch->c.meta = ch->metas.v;
	ch->c.nmeta = ch->metas.n;
	while (*p)
		p = &(*p)->next;
	ch->next = NULL;
	*p = ch;
}

static void forget(struct change *list, void *arg)
{
	for (; list; list = list->next)
		if (list->arg == arg) {
			list->done = nobody;
			list->arg = NULL;
		}
}

void change_abandon(struct mgr *m, void *arg)
{
	struct change **p = &m->continuity.queue;

	while (*p) {
		struct change *ch = *p;

		if (ch->arg != arg) {
			p = &ch->next;
			continue;
		}
		*p = ch->next;
		change_free(ch);
	}
	forget(batch_changes(m), arg);
	forget(m->continuity.written, arg);
}

void changes_fail(struct mgr *m, int code)
{
	struct change *list = m->continuity.queue;

	m->continuity.queue = NULL;
	while (list) {
		struct change *ch = list;

		list = ch->next;
		change_finish(ch, code);
	}
}

static void nothing(void *arg)
{
	(void)arg;
}

void changes_wait(struct mgr *m, void (*over)(void *arg), void *arg)
{
	struct waiter *w;

	if (!m->continuity.batch && !m->continuity.written) {
		over(arg);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		over(arg); /* whoever reads the store then finds a state that its leaf does not have, and waits no more */
		return;
	}
	*w = (struct waiter){.next = m->continuity.waiters, .over = over, .arg = arg};
	m->continuity.waiters = w;
}

void changes_wait_no_more(struct mgr *m, const void *arg)
{
	for (struct waiter *w = m->continuity.waiters; w; w = w->next)
		if (w->arg == arg)
			w->over = nothing;
}

void changes_settled(struct mgr *m)
{
	struct waiter *list = m->continuity.waiters;

	m->continuity.waiters = NULL;
	while (list) {
		struct waiter *w = list;

		list = w->next;
		w->over(w->arg);
		free(w);
	}
}

static bool destroys(const struct change *list, int64_t id)
{
	for (; list; list = list->next)
		if (list->c.op == STORE_DELETE && list->c.id == id)
			return true;
	return false;
}

bool changes_destroy(const struct mgr *m, int64_t id)
{
	return destroys(m->continuity.queue, id) || destroys(m->continuity.written, id) ||
	       destroys(batch_changes(m), id);
}

static bool configures(const struct change *list, const uint8_t *uuid)
{
	for (; list; list = list->next)
		if ((list->c.op == STORE_CONFIGURE || list->c.op == STORE_RELEASE) && !memcmp(list->c.uuid, uuid, UUID_LEN))
			return true;
	return false;
}

bool changes_configure(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	return configures(m->continuity.queue, uuid) || configures(m->continuity.written, uuid) ||
	       configures(batch_changes(m), uuid);
}

/*
 * A guest has as many anchored changes at once as a day gives it. What is over is not refused, and not left unanchored:
 * the change before it is answered only when the next one is paid for. So a guest that may run can always have its
 * next failed authorisation anchored at once, and no try is free.
 */
uint64_t anchor_quota_spend(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	struct leaf *leaf = leaves_find(&m->continuity.leaves, uuid);
	double per_ms = m->cfg.anchors_per_guest / DAY_MS;
	uint64_t now = loop_now_ms();

	if (!leaf || !m->cfg.anchors_per_guest)
		return 0;
	if (!leaf->tokens_ms)
		leaf->tokens = m->cfg.anchors_per_guest;
	else
		leaf->tokens += (double)(now - leaf->tokens_ms) * per_ms;
	if (leaf->tokens > m->cfg.anchors_per_guest)
		leaf->tokens = m->cfg.anchors_per_guest;
	leaf->tokens -= 1.0;
	leaf->tokens_ms = now;
	return leaf->tokens >= 1.0 ? 0 : (uint64_t)((1.0 - leaf->tokens) / per_ms) + 1;
}

static void drop(struct change **list)
{
	while (*list) {
		struct change *ch = *list;

		*list = ch->next;
		change_free(ch);
	}
}

void changes_drop(struct mgr *m)
{
	drop(&m->continuity.queue);
	drop(&m->continuity.written);
	while (m->continuity.waiters) {
		struct waiter *w = m->continuity.waiters;

		m->continuity.waiters = w->next;
		free(w);
	}
}

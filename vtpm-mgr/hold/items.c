/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/hold/items.h"

#include <stdlib.h>
#include <string.h>

#include "lib/util.h"

static void close_all(struct item *it)
{
	for (unsigned i = 0; i < it->nfds; i++)
		fd_close(&it->fds[i]);
	it->nfds = 0;
}

static void item_remove(struct items *s, struct item **at)
{
	struct item *it = *at;

	*at = it->next;
	s->n--;
	close_all(it);
	free(it);
}

static bool has_tag(const struct item *it, enum item_owner owner, const struct hold_item *i)
{
	return it->owner == owner && it->tag_len == i->tag_len && memcmp(it->tag, i->tag, i->tag_len) == 0;
}

/* Leashes of other generations are nobody's to name. */
static struct item **find(struct items *s, enum item_owner owner, uint32_t generation, const struct hold_item *i)
{
	struct item **at = &s->first;

	while (*at != NULL && !(has_tag(*at, owner, i) && (!(*at)->leash || (*at)->generation == generation)))
		at = &(*at)->next;
	return at;
}

static void fill(struct item *it, const struct hold_item *i, struct ipc_msg *m)
{
	memcpy(it->blob, i->blob, i->blob_len);
	it->blob_len = i->blob_len;
	if (m->nfds == 0)
		return;
	close_all(it);
	it->nfds = m->nfds;
	for (unsigned n = 0; n < it->nfds; n++)
		it->fds[n] = ipc_take_fd(m, n);
}

int items_keep(struct items *s, enum item_owner owner, uint32_t generation, const struct hold_item *i, struct ipc_msg *m)
{
	struct item **at = find(s, owner, generation, i), *it = *at;

	if (it != NULL && it->leash != i->leash)
		return ERR_PROTO;
	if (it == NULL) {
		it = s->n < ITEMS_MAX ? calloc(1, sizeof(*it)) : NULL;
		if (it == NULL)
			return s->n < ITEMS_MAX ? ERR_NOMEM : ERR_FULL;
		it->owner = owner;
		it->leash = i->leash;
		memcpy(it->tag, i->tag, i->tag_len);
		it->tag_len = i->tag_len;
		it->next = s->first;
		s->first = it;
		s->n++;
	}
	it->generation = generation;
	fill(it, i, m);
	return 0;
}

void items_drop(struct items *s, enum item_owner owner, uint32_t generation, const struct hold_item *i)
{
	struct item **at = find(s, owner, generation, i);

	if (*at != NULL)
		item_remove(s, at);
}

static void cut(struct items *s, uint32_t generation, bool others)
{
	struct item **at = &s->first;

	while (*at != NULL) {
		if ((*at)->leash && ((*at)->generation != generation) == others)
			item_remove(s, at);
		else
			at = &(*at)->next;
	}
}

void items_cut(struct items *s, uint32_t generation)
{
	cut(s, generation, false);
}

void items_cut_others(struct items *s, uint32_t generation)
{
	cut(s, generation, true);
}

void items_free(struct items *s)
{
	while (s->first != NULL)
		item_remove(s, &s->first);
}

const struct item *items_next(const struct items *s, enum item_owner owner, const struct item *after)
{
	const struct item *it = after != NULL ? after->next : s->first;

	while (it != NULL && (it->leash || it->owner != owner))
		it = it->next;
	return it;
}

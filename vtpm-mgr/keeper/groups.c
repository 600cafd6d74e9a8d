/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/groups.h"

#include <stdio.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/wrap.h"

#define SLOTS	   (KEEPER_GROUPS_MAX + 1u) /* one more, to derive into */
#define SLOTS_SIZE (3u * SLOTS * sizeof(struct group_key))

int groups_init(struct groups *g)
{
	g->n = 0;
	g->slots = secmem_alloc(SLOTS_SIZE);
	if (!g->slots)
		return ERR_NOMEM;
	g->next = g->slots + SLOTS;
	g->former = g->next + SLOTS;
	return 0;
}

void groups_free(struct groups *g)
{
	secmem_free(g->slots, SLOTS_SIZE);
	g->slots = g->next = g->former = NULL;
	g->n = 0;
}

static struct group_key *find(const struct groups *g, const char *group)
{
	for (unsigned i = 0; i < g->n; i++)
		if (!strcmp(g->slots[i].group, group))
			return &g->slots[i];
	return NULL;
}

const struct group_key *groups_keys(const struct groups *g, const char *group)
{
	return find(g, group);
}

void groups_recovered(struct groups *g, const char *group, bool recovered)
{
	struct group_key *slot = find(g, group);

	if (slot)
		slot->recovered = recovered;
}

void groups_shut(struct groups *g, const char *group, bool shut)
{
	struct group_key *slot = find(g, group);

	if (slot)
		slot->shut = shut;
}

const uint8_t *groups_find(const struct groups *g, const char *group)
{
	const struct group_key *slot = find(g, group);

	return slot ? slot->key : NULL;
}

int groups_room(const struct groups *g, const char *group)
{
	return g->n < KEEPER_GROUPS_MAX || find(g, group) ? 0 : ERR_FULL;
}

/* Name and keys of a root. */
static int derive_into(struct group_key *slot, const char *group, const uint8_t root[static KEY_LEN])
{
	int r;

	if (strlen(group) > NAME_MAX_LEN)
		return ERR_RANGE;
	snprintf(slot->group, sizeof(slot->group), "%s", group);
	r = wrap_derive(root, slot->key);
	if (!r)
		r = wrap_derive_row(root, slot->row);
	slot->rows_only = slot->shared = false;
	if (!r)
		r = wrap_derive_extend(root, slot->extend);
	return r ? r : wrap_derive_backup(root, slot->backup);
}

/* Into the slot behind the last one. */
static int derive(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	return derive_into(&g->slots[g->n], group, root);
}

int groups_open(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	struct group_key *new = &g->slots[g->n];
	const uint8_t *key = groups_find(g, group);
	int r = groups_room(g, group);

	if (!r)
		r = derive(g, group, root);
	if (!r && key && !secmem_equal(key, new->key, KEY_LEN))
		r = ERR_EXISTS;
	if (r || key)
		secmem_wipe(new, sizeof(*new));
	else
		g->n++;
	return r;
}

int groups_replace(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	struct group_key *new = &g->slots[g->n], *old = find(g, group);
	int r = groups_room(g, group);

	if (!r)
		r = derive(g, group, root);
	if (!r && old)
		*old = *new;
	if (r || old)
		secmem_wipe(new, sizeof(*new));
	else
		g->n++;
	return r;
}

/* ---- a root that is rotated ---- */

void groups_keep_share(struct groups *g, const char *group, const uint8_t share[static KEY_LEN])
{
	struct group_key *now = find(g, group);

	if (!now)
		return;
	memcpy(now->share, share, KEY_LEN);
	now->shared = true;
}

int groups_succeed(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	const struct group_key *now = find(g, group);
	struct group_key *next = now ? &g->next[now - g->slots] : NULL;
	int r = next ? derive_into(next, group, root) : ERR_WRONG_STATE;

	if (!r && now->shared) {
		memcpy(next->share, now->share, KEY_LEN);
		next->shared = true;
	}
	if (r && next)
		secmem_wipe(next, sizeof(*next));
	return r;
}

/* That of a group in a list beside the slots. */
static struct group_key *beside(const struct groups *g, struct group_key *list, const char *group)
{
	const struct group_key *now = find(g, group);
	struct group_key *other = now ? &list[now - g->slots] : NULL;

	return other && other->group[0] ? other : NULL;
}

const struct group_key *groups_next(const struct groups *g, const char *group)
{
	return beside(g, g->next, group);
}

const struct group_key *groups_former(const struct groups *g, const char *group)
{
	return beside(g, g->former, group);
}

int groups_switch(struct groups *g, const char *group)
{
	struct group_key *now = find(g, group), *next = beside(g, g->next, group);

	if (!next)
		return ERR_WRONG_STATE;
	g->former[now - g->slots] = *now;
	*now = *next;
	secmem_wipe(next, sizeof(*next));
	return 0;
}

void groups_return(struct groups *g, const char *group)
{
	struct group_key *now = find(g, group), *next = beside(g, g->next, group), *former = beside(g, g->former, group);

	if (next)
		secmem_wipe(next, sizeof(*next));
	if (!former || former->rows_only)
		return;
	*now = *former;
	secmem_wipe(former, sizeof(*former));
}

void groups_forget_former(struct groups *g, const char *group)
{
	struct group_key *former = beside(g, g->former, group);

	if (former)
		secmem_wipe(former, sizeof(*former));
}

int groups_take_former(struct groups *g, const char *group, const uint8_t row[static KEY_LEN],
		       const uint8_t extend[static KEY_LEN])
{
	const struct group_key *now = find(g, group);
	struct group_key *former = now ? &g->former[now - g->slots] : NULL;

	if (!former)
		return ERR_WRONG_STATE;
	snprintf(former->group, sizeof(former->group), "%s", group);
	memcpy(former->row, row, KEY_LEN);
	memcpy(former->extend, extend, KEY_LEN);
	former->rows_only = true;
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/groups.h"

#include <stdio.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/wrap.h"

#define SLOTS_SIZE ((KEEPER_GROUPS_MAX + 1u) * sizeof(struct group_key)) /* one more, to derive into */

int groups_init(struct groups *g)
{
	g->n = 0;
	g->slots = secmem_alloc(SLOTS_SIZE);
	return g->slots ? 0 : ERR_NOMEM;
}

void groups_free(struct groups *g)
{
	secmem_free(g->slots, SLOTS_SIZE);
	g->slots = NULL;
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

/* The slot behind the last one, with name and keys of a root. */
static int derive(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	struct group_key *slot = &g->slots[g->n];
	int r;

	if (strlen(group) > NAME_MAX_LEN)
		return ERR_RANGE;
	snprintf(slot->group, sizeof(slot->group), "%s", group);
	r = wrap_derive(root, slot->key);
	if (!r)
		r = wrap_derive_row(root, slot->row);
	if (!r)
		r = wrap_derive_extend(root, slot->extend);
	return r ? r : wrap_derive_backup(root, slot->backup);
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

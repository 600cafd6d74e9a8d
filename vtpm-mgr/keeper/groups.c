/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/groups.h"

#include <stdio.h>
#include <string.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/wrap.h"

#define SLOTS_SIZE (KEEPER_GROUPS_MAX * sizeof(struct group_key))

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

const uint8_t *groups_find(const struct groups *g, const char *group)
{
	for (unsigned i = 0; i < g->n; i++)
		if (!strcmp(g->slots[i].group, group))
			return g->slots[i].key;
	return NULL;
}

int groups_add(struct groups *g, const char *group, const uint8_t root[static KEY_LEN])
{
	struct group_key *slot;
	int r;

	if (groups_find(g, group))
		return ERR_EXISTS;
	if (g->n == KEEPER_GROUPS_MAX)
		return ERR_FULL;
	if (strlen(group) > NAME_MAX_LEN)
		return ERR_RANGE;
	slot = &g->slots[g->n];
	r = wrap_derive(root, slot->key);
	if (r)
		return r;
	snprintf(slot->group, sizeof(slot->group), "%s", group);
	g->n++;
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The groups that are open: name and wrapping key, in locked memory. The roots themselves are not kept. */
#ifndef VTPM_KEEPER_GROUPS_H
#define VTPM_KEEPER_GROUPS_H

#include <stdint.h>

#include "vtpm-mgr/proto/keeper.h"

#define GROUP_DEFAULT "default" /* there always is one; the CA's auth is wrapped under it */

struct group_key {
	char group[NAME_MAX_LEN + 1];
	uint8_t key[KEY_LEN];
};
struct groups {
	struct group_key *slots; /* KEEPER_GROUPS_MAX */
	unsigned n;
};

CHECKED int groups_init(struct groups *g);
void groups_free(struct groups *g);
/* NULL: not open. */
const uint8_t *groups_find(const struct groups *g, const char *group);
/* Derives and keeps the wrapping key. ERR_EXISTS, ERR_FULL. */
CHECKED int groups_add(struct groups *g, const char *group, const uint8_t root[static KEY_LEN]);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What vtpm-hold keeps for the spawner: what backends leave (children.h), so that the next generation's backends go on
 * from there. It gives each to the next spawner, and to nobody else.
 */
#ifndef VTPM_BACKEND_HELD_H
#define VTPM_BACKEND_HELD_H

#include "vtpm-backend/spawner.h"

/* Takes over what the spawner before has left: the legacies of backends whose place nobody has taken yet. Without --held nothing. */
CHECKED int held_receive(struct spawner *s);
/* It outlives this process from here on, */
void held_keep(struct spawner *s, uint64_t name, const struct legacy *l);
/* and from here on not. One of another kind, or without a legacy, has none. */
void held_drop(struct spawner *s, const struct child *ch);

#endif

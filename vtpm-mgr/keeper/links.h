/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of a key to its backend. The manager names the key and a token (KEY_HAND), the spawner
 * brings the channel of the backend it started for that token (LINK_BACKEND); whichever is first
 * waits here for the other. So the manager never holds the channel, and the spawner never the key.
 *
 * Nothing here waits for a backend: its channel does not block, and one that says what it may
 * not, or does not take what it is sent, is closed.
 */
#ifndef VTPM_KEEPER_LINKS_H
#define VTPM_KEEPER_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/loop.h"
#include "vtpm-mgr/keeper/ca.h"

#define LINKS_MAX    256u /* tokens that wait */
#define LINK_FDS_MAX 40u  /* channels that are open; beyond it the spawner's messages wait in its socket */

struct links;
struct link {
	struct links *all;
	uint64_t token; /* 0: free */
	struct loop_io io;
	int fd;	      /* -1: the spawner has not brought it yet */
	bool has_key; /* the manager has named it; see links->gives */
	uint8_t certify;   /* kinds that it may have certified, a bit each */
	uint8_t certified; /* those that were answered */
	struct cert_subject of;
};
struct links {
	struct loop *loop;
	struct ca *ca;
	int spawn_fd;
	struct loop_io spawn_io;
	unsigned fds;
	int ended;		/* ERR_CLOSED or ERR_PROTO: the spawner has gone, or is none */
	struct key_give *gives; /* locked memory; gives[i] belongs to slots[i] */
	struct link slots[LINKS_MAX];
};

/* spawn_fd: not taken over. */
CHECKED int links_init(struct links *l, struct loop *loop, int spawn_fd, struct ca *ca);
void links_free(struct links *l);
/* The key goes now or when the channel comes. ERR_FULL, ERR_EXISTS. */
CHECKED int links_hand(struct links *l, uint64_t token, uint8_t certify, const uint8_t serial[static SERIAL_LEN],
		       const struct key_give *give);
/* Forgets key and channel; nothing if there are none. */
void links_drop(struct links *l, uint64_t token);

#endif

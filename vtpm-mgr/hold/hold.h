/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of vtpm-hold share: main.c (signals, the manager's life), clients.c (its two channels), groups.c (whose
 * processes are left), items.c.
 *
 * A *generation* is a manager and everything that comes from it. Its processes are one process group, which none of them leaves, and
 * whoever of them loses its parent becomes a child of vtpm-hold. So a generation has ended when vtpm-hold has no child in its group
 * any more, whatever a process of it did, and a number cannot mean another process meanwhile.
 */
#ifndef VTPM_MGR_HOLD_HOLD_H
#define VTPM_MGR_HOLD_HOLD_H

#include <sys/types.h>

#include "lib/loop.h"
#include "vtpm-mgr/hold/items.h"

#define GROUPS_MAX 16u

struct hold;

struct client {
	struct hold *h;
	enum item_owner owner;
	int sock; /* -1: none */
	struct loop_io io;
	const struct item *at; /* what it was given last */
};

struct hold {
	struct loop loop;
	struct items items;
	struct client clients[OWNERS]; /* of this generation */
	uint32_t generation;
	pid_t manager; /* and number of its group; 0: there is none */
	bool alive;    /* it has not been buried yet */
	int status;	/* how it ended */
	pid_t groups[GROUPS_MAX]; /* of earlier generations: those that have processes left; the first may serve guests */
	unsigned ngroups;
	bool fenced;  /* this generation has asked for the end of the earlier ones, */
	bool fencing; /* and waits for it */
	bool served;  /* some generation has come so far */
	bool again;   /* the manager's end was ordered */
	bool stopping;
	int signals;
	struct loop_io signals_io;
	struct loop_timer start;
	double allowance; /* restarts that come without a wait */
	uint64_t allowance_ms, delay_ms;
	unsigned restarts_max;
	const char *program;
	char **args; /* NULL-terminated, the manager's */
};

/* --- clients.c --- */

/* The channels of a new generation; theirs: the ends that the manager gets. */
CHECKED int clients_open(struct hold *h, int theirs[static OWNERS]);
/* Takes in what is left in the channels, and closes them. */
void clients_close(struct hold *h);
/* Nothing of earlier generations is left: says so, if that was asked. */
void clients_fenced(struct hold *h);

/* --- groups.c --- */

/* Buries who has ended of earlier generations, */
void groups_bury(struct hold *h);
/* and of this one, too; true: the manager has now, h->status tells how. */
bool groups_reap(struct hold *h);
/* The manager has ended. Its generation goes on serving, or is ended if an earlier one still does. */
void groups_retire(struct hold *h);
/* Ends the earlier ones. */
void groups_kill(struct hold *h);
/* Ends everybody, and returns when nobody is left. */
void groups_end(struct hold *h);

/* --- main.c --- */

/* The manager is not to go on: it breaks the protocol, or wants to be followed. */
void hold_kill_manager(struct hold *h);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/log.h"
#include "vtpm-mgr/hold/hold.h"

/* Buries children of that group. True: there is none any more. */
static bool bury(struct hold *h, pid_t group)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-group, &status, WNOHANG)) > 0) {
		if (pid != h->manager)
			continue;
		h->status = status;
		h->alive = false;
	}
	return pid < 0 && errno == ECHILD;
}

void groups_bury(struct hold *h)
{
	unsigned left = 0;

	for (unsigned i = 0; i < h->ngroups; i++)
		if (!bury(h, h->groups[i]))
			h->groups[left++] = h->groups[i];
	h->ngroups = left;
}

/* One that was killed before its setsid is in our own group. */
static void bury_manager(struct hold *h)
{
	int status;

	if (h->alive && waitpid(h->manager, &status, WNOHANG) == h->manager) {
		h->status = status;
		h->alive = false;
	}
}

bool groups_reap(struct hold *h)
{
	const bool was = h->alive;

	bury_manager(h);
	groups_bury(h);
	if (h->manager > 0)
		(void)bury(h, h->manager);
	return was && !h->alive;
}

/* Only while there is a child in it: otherwise the number may be another's by now. */
static void kill_group(pid_t group)
{
	siginfo_t si;

	if (waitid(P_PGID, (id_t)group, &si, WEXITED | WNOHANG | WNOWAIT) == 0)
		kill(-group, SIGKILL);
}

void groups_retire(struct hold *h)
{
	const bool superseded = h->fenced || h->ngroups == 0;

	if (!superseded) { /* it has served nobody, and the one before still does */
		kill_group(h->manager);
		items_cut(&h->items, h->generation);
	}
	h->groups[h->ngroups++] = h->manager; /* there is room: a generation is only begun if there is */
	h->manager = 0;
	groups_bury(h); /* who has ended already says so no second time */
}

void groups_kill(struct hold *h)
{
	for (unsigned i = 0; i < h->ngroups; i++)
		kill_group(h->groups[i]);
	groups_bury(h);
}

/* Not for other children: whoever executed this program may have had some. */
static void end_group(pid_t group)
{
	do
		kill_group(group);
	while (waitpid(-group, NULL, 0) > 0 || errno == EINTR);
}

void groups_end(struct hold *h)
{
	items_free(&h->items);
	for (unsigned i = 0; i < h->ngroups; i++)
		end_group(h->groups[i]);
	if (h->manager > 0)
		end_group(h->manager);
}

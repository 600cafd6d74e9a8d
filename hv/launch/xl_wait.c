/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/launch/launch.h"
#include "hv/xen/xenstore_wait.h"

#define ENDS	  "@releaseDomain" /* xenstored says so whenever a domain has ended or gone */
#define ANSWER_MS 10000u
#define SUSPENDED 2u /* SHUTDOWN_suspend of xen/sched.h */

/*
 * "xl list -v ID": a line of headings, and one of
 *	name, number, memory, vcpus, state ("---s--": it has shut down), time, uuid, reason (hex, or "-"), label
 * A name has no spaces: xl_config.c.
 */
bool xl_domain_has_ended(const char *list, size_t *end)
{
	const char *line = strchr(list, '\n');
	char state[16], reason[16];
	unsigned long how;

	*end = XL_ENDS;
	if (!line || sscanf(line + 1, "%*s %*s %*s %*s %15s %*s %*s %15s", state, reason) != 2)
		return true;
	how = strtoul(reason, NULL, 16);
	if (!strchr(state, 's') || how == SUSPENDED)
		return false;
	for (size_t i = 0; i < XL_ENDS; i++)
		if (how == xl_ends[i].reason)
			*end = i;
	return true;
}

static bool look(const char *id, size_t *end)
{
	static char xl[] = "xl", verb[] = "list", option[] = "-v";
	char number[16], *argv[] = {xl, verb, option, number, NULL}, *list = NULL;
	struct ctl_error gone = {0};
	bool ended = true;

	*end = XL_ENDS;
	snprintf(number, sizeof(number), "%s", id);
	if (run_program(argv, &list, XL_CONFIG_MAX, &gone) == 0)
		ended = xl_domain_has_ended(list, end);
	free(list);
	return ended;
}

int xl_wait(const char *id, size_t *end, struct ctl_error *e)
{
	struct xenstore_wait w;
	int err = xenstore_wait_open(&w);

	if (!err)
		err = xenstore_wait_watch(&w, ENDS, ANSWER_MS);
	while (!err && !look(id, end)) {
		do {
			err = xenstore_wait_change(&w, INT_MAX);
		} while (err == ERR_TIMEOUT);
	}
	xenstore_wait_close(&w);
	return err ? ctl_fail(e, err, EXIT_FAILED, "domain %s is not watched any more: xenstore: %s", id, err_text(err)) : 0;
}

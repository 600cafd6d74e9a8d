/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Once more, every so often: each group that is open is unsealed again, with nothing of what was known about the TPM taken for
 * granted. PCRs that have changed, a TPM that was reset or is another one, another locality: then its keys serve what runs, or
 * nothing (--on-tpm-change stop), until it can be unsealed.
 */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"

static void on_recheck(void *arg);

static void again_later(struct mgr *m)
{
	if (m->cfg.recheck_s && !m->draining)
		loop_timer_set(&m->loop, &m->recheck, (uint64_t)m->cfg.recheck_s * 1000, on_recheck, m);
}

static void nothing(void *arg, const struct keeper_reply *r)
{
	(void)arg;
	(void)r; /* groups.c has drawn the conclusions */
}

static void on_recheck(void *arg)
{
	struct mgr *m = arg;

	for (struct group *g = m->keeper.groups; g && m->keeper.state == KEEPER_READY; g = g->next)
		if (g->open && !g->recovered)
			group_open(m, g, nothing, NULL);
	again_later(m);
}

void recheck_start(struct mgr *m)
{
	again_later(m);
}

void recheck_stop(struct mgr *m)
{
	loop_timer_cancel(&m->loop, &m->recheck);
}

/* Powers off what a group serves. */
static void stop_group(struct mgr *m, const struct group *g)
{
	for (struct vtpm *v = m->vtpms, *next; v; v = next) {
		next = v->next;
		if (strcmp(v->row.group, g->name) == 0)
			vtpm_stop_one(v);
	}
}

void recheck_failed(struct mgr *m, struct group *g, const char *why)
{
	bool news = !g->locked;

	g->locked = true;
	snprintf(g->reason, sizeof(g->reason), "%s", why);
	if (!news)
		return;
	log_error("group %s cannot be unsealed any more: %s; what runs %s, and nothing more is started", g->name, why,
		  m->cfg.on_change == CHANGE_STOP ? "is powered off" : "goes on");
	mgr_audit(m, NULL, "breach", NULL, ERR_PCR, g->name);
	if (m->cfg.on_change == CHANGE_STOP)
		stop_group(m, g);
}

void recheck_passed(struct group *g)
{
	if (g->locked)
		log_info("group %s can be unsealed again", g->name);
	g->locked = g->recovered = false;
	g->reason[0] = '\0';
}

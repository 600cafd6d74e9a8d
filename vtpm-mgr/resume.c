/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend that a signal has ended while its guest ran is replaced by another one, which goes on where the first one stood (docs/continuity.md):
 *
 *	backend ended -> what it had sent to the store is durable or never will be -> key handed to the keeper -> a backend with
 *	the same ring or control channel, and what the first one left with the spawner -> READY -> with Xen, the ring is attached anew
 *
 * The guest keeps its ring or channels, and waits. What it may not do is go on for ever: crashes are counted until the vTPM is stopped or reset, and
 * backends that are killed before they are ready until one is.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"

#define RETRY_MS RESPAWN_MIN_MS /* while the physical TPM, and so the key, is not to be had */

static void on_resume(void *arg)
{
	struct vtpm *v = arg;

	v->waits_share = false;
	v->held_until = 0;
	vtpm_start_again(v);
}

static bool may_resume(struct vtpm *v, uint32_t status)
{
	if (!WIFSIGNALED((int)status) || (v->w.killed && !v->renewing) || v->failed_code || v->m->draining || v->abandoned)
		return false;
	return v->state == VTPM_RUNNING || (v->state == VTPM_STARTING && v->resuming);
}

/* Whether it is once too often. */
static bool count_end(struct vtpm *v, bool crashed)
{
	unsigned *n = crashed ? &v->crashes : &v->kills;

	if (*n + 1 >= CRASHES_MAX)
		return false;
	++*n;
	return true;
}

bool resume_try(struct vtpm *v, uint32_t status)
{
	const uint64_t now = loop_now_ms();
	const bool crashed = WTERMSIG((int)status) != SIGKILL;
	const bool planned = v->renewing && v->w.killed && !crashed;
	char detail[TEXT_MAX + 1];

	if (v->resuming && status == SPAWN_NOT_BORN) {
		v->failed_code = ERR_AGAIN;
		vtpm_reason_set(v, "there is no room for another process");
		v->replaces = v->area; /* it never had its place */
		return false;
	}
	/* Of a crash the one after the next must still know if the next was killed before it had dealt with it. */
	v->crashed = crashed || (v->resuming && v->crashed);
	if (!may_resume(v, status) || (!planned && !count_end(v, crashed))) {
		if (v->resuming && v->failed_code == ERR_TPM_LOST)
			v->replaces = v->area; /* nor had this one */
		else if (status != 0)
			worker_forget(v->m, v->area);
		return false;
	}
	vtpm_describe_end(detail, sizeof(detail), status);
	if (!planned) {
		log_warn("%s: %s; another one goes on with its guest", v->row.name, detail);
		mgr_audit(v->m, NULL, "crash", &v->row, ERR_ENGINE, detail);
	}
	v->state = VTPM_STARTING;
	v->resuming = true;
	held_guest_update(v); /* with the crashes that it has had */
	v->replaces = v->area;
	v->asked = false;
	changes_wait_no_more(v->m, v);
	xen_backend_lost(v);
	/* An answer that its quota of anchored changes held back is not to be had earlier this way. */
	if (v->held_until > now && !v->stop_asked)
		resume_in(v, v->held_until - now);
	else
		on_resume(v);
	return true;
}

void resume_in(struct vtpm *v, uint64_t ms)
{
	loop_timer_set(&v->m->loop, &v->resume_timer, ms, on_resume, v);
}

void resume_done(struct vtpm *v)
{
	v->resuming = v->adopted = v->renewing = false;
	v->kills = 0;
	v->replacements++;
	held_guest_update(v);
	log_info("%s: goes on where its last backend stood", v->row.name);
	mgr_audit(v->m, NULL, "replace", &v->row, 0, NULL);
	if (v->stop_asked || (v->qemu >= 0 && qemu_has_gone(v))) {
		v->stop_asked = false;
		vtpm_hung_up(v);
	}
	takeover_again(v->m, v->row.uuid);
	xen_tpm_changed(v->m, v->row.uuid);
}

static void give_up(struct vtpm *v, int code)
{
	worker_forget(v->m, v->replaces);
	v->replaces = 0;
	v->resuming = v->adopted = v->renewing = false;
	v->failed_code = code;
	/* A QEMU that has gone misses nothing: perhaps its backend ended in order, and the manager that was to be told was killed. */
	if (v->stop_asked || (v->qemu >= 0 && qemu_has_gone(v))) {
		v->stop_asked = false;
		vtpm_stopped(v, 0);
		return;
	}
	mgr_audit(v->m, NULL, "replace", &v->row, code, v->reason);
	vtpm_failed(v);
}

/* Whether its group is locked as after each start of a keeper, which is no failure: it goes on, as it is, once somebody has unlocked it. */
static bool waits_for_share(const struct vtpm *v, int code)
{
	const struct group *g = group_find(v->m, v->row.group);

	return code == ERR_DENIED && g && g->needs_share;
}

static void wait_for_share(struct vtpm *v, const char *text)
{
	v->waits_share = true;
	vtpm_reason_set(v, text);
	log_warn("%s: its guest waits for the second share of group %s", v->row.name, v->row.group);
}

void resume_failed(struct vtpm *v, int code, const char *text)
{
	struct mgr *m = v->m;
	uint8_t uuid[UUID_LEN];
	char why[TEXT_MAX + 1];

	memcpy(uuid, v->row.uuid, UUID_LEN);
	if (v->replaces && !m->draining && !v->stop_asked) {
		if (code == ERR_TPM_LOST || code == ERR_FULL || code == ERR_AGAIN) { /* or there is no room for it at the moment */
			resume_in(v, RETRY_MS);
			return;
		}
		if (waits_for_share(v, code)) {
			wait_for_share(v, text);
			return;
		}
	}
	snprintf(why, sizeof(why), "its backend was killed, and no other can go on: %.400s", text);
	vtpm_reason_set(v, why);
	if (code == ERR_AUTH || code == ERR_VERSION)
		vtpm_quarantine(m, &v->row, why);
	give_up(v, code); /* may free v */
	takeover_next(m, uuid);
	launch_next(m, uuid);
	xen_tpm_changed(m, uuid);
	mgr_check_drained(m);
}

void resume_keeper_lost(struct mgr *m)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next) {
		if (!v->resuming || v->w.token == 0 || v->w.control < 0)
			continue;
		v->failed_code = ERR_TPM_LOST;
		worker_hang_up(&v->w);
	}
}

void resume_stop(struct vtpm *v)
{
	v->stop_asked = true;
	held_guest_update(v);
	/* It may be waiting for a quota, for the TPM or for a share; who stops it does not. */
	if (v->resume_timer.due_ms || v->waits_share)
		resume_in(v, 0);
}

void resume_unlocked(struct mgr *m, const char *group)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		if (v->waits_share && !strcmp(v->row.group, group))
			resume_in(v, 0);
}

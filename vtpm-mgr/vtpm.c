/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a vTPM that is powered on, but for its beginning (power_on.c):
 *
 *	stop:  BACKEND_STOP -> the backend shuts its engine down, commits, exits
 *	reset: stop, then start with the same ring: _TPM_Init for a guest that keeps its channel
 *	crash: another backend goes on with its guest (resume.c), or it has failed until somebody resets or starts it: it never
 *	       comes back by itself with empty PCRs
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lib/log.h"
#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/reroot.h"

struct vtpm *vtpm_find(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		if (!v->incoming && !memcmp(v->row.uuid, uuid, UUID_LEN))
			return v;
	return NULL;
}

void vtpm_free(struct vtpm *v)
{
	for (struct vtpm **p = &v->m->vtpms; *p; p = &(*p)->next)
		if (*p == v) {
			*p = v->next;
			break;
		}
	commit_forget(v);
	launch_free(v);
	changes_wait_no_more(v->m, v);
	loop_timer_cancel(&v->m->loop, &v->stop_timer);
	loop_timer_cancel(&v->m->loop, &v->resume_timer);
	ring_close(v);
	qemu_release(v);
	loop_timer_cancel(&v->m->loop, &v->announce_timer);
	fd_close(&v->attach);
	free(v);
}

int vtpm_binding(const struct store_vtpm *row, struct key_binding *k)
{
	uint8_t mem[256 + STORE_RULES_MAX];
	struct buf b;

	*k = (struct key_binding){ .epoch = row->epoch };
	snprintf(k->group, sizeof(k->group), "%s", row->group);
	memcpy(k->uuid, row->uuid, UUID_LEN);
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_str(&b, row->name) || buf_put_u64le(&b, (uint64_t)row->user) || buf_put_u32le(&b, row->state_max) ||
	    buf_put_u32le(&b, row->commit_rate) || buf_put_u8(&b, row->locality_max) || buf_put_u8(&b, row->snapshots) ||
	    buf_put_var(&b, row->machine, row->has_machine ? UUID_LEN : 0) ||
	    buf_put_var(&b, row->token, row->has_token ? DIGEST_LEN : 0) || buf_put_u8(&b, row->launch) ||
	    buf_put_var(&b, row->rules.data, row->rules.len) || buf_put_u8(&b, row->key_due))
		return ERR_RANGE;
	return EVP_Digest(mem, b.len, k->config, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

bool vtpm_powered(const struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	const struct vtpm *v = m->vtpms;

	while (v && (v->state == VTPM_FAILED || memcmp(v->row.uuid, uuid, UUID_LEN) != 0))
		v = v->next;
	return v != NULL;
}

struct vtpm *vtpm_new(struct mgr *m)
{
	struct vtpm *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->m = m;
	v->ring = LOCAL_RING_NONE;
	v->listener = v->client = v->listener_io.fd = v->client_io.fd = -1;
	v->qemu = v->qemu_io.fd = v->attach = -1;
	v->w.control = v->w.store = v->w.control_io.fd = v->w.store_io.fd = -1;
	v->next = m->vtpms;
	m->vtpms = v;
	return v;
}

void vtpm_quarantine(struct mgr *m, const struct store_vtpm *row, const char *why)
{
	/* A store that is quarantined itself is not written at all. */
	bool mark = m->continuity.state != CONTINUITY_QUARANTINED;
	int err = mark ? store_vtpm_quarantine(m->store, row->uuid, why) : 0;

	log_error("%s: quarantined: %s; nothing of it is changed; see vtpmctl show %s", row->name, why, row->name);
	if (err)
		log_error("%s: the quarantine cannot be recorded: %s", row->name,
			  err == ERR_NOTFOUND ? "no row has its uuid" : store_why(m->store));
	mgr_audit(m, NULL, "quarantine", row, ERR_QUARANTINE, why);
}

/* While its row or its leaf is being changed they need not fit. Looked at once: what uses keys or certificates looks again, and who lists very many vTPMs does not. */
const char *vtpm_why_quarantined(struct mgr *m, const struct store_vtpm *row)
{
	struct leaf *leaf = leaves_find(&m->continuity.leaves, row->uuid);
	struct certs c;
	int err;

	if (row->quarantine[0])
		return row->quarantine;
	if (m->continuity.state == CONTINUITY_QUARANTINED) /* nobody vouches for the leaf either */
		return NULL;
	if (!leaf || leaf->seen || vtpm_held_back(m, row->uuid) || changes_configure(m, row->uuid))
		return NULL;
	err = certs_load(m->store, &leaf->l, row, &c);
	leaf->seen = !err;
	return err == ERR_AUTH ? CERTS_NOT_VOUCHED : NULL;
}

void vtpm_reason_set(struct vtpm *v, const char *text)
{
	snprintf(v->reason, sizeof(v->reason), "%s", text);
}

const char *vtpm_state_word(const struct vtpm *v)
{
	static const char *const words[] = { "stopped", "being started", "running", "being stopped", "failed", "launched" };

	return words[v->state];
}

/* --- its end --- */

void vtpm_describe_end(char *out, size_t cap, uint32_t status)
{
	int s = (int)status;

	if (status == SPAWN_NOT_BORN)
		snprintf(out, cap, "there was no room for its backend");
	else if (status == SPAWN_NOTHING_LEFT)
		snprintf(out, cap, "its last backend has left nothing to go on from");
	else if (WIFSIGNALED(s))
		snprintf(out, cap, "its backend crashed (signal %d)", WTERMSIG(s));
	else
		snprintf(out, cap, "its backend ended unexpectedly (status %d)", WEXITSTATUS(s));
}

void vtpm_failed(struct vtpm *v)
{
	v->state = VTPM_FAILED;
	launch_free(v); /* it was for that guest, once */
	log_error("%s: failed: %s; its TPM is gone until its guest is reset", v->row.name, v->reason);
	xen_backend_ended(v, v->reason);
	ring_close(v);
	qemu_release(v);
	if (v->incoming) /* nothing has failed but an attempt */
		vtpm_free(v);
}

static void crashed(struct vtpm *v, uint32_t status)
{
	v->crashes++;
	if (!v->failed_code)
		vtpm_describe_end(v->reason, sizeof(v->reason), status);
	mgr_audit(v->m, NULL, "crash", &v->row, ERR_ENGINE, v->reason);
	vtpm_failed(v);
}

/* What the audit log adds to an end in order. */
static const char *end_detail(const struct vtpm *v)
{
	if (v->fenced)
		return "another QEMU has taken over";
	return v->standby ? "it only waited for another's TPM" : NULL;
}

void vtpm_stopped(struct vtpm *v, uint32_t status)
{
	struct call *c = v->stopping;
	int result = (status == 0 || v->fenced) && !v->failed_code ? 0 : v->failed_code ? v->failed_code : ERR_ENGINE;

	v->stopping = NULL;
	if (result && !v->failed_code)
		vtpm_describe_end(v->reason, sizeof(v->reason), status);
	mgr_audit(v->m, c, "stop", &v->row, result, result ? v->reason : end_detail(v));
	v->crashes = v->kills = 0;
	v->replacements = 0;
	if (v->restart) {
		v->restart = false;
		vtpm_start_again(v);
		return;
	}
	if (v->starting)
		call_error(v->starting, ERR_CLOSED, "the manager is stopping");
	if (c && result)
		call_error(c, result, "%s is off, but did not stop in order: %s", v->row.name, v->reason);
	else if (c)
		call_reply(c, NULL);
	vtpm_free(v);
}

void vtpm_exited(void *arg, uint32_t status)
{
	struct vtpm *v = arg;
	struct mgr *m = v->m;
	uint8_t uuid[UUID_LEN];

	memcpy(uuid, v->row.uuid, UUID_LEN);
	loop_timer_cancel(&m->loop, &v->stop_timer);
	commit_forget(v);
	v->has_next = false;
	attest_backend_gone(v);
	if (resume_try(v, status))
		return;
	renew_missed(v, status);
	/* What the store gave is judged by the backend that takes over when it is the first to open it. */
	if (v->opening && (v->failed_code == ERR_AUTH || v->failed_code == ERR_VERSION))
		v->state = VTPM_STARTING;
	xen_backend_ended(v, NULL);
	if (v->state == VTPM_STARTING && v->abandoned) {
		vtpm_start_failed(v, ERR_CLOSED, "it was stopped while it was being started");
	} else if (v->state == VTPM_STARTING) {
		v->crashes += WIFSIGNALED((int)status);
		if (!v->failed_code)
			vtpm_describe_end(v->reason, sizeof(v->reason), status);
		vtpm_start_failed(v, v->failed_code ? v->failed_code : ERR_ENGINE, v->reason);
	} else if (v->state == VTPM_STOPPING || (v->qemu >= 0 && status == 0)) {
		vtpm_stopped(v, status); /* a backend ends by itself, in order, when its QEMU has gone or said so */
	} else {
		crashed(v, status);
	}
	takeover_next(m, uuid);
	launch_next(m, uuid);
	xen_tpm_changed(m, uuid);
	mgr_check_drained(m);
}

/* --- power-off --- */

static void on_stop_timeout(void *arg)
{
	struct vtpm *v = arg;

	log_error("%s: does not stop; ending its backend", v->row.name);
	vtpm_reason_set(v, "it did not stop in time");
	v->failed_code = ERR_TIMEOUT;
	worker_kill(&v->w);
}

static void stop_run(struct vtpm *v)
{
	v->state = VTPM_STOPPING;
	held_guest_update(v);
	v->failed_code = 0;
	commit_release(v);
	loop_timer_set(&v->m->loop, &v->stop_timer, STOP_TIMEOUT_MS, on_stop_timeout, v);
	if (worker_send(&v->w, BACKEND_STOP))
		worker_kill(&v->w);
}

void vtpm_hung_up(struct vtpm *v)
{
	if (v->state == VTPM_RUNNING)
		stop_run(v);
}

/* Stopped while it is being started: nothing has been served. What the keeper was asked is waited for. */
static void abandon(struct vtpm *v, struct call *c)
{
	mgr_audit(v->m, c, "stop", &v->row, 0, "while it was being started");
	v->abandoned = true;
	if (v->starting)
		call_error(v->starting, ERR_CLOSED, "%s was stopped while it was being started", v->row.name);
	v->starting = NULL;
	if (v->w.control >= 0)
		worker_kill(&v->w);
	if (c)
		call_reply(c, NULL);
}

void vtpm_deserted(struct vtpm *v)
{
	v->restart = false;
	if (v->state == VTPM_RUNNING)
		stop_run(v);
	else if (v->resuming)
		resume_stop(v);
	else if (v->state == VTPM_STARTING)
		abandon(v, NULL);
	else if (v->state == VTPM_FAILED || v->state == VTPM_LAUNCHED)
		vtpm_free(v);
}

void vtpm_send_off(struct vtpm *v)
{
	v->abandoned = v->state == VTPM_STARTING;
	if (v->state == VTPM_RUNNING)
		stop_run(v);
	else if (v->abandoned && v->w.control >= 0)
		worker_kill(&v->w);
}

void vtpm_stop(struct vtpm *v, struct call *c)
{
	struct vtpm *waiting = takeover_waiting(v->m, v->row.uuid);

	if (waiting)
		vtpm_send_off(waiting);
	if (v->state == VTPM_FAILED || v->state == VTPM_LAUNCHED) {
		mgr_audit(v->m, c, "stop", &v->row, 0, v->launch && v->launch->waits ? "launched, for nobody" : "it had failed");
		vtpm_free(v);
		call_reply(c, NULL);
		return;
	}
	if (v->state == VTPM_STARTING && !v->resuming) {
		abandon(v, c);
		return;
	}
	if ((v->state != VTPM_RUNNING && !v->resuming) || v->stop_asked) {
		call_error(c, ERR_BUSY, "%s is %s", v->row.name, vtpm_state_word(v));
		return;
	}
	v->stopping = c;
	if (v->resuming)
		resume_stop(v);
	else
		stop_run(v);
}

void vtpm_reset(struct vtpm *v, const struct store_vtpm *row, struct call *c)
{
	if (v->state == VTPM_FAILED) {
		vtpm_start(v->m, row, v->firmware, c);
		return;
	}
	if ((v->state != VTPM_RUNNING && !v->resuming) || v->stop_asked) {
		call_error(c, ERR_BUSY, "%s is %s", v->row.name, vtpm_state_word(v));
		return;
	}
	if (v->qemu >= 0) {
		call_error(c, ERR_WRONG_STATE, "%s is on for a QEMU, which resets it with its machine (system_reset)",
			   v->row.name);
		return;
	}
	if (v->xen && v->launch) {
		call_error(c, ERR_WRONG_STATE, "%s was launched for a domain, once; boot the domain anew", v->row.name);
		return;
	}
	v->restart = true;
	v->starting = c;
	if (v->resuming)
		resume_stop(v);
	else
		stop_run(v);
}

void vtpm_stop_one(struct vtpm *v)
{
	v->restart = false;
	if (v->state == VTPM_RUNNING)
		stop_run(v);
	else if (v->state == VTPM_STARTING && v->w.control >= 0)
		worker_kill(&v->w);
}

void vtpm_stop_all(struct mgr *m)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next)
		vtpm_stop_one(v);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power-on of a vTPM, for a ring, for a QEMU that has connected (qemu.c) or for a domain of Xen (xen.c), step by step:
 *
 *	group's root open -> key handed to the keeper -> state read, and the newest -> backend started -> READY
 *
 * and what its backend says from then on. What does not verify on the way is quarantined: named, kept and never made anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/reroot.h"

/* A power-on came to nothing: tell who waits, and forget it. Also after a reset, whose front end then loses its ring. */
void vtpm_start_failed(struct vtpm *v, int code, const char *text)
{
	struct mgr *m = v->m;
	/* A newer format and a flipped bit in the format's number look the same. */
	bool damaged = code == ERR_AUTH || code == ERR_VERSION;
	uint8_t uuid[UUID_LEN];

	v->has_next = false;
	if (v->resuming) {
		resume_failed(v, code, text);
		return;
	}
	if (damaged) {
		vtpm_quarantine(m, &v->row, text);
		code = ERR_QUARANTINE;
	}
	mgr_audit(m, v->starting, "start", &v->row, code, text);
	log_error("%s: not started: %s (%s)", v->row.name, text, err_text(code));
	if (v->starting)
		call_error(v->starting, code, "%s: %s%s", v->row.name, damaged ? "quarantined: " : "", text);
	v->starting = NULL;
	v->state = VTPM_STOPPED;
	vtpm_reason_set(v, text);
	memcpy(uuid, v->row.uuid, UUID_LEN);
	xen_backend_ended(v, text);
	if (v->crashes == 0 || v->incoming) {
		vtpm_free(v);
	} else {
		v->state = VTPM_FAILED;
		launch_free(v);
		ring_close(v);
		qemu_release(v);
	}
	xen_tpm_changed(m, uuid);
	takeover_next(m, uuid);
	launch_next(m, uuid);
	mgr_check_drained(m);
}

/* --- what the backend says --- */

static void audit_start(struct vtpm *v)
{
	char detail[80] = "";

	if (v->qemu >= 0)
		snprintf(detail, sizeof(detail), "QEMU of uid %u%s", v->qemu_uid,
			 v->standby ? ", which waits for another's TPM" : "");
	else if (v->front)
		snprintf(detail, sizeof(detail), "domain %u", xen_domid(v->front));
	else if (v->firmware)
		snprintf(detail, sizeof(detail), "guest firmware starts it");
	mgr_audit(v->m, v->qemu >= 0 ? NULL : v->starting, "start", &v->row, 0, detail[0] ? detail : NULL);
}

static void answer_start(struct vtpm *v)
{
	char path[128];

	if (!v->starting)
		return;
	if (v->xen)
		call_reply(v->starting, NULL);
	else if (ring_path(v->m, v->row.name, path, sizeof(path)))
		call_error(v->starting, ERR_RANGE, "the path of the ring is too long");
	else
		call_reply(v->starting, json_pack("{s:s}", "ring", path));
	v->starting = NULL;
}

void vtpm_verified(struct vtpm *v)
{
	v->opening = false;
	if (!v->row.quarantine[0])
		return;
	log_info("%s: verifies again; no longer quarantined", v->row.name);
	if (!store_vtpm_quarantine(v->m->store, v->row.uuid, ""))
		v->row.quarantine[0] = '\0';
}

static int on_ready(void *arg, struct ipc_msg *msg)
{
	struct vtpm *v = arg;

	(void)msg;
	if (v->state != VTPM_STARTING)
		return ERR_PROTO;
	worker_settled(&v->w);
	v->state = VTPM_RUNNING;
	v->served = true;
	if (!v->standby)
		vtpm_verified(v);
	if (v->resuming) {
		resume_done(v);
		renew_try(v);
		return 0;
	}
	held_guest_update(v);
	if (v->launch && v->launch->for_domain) {
		launch_ready(v);
	} else {
		audit_start(v);
		answer_start(v);
	}
	xen_tpm_changed(v->m, v->row.uuid);
	renew_try(v);
	return 0;
}

static int on_failed(void *arg, struct ipc_msg *msg)
{
	struct vtpm *v = arg;
	struct backend_failed f;
	int err = backend_failed_decode(&msg->body, &f);

	if (!err && v->failed_code)
		err = ERR_PROTO; /* it says so once, and ends */
	if (err)
		return err;
	v->failed_code = f.code;
	vtpm_reason_set(v, f.text);
	return 0;
}

static int on_refused(void *arg, struct ipc_msg *msg)
{
	struct vtpm *v = arg;
	int32_t code;
	int err = backend_refused_decode(&msg->body, &code);

	if (err)
		return err;
	if (v->qemu < 0)
		return ERR_PROTO;
	qemu_refused(v, "the saved TPM that it brought is damaged, of another vTPM, or from before this one was restored from a backup, was released or got another key (%s); boot the machine instead of resuming it",
		     err_text(code));
	return 0;
}

static int on_commit(void *arg, struct ipc_msg *msg)
{
	return commit_take(arg, msg);
}

static int on_attached(void *arg, struct ipc_msg *msg)
{
	int32_t code;
	int err = backend_attached_decode(&msg->body, &code);

	return err ? err : xen_ring_attached(arg, code);
}

static int on_detached(void *arg, struct ipc_msg *msg)
{
	(void)msg;
	return xen_ring_detached(arg);
}

static int on_quoted(void *arg, struct ipc_msg *msg)
{
	return attest_quoted(arg, msg);
}

static int on_ask(void *arg, struct ipc_msg *msg)
{
	return attest_asked(arg, msg);
}

static int on_take(void *arg, struct ipc_msg *msg)
{
	return takeover_ask(arg, msg);
}

#define BOTH (WORKER_OWNS | WORKER_STANDBY)
static const struct ipc_rule rules[] = {
	{ BACKEND_READY, BOTH, 0, 0, 0, 0, on_ready },
	{ BACKEND_FAILED, BOTH, BACKEND_FAILED_MIN, BACKEND_FAILED_MAX, 0, 0, on_failed },
	{ BACKEND_REFUSED, BOTH, BACKEND_REFUSED_SIZE, BACKEND_REFUSED_SIZE, 0, 0, on_refused },
	{ BACKEND_ATTACHED, WORKER_OWNS, BACKEND_ATTACHED_SIZE, BACKEND_ATTACHED_SIZE, 0, 0, on_attached },
	{ BACKEND_DETACHED, WORKER_OWNS, 0, 0, 0, 0, on_detached },
	{ BACKEND_QUOTED, WORKER_OWNS, BACKEND_QUOTED_MIN, BACKEND_QUOTED_MAX, 0, 0, on_quoted },
	{ BACKEND_ASK, WORKER_OWNS, BACKEND_ASK_MIN, BACKEND_ASK_MAX, 0, 0, on_ask },
	{ STORE_COMMIT, WORKER_OWNS, STORE_COMMIT_MIN, STORE_COMMIT_MAX, 0, 0, on_commit },
	{ STORE_TAKE, BOTH, STORE_TAKE_SIZE, STORE_TAKE_SIZE, 0, 0, on_take },
};

/* --- power-on, step by step --- */

/* What its backend is to serve; *theirs: a descriptor that is only the backend's. */
static int make_guest(struct vtpm *v, struct worker_guest *guest, int *theirs)
{
	int attach[2], err;

	guest->replaces = v->replaces;
	if (v->qemu >= 0) {
		guest->kind = SERVE_QEMU;
		guest->fds[0] = v->qemu;
		return qemu_watch(v);
	}
	if (!v->xen) {
		err = ring_open(v);
		guest->kind = SERVE_RING;
		guest->fds[0] = v->ring.memfd;
		guest->fds[1] = v->ring.to_back;
		guest->fds[2] = v->ring.to_front;
		return err;
	}
	err = ipc_pair(attach);
	if (err)
		return err;
	fd_close(&v->attach);
	v->attach = guest->ours = attach[0];
	*theirs = attach[1];
	guest->kind = SERVE_XEN;
	guest->fds[0] = attach[1];
	return 0;
}

/* The journal vouches for one state of each vTPM, and for its keys and certificates; why: what is wrong with this one. */
static int check_leaf(const struct vtpm *v, const uint8_t *sealed, size_t len, const char **why)
{
	const struct leaf *leaf = leaves_find(&v->m->continuity.leaves, v->row.uuid);
	uint8_t hash[DIGEST_LEN];
	struct certs certs;
	int err = leaf_hash(sealed, len, hash);

	if (err)
		return err;
	*why = "its row is not the one that the journal vouches for: it was put there, or is one with older settings, or its uuid was changed";
	if (!leaf || leaf->l.epoch != v->row.epoch)
		return ERR_AUTH;
	*why = "its state is not the newest one: an older or another one was put there";
	if (leaf->l.version != v->version || memcmp(leaf->l.hash, hash, DIGEST_LEN) != 0)
		return ERR_AUTH;
	*why = CERTS_NOT_VOUCHED;
	return certs_load(v->m->store, &leaf->l, &v->row, &certs);
}

int vtpm_state_get(struct vtpm *v, uint8_t sealed[static SEALED_STATE_MAX], size_t *len, const char **why)
{
	int err;

	*len = SEALED_STATE_MAX;
	err = store_state_get(v->m->store, v->row.uuid, &v->version, sealed, len);
	*why = "its state is missing or damaged";
	if (err)
		return err == ERR_NOTFOUND || err == ERR_RANGE ? ERR_AUTH : err; /* the row is damaged */
	return check_leaf(v, sealed, *len, why);
}

static uint32_t run_flags(const struct vtpm *v)
{
	const uint32_t ours = v->launch && v->launch->startup ? RUN_STARTUP : 0u;
	const uint32_t flags = RUN_SERVE | (v->standby ? RUN_STANDBY : 0u) | ours;

	if (v->resuming)
		return flags | RUN_RESUME | (v->crashed ? RUN_CRASHED : 0u) | (v->adopted ? RUN_ADOPTED : 0u);
	return flags | (v->firmware || v->launch ? 0u : RUN_STARTUP);
}

static int start_worker(struct vtpm *v, uint64_t token, const char **why)
{
	struct backend_start s = { .flags = run_flags(v),
				   .line = v->row.epoch >> EPOCH_LINE_SHIFT,
				   /* Besides what the indices for evidence take. */
				   .state_max = (v->row.state_max < STATE_MAX_LIMIT ? v->row.state_max : STATE_MAX_LIMIT) + GUEST_EVIDENCE_STATE,
				   .locality_max = v->row.locality_max };
	const uint64_t was = v->version;
	uint8_t *sealed = malloc(SEALED_STATE_MAX);
	struct worker_guest guest = { .ours = -1 };
	int theirs = -1, err = 0;

	if (!sealed)
		return ERR_NOMEM;
	memcpy(s.uuid, v->row.uuid, UUID_LEN);
	memcpy(s.from_uuid, v->row.uuid, UUID_LEN);
	s.sealed = sealed;
	if (v->launch) {
		s.launch = v->launch->log;
		s.launch_len = v->launch->len;
	}
	if (!v->standby)
		err = vtpm_state_get(v, sealed, &s.sealed_len, why);
	if (!err && v->rollback_to)
		takeover_settle(v, was);
	s.version = v->standby ? 0 : v->version; /* of one on standby it is what was looked up for another */
	if (!v->resuming)
		v->area = token;
	if (!err)
		err = make_guest(v, &guest, &theirs);
	if (!err) {
		held_guest_keep(v);
		err = worker_start(v->m, &v->w, token, &guest, &s);
	}
	if (!err)
		v->replaces = 0; /* it has its place */
	fd_close(&theirs);
	free(sealed);
	return err;
}

/* What was in flight of it, from a backend before this one, is durable now or never will be. */
static void on_settled(void *arg)
{
	struct vtpm *v = arg;
	const char *why = "its state is missing or damaged";
	int err;

	if (v->key_at != v->m->keeper.number || renew_overtook(v)) { /* that keeper has gone with its key, or the key is of before */
		keeper_drop(v->m, v->w.token);
		vtpm_start_again(v);
		return;
	}
	err = v->m->draining || v->abandoned ? ERR_CLOSED : start_worker(v, v->w.token, &why);

	if (err) {
		keeper_drop(v->m, v->w.token);
		vtpm_start_failed(v, err, err == ERR_AUTH ? why : err_text(err));
	}
}

static void on_handed(void *arg, const struct keeper_reply *r)
{
	struct vtpm *v = arg;

	if (!renew_take(v, r)) {
		vtpm_start_failed(v, ERR_PROTO, err_text(ERR_PROTO));
		return;
	}
	if (r->code == ERR_AUTH && renew_overtook(v)) { /* asked for under a root that has been replaced since */
		vtpm_start_again(v);
		return;
	}
	if (r->code == ERR_AUTH) {
		vtpm_start_failed(v, ERR_AUTH, "its key does not verify: the row was changed, damaged or swapped");
		return;
	}
	if (r->code) {
		vtpm_start_failed(v, r->code, r->text[0] ? r->text : err_text(r->code));
		return;
	}
	v->key_at = v->m->keeper.number;
	v->w.rules = rules;
	v->w.nrules = ARRAY_LEN(rules);
	v->w.state = v->standby ? WORKER_STANDBY : WORKER_OWNS;
	v->w.exited = vtpm_exited;
	v->w.arg = v;
	v->failed_code = 0;
	v->startup_seen = v->resuming;
	changes_wait(v->m, on_settled, v);
}

static void on_group(void *arg, const struct keeper_reply *r)
{
	struct vtpm *v = arg;
	struct keeper_key_hand hand = { .wrapped = v->row.wrapped, .wrapped_len = v->row.wrapped_len };
	uint8_t mem[KEEPER_KEY_HAND_MAX];
	struct buf b;
	int err;

	if (r->code || v->m->draining || v->abandoned) {
		int code = r->code ? r->code : ERR_CLOSED;

		vtpm_start_failed(v, code, r->text[0] ? r->text : err_text(code));
		return;
	}
	v->w.token = hand.token = worker_token_next(v->m);
	buf_init(&b, mem, sizeof(mem));
	err = renew_bind(v, &hand);
	if (!err)
		err = keeper_key_hand_encode(&b, &hand);
	v->asks_next = !err && hand.renew;
	if (err)
		vtpm_start_failed(v, err, err_text(err));
	else
		keeper_ask(v->m, KEEPER_KEY_HAND, &b, on_handed, v);
}

/* v->row has just been read. */
static void start_run(struct vtpm *v)
{
	v->state = VTPM_STARTING;
	v->fenced = v->asked = v->opening = false;
	if (!v->resuming)
		v->rollback_to = 0;
	if (v->row.damaged)
		vtpm_start_failed(v, ERR_AUTH, v->row.quarantine);
	else if (v->row.wrapped_len != WRAPPED_KEY_LEN || v->row.version == 0 || v->row.sealed_len == 0)
		vtpm_start_failed(v, ERR_AUTH, "its key or state is missing or truncated");
	else
		keeper_open_group(v->m, v->row.group, on_group, v);
}

/* After a reset: the row has another version now. */
void vtpm_start_again(struct vtpm *v)
{
	uint8_t uuid[UUID_LEN];
	int err;

	memcpy(uuid, v->row.uuid, UUID_LEN);
	err = store_vtpm_by_uuid(v->m->store, uuid, &v->row);
	if (err)
		vtpm_start_failed(v, err, store_why(v->m->store));
	else
		start_run(v);
}

/* Whether a power-on may begin, and with what; c: who asked, if it is to be in the audit log. */
static int start_admit(struct mgr *m, const struct store_vtpm *row, const struct call *c, enum start_kind kind,
		       struct vtpm **out, char why[static TEXT_MAX + 1])
{
	struct vtpm *v = vtpm_find(m, row->uuid);
	int err;

	if (m->draining) {
		snprintf(why, TEXT_MAX + 1, "the manager is stopping");
		return ERR_CLOSED;
	}
	if (changes_destroy(m, row->id)) {
		snprintf(why, TEXT_MAX + 1, "%s is being destroyed", row->name);
		return ERR_BUSY;
	}
	if (vtpm_held_back(m, row->uuid)) {
		snprintf(why, TEXT_MAX + 1, "%s %s", row->name, vtpm_held_back(m, row->uuid));
		return ERR_BUSY;
	}
	if (changes_configure(m, row->uuid)) {
		snprintf(why, TEXT_MAX + 1, "%s is being changed", row->name);
		return ERR_BUSY;
	}
	if (v && v->state != VTPM_FAILED && v->state != VTPM_LAUNCHED) {
		snprintf(why, TEXT_MAX + 1, "%s is %s already%s", row->name, vtpm_state_word(v),
			 v->xen ? ", for a domain of Xen" : v->qemu >= 0 ? ", for a QEMU" : ", for its ring");
		return ERR_WRONG_STATE;
	}
	if (row->damaged) { /* perhaps in its uuid, by which start_run would look for it */
		vtpm_quarantine(m, row, row->quarantine);
		mgr_audit(m, c, "start", row, ERR_QUARANTINE, row->quarantine);
		snprintf(why, TEXT_MAX + 1, "%s: quarantined: %.300s", row->name, row->quarantine);
		return ERR_QUARANTINE;
	}
	if (v && v->crashes >= CRASHES_MAX) {
		snprintf(why, TEXT_MAX + 1,
			 "%s crashed %u times in a row and is not started again before \"vtpmctl stop %s\": %.200s",
			 row->name, v->crashes, row->name, v->reason);
		return ERR_WRONG_STATE;
	}
	err = launch_admit(m, row, v, kind, why);
	if (err)
		return err;
	*out = v ? v : vtpm_new(m);
	if (*out)
		return 0;
	snprintf(why, TEXT_MAX + 1, "out of memory");
	return ERR_NOMEM;
}

void vtpm_start(struct mgr *m, const struct store_vtpm *row, bool firmware, struct call *c)
{
	char why[TEXT_MAX + 1];
	struct vtpm *v;
	int err = start_admit(m, row, c, START_RING, &v, why);

	if (err) {
		call_error(c, err, "%s", why);
		return;
	}
	v->row = *row;
	v->firmware = firmware;
	v->standby = v->abandoned = v->served = false;
	v->starting = c;
	launch_taken(v);
	xen_revive(v);
	start_run(v);
}

int vtpm_start_launched(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c, struct vtpm **out,
			char why[static TEXT_MAX + 1])
{
	struct vtpm *v = vtpm_find(m, row->uuid);
	int err;

	if (v && v->state == VTPM_LAUNCHED) {
		snprintf(why, TEXT_MAX + 1, "%s is launched already; vtpmctl stop %s undoes that", row->name, row->name);
		return ERR_WRONG_STATE;
	}
	err = start_admit(m, row, c, START_LAUNCH, out, why);
	if (err)
		return err;
	v = *out;
	v->row = *row;
	launch_free(v);
	v->launch = l;
	v->standby = v->abandoned = v->served = v->firmware = false;
	v->state = VTPM_LAUNCHED;
	if (!l->for_domain)
		return 0;
	v->starting = c;
	v->xen = true;
	start_run(v);
	return 0;
}

int vtpm_start_xen(struct mgr *m, const struct store_vtpm *row, struct xen_front *front, struct call *c,
		   char why[static TEXT_MAX + 1])
{
	struct vtpm *v = vtpm_find(m, row->uuid);
	int err;

	if (v && v->state == VTPM_LAUNCHED) {
		snprintf(why, TEXT_MAX + 1, "%s is launched, for another", row->name);
		return ERR_WRONG_STATE;
	}
	err = start_admit(m, row, c, START_XEN, &v, why);
	if (err)
		return err;
	v->row = *row;
	v->firmware = v->abandoned = false;
	v->starting = c;
	v->xen = true;
	v->front = front;
	start_run(v);
	return 0;
}

/* Whether another QEMU has the TPM, so that this one is let in to wait for it, or to take over from it. */
static bool may_wait(struct mgr *m, const struct store_vtpm *row)
{
	const struct vtpm *v = vtpm_find(m, row->uuid);

	return !m->draining && v && v->qemu >= 0 && v->state != VTPM_FAILED;
}

static int wait_admit(struct mgr *m, const struct store_vtpm *row, struct vtpm **out, char why[static TEXT_MAX + 1])
{
	if (takeover_waiting(m, row->uuid)) {
		snprintf(why, TEXT_MAX + 1, "a QEMU has its TPM, and another waits for it");
		return ERR_BUSY;
	}
	if (vtpm_find(m, row->uuid)->launch) {
		snprintf(why, TEXT_MAX + 1, "it was launched for another QEMU, which has it");
		return ERR_BUSY;
	}
	*out = vtpm_new(m);
	if (!*out) {
		snprintf(why, TEXT_MAX + 1, "out of memory");
		return ERR_NOMEM;
	}
	(*out)->incoming = true;
	return 0;
}

int vtpm_start_qemu(struct mgr *m, const struct store_vtpm *row, int sock, uid_t uid, char why[static TEXT_MAX + 1])
{
	bool waits = may_wait(m, row);
	struct vtpm *v;
	int err = waits ? wait_admit(m, row, &v, why) : start_admit(m, row, NULL, START_QEMU, &v, why);

	if (err)
		return err;
	if (v->front) { /* failed, and its domain's word to give */
		snprintf(why, TEXT_MAX + 1, "%s belongs to domain %u", row->name, xen_domid(v->front));
		return ERR_WRONG_STATE;
	}
	v->standby = waits;
	log_debug("%s: a QEMU of uid %u has connected", row->name, uid);
	v->row = *row;
	v->abandoned = v->served = false;
	v->firmware = true; /* SeaBIOS or OVMF send TPM2_Startup, and own the platform hierarchy */
	launch_taken(v);
	v->qemu = sock;
	v->qemu_uid = uid;
	v->qemu_told = 0;
	vtpm_reason_set(v, ""); /* whoever brought this QEMU is told why it ends */
	start_run(v);
	return 0;
}

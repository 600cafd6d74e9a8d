/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does what xen_device.c says: writes to xenstore, powers TPMs on and off, has rings opened. What a TPM or its backend
 * does by itself comes back here and is the next look's to judge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"
#include "vtpm-mgr/xen.h"

/* How long after suspend the domain may still be there: to save its memory takes as long as writing it does. */
#define ANNOUNCED_MS 1800000u

#define TELL_EVERY_MS 10000u /* of what a guest brings about */

void xen_log_front(const struct xen_front *f, const char *text)
{
	log_warn("domain %u, vtpm %u: %s", f->domid, f->handle, text);
}

static struct vtpm *vtpm_of(const struct xen_front *f)
{
	struct vtpm *v = f->m->vtpms;

	while (v && v->front != f)
		v = v->next;
	return v;
}

/* --- how the TPM stands --- */

static enum xen_tpm tpm_mine(const struct vtpm *v)
{
	switch (v->state) {
	case VTPM_STARTING: return v->abandoned ? XEN_TPM_ENDING : XEN_TPM_STARTING;
	case VTPM_RUNNING: return XEN_TPM_ON;
	case VTPM_STOPPING: return v->restart ? XEN_TPM_STARTING : XEN_TPM_ENDING;
	case VTPM_FAILED: return XEN_TPM_FAILED;
	case VTPM_STOPPED:
	case VTPM_LAUNCHED: break;
	}
	return XEN_TPM_OFF;
}

static enum xen_tpm tpm_others(const struct vtpm *v, unsigned domid)
{
	/* It waits for the domain that it was launched for, and for no other. */
	if (v->launch && v->launch->waits && v->state != VTPM_FAILED && !launch_waits_for(v, domid))
		return XEN_TPM_TAKEN;
	/* One that was held for a saved domain, and is lost: to begin anew would be a reset that nobody asked for. */
	if (v->state == VTPM_FAILED && v->announced)
		return XEN_TPM_FAILED;
	if (v->state == VTPM_STOPPED || (v->state == VTPM_FAILED && !v->front))
		return XEN_TPM_OFF;
	if (v->front && (v->announced || xen_device_leaving(&v->front->d, &v->front->n)))
		return XEN_TPM_LEAVING;
	if (!v->front && v->state == VTPM_STOPPING)
		return XEN_TPM_LEAVING;
	if (v->xen && !v->front)
		return v->state == VTPM_RUNNING ? XEN_TPM_HELD : XEN_TPM_LEAVING;
	return XEN_TPM_TAKEN;
}

static enum xen_tpm tpm_of(const struct xen_front *f)
{
	struct vtpm *v = vtpm_of(f);
	enum xen_tpm tpm = XEN_TPM_OFF;
	struct store_vtpm *row;
	int err;

	if (v)
		return tpm_mine(v);
	v = vtpm_find(f->m, f->n.uuid);
	if (v)
		tpm = tpm_others(v, f->domid);
	if (tpm != XEN_TPM_OFF)
		return tpm;
	row = malloc(sizeof(*row));
	err = row ? store_vtpm_by_uuid(f->m->store, f->n.uuid, row) : ERR_NOMEM;
	if (err == ERR_NOTFOUND)
		tpm = XEN_TPM_UNKNOWN;
	else if (!err && launch_is_required(f->m, row, true))
		tpm = XEN_TPM_UNLAUNCHED;
	free(row);
	return tpm;
}

/* --- xenstore --- */

/* The directory of a domain, which may be empty. */
struct orphan {
	struct mgr *m;
	char path[96];
};

void xen_mute(struct xen_front *f, int err)
{
	if (!err || err == ERR_CLOSED || f->d.mute)
		return;
	f->d.mute = true;
	snprintf(f->reason, sizeof(f->reason),
		 "xenstore takes no node or watch more for it: %s; perhaps the quota of this domain is used up", err_text(err));
	xen_look(f);
}

static void on_written(void *arg, int err, const char *value, size_t len)
{
	(void)value;
	(void)len;
	xen_mute(arg, err);
}

static void write_node(struct xen_front *f, const char *node, const char *value)
{
	char path[128];

	if (f->m->xen->store && !xen_back_path(f, node, path, sizeof(path)))
		xenstore_write(f->m->xen->store, path, value, on_written, f);
}

static void remove_error(struct xen_front *f)
{
	char path[128];

	if (f->has_error && f->m->xen->store && !xen_back_path(f, "error", path, sizeof(path)))
		xenstore_remove(f->m->xen->store, path, NULL, NULL);
	f->has_error = false;
}

static void write_state(struct xen_front *f)
{
	char text[4];

	snprintf(text, sizeof(text), "%u", (unsigned)f->d.state);
	log_debug("domain %u, vtpm %u: state %s", f->domid, f->handle, text);
	if (f->d.state == XEN_STATE_INIT_WAIT || f->d.state == XEN_STATE_CONNECTED)
		remove_error(f);
	write_node(f, "state", text);
}

/* Of a domain whose last device has gone an empty directory would stay, and count for this domain's quota of nodes. */
static void on_parent_listed(void *arg, int err, const char *value, size_t len)
{
	struct orphan *o = arg;

	(void)value;
	if (!err && len == 0 && o->m->xen && o->m->xen->store)
		xenstore_remove(o->m->xen->store, o->path, NULL, NULL);
	free(o);
}

static void remove_nodes(struct xen_front *f)
{
	struct orphan *o;
	char path[128];

	if (!f->m->xen->store || xen_back_path(f, "", path, sizeof(path)))
		return;
	xenstore_remove(f->m->xen->store, path, NULL, NULL);
	o = malloc(sizeof(*o));
	if (!o)
		return;
	o->m = f->m;
	snprintf(o->path, sizeof(o->path), "%s/%u", f->m->xen->base, f->domid);
	xenstore_list(f->m->xen->store, o->path, on_parent_listed, o);
}

/* For a person: how to go on. */
static void explain(struct xen_front *f, const char *why, char text[static TEXT_MAX + 1])
{
	const struct vtpm *v = vtpm_find(f->m, f->n.uuid);
	char uuid[UUID_STR_LEN + 1];

	uuid_format(f->n.uuid, uuid);
	if (!why && v && v->state == VTPM_FAILED)
		why = v->reason;
	if (why && !f->n.bad && tpm_of(f) == XEN_TPM_UNKNOWN)
		snprintf(text, TEXT_MAX + 1, "%.400s; make it: vtpmctl create NAME --uuid %s", why, uuid);
	else
		snprintf(text, TEXT_MAX + 1, "%s", why ? why : f->reason[0] ? f->reason : "its TPM is off");
}

/* A guest that names one ring after the other that is none must not fill the log. */
static bool may_tell(struct xen_front *f)
{
	uint64_t now = loop_now_ms();

	if (f->told_ms && now - f->told_ms < TELL_EVERY_MS)
		return false;
	f->told_ms = now;
	return true;
}

/* As xenbus writes errors: a number, and a text. */
static void write_error(struct xen_front *f, const char *why)
{
	char text[TEXT_MAX + 1], value[TEXT_MAX + 8], path[128];

	explain(f, why, text);
	if (f->d.phase == XEN_REFUSED || may_tell(f))
		xen_log_front(f, text);
	snprintf(value, sizeof(value), "22 %s", text);
	if (f->m->xen->store && !xen_back_path(f, "error", path, sizeof(path)))
		xenstore_write(f->m->xen->store, path, value, NULL, NULL);
	f->has_error = true;
}

/* --- the TPM --- */

static void power_on(struct xen_front *f, struct call *c)
{
	struct store_vtpm *row = malloc(sizeof(*row));
	int err = row ? store_vtpm_by_uuid(f->m->store, f->n.uuid, row) : ERR_NOMEM;

	if (!err)
		err = vtpm_start_xen(f->m, row, f, c, f->reason);
	else
		snprintf(f->reason, sizeof(f->reason), "its vTPM cannot be read: %s", err_text(err));
	if (err && c)
		call_error(c, err, "%s", f->reason);
	free(row);
	if (err)
		xen_look(f);
}

static void adopt(struct xen_front *f)
{
	struct vtpm *v = vtpm_find(f->m, f->n.uuid);
	char detail[40];

	if (!v || v->front)
		return;
	v->front = f;
	v->announced = false;
	held_guest_update(v);
	loop_timer_cancel(&f->m->loop, &v->announce_timer);
	if (v->launch && v->launch->waits) {
		snprintf(detail, sizeof(detail), "domain %u, launched", f->domid);
		mgr_audit(f->m, NULL, "start", &v->row, 0, detail);
		launch_taken(v);
	} else {
		launch_moved(v, f->domid);
		snprintf(detail, sizeof(detail), "taken over by domain %u", f->domid);
		mgr_audit(f->m, NULL, "resume", &v->row, 0, detail);
	}
	xen_look(f);
}

static void release(struct xen_front *f)
{
	struct vtpm *v = vtpm_of(f);
	uint8_t uuid[UUID_LEN];

	if (!v)
		return;
	memcpy(uuid, v->row.uuid, UUID_LEN);
	v->front = NULL;
	held_guest_update(v);
	if (v->announced && (v->state == VTPM_RUNNING || v->resuming))
		loop_timer_cancel(&f->m->loop, &v->announce_timer);
	else
		vtpm_deserted(v);
	xen_tpm_changed(f->m, uuid);
}

/* A vTPM in the making, which may outlive who it is for. */
struct xen_making {
	struct provision_order order;
	struct xen_front *f; /* NULL: gone */
};

static void creation_failed(struct xen_front *f, const char *text)
{
	f->d.hopeless = true;
	snprintf(f->reason, sizeof(f->reason), "no vTPM could be made for it: %.400s", text);
}

static void on_created(void *arg, int code, const char *text, const struct store_vtpm *row)
{
	struct xen_making *making = arg;
	struct xen_front *f = making->f;

	(void)row;
	free(making);
	if (!f)
		return;
	f->making = NULL;
	if (code)
		creation_failed(f, text);
	xen_look(f);
}

/* It has the uuid for a name: that is one nobody else wants. */
static int order(struct xen_front *f)
{
	struct store_vtpm *want = calloc(1, sizeof(*want));
	struct xen_making *making = calloc(1, sizeof(*making));
	int err = want && making ? 0 : ERR_NOMEM;

	if (!err) {
		memcpy(want->uuid, f->n.uuid, UUID_LEN);
		uuid_format(f->n.uuid, want->name);
		snprintf(want->group, sizeof(want->group), "%s", DEFAULT_GROUP);
		want->epoch = 1;
		want->user = -1;
		want->state_max = STATE_MAX_DEFAULT;
		want->commit_rate = COMMIT_RATE_DEFAULT;
		*making = (struct xen_making){ .order = { .uid = -1, .pid = -1, .done = on_created, .arg = making }, .f = f };
		f->making = making; /* done may come before this returns */
		err = provision_order(f->m, want, &making->order);
	}
	if (err) {
		f->making = NULL;
		free(making);
	}
	free(want);
	return err;
}

static void create(struct xen_front *f)
{
	int err = order(f);

	if (!err)
		return;
	creation_failed(f, err_text(err));
	xen_look(f);
}

void xen_making_end(struct xen_front *f)
{
	if (f->making)
		f->making->f = NULL;
	f->making = NULL;
}

/* --- the ring --- */

static void attach(struct xen_front *f, bool again)
{
	const struct spawn_attach a = { .domid = f->domid, .ref = f->d.ref, .port = f->d.port, .again = again };
	struct vtpm *v = vtpm_of(f);
	uint8_t mem[SPAWN_ATTACH_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (v && !spawn_attach_encode(&b, &a) && !host_send(f->m, SPAWN_ATTACH, &b, &v->attach, 1))
		return;
	f->d.ring = XEN_RING_BAD;
	xen_look(f);
}

static void detach(struct xen_front *f)
{
	struct vtpm *v = vtpm_of(f);

	if (!v || worker_send(&v->w, BACKEND_DETACH))
		f->d.ring = XEN_RING_OFF; /* the backend has ended, or will have */
}

int xen_ring_attached(struct vtpm *v, int32_t code)
{
	struct xen_front *f = v->front;
	char text[160];

	if (!f || f->d.ring != XEN_RING_COMING)
		return ERR_PROTO;
	f->d.ring = code ? XEN_RING_BAD : XEN_RING_ON;
	if (code) {
		snprintf(text, sizeof(text), "its ring (grant %u, event channel %u) cannot be had: %s", f->d.ref, f->d.port,
			 err_text(code));
		write_error(f, text);
	}
	xen_look(f);
	return 0;
}

int xen_ring_detached(struct vtpm *v)
{
	struct xen_front *f = v->front;

	if (!f || f->d.ring != XEN_RING_GOING)
		return ERR_PROTO;
	f->d.ring = XEN_RING_OFF;
	xen_look(f);
	return 0;
}

/* --- who has the TPM that another one wants --- */

static void on_holder(void *arg, int err, const char *value, size_t len)
{
	struct xen_front *holder = arg;
	uint8_t uuid[UUID_LEN];

	(void)len;
	if (!err && !strcmp(value, "F")) {
		holder->d.dead = true;
		xen_look(holder);
	}
	memcpy(uuid, holder->n.uuid, UUID_LEN);
	xen_tpm_changed(holder->m, uuid);
}

/*
 * Outside dom0 nobody tells of domains that end, and a toolstack that ended with one has not taken its device away. So before
 * a domain is refused for another's sake it is asked, once, whether that is there at all. True: the answer is awaited.
 */
static bool ask_for_holder(struct xen_front *f)
{
	const struct vtpm *v = vtpm_find(f->m, f->n.uuid);

	if (f->asked || !v || !v->front || !f->m->xen->store)
		return false;
	f->asked = true;
	xenstore_is_introduced(f->m->xen->store, v->front->domid, on_holder, v->front);
	return true;
}

/* --- a step --- */

/* Before anything is done of it: whoever goes on from there must know of it. */
static void remember(const struct xen_front *f)
{
	struct vtpm *v = vtpm_of(f);

	if (v)
		held_guest_update(v);
}

static void carry_out(struct xen_front *f, const struct xen_orders *o)
{
	remember(f);
	if (o->what & XEN_DO_DETACH)
		detach(f);
	if (o->what & XEN_DO_ERROR)
		write_error(f, o->why);
	if (o->what & XEN_DO_FEATURES)
		write_node(f, "feature-protocol-v2", "1");
	if (o->what & XEN_DO_STATE)
		write_state(f);
	if (o->what & XEN_DO_MARK)
		write_node(f, XEN_NODE_SERVED_NAME, "1");
	if (o->what & XEN_DO_CREATE)
		create(f);
	if (o->what & XEN_DO_POWER)
		power_on(f, NULL);
	if (o->what & XEN_DO_ADOPT)
		adopt(f);
	if (o->what & XEN_DO_ATTACH)
		attach(f, o->again);
	if (o->what & XEN_DO_RELEASE)
		release(f);
	if (o->what & XEN_DO_REMOVE)
		remove_nodes(f);
	if (o->what & XEN_DO_LOOK) {
		f->asked = false;
		xen_look(f);
	}
	if (o->what & XEN_DO_FORGET)
		xen_front_free(f);
}

/* A ring is given back between two commands: one whose answer waits for its quota must not keep the domain's page so long. */
static void hurry(struct xen_front *f)
{
	struct vtpm *v = xen_device_leaving(&f->d, &f->n) ? vtpm_of(f) : NULL;

	if (v)
		commit_release(v);
}

void xen_front_step(struct xen_front *f)
{
	enum xen_tpm tpm;
	struct xen_orders o;

	if (f->m->draining)
		return;
	tpm = f->n.bad ? XEN_TPM_UNKNOWN : tpm_of(f);
	if (tpm == XEN_TPM_TAKEN && ask_for_holder(f))
		return;
	hurry(f);
	xen_device_step(&f->d, &f->n, tpm, &f->m->xen->policy, &o);
	carry_out(f, &o);
}

/* --- what the rest of the manager has to tell and to ask --- */

void xen_tpm_changed(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	if (!m->xen || m->draining)
		return;
	for (struct xen_front *f = m->xen->fronts; f; f = f->next)
		if (f->n.device && !memcmp(f->n.uuid, uuid, UUID_LEN))
			xen_look(f);
}

void xen_backend_ended(struct vtpm *v, const char *why)
{
	if (!v->front)
		return;
	v->front->d.ring = XEN_RING_OFF;
	v->front->d.lost = false;
	if (why)
		snprintf(v->front->reason, sizeof(v->front->reason), "%s", why);
}

void xen_backend_lost(struct vtpm *v)
{
	struct xen_device *d = v->front ? &v->front->d : NULL;

	if (!d)
		return;
	d->lost = d->lost || d->ring == XEN_RING_ON || d->ring == XEN_RING_COMING;
	d->ring = XEN_RING_OFF;
}

static void on_announced_too_long(void *arg)
{
	struct vtpm *v = arg;

	v->announced = false;
	held_guest_update(v);
	log_warn("%s: it was to be suspended, and domain %u is still there after %u minutes: what was announced is off",
		 v->row.name, v->front ? v->front->domid : 0, ANNOUNCED_MS / 60000u);
	xen_tpm_changed(v->m, v->row.uuid);
}

void xen_announce(struct vtpm *v)
{
	v->announced = true;
	loop_timer_set(&v->m->loop, &v->announce_timer, ANNOUNCED_MS, on_announced_too_long, v);
}

void xen_revive(struct vtpm *v)
{
	if (v->front && v->front->d.phase == XEN_REFUSED)
		v->front->d.phase = XEN_ADMITTED;
}

bool xen_reset_lost(struct mgr *m, const struct store_vtpm *row, struct call *c)
{
	struct xen_front *f = m->xen ? m->xen->fronts : NULL;

	while (f && (f->d.phase != XEN_REFUSED || f->n.bad || memcmp(f->n.uuid, row->uuid, UUID_LEN) != 0 ||
		     xen_device_leaving(&f->d, &f->n)))
		f = f->next;
	if (!f)
		return false;
	f->d.phase = XEN_ADMITTED;
	f->d.powered = true;
	power_on(f, c);
	return true;
}

unsigned xen_domid(const struct xen_front *f)
{
	return f->domid;
}

/* --- a save, a restore, a migration --- */

void xen_suspend(struct vtpm *v, struct call *c)
{
	if (!v->xen || !v->front || v->state != VTPM_RUNNING) {
		call_error(c, ERR_WRONG_STATE, "%s is not on for a domain of Xen", v->row.name);
		return;
	}
	xen_announce(v);
	held_guest_update(v);
	mgr_audit(v->m, c, "suspend", &v->row, 0, NULL);
	call_reply(c, NULL);
}

void xen_resume(struct vtpm *v, struct call *c)
{
	if (!v->announced) {
		call_error(c, ERR_WRONG_STATE, "%s: no suspend was announced, or a domain has taken it over already", v->row.name);
		return;
	}
	if (!v->front) {
		call_error(c, ERR_WRONG_STATE,
			   "%s is held for the domain that comes next with its uuid; vtpmctl stop %s powers it off instead",
			   v->row.name, v->row.name);
		return;
	}
	v->announced = false;
	held_guest_update(v);
	loop_timer_cancel(&v->m->loop, &v->announce_timer);
	mgr_audit(v->m, c, "resume", &v->row, 0, NULL);
	call_reply(c, NULL);
	xen_tpm_changed(v->m, v->row.uuid);
}

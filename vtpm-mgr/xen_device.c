/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/xen_device.h"

#include <stdio.h>
#include <string.h>

#define HANDLE_MAX 0xffffu
#define PORT_MAX   0x1ffffu /* of FIFO event channels */

/* --- what was read --- */

void xen_value_set(struct xen_value *v, const char *p, size_t n)
{
	v->len = n <= XEN_VALUE_MAX && memchr(p, '\0', n) == NULL ? n : 0;
	memcpy(v->text, p, v->len);
	v->text[v->len] = '\0';
}

static enum xen_state parse_state(const struct xen_value *v)
{
	uint64_t n;

	return parse_u64(v->text, XEN_STATE_CLOSED, &n) == 0 ? (enum xen_state)n : XEN_STATE_NONE;
}

static bool parse_number(const struct xen_value *v, uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (parse_u64(v->text, max, &n) != 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* libxl's word on who the guest is and which TPM it has. */
static const char *check_identity(struct xen_nodes *n, const struct xen_value *values, unsigned domid, unsigned handle)
{
	char path[64];
	uint32_t id;

	(void)snprintf(path, sizeof(path), "/local/domain/%u/device/vtpm/%u", domid, handle);
	if (!parse_number(&values[XEN_NODE_FRONTEND_ID], XEN_DOMID_MAX, &id) || id != domid)
		return "its frontend-id is not the domain of its directory";
	if (strcmp(values[XEN_NODE_FRONTEND].text, path) != 0)
		return "its frontend is not in the domain of its directory";
	if (uuid_parse(values[XEN_NODE_UUID].text, n->uuid) != 0)
		return "it has no uuid; xl wants vtpm=['backend=…,uuid=…']";
	return NULL;
}

void xen_nodes_parse(struct xen_nodes *n, const struct xen_value values[static XEN_NODES], unsigned domid, unsigned handle)
{
	uint32_t online = 0;

	*n = (struct xen_nodes){ 0 };
	/* libxl writes all of its nodes at once. What is there without these is not its work, or what is left of it. */
	n->device = values[XEN_NODE_FRONTEND].len > 0 || values[XEN_NODE_FRONTEND_ID].len > 0;
	n->bad = check_identity(n, values, domid, handle);
	n->served = values[XEN_NODE_SERVED].len > 0;
	n->online = parse_number(&values[XEN_NODE_ONLINE], 1, &online) && online == 1;
	n->back = parse_state(&values[XEN_NODE_STATE]);
	n->front = parse_state(&values[XEN_NODE_FRONT_STATE]);
	n->has_ring = parse_number(&values[XEN_NODE_RING_REF], UINT32_MAX, &n->ref) &&
		      parse_number(&values[XEN_NODE_EVENT_CHANNEL], PORT_MAX, &n->port);
}

/* A decimal number that ends at a '/' or the end. */
static int path_number(const char **s, uint32_t max, unsigned *out)
{
	size_t n = strcspn(*s, "/");
	char text[12];
	uint64_t v;

	if (n >= sizeof(text))
		return ERR_PROTO;
	memcpy(text, *s, n);
	text[n] = '\0';
	if (parse_u64(text, max, &v) != 0)
		return ERR_PROTO;
	*out = (unsigned)v;
	*s += n;
	return 0;
}

int xen_path_parse(const char *s, unsigned *domid, unsigned *handle, const char **rest)
{
	if (path_number(&s, XEN_DOMID_MAX, domid) != 0 || *s++ != '/' || path_number(&s, HANDLE_MAX, handle) != 0)
		return ERR_PROTO;
	*rest = s;
	return 0;
}

/* --- what is to be done --- */

static void set_state(struct xen_device *d, enum xen_state state, struct xen_orders *o)
{
	if (d->state == state)
		return;
	d->state = state;
	o->what |= XEN_DO_STATE;
}

static void detach(struct xen_device *d, struct xen_orders *o)
{
	d->ring = XEN_RING_GOING;
	o->what |= XEN_DO_DETACH;
}

/* True once nothing of the guest's is mapped. */
static bool ring_is_off(struct xen_device *d, struct xen_orders *o)
{
	if (d->ring == XEN_RING_ON)
		detach(d, o);
	return d->ring == XEN_RING_OFF || d->ring == XEN_RING_BAD;
}

static void refuse(struct xen_device *d, const char *why, struct xen_orders *o)
{
	d->phase = XEN_REFUSED;
	o->what |= XEN_DO_ERROR;
	o->why = why;
	if (ring_is_off(d, o))
		set_state(d, XEN_STATE_CLOSED, o);
}

static void admit(struct xen_device *d, const struct xen_nodes *n, enum xen_tpm tpm, const struct xen_policy *policy,
		  struct xen_orders *o)
{
	d->state = n->back;
	if (d->mute) {
		refuse(d, NULL, o);
		return;
	}
	if (n->bad != NULL) {
		refuse(d, n->bad, o);
		return;
	}
	/* Whoever served it has gone, and PCRs and all with it. It never comes back with empty ones by itself. */
	if (n->served) {
		refuse(d, "its TPM was lost with the manager that served it; boot the domain anew, or vtpmctl reset", o);
		return;
	}
	if (tpm == XEN_TPM_UNKNOWN && !policy->autocreate) {
		refuse(d, "no vTPM has its uuid", o);
		return;
	}
	if (tpm == XEN_TPM_TAKEN) {
		refuse(d, "another domain, or a program, has the TPM of its uuid", o);
		return;
	}
	d->phase = XEN_ADMITTED;
	o->what |= XEN_DO_FEATURES;
	set_state(d, XEN_STATE_INIT_WAIT, o);
}

static void connect_ring(struct xen_device *d, const struct xen_nodes *n, struct xen_orders *o)
{
	if (!n->has_ring) {
		d->ring = XEN_RING_BAD;
		d->ref = d->port = 0;
		o->what |= XEN_DO_ERROR;
		o->why = "its front end names no ring-ref and event-channel";
		set_state(d, XEN_STATE_CLOSING, o);
		return;
	}
	d->ring = XEN_RING_COMING;
	d->ref = n->ref;
	d->port = n->port;
	d->connected = false;
	o->again = d->lost;
	d->lost = false;
	o->what |= XEN_DO_ATTACH;
}

static bool front_wants(const struct xen_nodes *n)
{
	return n->front == XEN_STATE_INITIALISED || n->front == XEN_STATE_CONNECTED;
}

static bool front_is_same(const struct xen_device *d, const struct xen_nodes *n)
{
	return n->has_ring ? n->ref == d->ref && n->port == d->port : d->ref == 0 && d->port == 0;
}

/* A guest that was resumed makes a new ring without a word, perhaps by the old numbers. */
static bool front_is_anew(const struct xen_device *d, const struct xen_nodes *n)
{
	return n->front == XEN_STATE_INITIALISED && d->connected;
}

/* The TPM is on: the ring follows what the front end wants. */
static void follow_front(struct xen_device *d, const struct xen_nodes *n, struct xen_orders *o)
{
	bool wants = front_wants(n), same = front_is_same(d, n);

	if (d->ring == XEN_RING_COMING || d->ring == XEN_RING_GOING)
		return;
	if (d->ring == XEN_RING_ON) {
		if (wants && same && !front_is_anew(d, n)) {
			d->connected = n->front == XEN_STATE_CONNECTED;
			set_state(d, XEN_STATE_CONNECTED, o);
		} else {
			detach(d, o);
		}
		return;
	}
	if (d->ring == XEN_RING_BAD && wants && same) {
		set_state(d, XEN_STATE_CLOSING, o);
		return;
	}
	d->ring = XEN_RING_OFF;
	if (wants)
		connect_ring(d, n, o);
	else
		set_state(d, n->front == XEN_STATE_CLOSING ? XEN_STATE_CLOSING : XEN_STATE_INIT_WAIT, o);
}

/*
 * Its state says that libxl has just made it, and it had another by us: its directory went and came while nobody looked, be it
 * the same domain's or, with a number that is used again, another's.
 */
static bool is_another(const struct xen_device *d, const struct xen_nodes *n)
{
	return d->phase != XEN_NEW && !d->mute && d->state != XEN_STATE_INITIALISING && n->online &&
	       n->back == XEN_STATE_INITIALISING;
}

static void begin_anew(struct xen_device *d, struct xen_orders *o)
{
	if (!ring_is_off(d, o))
		return;
	*d = (struct xen_device){ 0 };
	o->what |= XEN_DO_RELEASE | XEN_DO_LOOK;
}

static void serve(struct xen_device *d, const struct xen_nodes *n, enum xen_tpm tpm, const struct xen_policy *policy,
		  struct xen_orders *o)
{
	/* Also while nobody could serve it. */
	if (!front_wants(n) || !front_is_same(d, n) || front_is_anew(d, n))
		d->lost = false;
	switch (tpm) {
	case XEN_TPM_UNKNOWN:
		if (d->powered || !policy->autocreate)
			refuse(d, "its vTPM was destroyed", o);
		else if (d->hopeless)
			refuse(d, NULL, o);
		else if (!d->creating)
			o->what |= XEN_DO_CREATE;
		d->creating = true;
		return;
	case XEN_TPM_OFF:
		if (d->powered)
			refuse(d, NULL, o);
		else
			o->what |= XEN_DO_MARK | XEN_DO_POWER;
		d->powered = true;
		return;
	case XEN_TPM_UNLAUNCHED:
		/* Who launches a domain makes it first, and paused: it has its device by then. */
		if (d->powered)
			refuse(d, NULL, o);
		else if (front_wants(n))
			refuse(d, "its domain runs, and vtpm-launch has not measured what it was booted from: boot it with vtpm-launch; to have "
				  "its TPM without, vtpmctl set NAME --launch off", o);
		return;
	case XEN_TPM_HELD:
		o->what |= XEN_DO_MARK | XEN_DO_ADOPT;
		d->powered = true;
		return;
	case XEN_TPM_TAKEN:
		refuse(d, "another domain, or a program, has the TPM of its uuid", o);
		return;
	case XEN_TPM_FAILED:
		refuse(d, NULL, o);
		return;
	case XEN_TPM_STARTING:
	case XEN_TPM_ENDING:
	case XEN_TPM_LEAVING:
		return;
	case XEN_TPM_ON:
		follow_front(d, n, o);
		return;
	}
}

/* libxl waits for CLOSED, and then takes dom0's directory away; elsewhere it is the back end that must. */
static void leave(struct xen_device *d, const struct xen_policy *policy, struct xen_orders *o)
{
	if (!ring_is_off(d, o))
		return;
	d->phase = XEN_LEFT;
	set_state(d, XEN_STATE_CLOSED, o);
	o->what |= XEN_DO_RELEASE;
	if (policy->own)
		o->what |= XEN_DO_REMOVE;
}

/* The directory has gone. What was written after it went is a stray node. */
static void vanish(struct xen_device *d, const struct xen_nodes *n, struct xen_orders *o)
{
	if (!ring_is_off(d, o))
		return;
	o->what |= XEN_DO_RELEASE | XEN_DO_FORGET;
	if (d->phase != XEN_NEW && n->back != XEN_STATE_NONE)
		o->what |= XEN_DO_REMOVE;
}

bool xen_device_leaving(const struct xen_device *d, const struct xen_nodes *n)
{
	return d->phase == XEN_LEFT || d->dead || !n->device || !n->online ||
	       (n->back == XEN_STATE_CLOSING && d->state != XEN_STATE_CLOSING);
}

void xen_device_step(struct xen_device *d, const struct xen_nodes *n, enum xen_tpm tpm, const struct xen_policy *policy,
		     struct xen_orders *o)
{
	*o = (struct xen_orders){ 0 };
	if (!n->device) {
		vanish(d, n, o);
		return;
	}
	if (is_another(d, n)) {
		begin_anew(d, o);
		return;
	}
	if (d->phase == XEN_LEFT)
		return;
	if (xen_device_leaving(d, n)) {
		leave(d, policy, o);
		return;
	}
	if (d->phase == XEN_NEW)
		admit(d, n, tpm, policy, o);
	else if (d->phase == XEN_ADMITTED && d->mute)
		refuse(d, NULL, o);
	else if (d->phase == XEN_REFUSED && ring_is_off(d, o))
		set_state(d, XEN_STATE_CLOSED, o);
	if (d->phase == XEN_ADMITTED)
		serve(d, n, tpm, policy, o);
}

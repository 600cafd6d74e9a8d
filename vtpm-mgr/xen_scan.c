/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the nodes of one front end, one after the other, into f->values. A guest can make its own nodes change as
 * fast as xenstored takes it, so each has a number of looks to spend.
 */
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/xen.h"

#define LOOKS_BURST  32.0
#define LOOKS_SECOND 20.0
#define ASK_AGAIN_MS 1000u

static const char *const names[XEN_NODES] = {
	[XEN_NODE_FRONTEND] = "frontend",    [XEN_NODE_FRONTEND_ID] = "frontend-id",
	[XEN_NODE_UUID] = "uuid",	     [XEN_NODE_SERVED] = XEN_NODE_SERVED_NAME,
	[XEN_NODE_ONLINE] = "online",	     [XEN_NODE_STATE] = "state",
	[XEN_NODE_FRONT_STATE] = "state",    [XEN_NODE_RING_REF] = "ring-ref",
	[XEN_NODE_EVENT_CHANNEL] = "event-channel",
};

static void read_next(struct xen_front *f);
static void on_later(void *arg);

/*
 * Whether a node that cannot be read says something: that it is not there, or, of the guest's, that it does not want it
 * to be read. Anything else, such as a xenstored without memory, must not look like a device that has gone.
 */
static bool is_answer(const struct xen_front *f, int err)
{
	return !err || err == ERR_NOTFOUND || (err == ERR_DENIED && f->at >= XEN_NODE_FRONT_STATE);
}

static void on_value(void *arg, int err, const char *value, size_t len)
{
	struct xen_front *f = arg;

	if (err == ERR_CLOSED)
		return;
	if (!is_answer(f, err)) {
		log_warn("domain %u, vtpm %u: xenstore does not say how it is: %s; asking again", f->domid, f->handle,
			 err_text(err));
		f->at = XEN_NODES;
		f->again = false;
		loop_timer_set(&f->m->loop, &f->later, ASK_AGAIN_MS, on_later, f);
		return;
	}
	xen_value_set(&f->values[f->at], value, err ? 0 : len);
	f->at++;
	if (f->at < XEN_NODES) {
		read_next(f);
		return;
	}
	xen_nodes_parse(&f->n, f->values, f->domid, f->handle);
	if (f->again) {
		f->again = false;
		xen_look(f);
	}
	xen_front_step(f);
}

static void read_next(struct xen_front *f)
{
	char path[128];
	int err = f->at < XEN_NODE_FRONT_STATE ? xen_back_path(f, names[f->at], path, sizeof(path)) :
						 xen_front_path(f, names[f->at], path, sizeof(path));

	if (err)
		on_value(f, err, "", 0);
	else
		xenstore_read(f->m->xen->store, path, on_value, f);
}

static void scan(struct xen_front *f)
{
	f->at = 0;
	read_next(f);
}

static void on_later(void *arg)
{
	struct xen_front *f = arg;

	if (f->m->xen->store)
		scan(f);
}

void xen_look(struct xen_front *f)
{
	uint64_t now = loop_now_ms();

	if (!f->m->xen->store || f->later.due_ms)
		return;
	if (f->at < XEN_NODES) {
		f->again = true;
		return;
	}
	f->looks += (double)(now - f->looks_ms) * LOOKS_SECOND / 1000.0;
	if (f->looks > LOOKS_BURST)
		f->looks = LOOKS_BURST;
	f->looks_ms = now;
	f->looks -= 1.0;
	if (f->looks >= 0.0)
		scan(f);
	else
		loop_timer_set(&f->m->loop, &f->later, (uint64_t)(-f->looks * 1000.0 / LOOKS_SECOND) + 1, on_later, f);
}

void xen_look_end(struct xen_front *f)
{
	loop_timer_cancel(&f->m->loop, &f->later);
	xenstore_forget(f->m->xen->store, f);
}

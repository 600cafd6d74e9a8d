/* SPDX-License-Identifier: BSD-2-Clause */
/* What of a guest of Xen outlives a manager, for held_guests.c. */
#include "vtpm-mgr/xen.h"

bool xen_remember(const struct vtpm *v, struct xen_memory *x)
{
	const struct xen_front *f = v->front;

	if (!f)
		return false;
	*x = (struct xen_memory){ .domid = f->domid,
				  .handle = f->handle,
				  .ref = f->d.ref,
				  .port = f->d.port,
				  .state = (uint8_t)f->d.state,
				  .has_ring = f->d.lost || f->d.ring == XEN_RING_ON || f->d.ring == XEN_RING_COMING,
				  .connected = f->d.connected };
	return true;
}

bool xen_is_leaving(const struct vtpm *v)
{
	return v->front && !v->announced && xen_device_leaving(&v->front->d, &v->front->n);
}

int xen_recall(struct vtpm *v, const struct xen_memory *x)
{
	struct xen_front *f = v->m->xen ? xen_front_recall(v->m, x->domid, x->handle) : NULL;

	if (!f)
		return v->m->xen ? ERR_NOMEM : ERR_CLOSED;
	f->d = (struct xen_device){ .phase = XEN_ADMITTED,
				    .state = (enum xen_state)x->state,
				    .ref = x->ref,
				    .port = x->port,
				    .connected = x->connected,
				    .lost = x->has_ring,
				    .powered = true };
	v->front = f;
	if (v->announced)
		xen_announce(v);
	return 0;
}

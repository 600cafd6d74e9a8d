/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The front end's end of a tpmif ring: one page granted to the back end's domain and an event channel. The page's layout
 * is hv/chan_abi.h. The other side may write to the page at any moment and may be hostile: what is read from it is read
 * once, bounded, and judged from the copy.
 *
 * A ring lives from ring_open to ring_close; it is never reused, for a back end that went away may have kept the page.
 * Calls on one ring are serialised by the caller.
 */
#ifndef XEN_TPM2FRONT_RING_H
#define XEN_TPM2FRONT_RING_H

#include <linux/interrupt.h>
#include <linux/types.h>
#include <xen/grant_table.h>
#include <xen/xenbus.h>

struct ring {
	u8 *page;
	grant_ref_t ref;
	evtchn_port_t port;
	int irq; /* 0: the event channel is not bound */
};

/* Grants a fresh page to dev's back end and binds an event channel to handler(irq, arg). 0 or a negative errno. */
int ring_open(struct ring *ring, struct xenbus_device *dev, irq_handler_t handler, void *arg);
/* Takes the event channel back, and the page if the other side has let go of it: true. A ring that is not open is left alone. */
bool ring_close(struct ring *ring, void *arg);
/* The page of one that has been closed: true if it is back now. */
bool ring_reclaim(struct ring *ring);
/* The same, but if it is not back the kernel sees to it from now on. */
void ring_abandon(struct ring *ring);

/* May a request be put? Not while the back end still owes the answer to another one. */
bool ring_is_free(const struct ring *ring);
/* Puts a request of 1 to CHAN_PACKET_MAX bytes, at locality 0, and signals. */
void ring_put_request(struct ring *ring, const u8 *buf, size_t len);
/* Asks the back end to give up the request in hand, if it is still in hand, and signals. */
void ring_cancel_request(struct ring *ring);
/*
 * The answer. Bytes copied to buf, -ECANCELED if the back end dropped the request, -EIO if what it says about the
 * length cannot be: more than size or the page hold.
 */
ssize_t ring_take_response(const struct ring *ring, u8 *buf, size_t size);

#endif

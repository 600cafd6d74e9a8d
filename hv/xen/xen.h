/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring to a guest of Xen: one page that the guest has granted, and an event channel that it has bound for us.
 *
 * Opening one takes rights that a backend does not have, and using one needs none, so it is done in two steps by two
 * processes. What passes between them is two descriptors, which name this page and this port and can be used for
 * nothing else by who may not make an ioctl of their own:
 *
 *	xen_ring_open	who has the rights: names the grant and binds the port; touches nothing of the guest's
 *	xen_attach_back	the backend, in its sandbox: mmap of the named grant, and nothing is left open but the port
 *
 * The kernel asks the hypervisor for the page at mmap, so a grant that is none shows there. That the descriptor may be
 * mapped by another process than the one that opened it is so since Linux 5.5.
 */
#ifndef VTPM_HV_XEN_XEN_H
#define VTPM_HV_XEN_XEN_H

#include "hv/hv.h"

#define XEN_DOMID_MAX 0x7fefu /* above are names for other things: DOMID_FIRST_RESERVED is 0x7ff0 */

/* -1 where there is none. */
struct xen_ring {
	int grant;	/* /dev/xen/gntdev, with one grant named; closed once it is mapped */
	int port;	/* /dev/xen/evtchn, restricted to the guest's domain, with one port bound */
	uint64_t index; /* of the grant, for mmap */
	uint32_t local; /* number of the bound port, for the signal */
};

#define XEN_RING_NONE ((struct xen_ring){ .grant = -1, .port = -1 })

/* Of a device of Xen: where a kernel says no, it is to what the other domain has said, but for a few. */
CHECKED int xen_err_from_errno(int errnum);

/*
 * Names grant ref of domain domid and binds its port, all as the guest says: ERR_INVAL, they are not what a guest has
 * for us. ERR_NOTFOUND, ERR_DENIED: this process cannot speak to Xen.
 */
CHECKED int xen_ring_open(struct xen_ring *r, uint32_t domid, uint32_t ref, uint32_t port);
/* Closes what is open and sets it to -1. */
void xen_ring_close(struct xen_ring *r);

/*
 * Maps the page and makes it the back end's channel; takes both descriptors over, also if it fails. ERR_INVAL: the
 * hypervisor does not give the page. What is called on the channel later is read, write, poll, and the one ioctl
 * SANDBOX_IOCTL_NOTIFY (lib/sandbox.h).
 */
CHECKED int xen_attach_back(struct chan *c, struct xen_ring *r);
/* Gives page and port back. The guest can take its page away from then on. */
void xen_detach_back(struct chan *c);

#endif

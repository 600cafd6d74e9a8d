/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/xen/xen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>

#include "lib/sandbox.h"
#include "lib/util.h"

_Static_assert(IOCTL_EVTCHN_NOTIFY == SANDBOX_IOCTL_NOTIFY, "the filter names the ioctl that is made here");
_Static_assert(XEN_DOMID_MAX < DOMID_FIRST_RESERVED, "no domain has such a number");

/* --- who has the rights --- */

static int open_grant(struct xen_ring *r, uint32_t domid, uint32_t ref)
{
	struct ioctl_gntdev_map_grant_ref map = { .count = 1, .refs = { { .domid = domid, .ref = ref } } };

	r->grant = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	if (r->grant < 0 || ioctl(r->grant, IOCTL_GNTDEV_MAP_GRANT_REF, &map) != 0)
		return xen_err_from_errno(errno);
	r->index = map.index;
	return 0;
}

/* Restricted first: whoever gets the descriptor can bind nothing of another domain to it. */
static int open_port(struct xen_ring *r, uint32_t domid, uint32_t port)
{
	struct ioctl_evtchn_restrict_domid restrict_to = { .domid = (domid_t)domid };
	struct ioctl_evtchn_bind_interdomain bind = { .remote_domain = domid, .remote_port = port };
	int local;

	r->port = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (r->port < 0 || ioctl(r->port, IOCTL_EVTCHN_RESTRICT_DOMID, &restrict_to) != 0)
		return xen_err_from_errno(errno);
	local = ioctl(r->port, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind);
	if (local < 0)
		return xen_err_from_errno(errno);
	r->local = (uint32_t)local;
	return 0;
}

int xen_ring_open(struct xen_ring *r, uint32_t domid, uint32_t ref, uint32_t port)
{
	int err;

	*r = XEN_RING_NONE;
	if (domid > XEN_DOMID_MAX)
		return ERR_INVAL;
	err = open_grant(r, domid, ref);
	if (err == 0)
		err = open_port(r, domid, port);
	if (err != 0)
		xen_ring_close(r);
	return err;
}

void xen_ring_close(struct xen_ring *r)
{
	fd_close(&r->grant);
	fd_close(&r->port);
}

/* --- who has not --- */

/*
 * A port that has fired is masked until its number is written back, so a guest that signals without end costs one
 * event. One that came meanwhile is pending and fires then; the page is looked at after that.
 */
static int xen_ack(struct chan_port *port)
{
	uint32_t fired;
	ssize_t n = read(port->wait_fd, &fired, sizeof(fired));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : ERR_SYS;
	if (n != (ssize_t)sizeof(fired))
		return ERR_SYS;
	return write(port->wait_fd, &fired, sizeof(fired)) == (ssize_t)sizeof(fired) ? 0 : ERR_SYS;
}

/* A guest that has closed its end does not hear it, and that is its own loss. */
static int xen_notify(struct chan_port *port)
{
	struct ioctl_evtchn_notify notify = { .port = (uint32_t)(uintptr_t)port->ctx };

	(void)!ioctl(port->wait_fd, IOCTL_EVTCHN_NOTIFY, &notify);
	return 0;
}

int xen_attach_back(struct chan *c, struct xen_ring *r)
{
	struct chan_port port = {
		.wait_fd = r->port,
		.ctx = (void *)(uintptr_t)r->local,
		.ack = xen_ack,
		.notify = xen_notify,
	};
	void *page;
	int err;

	page = mmap(NULL, CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->grant, (off_t)r->index);
	err = page == MAP_FAILED ? xen_err_from_errno(errno) : 0;
	fd_close(&r->grant);
	if (err != 0) {
		fd_close(&r->port);
		return err;
	}
	r->port = -1;
	chan_init(c, page, &port);
	return 0;
}

void xen_detach_back(struct chan *c)
{
	munmap((void *)(uintptr_t)c->page, CHAN_PAGE_SIZE);
	close(c->port.wait_fd);
	c->page = NULL;
	c->port.wait_fd = -1;
}

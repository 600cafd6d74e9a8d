/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/xen/vchan_device.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntalloc.h>
#include <xen/sys/gntdev.h>

#include "hv/page.h"
#include "hv/xen/xen.h"
#include "lib/util.h"

_Static_assert(VCHAN_DOMID_MAX == XEN_DOMID_MAX, "a domain is a domain");

static int open_device(const char *path, int *fd)
{
	*fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return *fd < 0 ? xen_err_from_errno(errno) : 0;
}

static int map_page(int fd, uint64_t index, uint8_t **page)
{
	void *p = mmap(NULL, CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)index);

	*page = p == MAP_FAILED ? NULL : p;
	return *page ? 0 : xen_err_from_errno(errno);
}

/* --- the server's --- */

int vchan_devices_open(struct vchan_devices *d)
{
	int err;

	d->ports = d->pages = -1;
	err = open_device("/dev/xen/evtchn", &d->ports);
	if (!err)
		err = open_device("/dev/xen/gntalloc", &d->pages);
	if (err)
		vchan_devices_close(d);
	return err;
}

void vchan_devices_close(struct vchan_devices *d)
{
	fd_close(&d->ports);
	fd_close(&d->pages);
}

static int alloc_page(const struct vchan *v, int pages, uint32_t domid, uint32_t *ref, uint8_t **page)
{
	struct ioctl_gntalloc_alloc_gref alloc = { .domid = (uint16_t)domid, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1 };
	struct ioctl_gntalloc_dealloc_gref give_back = { .count = 1 };
	struct ioctl_gntalloc_unmap_notify will = { .action = UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT,
						    .event_channel_port = v->port };
	int err;

	if (ioctl(pages, IOCTL_GNTALLOC_ALLOC_GREF, &alloc) != 0)
		return xen_err_from_errno(errno);
	err = map_page(pages, alloc.index, page);
	*ref = alloc.gref_ids[0];
	will.index = alloc.index + VCHAN_SRV_LIVE;
	if (!err && ioctl(pages, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &will) != 0)
		err = xen_err_from_errno(errno);
	/* From here on the mapping alone keeps it. */
	give_back.index = alloc.index;
	(void)!ioctl(pages, IOCTL_GNTALLOC_DEALLOC_GREF, &give_back);
	return err;
}

int vchan_offer(struct vchan *v, const struct vchan_devices *d, uint32_t domid, uint32_t *ref, uint32_t *port)
{
	struct ioctl_evtchn_bind_unbound_port bind = { .remote_domain = domid };
	uint8_t *page = NULL;
	int local;
	int err;

	*v = VCHAN_NONE;
	if (domid > VCHAN_DOMID_MAX)
		return ERR_INVAL;
	local = ioctl(d->ports, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);
	if (local < 0)
		return xen_err_from_errno(errno);
	v->server = true;
	v->fd = d->ports;
	v->port = *port = (uint32_t)local;
	err = alloc_page(v, d->pages, domid, ref, &page);
	if (page)
		vchan_init_server(v, page);
	if (err)
		vchan_close(v);
	return err;
}

/* --- the client's --- */

static int bind_port(struct vchan *v, uint32_t domid, uint32_t port)
{
	struct ioctl_evtchn_bind_interdomain bind = { .remote_domain = domid, .remote_port = port };
	int err = open_device("/dev/xen/evtchn", &v->fd);
	int local;

	if (err)
		return err;
	local = ioctl(v->fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind);
	v->port = (uint32_t)local;
	return local < 0 ? xen_err_from_errno(errno) : 0;
}

static int map_grant(struct vchan *v, uint32_t domid, uint32_t ref, uint64_t *index, uint8_t **page)
{
	struct ioctl_gntdev_map_grant_ref map = { .count = 1, .refs = { { .domid = domid, .ref = ref } } };
	int err = open_device("/dev/xen/gntdev", &v->grant);

	if (err)
		return err;
	if (ioctl(v->grant, IOCTL_GNTDEV_MAP_GRANT_REF, &map) != 0)
		return xen_err_from_errno(errno);
	*index = map.index;
	return map_page(v->grant, map.index, page);
}

/* Only once the vchan is ours: the page of another client must not be told that its client has gone. */
static int leave_will(struct vchan *v, uint64_t index)
{
	struct ioctl_gntdev_unmap_notify will = { .index = index + VCHAN_CLI_LIVE,
						  .action = UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT,
						  .event_channel_port = v->port };

	return ioctl(v->grant, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &will) != 0 ? xen_err_from_errno(errno) : 0;
}

int vchan_attach(struct vchan *v, uint32_t domid, uint32_t ref, uint32_t port)
{
	uint8_t *page = NULL;
	uint64_t index = 0;
	int err;

	*v = VCHAN_NONE;
	if (domid > VCHAN_DOMID_MAX)
		return ERR_INVAL;
	err = bind_port(v, domid, port);
	if (!err)
		err = map_grant(v, domid, ref, &index, &page);
	if (!err)
		err = vchan_init_client(v, page);
	if (err && page)
		munmap(page, CHAN_PAGE_SIZE);
	if (!err)
		err = leave_will(v, index);
	if (err)
		vchan_close(v);
	return err;
}

/* --- both --- */

int vchan_ack(struct vchan *v)
{
	uint32_t fired;
	ssize_t n = read(v->fd, &fired, sizeof(fired));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : ERR_SYS;
	if (n != (ssize_t)sizeof(fired))
		return ERR_SYS;
	return write(v->fd, &fired, sizeof(fired)) == (ssize_t)sizeof(fired) ? 0 : ERR_SYS;
}

void vchan_device_close(struct vchan *v)
{
	struct ioctl_evtchn_unbind unbind = { .port = v->port };

	if (v->page)
		munmap(v->page, CHAN_PAGE_SIZE);
	if (v->server && v->fd >= 0)
		(void)!ioctl(v->fd, IOCTL_EVTCHN_UNBIND, &unbind);
	else
		fd_close(&v->fd);
	fd_close(&v->grant);
}

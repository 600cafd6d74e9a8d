/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front end of a guest of Xen, over the kernel's devices: gntalloc for the page, evtchn for the port, xenbus for the
 * nodes. The guest's own driver must not be loaded.
 */
#include "tests/tools/front_xen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/gntalloc.h>
#include <xen/io/xs_wire.h>
#include <xen/sys/evtchn.h>

#define LOOK_US	  20000
#define LOOKS_MAX 1500 /* 30 s */

static char device[32]; /* device/vtpm/HANDLE */
static char back[128];
static uint16_t back_domid;

/* One request, one reply; out gets it with a NUL. Watches are not set here, so nothing else comes. False: refused. */
static bool xenstore(struct front *f, uint32_t type, const void *payload, size_t n, char *out, size_t cap)
{
	struct {
		struct xsd_sockmsg head;
		char body[XENSTORE_PAYLOAD_MAX];
	} m = { .head = { .type = type, .len = (uint32_t)n } };

	if (n > sizeof(m.body))
		front_die("too long for xenstore");
	memcpy(m.body, payload, n);
	if (write(f->sock, &m, sizeof(m.head) + n) != (ssize_t)(sizeof(m.head) + n))
		front_die("xenstore: %s", strerror(errno));
	if (read(f->sock, &m.head, sizeof(m.head)) != (ssize_t)sizeof(m.head) || m.head.len > sizeof(m.body))
		front_die("xenstore: no reply");
	for (size_t have = 0; have < m.head.len;) {
		ssize_t got = read(f->sock, m.body + have, m.head.len - have);

		if (got <= 0)
			front_die("xenstore: half a reply");
		have += (size_t)got;
	}
	if (m.head.type == XS_ERROR)
		return false;
	if (out != NULL)
		(void)snprintf(out, cap, "%.*s", (int)m.head.len, m.body);
	return true;
}

static void read_node(struct front *f, const char *path, char *out, size_t cap)
{
	if (!xenstore(f, XS_READ, path, strlen(path) + 1, out, cap))
		front_die("%s cannot be read", path);
}

void front_write(struct front *f, const char *node, const void *value, size_t n)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	int at = snprintf(payload, sizeof(payload), "%s/%s", device, node) + 1;

	if (n > sizeof(payload) - (size_t)at)
		front_die("too long");
	memcpy(payload + at, value, n);
	if (!xenstore(f, XS_WRITE, payload, (size_t)at + n, NULL, 0))
		front_die("%s cannot be written", node);
}

int front_back_state(struct front *f)
{
	char path[160], text[16];

	(void)snprintf(path, sizeof(path), "%s/state", back);
	read_node(f, path, text, sizeof(text));
	return atoi(text);
}

void front_await(struct front *f, int state)
{
	int now = 0;

	for (int i = 0; i < LOOKS_MAX; i++) {
		now = front_back_state(f);
		if (now == state)
			return;
		usleep(LOOK_US);
	}
	front_die("the back end is in state %d and not in %d", now, state);
}

uint32_t front_grant_to(struct front *f, uint16_t domid)
{
	struct ioctl_gntalloc_alloc_gref a = { .domid = domid, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1 };
	void *page;

	f->ring.memfd = open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC);
	if (f->ring.memfd < 0 || ioctl(f->ring.memfd, IOCTL_GNTALLOC_ALLOC_GREF, &a) != 0)
		front_die("gntalloc: %s", strerror(errno));
	page = mmap(NULL, CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->ring.memfd, (off_t)a.index);
	if (page == MAP_FAILED)
		front_die("gntalloc, mmap: %s", strerror(errno));
	f->page = page;
	f->ref = a.gref_ids[0];
	return f->ref;
}

static void make_port(struct front *f)
{
	struct ioctl_evtchn_bind_unbound_port bind = { .remote_domain = back_domid };
	int port;

	f->ring.to_back = open("/dev/xen/evtchn", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	port = f->ring.to_back < 0 ? -1 : ioctl(f->ring.to_back, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);
	if (port < 0)
		front_die("evtchn: %s", strerror(errno));
	f->port = (uint32_t)port;
}

void front_prepare(struct front *f, const char *handle)
{
	char path[64], text[16];

	*f = (struct front){ .ring = LOCAL_RING_NONE };
	f->sock = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	if (f->sock < 0)
		front_die("xenbus: %s", strerror(errno));
	(void)snprintf(device, sizeof(device), "device/vtpm/%.8s", handle);
	(void)snprintf(path, sizeof(path), "%s/backend", device);
	read_node(f, path, back, sizeof(back));
	(void)snprintf(path, sizeof(path), "%s/backend-id", device);
	read_node(f, path, text, sizeof(text));
	back_domid = (uint16_t)atoi(text);
	front_grant_to(f, back_domid);
	make_port(f);
}

void front_publish(struct front *f, const char *ref, const char *port, const char *state)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", f->ref);
	front_write(f, "ring-ref", ref ? ref : text, strlen(ref ? ref : text));
	(void)snprintf(text, sizeof(text), "%u", f->port);
	front_write(f, "event-channel", port ? port : text, strlen(port ? port : text));
	front_write(f, "feature-protocol-v2", "1", 1);
	front_write(f, "state", state, strlen(state));
}

void front_restore(struct front *f)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", back_domid);
	front_write(f, "backend", back, strlen(back));
	front_write(f, "backend-id", text, strlen(text));
}

void front_open(struct front *f, const char *handle)
{
	front_prepare(f, handle);
	front_publish(f, NULL, NULL, "3");
	front_await(f, 4);
	front_write(f, "state", "4", 1);
}

void front_drop(struct front *f)
{
	munmap((void *)(uintptr_t)f->page, CHAN_PAGE_SIZE);
	local_ring_close(&f->ring);
}

void front_signal(const struct front *f)
{
	struct ioctl_evtchn_notify notify = { .port = f->port };

	if (ioctl(f->ring.to_back, IOCTL_EVTCHN_NOTIFY, &notify) != 0)
		front_die("signal: %s", strerror(errno));
}

bool front_wait(struct front *f)
{
	struct pollfd p = { .fd = f->ring.to_back, .events = POLLIN };
	uint32_t port;

	while (front_in_hand(f)) {
		if (poll(&p, 1, FRONT_TIMEOUT_MS) <= 0)
			front_die("no answer within %d s", FRONT_TIMEOUT_MS / 1000);
		if (read(f->ring.to_back, &port, sizeof(port)) == (ssize_t)sizeof(port) &&
		    write(f->ring.to_back, &port, sizeof(port)) != (ssize_t)sizeof(port))
			front_die("unmask: %s", strerror(errno));
	}
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to the back end for a program in a guest of Xen: what the guest's kernel driver would do, done by hand, so
 * that every byte is the guest's. path: the device in the guest's xenstore, device/vtpm/0. No driver may be bound to it.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#include "lib/util.h"
#include "tests/tools/front.h"

struct front_xen {
	struct xs_handle *xs;
	xenevtchn_handle *evtchn;
	evtchn_port_t port;
	char *backend; /* the back end's directory */
};

static char *read_node(struct front_xen *x, const char *dir, const char *name)
{
	char path[256];
	unsigned len;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return xs_read(x->xs, XBT_NULL, path, &len);
}

static void write_node(struct front_xen *x, const char *dir, const char *name, unsigned value)
{
	char path[256], text[16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(text, sizeof(text), "%u", value);
	if (!xs_write(x->xs, XBT_NULL, path, text, (unsigned)strlen(text)))
		front_die("%s: %s", path, strerror(errno));
}

static uint64_t read_number(struct front_xen *x, const char *dir, const char *name)
{
	char *s = read_node(x, dir, name);
	uint64_t v;

	if (!s || parse_u64(s, UINT32_MAX, &v) != 0)
		front_die("%s/%s: no number", dir, name);
	free(s);
	return v;
}

/* Waits until the back end is in a state (xen/io/xenbus.h). */
static void await_state(struct front_xen *x, unsigned want)
{
	struct pollfd fd = { .fd = xs_fileno(x->xs), .events = POLLIN };
	char **event;

	while (read_number(x, x->backend, "state") != want) {
		if (poll(&fd, 1, FRONT_TIMEOUT_MS) <= 0)
			front_die("the back end does not come to state %u", want);
		while ((event = xs_check_watch(x->xs)) != NULL)
			free(event);
	}
}

static void watch_backend(struct front_xen *x)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/state", x->backend);
	if (!xs_watch(x->xs, path, "state"))
		front_die("%s: %s", path, strerror(errno));
}

void front_open(struct front *f, const char *path)
{
	struct front_xen *x = calloc(1, sizeof(*x));
	xengntshr_handle *shr = xengntshr_open(NULL, 0);
	xenevtchn_port_or_error_t port;
	uint32_t domid, ref;

	if (x == NULL || shr == NULL || (x->xs = xs_open(0)) == NULL || (x->evtchn = xenevtchn_open(NULL, 0)) == NULL)
		front_die("Xen's devices: %s", strerror(errno));
	domid = (uint32_t)read_number(x, path, "backend-id");
	x->backend = read_node(x, path, "backend");
	if (x->backend == NULL)
		front_die("%s has no back end", path);
	watch_backend(x);
	write_node(x, path, "state", 6); /* whatever was before: Closed, and the back end waits for a ring again */
	await_state(x, 2);
	f->page = xengntshr_share_pages(shr, domid, 1, &ref, 1);
	port = xenevtchn_bind_unbound_port(x->evtchn, domid);
	if (f->page == NULL || port < 0)
		front_die("page and event channel: %s", strerror(errno));
	x->port = (evtchn_port_t)port;
	f->ring = LOCAL_RING_NONE;
	f->sock = -1;
	f->xen = x;
	write_node(x, path, "ring-ref", ref);
	write_node(x, path, "event-channel", x->port);
	write_node(x, path, "feature-protocol-v2", 1);
	write_node(x, path, "state", 3);
	await_state(x, 4);
	write_node(x, path, "state", 4);
}

void front_signal(const struct front *f)
{
	if (xenevtchn_notify(f->xen->evtchn, f->xen->port) != 0)
		front_die("signal: %s", strerror(errno));
}

bool front_wait(struct front *f)
{
	struct front_xen *x = f->xen;
	struct pollfd fds[2] = { { .fd = xenevtchn_fd(x->evtchn), .events = POLLIN },
				 { .fd = xs_fileno(x->xs), .events = POLLIN } };
	xenevtchn_port_or_error_t port;
	char **event;

	while (front_in_hand(f)) {
		if (poll(fds, 2, FRONT_TIMEOUT_MS) <= 0)
			front_die("no answer within %d s", FRONT_TIMEOUT_MS / 1000);
		if (fds[0].revents != 0 && (port = xenevtchn_pending(x->evtchn)) >= 0)
			xenevtchn_unmask(x->evtchn, (evtchn_port_t)port);
		if (fds[1].revents == 0)
			continue;
		while ((event = xs_check_watch(x->xs)) != NULL)
			free(event);
		if (front_in_hand(f) && read_number(x, x->backend, "state") != 4)
			return false;
	}
	return true;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/xen.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hv/xen/xen.h"
#include "lib/secmem.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/transport.h"
#include "vtpm-mgr/proto/spawn.h"

#define SPIN_US 30u /* as of ring.c */

enum handover { HAND_NOTHING, HAND_ATTACH, HAND_DETACH };

/* For the next backend, if this one is killed (checkpoint_link). */
struct xen_area {
	uint64_t begun; /* the ring that is attached has the number of a response of this TPM (chan_begin) */
};

struct xen_link {
	struct xen_area *area;
	/* Both, in turns: the engine thread's while it is not HAND_NOTHING, the control thread's otherwise. */
	atomic_int hand; /* enum handover */
	struct chan next; /* with HAND_ATTACH */
	bool again;	  /* the backend before this one had it */

	/* Control thread: the ring that the engine thread has, or will have; its page is NULL without one. */
	struct chan seen;

	/* Engine thread. */
	bool attached; /* b->chan is a ring */
	bool resumed;  /* b->rsp, of rsp_len bytes, is for the ring that the backend before this one had */
	size_t rsp_len;
};

int xen_prepare(struct backend *b)
{
	void *link;
	int err;

	b->xen = calloc(1, sizeof(*b->xen));
	if (b->xen == NULL)
		return ERR_NOMEM;
	atomic_init(&b->xen->hand, HAND_NOTHING);
	err = checkpoint_link(&b->area, sizeof(*b->xen->area), &link);
	b->xen->area = link;
	return err;
}

/* --- control thread --- */

static void hand_over(struct backend *b, enum handover what)
{
	const uint64_t one = 1;

	atomic_store(&b->xen->hand, what);
	(void)!write(b->stop_fd, &one, sizeof(one)); /* fails only if it is readable already */
}

/* Either thread: a message is sent whole. */
static int say_attached(int32_t code)
{
	uint8_t mem[BACKEND_ATTACHED_SIZE];
	struct buf m;
	int err;

	buf_init(&m, mem, sizeof(mem));
	err = backend_attached_encode(&m, code);
	return err != 0 ? err : ipc_send(BACKEND_FD_CONTROL, BACKEND_ATTACHED, &m, NULL, 0);
}

static int on_ring(void *peer, struct ipc_msg *m)
{
	struct backend *b = peer;
	struct xen_ring ring = XEN_RING_NONE;
	struct attach_ring a;
	int err;

	err = attach_ring_decode(&m->body, &a);
	if (err != 0)
		return err;
	if (m->nfds != (a.code == 0 ? ATTACH_FDS : 0) || b->xen->seen.page != NULL ||
	    atomic_load(&b->xen->hand) != HAND_NOTHING)
		return ERR_PROTO;
	if (a.code != 0)
		return say_attached(a.code);
	ring.grant = ipc_take_fd(m, 0);
	ring.port = ipc_take_fd(m, 1);
	ring.index = a.index;
	ring.local = a.port;
	err = xen_attach_back(&b->xen->next, &ring);
	if (err != 0)
		return say_attached(err); /* the guest's grant is none: that is no fault of this process */
	b->xen->seen = b->xen->next;
	b->xen->again = a.again;
	hand_over(b, HAND_ATTACH);
	return 0;
}

static const struct ipc_rule attach_rules[] = {
	{ ATTACH_RING, 1, ATTACH_RING_SIZE, ATTACH_RING_SIZE, 0, ATTACH_FDS, on_ring },
};

int xen_receive(struct backend *b)
{
	uint8_t mem[ATTACH_RING_SIZE];
	struct ipc_msg m;
	int err;

	err = ipc_recv(BACKEND_FD_ATTACH, &m, mem, sizeof(mem), MSG_DONTWAIT);
	if (err == ERR_AGAIN)
		return 0;
	return err != 0 ? err : ipc_dispatch(attach_rules, sizeof(attach_rules) / sizeof(attach_rules[0]), 1, b, &m);
}

int xen_detach(struct backend *b)
{
	if (b->xen == NULL || atomic_load(&b->xen->hand) != HAND_NOTHING)
		return ERR_PROTO;
	b->xen->seen.page = NULL;
	hand_over(b, HAND_DETACH);
	return 0;
}

/* Not the engine thread's channel: from the hand-over on that may lose its page at any moment. */
static bool xen_cancelled(struct backend *b)
{
	const struct xen_link *x = b->xen;

	return atomic_load(&x->hand) == HAND_DETACH || (x->seen.page != NULL && chan_cancelled(&x->seen));
}

/* --- engine thread --- */

static void note_begun(struct xen_link *x, bool yes)
{
	__atomic_store_n(&x->area->begun, yes, __ATOMIC_RELEASE);
}

/* A ring has come: where the guest stands with the one that it had, or a new one, whose request is its first. */
static int begin_ring(struct backend *b)
{
	struct xen_link *x = b->xen;
	int err = 0;

	b->chan = x->next;
	if (x->again && x->resumed && x->area->begun) {
		err = resume_deliver(b, x->rsp_len);
	} else {
		note_begun(x, false);
		chan_begin(&b->chan, (uint8_t)b->seq);
		note_begun(x, true);
		resume_settled(b);
	}
	if (x->resumed)
		secmem_wipe(b->rsp, sizeof(b->rsp));
	x->resumed = false;
	return err;
}

static void end_ring(struct backend *b)
{
	note_begun(b->xen, false);
	if (b->xen->attached)
		xen_detach_back(&b->chan);
}

static int take_over(struct backend *b)
{
	struct xen_link *x = b->xen;
	int what = atomic_load(&x->hand), err = 0;

	if (what == HAND_NOTHING)
		return 0;
	if (what == HAND_ATTACH)
		err = begin_ring(b);
	else
		end_ring(b);
	x->attached = what == HAND_ATTACH;
	atomic_store(&x->hand, HAND_NOTHING);
	if (err != 0)
		return err;
	return x->attached ? say_attached(0) : ipc_send(BACKEND_FD_CONTROL, BACKEND_DETACHED, NULL, NULL, 0);
}

/* Without a ring nobody but the control thread has anything to say. */
static int wait_stop(struct backend *b)
{
	struct pollfd p = { .fd = b->stop_fd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return ERR_SYS;
	return ERR_CLOSED;
}

static int xen_begin(struct backend *b)
{
	int err;

	b->locality_max = b->start.locality_max;
	if (b->start.flags & RUN_RESUME) {
		b->xen->resumed = true;
		err = resume_restore(b, &b->xen->rsp_len);
		return err != 0 ? err : resume_renew(b, b->xen->rsp_len);
	}
	err = power_on(b);
	return err != 0 ? err : resume_begin(b);
}

static int xen_wait(struct backend *b)
{
	int err = b->xen->attached ? chan_wait(&b->chan, b->stop_fd, SPIN_US) : wait_stop(b);

	if (err != ERR_CLOSED)
		return err;
	err = transport_woken(b);
	return err != 0 ? err : take_over(b);
}

static enum chan_verdict xen_take(struct backend *b, struct chan_request *req)
{
	return b->xen->attached ? chan_take(&b->chan, b->cmd, req) : CHAN_NONE;
}

static int xen_respond(struct backend *b, size_t len)
{
	return chan_respond(&b->chan, (uint8_t)b->seq, b->rsp, len);
}

const struct transport transport_xen = {
	.option = "--xen",
	.sandbox = SANDBOX_BACKEND_XEN,
	.area_fd = BACKEND_FD_XEN_AREA,
	.begin = xen_begin,
	.end = power_off,
	.wait = xen_wait,
	.take = xen_take,
	.respond = xen_respond,
	.cancelled = xen_cancelled,
};

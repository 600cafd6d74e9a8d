/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/xen/vchan.h"

#include <string.h>
#include <sys/ioctl.h>

#include <xen/xen.h>
#include <xen/sys/evtchn.h>

#include <xen/io/libxenvchan.h>

#include "hv/page.h"
#include "hv/xen/vchan_device.h"

#define UP_ORDER     10
#define DOWN_ORDER   11
#define UP_OFFSET    1024u
#define DOWN_OFFSET  2048u
#define NOTIFY_ALL   (VCHAN_NOTIFY_WRITE | VCHAN_NOTIFY_READ)

_Static_assert(1u << UP_ORDER == VCHAN_UP_SIZE && 1u << DOWN_ORDER == VCHAN_DOWN_SIZE, "orders and sizes agree");
_Static_assert(sizeof(struct vchan_interface) <= UP_OFFSET && DOWN_OFFSET + VCHAN_DOWN_SIZE == CHAN_PAGE_SIZE,
	       "both rings are in the page, behind its head");
_Static_assert(offsetof(struct vchan_interface, cli_live) == VCHAN_CLI_LIVE &&
		       offsetof(struct vchan_interface, srv_live) == VCHAN_SRV_LIVE,
	       "vchan_device.h knows the bytes that the kernel clears");

static struct vchan_interface *head(const struct vchan *v)
{
	return (struct vchan_interface *)(void *)v->page;
}

/* --- one direction --- */

struct flow {
	struct ring_shared *at;
	uint8_t *bytes;
	uint32_t size;
};

static struct flow up(const struct vchan *v)
{
	return (struct flow){ &head(v)->left, v->page + UP_OFFSET, VCHAN_UP_SIZE };
}

static struct flow down(const struct vchan *v)
{
	return (struct flow){ &head(v)->right, v->page + DOWN_OFFSET, VCHAN_DOWN_SIZE };
}

static void copy_out(const struct flow *f, uint32_t at, uint8_t *p, uint32_t n)
{
	uint32_t first = f->size - at % f->size;

	first = first < n ? first : n;
	memcpy(p, f->bytes + at % f->size, first);
	memcpy(p + first, f->bytes, n - first);
}

static void copy_in(const struct flow *f, uint32_t at, const uint8_t *p, uint32_t n)
{
	uint32_t first = f->size - at % f->size;

	first = first < n ? first : n;
	memcpy(f->bytes + at % f->size, p, first);
	memcpy(f->bytes, p + first, n - first);
}

/* --- signals --- */

/* The other end is told once for each time that it has asked to be. */
static void notify(struct vchan *v, uint8_t what)
{
	uint8_t *asked = v->server ? &head(v)->srv_notify : &head(v)->cli_notify;
	struct ioctl_evtchn_notify order = { .port = v->port };

	if (!(__atomic_fetch_and(asked, (uint8_t)~what, __ATOMIC_SEQ_CST) & what) || v->fd < 0)
		return;
	(void)!ioctl(v->fd, IOCTL_EVTCHN_NOTIFY, &order); /* who has closed its end does not hear it */
}

/* Before the indices are looked at: what changes after the look is told. */
static void ask_to_be_told(struct vchan *v, uint8_t what)
{
	(void)__atomic_or_fetch(v->server ? &head(v)->cli_notify : &head(v)->srv_notify, what, __ATOMIC_SEQ_CST);
}

/* --- ends --- */

void vchan_init_server(struct vchan *v, uint8_t *page)
{
	v->server = true;
	v->page = page;
	v->got = v->put = 0;
	memset(page, 0, CHAN_PAGE_SIZE);
	head(v)->left_order = UP_ORDER;
	head(v)->right_order = DOWN_ORDER;
	head(v)->cli_live = 2;
	head(v)->srv_live = 1;
	head(v)->cli_notify = VCHAN_NOTIFY_WRITE;
}

int vchan_init_client(struct vchan *v, uint8_t *page)
{
	struct vchan_interface *h = (struct vchan_interface *)(void *)page;
	uint8_t awaited = 2;

	v->server = false;
	v->got = v->put = 0;
	if (__atomic_load_n(&h->srv_live, __ATOMIC_SEQ_CST) != 1)
		return ERR_BUSY;
	if (__atomic_load_n(&h->left_order, __ATOMIC_RELAXED) != UP_ORDER ||
	    __atomic_load_n(&h->right_order, __ATOMIC_RELAXED) != DOWN_ORDER)
		return ERR_VERSION;
	if (!__atomic_compare_exchange_n(&h->cli_live, &awaited, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return ERR_BUSY;
	v->page = page;
	ask_to_be_told(v, VCHAN_NOTIFY_WRITE);
	notify(v, NOTIFY_ALL);
	return 0;
}

enum vchan_peer vchan_peer(const struct vchan *v)
{
	uint8_t live = __atomic_load_n(v->server ? &head(v)->cli_live : &head(v)->srv_live, __ATOMIC_SEQ_CST);

	if (live == 1)
		return VCHAN_PEER_THERE;
	return v->server && live == 2 ? VCHAN_PEER_AWAITED : VCHAN_PEER_GONE;
}

void vchan_close(struct vchan *v)
{
	if (v->page) {
		__atomic_store_n(v->server ? &head(v)->srv_live : &head(v)->cli_live, 0, __ATOMIC_SEQ_CST);
		notify(v, NOTIFY_ALL);
	}
	vchan_device_close(v);
	*v = VCHAN_NONE;
}

/* --- bytes --- */

/* Whether the other end was there is asked before the ring is looked at: its last bytes come before its good-bye. */
static int nothing(enum vchan_peer peer)
{
	return peer == VCHAN_PEER_GONE ? ERR_CLOSED : ERR_AGAIN;
}

int vchan_read(struct vchan *v, void *p, size_t cap, size_t *n)
{
	const struct flow f = v->server ? up(v) : down(v);
	enum vchan_peer peer;
	uint32_t ready;

	*n = 0;
	ask_to_be_told(v, VCHAN_NOTIFY_WRITE);
	peer = vchan_peer(v);
	ready = __atomic_load_n(&f.at->prod, __ATOMIC_ACQUIRE) - v->got;
	if (ready > f.size)
		return ERR_PROTO;
	if (ready == 0)
		return nothing(peer);
	if (ready > cap)
		ready = (uint32_t)cap;
	copy_out(&f, v->got, p, ready);
	v->got += ready;
	__atomic_store_n(&f.at->cons, v->got, __ATOMIC_SEQ_CST);
	notify(v, VCHAN_NOTIFY_READ);
	*n = ready;
	return 0;
}

int vchan_write(struct vchan *v, const void *p, size_t len, size_t *n)
{
	const struct flow f = v->server ? down(v) : up(v);
	enum vchan_peer peer;
	uint32_t used, room;

	*n = 0;
	ask_to_be_told(v, VCHAN_NOTIFY_READ);
	peer = vchan_peer(v);
	if (peer == VCHAN_PEER_GONE)
		return ERR_CLOSED;
	used = v->put - __atomic_load_n(&f.at->cons, __ATOMIC_ACQUIRE);
	if (used > f.size)
		return ERR_PROTO;
	room = f.size - used;
	if (room == 0)
		return ERR_AGAIN;
	if (room > len)
		room = (uint32_t)len;
	copy_in(&f, v->put, p, room);
	v->put += room;
	__atomic_store_n(&f.at->prod, v->put, __ATOMIC_SEQ_CST);
	notify(v, VCHAN_NOTIFY_WRITE);
	*n = room;
	return 0;
}

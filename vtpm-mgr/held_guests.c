/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What outlives a manager of a vTPM that serves a guest: the ring with its socket and front end, a QEMU's control channel, or nothing of a guest of Xen, whose
 * ring is had anew; and in a blob what no other place knows:
 *
 *	u8 format | u8 kind | u8 goal | u8 flags | uuid | u64 area | u32 crashes | u64 replacements | u64 held_until | u32 qemu_uid |
 *	u32 domid | u32 handle | u32 ref | u32 port | u8 state
 *
 * kind: enum serve_kind. goal: what it is to become; one that has served nobody is let go of. The rest as in struct vtpm; held_until is on
 * CLOCK_MONOTONIC, which all managers of a host share. A vTPM is kept before the spawner hears of its area, so that no
 * area is left that no manager knows; under the name of its first area, because two QEMUs may be there for one uuid, and a reset takes another area. The format stands for
 * what is in the area, too.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"

#define FORMAT	 2u
#define RING_FDS 4u
#define QEMU_FDS 1u

enum goal { GOAL_RUN, GOAL_STOP, GOAL_RESET, GOAL_ABANDON, GOALS };
enum {
	GUEST_FIRMWARE = 1u << 0,
	GUEST_STANDBY = 1u << 1,
	GUEST_INCOMING = 1u << 2,
	GUEST_ANNOUNCED = 1u << 3,
	GUEST_HERE = 1u << 4, /* with Xen: there is a domain */
	GUEST_HAS_RING = 1u << 5,
	GUEST_CONNECTED = 1u << 6,
	GUEST_CRASHED = 1u << 7, /* the last backend, and none has been ready since */
};

static enum goal goal_of(const struct vtpm *v)
{
	if (!v->served)
		return GOAL_ABANDON;
	if (v->xen && !v->front && !v->announced)
		return GOAL_STOP; /* deserted, though not told yet: the next domain must not find it */
	if (v->state == VTPM_STOPPING || v->stop_asked)
		return v->restart ? GOAL_RESET : GOAL_STOP;
	return v->state == VTPM_STARTING && !v->resuming ? GOAL_RESET : GOAL_RUN;
}

static uint8_t kind_of(const struct vtpm *v)
{
	return v->qemu >= 0 ? SERVE_QEMU : v->xen ? SERVE_XEN : SERVE_RING;
}

static uint8_t flags_of(const struct vtpm *v)
{
	return (uint8_t)((v->firmware ? GUEST_FIRMWARE : 0) | (v->standby ? GUEST_STANDBY : 0) |
			 (v->incoming ? GUEST_INCOMING : 0) | (v->announced ? GUEST_ANNOUNCED : 0) |
			 (v->resuming && v->crashed ? GUEST_CRASHED : 0));
}

static int encode(struct buf *b, const struct vtpm *v)
{
	struct xen_memory x = { 0 };
	uint8_t flags = flags_of(v);

	if (xen_remember(v, &x))
		flags = (uint8_t)(flags | GUEST_HERE | (x.has_ring ? GUEST_HAS_RING : 0) | (x.connected ? GUEST_CONNECTED : 0));
	if (buf_put_u8(b, FORMAT) || buf_put_u8(b, kind_of(v)) || buf_put_u8(b, (uint8_t)goal_of(v)) || buf_put_u8(b, flags) ||
	    buf_put_bytes(b, v->row.uuid, UUID_LEN) || buf_put_u64le(b, v->area) || buf_put_u32le(b, v->crashes) ||
	    buf_put_u64le(b, v->replacements) || buf_put_u64le(b, v->held_until) || buf_put_u32le(b, v->qemu_uid))
		return ERR_RANGE;
	if (buf_put_u32le(b, x.domid) || buf_put_u32le(b, x.handle) || buf_put_u32le(b, x.ref) || buf_put_u32le(b, x.port) ||
	    buf_put_u8(b, x.state))
		return ERR_RANGE;
	return 0;
}

struct guest {
	uint8_t kind, goal, flags;
	uint8_t uuid[UUID_LEN];
	uint64_t kept_as, area, replacements, held_until;
	uint32_t crashes, qemu_uid;
	struct xen_memory xen;
};

static int decode_xen(struct buf *b, struct guest *g)
{
	struct xen_memory *x = &g->xen;

	if (buf_get_u32le(b, &x->domid) || buf_get_u32le(b, &x->handle) || buf_get_u32le(b, &x->ref) ||
	    buf_get_u32le(b, &x->port) || buf_get_u8(b, &x->state))
		return ERR_PROTO;
	x->has_ring = g->flags & GUEST_HAS_RING;
	x->connected = g->flags & GUEST_CONNECTED;
	return 0;
}

static int decode(struct held_item *it, struct guest *g)
{
	struct buf tag, blob, *b = &blob;
	uint8_t format;

	buf_wrap(&tag, it->tag, it->tag_len);
	buf_wrap(b, it->blob, it->blob_len);
	if (buf_skip(&tag, 1) || buf_get_u64le(&tag, &g->kept_as) || g->kept_as == 0)
		return ERR_PROTO;
	if (buf_get_u8(b, &format) || format != FORMAT)
		return ERR_VERSION;
	if (buf_get_u8(b, &g->kind) || buf_get_u8(b, &g->goal) || buf_get_u8(b, &g->flags) ||
	    buf_get_bytes(b, g->uuid, UUID_LEN) || buf_get_u64le(b, &g->area) || buf_get_u32le(b, &g->crashes) ||
	    buf_get_u64le(b, &g->replacements) || buf_get_u64le(b, &g->held_until) || buf_get_u32le(b, &g->qemu_uid))
		return ERR_PROTO;
	if (decode_xen(b, g) || buf_left(b))
		return ERR_PROTO;
	return g->kind == SERVE_NOBODY || g->kind >= SERVE_KINDS || g->goal >= GOALS ? ERR_PROTO : 0;
}

static void key_of(const struct vtpm *v, uint8_t key[static UUID_LEN])
{
	struct buf b;

	memset(key, 0, UUID_LEN);
	buf_init(&b, key, UUID_LEN);
	(void)!buf_put_u64le(&b, v->kept_as);
}

static const unsigned fds_of[SERVE_KINDS] = { [SERVE_RING] = RING_FDS, [SERVE_QEMU] = QEMU_FDS };

void held_guest_keep(struct vtpm *v)
{
	const int ring[RING_FDS] = { v->ring.memfd, v->ring.to_back, v->ring.to_front, v->listener };
	const uint8_t kind = kind_of(v);
	const bool had = v->kept_as != 0;
	uint8_t mem[HOLD_BLOB_MAX], key[UUID_LEN];
	struct buf b;

	if (kind == SERVE_RING && v->ring.memfd < 0)
		return;
	buf_init(&b, mem, sizeof(mem));
	if (encode(&b, v))
		return;
	if (!had)
		v->kept_as = v->area;
	key_of(v, key);
	held_keep(v->m, HELD_GUEST, key, &b, kind == SERVE_QEMU ? &v->qemu : ring, had ? 0 : fds_of[kind]);
}

void held_guest_update(struct vtpm *v)
{
	if (v->kept_as)
		held_guest_keep(v);
}

void held_guest_drop(struct vtpm *v)
{
	uint8_t key[UUID_LEN];

	key_of(v, key);
	if (v->kept_as)
		held_drop(v->m, HELD_GUEST, key);
	v->kept_as = 0;
}

void held_client_keep(struct vtpm *v)
{
	held_keep(v->m, HELD_CLIENT, v->row.uuid, NULL, &v->client, 1);
}

void held_client_drop(struct vtpm *v)
{
	held_drop(v->m, HELD_CLIENT, v->row.uuid);
}

/* --- the next manager --- */

static int take_channels(struct vtpm *v, const struct guest *g, struct held_item *it)
{
	if (it->nfds != fds_of[g->kind])
		return ERR_PROTO;
	it->nfds = 0;
	if (g->kind == SERVE_XEN) {
		v->xen = true;
		v->announced = g->flags & GUEST_ANNOUNCED;
		return g->flags & GUEST_HERE ? xen_recall(v, &g->xen) : 0;
	}
	if (g->kind == SERVE_QEMU) {
		v->qemu = it->fds[0];
		v->qemu_uid = g->qemu_uid;
		return qemu_watch(v);
	}
	v->ring = (struct local_ring){ it->fds[0], it->fds[1], it->fds[2] };
	v->listener = it->fds[3];
	v->client = held_take_listener(v->m, HELD_CLIENT, v->row.uuid);
	return ring_open(v);
}

/* As it would be if its backend had just been killed. */
static void recall(struct vtpm *v, const struct guest *g)
{
	v->kept_as = g->kept_as;
	v->area = v->replaces = g->area;
	v->crashes = g->crashes;
	v->replacements = g->replacements;
	v->held_until = g->held_until;
	v->firmware = g->flags & GUEST_FIRMWARE;
	v->standby = g->flags & GUEST_STANDBY;
	v->incoming = g->flags & GUEST_INCOMING;
	v->crashed = g->flags & GUEST_CRASHED;
	v->stop_asked = g->goal != GOAL_RUN;
	v->restart = g->goal == GOAL_RESET;
	v->served = v->inherited = v->adopted = v->resuming = true;
	v->state = VTPM_STARTING;
}

static int revive(struct mgr *m, const struct guest *g, struct held_item *it)
{
	struct vtpm *v = vtpm_new(m);
	int err = v ? store_vtpm_by_uuid(m->store, g->uuid, &v->row) : ERR_NOMEM;

	if (!err) {
		recall(v, g);
		held_launch_recall(v);
		err = take_channels(v, g, it);
	}
	if (!err)
		worker_claim(m, g->area);
	else if (v)
		vtpm_free(v);
	return err;
}

static void take_one(struct mgr *m, struct held_item *it)
{
	struct guest g = { 0 };
	int err = decode(it, &g);

	if (!err && g.goal != GOAL_ABANDON)
		err = revive(m, &g, it);
	if (err)
		log_error("a vTPM that the last manager served is not gone on with: %s", err_text(err));
	if (err || g.goal == GOAL_ABANDON)
		held_forget(m, it);
}

int held_guests_check(const struct mgr *m)
{
	for (const struct held_item *it = m->held.items; it; it = it->next)
		if (it->tag[0] == HELD_GUEST && (it->blob_len == 0 || it->blob[0] != FORMAT))
			return ERR_VERSION;
	return 0;
}

/* One whose other QEMU has gone, or is not gone on with, does not wait for it any more. */
static void promote(struct mgr *m)
{
	for (struct vtpm *v = m->vtpms; v; v = v->next) {
		if (!v->incoming || vtpm_find(m, v->row.uuid))
			continue;
		v->incoming = false;
		held_guest_update(v);
	}
}

void held_guests_revive(struct mgr *m)
{
	struct held_item *it;

	while ((it = held_take(m, HELD_GUEST, NULL)) != NULL) {
		take_one(m, it);
		held_item_free(it);
	}
	worker_claim(m, 0);
	promote(m);
	held_launches_revive(m);
}

void held_guests_go(struct mgr *m)
{
	const uint64_t now = loop_now_ms();

	for (struct vtpm *v = m->vtpms; v; v = v->next) {
		if (!v->inherited)
			continue;
		/* An answer that its quota of anchored changes held back is not to be had earlier this way. */
		resume_in(v, v->held_until > now && !v->stop_asked ? v->held_until - now : 0);
		v->inherited = false;
	}
}

unsigned held_guests_waiting(const struct mgr *m)
{
	unsigned n = 0;

	for (const struct vtpm *v = m->vtpms; v; v = v->next)
		n += v->adopted;
	return n;
}

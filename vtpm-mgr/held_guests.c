/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What outlives a manager of a vTPM with a ring: the ring, its socket, its front end, and in a blob what no other place knows:
 *
 *	u8 format | u8 goal | u8 firmware | u64 area | u32 crashes | u64 replacements | u64 held_until
 *
 * goal: what it is to become. The rest as in struct vtpm; held_until is on CLOCK_MONOTONIC, which all managers of a host share.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define FORMAT	 1u
#define RING_FDS 4u

enum goal { GOAL_RUN, GOAL_STOP, GOAL_RESET, GOALS };

static enum goal goal_of(const struct vtpm *v)
{
	if (v->state != VTPM_STOPPING && !v->stop_asked)
		return GOAL_RUN;
	return v->restart ? GOAL_RESET : GOAL_STOP;
}

static int encode(struct buf *b, const struct vtpm *v)
{
	if (buf_put_u8(b, FORMAT) || buf_put_u8(b, (uint8_t)goal_of(v)) || buf_put_u8(b, v->firmware) ||
	    buf_put_u64le(b, v->area) || buf_put_u32le(b, v->crashes) || buf_put_u64le(b, v->replacements) ||
	    buf_put_u64le(b, v->held_until))
		return ERR_RANGE;
	return 0;
}

static int decode(struct buf *b, struct vtpm *v)
{
	uint8_t format, goal, firmware;
	uint32_t crashes;

	if (buf_get_u8(b, &format) || format != FORMAT)
		return ERR_VERSION;
	if (buf_get_u8(b, &goal) || goal >= GOALS || buf_get_u8(b, &firmware) || firmware > 1 ||
	    buf_get_u64le(b, &v->area) || buf_get_u32le(b, &crashes) || buf_get_u64le(b, &v->replacements) ||
	    buf_get_u64le(b, &v->held_until) || buf_left(b))
		return ERR_PROTO;
	v->firmware = firmware;
	v->crashes = crashes;
	v->stop_asked = goal != GOAL_RUN;
	v->restart = goal == GOAL_RESET;
	return 0;
}

void held_guest_keep(struct vtpm *v)
{
	const int fds[RING_FDS] = { v->ring.memfd, v->ring.to_back, v->ring.to_front, v->listener };
	uint8_t mem[HOLD_BLOB_MAX];
	struct buf b;

	if (v->ring.memfd < 0)
		return;
	buf_init(&b, mem, sizeof(mem));
	if (encode(&b, v))
		return;
	held_keep(v->m, HELD_RING, v->row.uuid, &b, fds, v->kept ? 0 : RING_FDS);
	v->kept = true;
}

void held_guest_drop(struct vtpm *v)
{
	if (v->kept)
		held_drop(v->m, HELD_RING, v->row.uuid);
	v->kept = false;
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

static void take_ring(struct vtpm *v, struct held_item *it)
{
	v->ring = (struct local_ring){ it->fds[0], it->fds[1], it->fds[2] };
	v->listener = it->fds[3];
	it->nfds = 0;
	v->client = held_take_listener(v->m, HELD_CLIENT, v->row.uuid);
}

static int revive(struct vtpm *v, struct held_item *it)
{
	uint8_t uuid[UUID_LEN];
	struct buf b;
	int err;

	if (it->tag_len != 1 + UUID_LEN || it->nfds != RING_FDS)
		return ERR_PROTO;
	memcpy(uuid, it->tag + 1, UUID_LEN);
	buf_wrap(&b, it->blob, it->blob_len);
	err = decode(&b, v);
	if (!err)
		err = store_vtpm_by_uuid(v->m->store, uuid, &v->row);
	if (err)
		return err;
	take_ring(v, it);
	v->kept = v->inherited = v->adopted = v->resuming = true;
	v->state = VTPM_STARTING;
	v->replaces = v->area;
	return ring_open(v);
}

void held_guests_revive(struct mgr *m)
{
	struct held_item *it;
	struct vtpm *v;
	int err;

	while ((it = held_take(m, HELD_RING, NULL)) != NULL) {
		v = vtpm_new(m);
		err = v ? revive(v, it) : ERR_NOMEM;
		if (err) {
			log_error("a vTPM that the last manager served is not gone on with: %s", err_text(err));
			held_forget(m, it);
			if (v)
				vtpm_free(v);
		}
		held_item_free(it);
	}
}

void held_guests_go(struct mgr *m)
{
	const uint64_t now = loop_now_ms();

	for (struct vtpm *v = m->vtpms; v; v = v->next) {
		if (!v->inherited)
			continue;
		/* An answer that its quota of anchored changes held back is not to be had earlier this way. */
		resume_in(v, v->held_until > now && !v->stop_asked ? v->held_until - now : 0);
		v->held_until = 0;
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

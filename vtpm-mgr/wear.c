/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes to anchor A wear the TPM's flash out. A token bucket says how many of them checkpoints may still cause: what
 * must be anchored at once is never refused for it, but spends from it, too. Checkpoints are what waits.
 */
#include <time.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define DAY_MS (24.0 * 3600.0 * 1000.0)

static uint64_t unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static double per_ms(const struct mgr *m)
{
	return m->cfg.anchor_writes / DAY_MS;
}

struct wear wear_now(const struct mgr *m)
{
	struct wear w = m->continuity.wear;
	uint64_t now = unix_ms();

	if (now > w.unix_ms)
		w.tokens += (double)(now - w.unix_ms) * per_ms(m);
	if (w.tokens > m->cfg.anchor_writes)
		w.tokens = m->cfg.anchor_writes;
	w.unix_ms = now;
	if (w.day != (uint64_t)((double)now / DAY_MS)) {
		w.day = (uint64_t)((double)now / DAY_MS);
		w.today = 0;
	}
	return w;
}

static int encode(struct buf *b, const struct wear *w)
{
	if (buf_put_u64le(b, w->total) || buf_put_u64le(b, w->today) || buf_put_u64le(b, w->day) ||
	    buf_put_u64le(b, (uint64_t)(w->tokens * 1000.0)) || buf_put_u64le(b, w->unix_ms))
		return ERR_RANGE;
	return 0;
}

static int decode(struct buf *b, struct wear *w)
{
	uint64_t tokens;

	if (buf_get_u64le(b, &w->total) || buf_get_u64le(b, &w->today) || buf_get_u64le(b, &w->day) ||
	    buf_get_u64le(b, &tokens) || buf_get_u64le(b, &w->unix_ms) || buf_left(b))
		return ERR_AUTH;
	w->tokens = (double)tokens / 1000.0;
	return 0;
}

/* It is an account and nothing rests on it: one that cannot be read begins anew. */
void wear_load(struct mgr *m)
{
	uint8_t mem[WEAR_SIZE];
	size_t len = sizeof(mem);
	struct buf b;
	struct wear w;

	if (!store_meta_get(m->store, "wear", mem, &len)) {
		buf_wrap(&b, mem, len);
		if (!decode(&b, &w)) {
			m->continuity.wear = w;
			return;
		}
		log_warn("the account of writes to the TPM's NV is damaged; it begins anew");
	}
	m->continuity.wear = (struct wear){.tokens = m->cfg.anchor_writes, .unix_ms = unix_ms()};
}

void wear_spend(struct mgr *m, uint8_t mem[static WEAR_SIZE])
{
	struct wear w = wear_now(m);
	struct buf b;

	w.total++;
	w.today++;
	w.tokens = w.tokens >= 1.0 ? w.tokens - 1.0 : 0.0;
	m->continuity.wear = w;
	buf_init(&b, mem, WEAR_SIZE);
	if (encode(&b, &w))
		log_error("the account of writes to the TPM's NV is not kept");
}

/* ---- checkpoints ---- */

static void on_checkpoint(void *arg)
{
	struct mgr *m = arg;
	struct wear w = wear_now(m);

	if (w.tokens >= 1.0) {
		m->continuity.checkpoint_due = true;
		return;
	}
	if (m->cfg.anchor_writes)
		loop_timer_set(&m->loop, &m->continuity.checkpoint, (uint64_t)((1.0 - w.tokens) / per_ms(m)) + 1,
			       on_checkpoint, m);
}

void wear_dirty(struct mgr *m)
{
	struct continuity *c = &m->continuity;

	if (!c->dirty_since) {
		c->dirty_since = (int64_t)time(NULL);
		loop_timer_set(&m->loop, &c->checkpoint, (uint64_t)m->cfg.checkpoint_s * 1000, on_checkpoint, m);
	} else if (c->last - c->anchored == CHECKPOINT_ROWS) {
		on_checkpoint(m); /* a recovery reads and checks all of them */
	}
}

void wear_clean(struct mgr *m)
{
	struct continuity *c = &m->continuity;

	c->anchored = c->last;
	c->anchored_at = (int64_t)time(NULL);
	c->dirty_since = 0;
	c->checkpoint_due = false;
	loop_timer_cancel(&m->loop, &c->checkpoint);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The durable changes of vTPMs: each backend has at most one in flight, so no guest can take more than its turn of a batch
 * (batch.c). A backend is answered, and answers its guest, only after the change is durable and anchored as its group promises.
 */
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/reroot.h"

static void answer(struct vtpm *v, uint64_t version, int code)
{
	uint8_t mem[STORE_DONE_SIZE];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	if (v->w.store < 0)
		return;
	err = store_done_encode(&b, &(struct store_done){ .version = version, .code = code });
	if (!err)
		err = ipc_send(v->w.store, STORE_DONE, &b, NULL, 0);
	if (err && err != ERR_CLOSED) /* one that has ended has broken nothing: the spawner says how it ended */
		worker_kill(&v->w);
}

static void on_paid(void *arg)
{
	struct vtpm *v = arg;

	v->held = false;
	v->held_until = 0;
	answer(v, v->version, 0);
	renew_try(v);
}

void commit_release(struct vtpm *v)
{
	if (!v->held)
		return;
	loop_timer_cancel(&v->m->loop, &v->held_timer);
	on_paid(v);
}

/* The batch that had it is over. */
static void on_committed(void *arg, int code)
{
	struct vtpm *v = arg;
	uint64_t wait = 0;
	bool renewed;

	if (!v) /* its backend has gone */
		return;
	renewed = !code && v->change->c.rewrap;
	if (renewed)
		renew_committed(v);
	v->change = NULL;
	if (code) {
		answer(v, v->version + 1, code);
		return;
	}
	v->version++;
	if (v->opening)
		vtpm_verified(v);
	if (v->rollback_to) {
		v->row.rollbacks++;
		takeover_rolled_back(v);
	}
	if (v->anchoring && !renewed) /* the rotation is not its guest's */
		wait = anchor_quota_spend(v->m, v->row.uuid);
	v->held = wait > 0 && v->state != VTPM_STOPPING;
	v->held_until = v->held ? loop_now_ms() + wait : 0;
	if (!v->held) {
		answer(v, v->version, 0);
		renew_try(v);
		return;
	}
	held_guest_update(v); /* nor does another manager give it away sooner */
	loop_timer_set(&v->m->loop, &v->held_timer, wait, on_paid, v);
}

void commit_forget(struct vtpm *v)
{
	loop_timer_cancel(&v->m->loop, &v->held_timer);
	v->held = false;
	if (v->change && v->waits) {
		loop_timer_cancel(&v->m->loop, &v->change_timer);
		change_free(v->change);
	} else if (v->change) {
		change_abandon(v->m, v);
	}
	v->waits = false;
	v->change = NULL;
}

static void on_quota(void *arg)
{
	struct vtpm *v = arg;

	v->bucket_ms = loop_now_ms();
	v->bucket = 0; /* the token that came in the meantime is spent now */
	v->waits = false;
	change_submit(v->m, v->change);
}

/* Token bucket: commit_rate a second, up to COMMIT_BURST seconds' worth. 0: at once; otherwise milliseconds to wait. */
static uint64_t quota_wait_ms(struct vtpm *v)
{
	double rate = v->row.commit_rate;
	uint64_t now = loop_now_ms();

	if (v->row.commit_rate == 0)
		return 0;
	if (v->bucket_ms == 0)
		v->bucket = rate * COMMIT_BURST;
	else
		v->bucket += (double)(now - v->bucket_ms) * rate / 1000.0;
	v->bucket_ms = now;
	if (v->bucket > rate * COMMIT_BURST)
		v->bucket = rate * COMMIT_BURST;
	if (v->bucket >= 1.0) {
		v->bucket -= 1.0;
		return 0;
	}
	return (uint64_t)((1.0 - v->bucket) * 1000.0 / rate) + 1;
}

static struct change *change_of(struct vtpm *v, const struct store_commit *c)
{
	struct change *ch = change_new(STORE_UPDATE, on_committed, v);

	if (!ch)
		return NULL;
	ch->mem = malloc(c->sealed_len ? c->sealed_len : 1);
	if (!ch->mem) {
		change_free(ch);
		return NULL;
	}
	memcpy(ch->mem, c->sealed, c->sealed_len);
	memcpy(ch->c.uuid, v->row.uuid, UUID_LEN);
	ch->c.version = c->version;
	ch->c.sealed = ch->mem;
	ch->c.sealed_len = c->sealed_len;
	ch->c.rollback = v->rollback_to != 0;
	ch->anchors = c->flags & (COMMIT_AUTH_FAILED | COMMIT_ANCHOR | COMMIT_RENEWED);
	v->anchoring = change_anchors(v->m, ch);
	if (c->flags & COMMIT_RENEWED) {
		ch->rewrap.id = v->row.id;
		memcpy(ch->rewrap.old, v->row.wrapped, WRAPPED_KEY_LEN);
		memcpy(ch->rewrap.new, v->next_wrapped, WRAPPED_KEY_LEN);
		ch->c.rewrap = &ch->rewrap;
	}
	return ch;
}

int commit_take(struct vtpm *v, struct ipc_msg *msg)
{
	struct store_commit c;
	uint64_t wait;
	int err = store_commit_decode(&msg->body, &c);

	if (err)
		return err;
	if ((c.flags & COMMIT_RENEWED) && !v->has_next)
		return ERR_PROTO;
	if (v->change || v->held || v->asked || c.version != v->version + 1 || c.sealed_len > v->row.state_max + SEAL_MARGIN)
		return ERR_PROTO;
	v->change = change_of(v, &c);
	if (!v->change) {
		answer(v, c.version, ERR_NOMEM);
		return 0;
	}
	/* The engine's first change of a power-on is not delayed: nothing works before it. But it comes once. */
	wait = (c.flags & COMMIT_STARTUP) && !v->startup_seen ? 0 : quota_wait_ms(v);
	v->startup_seen = true;
	v->waits = wait > 0;
	if (wait)
		loop_timer_set(&v->m->loop, &v->change_timer, wait, on_quota, v);
	else
		change_submit(v->m, v->change);
	return 0;
}

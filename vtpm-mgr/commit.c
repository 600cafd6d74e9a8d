/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Durable changes. What arrives while one transaction is written is collected and becomes the
 * next: each backend has at most one change in flight, so no guest can take more than its turn
 * of a batch. A backend is answered, and answers its guest, only after the store has it on disk.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define COMMIT_BATCH 256u

static void commit_answer(struct vtpm *v, uint64_t version, int code)
{
	uint8_t mem[STORE_DONE_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (v->w.store < 0)
		return;
	if (store_done_encode(&b, &(struct store_done){ .version = version, .code = code }) ||
	    ipc_send(v->w.store, STORE_DONE, &b, NULL, 0))
		worker_kill(&v->w);
}

void commit_forget(struct vtpm *v)
{
	struct vtpm **p = &v->m->commit.pending;

	loop_timer_cancel(&v->m->loop, &v->change_timer);
	for (; *p; p = &(*p)->next_pending)
		if (*p == v) {
			*p = v->next_pending;
			break;
		}
	free(v->change);
	v->change = NULL;
}

static void commit_queue(struct vtpm *v)
{
	struct vtpm **p = &v->m->commit.pending;

	while (*p)
		p = &(*p)->next_pending;
	v->next_pending = NULL;
	*p = v;
}

static void on_quota(void *arg)
{
	struct vtpm *v = arg;

	v->bucket_ms = loop_now_ms();
	v->bucket = 0; /* the token that came in the meantime is spent now */
	commit_queue(v);
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

int commit_take(struct vtpm *v, struct ipc_msg *msg)
{
	struct store_commit c;
	uint64_t wait;
	int err = store_commit_decode(&msg->body, &c);

	if (err)
		return err;
	if (v->change || v->asked || c.version != v->version + 1 || c.sealed_len > v->row.state_max + SEAL_MARGIN)
		return ERR_PROTO;
	v->change = malloc(c.sealed_len);
	if (!v->change) {
		commit_answer(v, c.version, ERR_NOMEM);
		return 0;
	}
	memcpy(v->change, c.sealed, c.sealed_len);
	v->change_len = c.sealed_len;
	/* The engine's first change of a power-on is not delayed: nothing works before it. But it comes once. */
	wait = (c.flags & COMMIT_STARTUP) && !v->startup_seen ? 0 : quota_wait_ms(v);
	v->startup_seen = true;
	if (wait)
		loop_timer_set(&v->m->loop, &v->change_timer, wait, on_quota, v);
	else
		commit_queue(v);
	return 0;
}

static void commit_report(struct mgr *m, int err)
{
	struct commit *c = &m->commit;

	if (err && err != c->last_result)
		log_error("the store cannot be written: %s (%s); guests get an error for commands that change their TPM, "
			  "until it can",
			  store_why(m->store), err_text(err));
	if (!err && c->last_result)
		log_info("the store can be written again");
	c->last_result = err;
}

static size_t batch_take(struct mgr *m, struct vtpm **batch, struct store_change *changes)
{
	size_t n = 0;

	for (; m->commit.pending && n < COMMIT_BATCH; n++) {
		struct vtpm *v = m->commit.pending;
		m->commit.pending = v->next_pending;
		batch[n] = v;
		changes[n] = (struct store_change){ .version = v->version + 1, .sealed = v->change, .sealed_len = v->change_len };
		changes[n].rollback = v->rollback_to != 0;
		memcpy(changes[n].uuid, v->row.uuid, UUID_LEN);
	}
	return n;
}

void commit_flush(struct mgr *m)
{
	struct vtpm *batch[COMMIT_BATCH];
	struct store_change changes[COMMIT_BATCH];
	size_t n;

	while ((n = batch_take(m, batch, changes)) > 0) {
		int err = store_commit(m->store, changes, n);

		commit_report(m, err);
		m->commit.transactions += !err;
		for (size_t i = 0; i < n; i++) {
			struct vtpm *v = batch[i];
			int code = err ? err : changes[i].result;

			free(v->change);
			v->change = NULL;
			if (!code) {
				v->version++;
				m->commit.changes++;
				if (v->opening)
					vtpm_verified(v);
				if (changes[i].rollback)
					takeover_rolled_back(v);
			}
			commit_answer(v, changes[i].version, code);
		}
	}
}

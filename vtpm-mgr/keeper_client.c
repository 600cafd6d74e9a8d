/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The manager's side of the keeper: one request list that is sent and one that waits. A new
 * keeper is first asked who its TPM is (STATUS), then to take the pinned storage root (OPEN), then
 * to unseal every group's root and load the CA key; only then it gets what waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "vtpm-mgr/keeper_client.h"

#define IN_FLIGHT_MAX 32u /* requests that the keeper has not answered: its socket holds them all */

struct keeper_call {
	struct keeper_call *next;
	uint64_t id;
	uint32_t type;
	bool boot; /* not repeated with another keeper */
	unsigned tries;
	keeper_done *done;
	void *arg;
	size_t len;
	uint8_t body[KEEPER_REQUEST_MAX];
};

static int keeper_spawn(struct mgr *m);

static void list_append(struct keeper_call **list, struct keeper_call *c)
{
	while (*list)
		list = &(*list)->next;
	c->next = NULL;
	*list = c;
}

static struct keeper_call *list_take(struct keeper_call **list, uint64_t id)
{
	for (; *list; list = &(*list)->next) {
		struct keeper_call *c = *list;
		if (c->id != id)
			continue;
		*list = c->next;
		return c;
	}
	return NULL;
}

static void call_finish(struct keeper_call *c, const struct keeper_reply *r)
{
	c->done(c->arg, r);
	free(c);
}

/* Ends a call with a code and the reason that the keeper's state has. */
static void call_fail(struct keeper *k, struct keeper_call *c, int code)
{
	struct keeper_reply r = { .code = code };

	snprintf(r.text, sizeof(r.text), "%s", k->reason);
	call_finish(c, &r);
}

void keeper_queue_fail(struct mgr *m, int code)
{
	struct keeper *k = &m->keeper;
	struct keeper_call *list = k->queued;

	k->queued = NULL;
	while (list) {
		struct keeper_call *c = list;
		list = c->next;
		call_fail(k, c, code);
	}
}

/* A keeper that does not answer hangs in its TPM: the spawner ends it, and its end of file does the rest. */
static void on_silence(void *arg)
{
	struct mgr *m = arg;
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;

	snprintf(m->keeper.reason, sizeof(m->keeper.reason), "the physical TPM has not answered for %u s",
		 KEEPER_TIMEOUT_MS / 1000);
	log_error("%s; ending the keeper", m->keeper.reason);
	buf_init(&b, mem, sizeof(mem));
	if (spawn_token_encode(&b, 0) || host_send(m, SPAWN_KILL, &b, NULL, 0))
		log_error("the keeper cannot be ended");
}

/* The time for an answer begins with the oldest question, and anew with each answer. */
static void watch_silence(struct mgr *m)
{
	if (m->keeper.sent)
		loop_timer_set(&m->loop, &m->keeper.silence, KEEPER_TIMEOUT_MS, on_silence, m);
	else
		loop_timer_cancel(&m->loop, &m->keeper.silence);
}

static void call_send(struct mgr *m, struct keeper_call *c)
{
	struct keeper *k = &m->keeper;
	uint8_t mem[KEEPER_ID_SIZE + KEEPER_REQUEST_MAX];
	struct buf b;
	int err;

	c->id = ++k->next_id;
	list_append(&k->sent, c);
	if (k->sent == c)
		watch_silence(m);
	buf_init(&b, mem, sizeof(mem));
	err = buf_put_u64le(&b, c->id);
	if (!err)
		err = buf_put_bytes(&b, c->body, c->len);
	if (!err)
		err = ipc_send(k->sock, c->type, &b, NULL, 0);
	if (err) /* it has gone, or does not read: its end of file repeats or fails the call */
		shutdown(k->sock, SHUT_RDWR);
}

static struct keeper_call *call_new(uint32_t type, const struct buf *body, keeper_done *done, void *arg)
{
	struct keeper_call *c = calloc(1, sizeof(*c));

	if (!c || (body && body->len > sizeof(c->body))) {
		free(c);
		return NULL;
	}
	c->type = type;
	c->done = done;
	c->arg = arg;
	if (body) {
		memcpy(c->body, body->data, body->len);
		c->len = body->len;
	}
	return c;
}

static unsigned in_flight(const struct keeper *k)
{
	unsigned n = 0;

	for (const struct keeper_call *c = k->sent; c; c = c->next)
		n++;
	return n;
}

void keeper_queue_send(struct mgr *m)
{
	struct keeper *k = &m->keeper;

	while (k->state == KEEPER_READY && k->queued && in_flight(k) < IN_FLIGHT_MAX) {
		struct keeper_call *c = k->queued;
		k->queued = c->next;
		call_send(m, c);
	}
}

static int on_reply(void *peer, struct ipc_msg *msg)
{
	struct mgr *m = peer;
	struct keeper *k = &m->keeper;
	struct keeper_reply r;
	struct keeper_call *c;
	int err = keeper_reply_decode(&msg->body, &r);

	if (err)
		return err;
	c = list_take(&k->sent, r.id);
	if (!c)
		return ERR_PROTO;
	watch_silence(m);
	if (r.code == ERR_TPM_LOST && !c->boot && c->tries++ == 0)
		list_append(&k->queued, c); /* this keeper ends now; the next one is asked once more */
	else
		call_finish(c, &r);
	if (r.code != ERR_TPM_LOST)
		keeper_queue_send(m);
	return 0;
}

static const struct ipc_rule keeper_rules[] = {
	{ KEEPER_REPLY, ~0u, KEEPER_REPLY_MIN, KEEPER_REPLY_MAX, 0, 0, on_reply },
};

static void keeper_lost(struct mgr *m)
{
	struct keeper *k = &m->keeper;
	struct keeper_call *list = k->sent;
	bool booting = k->state == KEEPER_STARTING;

	loop_remove(&m->loop, &k->io);
	fd_close(&k->sock);
	k->sent = NULL;
	watch_silence(m);
	k->state = KEEPER_DOWN;
	k->ca_open = false;
	for (struct group *g = k->groups; g; g = g->next)
		g->open = false;
	if (!k->reason[0])
		snprintf(k->reason, sizeof(k->reason), "the keeper ended unexpectedly");
	while (list) {
		struct keeper_call *c = list;
		list = c->next;
		if (!c->boot && c->tries++ == 0)
			list_append(&k->queued, c);
		else
			call_fail(k, c, ERR_TPM_LOST);
	}
	continuity_lost(m, ERR_TPM_LOST, k->reason);
	resume_keeper_lost(m);
	/* Who waits has waited for this one: not for an endless row of them. */
	if (booting)
		keeper_queue_fail(m, ERR_TPM_LOST);
}

static void on_respawn(void *arg)
{
	struct mgr *m = arg;

	if (m->keeper.state == KEEPER_DOWN && !m->draining && keeper_spawn(m))
		loop_timer_set(&m->loop, &m->keeper.respawn, RESPAWN_MAX_MS, on_respawn, m);
}

/* At once if somebody waits for it, otherwise later and later. */
static void keeper_respawn(struct mgr *m)
{
	struct keeper *k = &m->keeper;

	if (m->draining)
		return;
	mgr_ready(m);
	if (m->cfg.init) {
		log_error("%s", k->reason);
		m->exit_code = 1;
		loop_stop(&m->loop);
		return;
	}
	k->respawn_ms = k->respawn_ms ? k->respawn_ms * 2 : RESPAWN_MIN_MS;
	if (k->respawn_ms > RESPAWN_MAX_MS)
		k->respawn_ms = RESPAWN_MAX_MS;
	loop_timer_set(&m->loop, &k->respawn, k->queued ? 0 : k->respawn_ms, on_respawn, m);
}

static void on_keeper(void *arg, uint32_t events)
{
	struct mgr *m = arg;
	struct ipc_msg msg;
	int err = ipc_recv(m->keeper.sock, &msg, m->rx, sizeof(m->rx), MSG_DONTWAIT);

	(void)events;
	if (err == ERR_AGAIN)
		return;
	if (!err)
		err = ipc_dispatch(keeper_rules, ARRAY_LEN(keeper_rules), 1, m, &msg);
	if (err) {
		keeper_lost(m); /* the keeper sees the end of file, too, and exits */
		keeper_respawn(m);
	}
}

static int keeper_spawn(struct mgr *m)
{
	struct keeper *k = &m->keeper;
	struct buf none;
	int sv[2], gives[SPAWN_KEEPER_FDS];
	int err = ipc_pair(sv);

	if (err)
		return err;
	buf_init(&none, NULL, 0);
	gives[0] = sv[1];
	gives[1] = m->fence;
	err = host_send(m, SPAWN_KEEPER, &none, gives, SPAWN_KEEPER_FDS);
	fd_close(&sv[1]);
	k->sock = sv[0];
	if (!err)
		err = loop_add(&m->loop, &k->io, k->sock, EPOLLIN, on_keeper, m);
	if (err) {
		fd_close(&k->sock);
		return err;
	}
	k->number++;
	k->state = KEEPER_STARTING;
	k->has_status = false;
	keeper_boot(m);
	return 0;
}

int keeper_start(struct mgr *m)
{
	m->keeper.sock = m->keeper.io.fd = -1;
	recheck_start(m);
	return keeper_spawn(m);
}

void keeper_ask(struct mgr *m, uint32_t type, const struct buf *body, keeper_done *done, void *arg)
{
	struct keeper *k = &m->keeper;
	struct keeper_call *c = call_new(type, body, done, arg);
	int err = 0;

	if (!c) {
		done(arg, &(struct keeper_reply){ .code = ERR_NOMEM });
		return;
	}
	list_append(&k->queued, c);
	if (k->state == KEEPER_READY) {
		keeper_queue_send(m);
	} else if (k->state == KEEPER_DOWN && k->sock < 0) {
		loop_timer_cancel(&m->loop, &k->respawn);
		err = keeper_spawn(m);
	} else if (k->state == KEEPER_FOREIGN && !m->continuity.releasing) {
		k->state = KEEPER_STARTING; /* perhaps the right chip is back */
		keeper_boot(m);
	}
	if (err)
		keeper_queue_fail(m, err);
}

static void on_dropped(void *arg, const struct keeper_reply *r)
{
	(void)arg;
	(void)r;
}

void keeper_drop(struct mgr *m, uint64_t token)
{
	uint8_t mem[KEEPER_KEY_DROP_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (m->keeper.state == KEEPER_READY && !keeper_key_drop_encode(&b, token)) /* a new one knows nothing of it */
		keeper_ask(m, KEEPER_KEY_DROP, &b, on_dropped, NULL);
}

void keeper_ask_once(struct mgr *m, uint32_t type, const struct buf *body, keeper_done *done, void *arg)
{
	struct keeper_call *c = m->keeper.sock < 0 ? NULL : call_new(type, body, done, arg);

	if (!c) {
		struct keeper_reply r = { .code = m->keeper.sock < 0 ? ERR_TPM_LOST : ERR_NOMEM };

		snprintf(r.text, sizeof(r.text), "%s", m->keeper.sock < 0 ? m->keeper.reason : "out of memory");
		done(arg, &r);
		return;
	}
	c->boot = true;
	call_send(m, c);
}

void keeper_end(struct mgr *m, const char *why)
{
	struct keeper *k = &m->keeper;

	snprintf(k->reason, sizeof(k->reason), "%s", why);
	log_warn("the keeper is ended: %s", why);
	if (k->sock >= 0)
		shutdown(k->sock, SHUT_RDWR);
}

void keeper_close(struct mgr *m)
{
	struct keeper *k = &m->keeper;

	loop_timer_cancel(&m->loop, &k->respawn);
	if (k->sock >= 0)
		keeper_lost(m);
	keeper_queue_fail(m, ERR_CLOSED);
	groups_free(m);
}

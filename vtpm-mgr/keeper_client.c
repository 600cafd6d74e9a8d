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
#include "vtpm-mgr/mgr.h"

struct keeper_call {
	struct keeper_call *next;
	uint64_t id;
	uint32_t type;
	bool boot; /* one of the first requests: not repeated with another keeper */
	unsigned tries;
	keeper_done *done;
	void *arg;
	size_t len;
	uint8_t body[KEEPER_REQUEST_MAX];
};

static void keeper_boot(struct mgr *m);
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

static void queue_fail(struct keeper *k, int code)
{
	struct keeper_call *list = k->queued;

	k->queued = NULL;
	while (list) {
		struct keeper_call *c = list;
		list = c->next;
		call_fail(k, c, code);
	}
}

static int call_send(struct mgr *m, struct keeper_call *c)
{
	struct keeper *k = &m->keeper;
	uint8_t mem[KEEPER_ID_SIZE + KEEPER_REQUEST_MAX];
	struct buf b;

	c->id = ++k->next_id;
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u64le(&b, c->id) || buf_put_bytes(&b, c->body, c->len))
		return ERR_RANGE;
	list_append(&k->sent, c);
	return ipc_send(k->sock, c->type, &b, NULL, 0);
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

static void queue_send(struct mgr *m)
{
	while (m->keeper.state == KEEPER_READY && m->keeper.queued) {
		struct keeper_call *c = m->keeper.queued;
		m->keeper.queued = c->next;
		if (call_send(m, c))
			return; /* its end of file follows, and repeats or fails the call */
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
	if (r.code == ERR_TPM_LOST && !c->boot && c->tries++ == 0)
		list_append(&k->queued, c); /* this keeper ends now; the next one is asked once more */
	else
		call_finish(c, &r);
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
	/* Who waits has waited for this one: not for an endless row of them. */
	if (booting)
		queue_fail(k, ERR_TPM_LOST);
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
	int sv[2];
	int err = ipc_pair(sv);

	if (err)
		return err;
	buf_init(&none, NULL, 0);
	err = host_send(m, SPAWN_KEEPER, &none, &sv[1], 1);
	fd_close(&sv[1]);
	k->sock = sv[0];
	if (!err)
		err = loop_add(&m->loop, &k->io, k->sock, EPOLLIN, on_keeper, m);
	if (err) {
		fd_close(&k->sock);
		return err;
	}
	k->state = KEEPER_STARTING;
	k->has_status = false;
	keeper_boot(m);
	return 0;
}

int keeper_start(struct mgr *m)
{
	m->keeper.sock = m->keeper.io.fd = -1;
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
		queue_send(m);
	} else if (k->state == KEEPER_DOWN && k->sock < 0) {
		loop_timer_cancel(&m->loop, &k->respawn);
		err = keeper_spawn(m);
	} else if (k->state == KEEPER_FOREIGN) {
		k->state = KEEPER_STARTING; /* perhaps the right chip is back */
		keeper_boot(m);
	}
	if (err)
		queue_fail(k, err);
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
	if (!keeper_key_drop_encode(&b, token))
		keeper_ask(m, KEEPER_KEY_DROP, &b, on_dropped, NULL);
}

/* --- the first requests --- */

static void boot_ask(struct mgr *m, uint32_t type, const struct buf *body, keeper_done *done, void *arg)
{
	struct keeper_call *c = call_new(type, body, done, arg);

	if (!c) {
		done(arg, &(struct keeper_reply){ .code = ERR_NOMEM });
		return;
	}
	c->boot = true;
	if (call_send(m, c))
		log_debug("the keeper has gone while it was being started");
}

static void boot_ready(struct mgr *m)
{
	m->keeper.state = KEEPER_READY;
	m->keeper.respawn_ms = 0;
	m->keeper.reason[0] = '\0';
	queue_send(m);
	mgr_ready(m);
	if (!m->cfg.init)
		pool_refill(m);
}

/* Group requests carry the group's name in their own list: the keeper answers in order. */
static void group_opened(struct mgr *m, struct group *g, const struct keeper_reply *r)
{
	g->open = r->code == 0;
	snprintf(g->reason, sizeof(g->reason), "%s", r->text);
	if (r->code)
		log_error("group %s: its root stays sealed: %s (%s)", g->name, r->text, err_text(r->code));
	else
		log_info("group %s: root unsealed", g->name);
	(void)m;
}

struct group_opening {
	struct mgr *m;
	struct group *g;
	keeper_done *done; /* NULL: part of the first requests */
	void *arg;
};

static void on_group_opened(void *arg, const struct keeper_reply *r)
{
	struct group_opening *o = arg;

	group_opened(o->m, o->g, r);
	if (o->done)
		o->done(o->arg, r);
	free(o);
}

static int group_request(struct mgr *m, const struct group *g, struct buf *b)
{
	struct keeper_group_open req = { 0 };
	uint8_t mem[SEALED_ROOT_MAX];
	size_t len = sizeof(mem);
	struct buf row;
	int err = store_group_get(m->store, g->name, mem, &len);

	if (err)
		return err;
	buf_wrap(&row, mem, len);
	snprintf(req.group, sizeof(req.group), "%s", g->name);
	if (sealed_root_decode(&row, &req.root) || buf_left(&row))
		return ERR_AUTH;
	return keeper_group_open_encode(b, &req);
}

static void group_ask(struct mgr *m, struct group *g, keeper_done *done, void *arg)
{
	struct group_opening *o = calloc(1, sizeof(*o));
	uint8_t mem[KEEPER_REQUEST_MAX];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = o ? group_request(m, g, &b) : ERR_NOMEM;
	if (err) {
		struct keeper_reply r = { .code = err };
		snprintf(r.text, sizeof(r.text), "the row of group %s in the store is damaged", g->name);
		free(o);
		group_opened(m, g, &r);
		if (done)
			done(arg, &r);
		return;
	}
	*o = (struct group_opening){ .m = m, .g = g, .done = done, .arg = arg };
	if (done)
		keeper_ask(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
	else
		boot_ask(m, KEEPER_GROUP_OPEN, &b, on_group_opened, o);
}

static void on_ca_open(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;

	m->keeper.ca_open = r->code == 0;
	if (r->code)
		log_error("the CA key cannot be loaded: %s (%s); new vTPMs cannot be certified", r->text, err_text(r->code));
	if (m->keeper.state == KEEPER_STARTING)
		boot_ready(m);
}

/* The keeper ends over what it cannot parse, so a damaged row must not get there. */
int keeper_ca_request(struct mgr *m, uint8_t mem[static CA_KEY_MAX], struct buf *b)
{
	size_t len = CA_KEY_MAX;
	struct ca_key ca;
	int err = store_meta_get(m->store, "ca", mem, &len);

	buf_wrap(b, mem, err ? 0 : len);
	if (err || ca_key_decode(b, &ca) || buf_left(b))
		return ERR_AUTH;
	buf_wrap(b, mem, len);
	return 0;
}

static void boot_ca(struct mgr *m)
{
	struct group *g = group_find(m, DEFAULT_GROUP);
	uint8_t mem[CA_KEY_MAX];
	struct buf b;

	if (!g || !g->open)
		boot_ready(m);
	else if (keeper_ca_request(m, mem, &b))
		on_ca_open(m, &(struct keeper_reply){ .code = ERR_AUTH, .text = "its row in the store is damaged" });
	else
		boot_ask(m, KEEPER_CA_OPEN, &b, on_ca_open, m);
}

/*
 * The TPM answers, and makes no sense: this keeper comes to nothing. Its end of file fails what waits and has
 * another one started later.
 */
static void boot_failed(struct mgr *m, int code, const char *text)
{
	struct keeper *k = &m->keeper;

	snprintf(k->reason, sizeof(k->reason), "%s", text);
	log_error("physical TPM: %s (%s)", text, err_text(code));
	if (k->sock >= 0)
		shutdown(k->sock, SHUT_RDWR);
}

/* After the groups' answers: an empty request that the keeper answers last. */
static void on_groups_done(void *arg, const struct keeper_reply *r)
{
	if (r->code)
		boot_failed(arg, r->code, r->text);
	else
		boot_ca(arg);
}

static void on_open(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct keeper *k = &m->keeper;

	if (r->code && r->code != ERR_TPM_IDENTITY && r->code != ERR_INVAL) {
		boot_failed(m, r->code, r->text);
		return;
	}
	if (r->code) {
		snprintf(k->reason, sizeof(k->reason), "%s", r->text);
		log_error("physical TPM: %s (%s)", r->text, err_text(r->code));
		k->state = KEEPER_FOREIGN;
		queue_fail(k, r->code);
		mgr_ready(m);
		return;
	}
	for (struct group *g = k->groups; g; g = g->next)
		group_ask(m, g, NULL, NULL);
	boot_ask(m, KEEPER_STATUS, NULL, on_groups_done, m);
}

static void status_warn(const struct keeper_status *s)
{
	if (s->kind != TPM_HARDWARE)
		log_warn("the physical TPM is a %s TPM (%s): not hardware-backed",
			 s->kind == TPM_SOFTWARE ? "software" : "virtual", s->vendor);
}

static void on_status(void *arg, const struct keeper_reply *r)
{
	struct mgr *m = arg;
	struct keeper *k = &m->keeper;
	struct keeper_open req;
	uint8_t name[TPM_NAME_MAX], mem[KEEPER_OPEN_MAX];
	size_t len = sizeof(name);
	struct buf b;

	buf_wrap(&b, r->result, r->result_len);
	if (r->code || keeper_status_decode(&b, &k->status)) {
		boot_failed(m, r->code ? r->code : ERR_PROTO, r->code ? r->text : "the keeper's answer is malformed");
		return;
	}
	k->has_status = true;
	status_warn(&k->status);
	if (m->cfg.init) {
		boot_ready(m);
		init_start(m);
		return;
	}
	buf_init(&b, mem, sizeof(mem));
	if (store_meta_get(m->store, "srk_name", name, &len))
		len = 0; /* matches no chip */
	req = (struct keeper_open){ .name = name, .name_len = len };
	if (!keeper_open_encode(&b, &req))
		boot_ask(m, KEEPER_OPEN, &b, on_open, m);
}

static void keeper_boot(struct mgr *m)
{
	m->keeper.reason[0] = '\0';
	boot_ask(m, KEEPER_STATUS, NULL, on_status, m);
}

/* --- groups --- */

struct group *group_find(struct mgr *m, const char *name)
{
	for (struct group *g = m->keeper.groups; g; g = g->next)
		if (!strcmp(g->name, name))
			return g;
	return NULL;
}

int group_add(struct mgr *m, const char *name, const struct sealed_root *root, bool open)
{
	struct group *g = calloc(1, sizeof(*g));

	if (!g)
		return ERR_NOMEM;
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->mask = root->mask;
	g->flags = root->flags;
	g->open = open;
	g->next = m->keeper.groups;
	m->keeper.groups = g;
	if (g->flags & SEAL_INSECURE_PCRS)
		log_warn("group %s is sealed to PCRs that may bind nothing (--insecure-pcrs)", name);
	return 0;
}

struct barrier {
	struct mgr *m;
	char name[NAME_MAX_LEN + 1];
	keeper_done *done;
	void *arg;
};

/* The keeper has been started for this: what it found out about the group is fresh. */
static void on_barrier(void *arg, const struct keeper_reply *r)
{
	struct barrier *b = arg;
	struct group *g = group_find(b->m, b->name);
	struct keeper_reply out = { .code = r->code };

	snprintf(out.text, sizeof(out.text), "%s", r->text);
	if (!r->code && (!g || !g->open)) {
		out.code = g ? ERR_PCR : ERR_NOTFOUND;
		snprintf(out.text, sizeof(out.text), "%s", g ? g->reason : "no such group");
	}
	b->done(b->arg, &out);
	free(b);
}

void keeper_open_group(struct mgr *m, const char *name, keeper_done *done, void *arg)
{
	struct group *g = group_find(m, name);
	struct barrier *b;

	if (g && g->open && m->keeper.state == KEEPER_READY) {
		done(arg, &(struct keeper_reply){ .code = 0 });
		return;
	}
	if (g && m->keeper.state == KEEPER_READY) {
		group_ask(m, g, done, arg);
		return;
	}
	b = calloc(1, sizeof(*b));
	if (!g || !b) {
		struct keeper_reply r = { .code = g ? ERR_NOMEM : ERR_NOTFOUND, .text = "no such group" };
		free(b);
		done(arg, &r);
		return;
	}
	*b = (struct barrier){ .m = m, .done = done, .arg = arg };
	snprintf(b->name, sizeof(b->name), "%s", name);
	keeper_ask(m, KEEPER_STATUS, NULL, on_barrier, b);
}

void keeper_close(struct mgr *m)
{
	struct keeper *k = &m->keeper;

	loop_timer_cancel(&m->loop, &k->respawn);
	if (k->sock >= 0)
		keeper_lost(m);
	queue_fail(k, ERR_CLOSED);
	while (k->groups) {
		struct group *g = k->groups;
		k->groups = g->next;
		free(g);
	}
}

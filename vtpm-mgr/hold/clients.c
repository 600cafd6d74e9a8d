/* SPDX-License-Identifier: BSD-2-Clause */
#include <sys/socket.h>

#include "lib/log.h"
#include "lib/util.h"
#include "vtpm-mgr/hold/hold.h"

/* The states of a client's channel, for struct ipc_rule. */
enum { OF_MANAGER = 1u << 0, OF_SPAWNER = 1u << 1, OF_BOTH = OF_MANAGER | OF_SPAWNER };

static int on_keep(void *peer, struct ipc_msg *m)
{
	struct client *c = peer;
	struct hold_item i;
	int err = hold_keep_decode(&m->body, &i);

	return err ? err : items_keep(&c->h->items, c->owner, c->h->generation, &i, m);
}

static int on_drop(void *peer, struct ipc_msg *m)
{
	struct client *c = peer;
	struct hold_item i;
	int err = hold_drop_decode(&m->body, &i);

	if (!err)
		items_drop(&c->h->items, c->owner, c->h->generation, &i);
	return err;
}

static int on_fence(void *peer, struct ipc_msg *m)
{
	struct hold *h = ((struct client *)peer)->h;

	(void)m;
	if (h->fencing)
		return ERR_PROTO;
	h->fencing = h->fenced = h->served = true;
	groups_kill(h);
	clients_fenced(h);
	return 0;
}

static int on_again(void *peer, struct ipc_msg *m)
{
	struct hold *h = ((struct client *)peer)->h;

	(void)m;
	h->again = true;
	hold_kill_manager(h);
	return 0;
}

static const struct ipc_rule rules[] = {
	{ HOLD_KEEP, OF_BOTH, HOLD_KEEP_MIN, HOLD_KEEP_MAX, 0, IPC_FDS_MAX, on_keep },
	{ HOLD_DROP, OF_BOTH, HOLD_DROP_MIN, HOLD_DROP_MAX, 0, 0, on_drop },
	{ HOLD_FENCE, OF_MANAGER, 0, 0, 0, 0, on_fence },
	{ HOLD_AGAIN, OF_MANAGER, 0, 0, 0, 0, on_again },
};

/* One message. ERR_AGAIN: there is none; anything else but 0: there will be none. */
static int receive(struct client *c)
{
	uint8_t mem[HOLD_KEEP_MAX];
	struct ipc_msg m;
	int err = ipc_recv(c->sock, &m, mem, sizeof(mem), MSG_DONTWAIT);

	if (!err)
		err = ipc_dispatch(rules, ARRAY_LEN(rules), c->owner == OWNER_MANAGER ? OF_MANAGER : OF_SPAWNER, c, &m);
	return err;
}

static void client_close(struct client *c)
{
	loop_remove(&c->h->loop, &c->io);
	fd_close(&c->sock);
}

/* Their end says the rest: the manager's comes as a signal, the spawner's ends the manager. */
static void broken(struct client *c, int err)
{
	client_close(c);
	if (err == ERR_CLOSED)
		return;
	log_error("the %s broke its protocol (%s)", c->owner == OWNER_MANAGER ? "manager" : "spawner", err_text(err));
	hold_kill_manager(c->h);
}

static void on_message(void *arg, uint32_t events)
{
	struct client *c = arg;
	int err = receive(c);

	(void)events;
	if (err && err != ERR_AGAIN)
		broken(c, err);
}

/* --- what it is given --- */

static int send_item(const struct client *c, const struct item *it)
{
	const struct hold_item i = {
		.tag = it->tag, .tag_len = it->tag_len, .blob = it->blob, .blob_len = it->blob_len };
	uint8_t mem[HOLD_ITEM_MAX];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = hold_item_encode(&b, &i);
	return err ? err : ipc_send(c->sock, HOLD_ITEM, &b, it->fds, it->nfds);
}

static int send_end(const struct client *c)
{
	uint8_t mem[HOLD_END_SIZE];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = hold_end_encode(&b, c->h->generation);
	return err ? err : ipc_send(c->sock, HOLD_END, &b, NULL, 0);
}

/* As much as its socket takes. It says nothing before it has everything. */
static void on_room(void *arg, uint32_t events)
{
	struct client *c = arg;
	const struct item *next;
	int err;

	(void)events;
	do {
		next = items_next(&c->h->items, c->owner, c->at);
		err = next ? send_item(c, next) : send_end(c);
		if (!err)
			c->at = next;
	} while (!err && next);
	if (err == ERR_AGAIN)
		return;
	loop_remove(&c->h->loop, &c->io);
	if (!err)
		err = loop_add(&c->h->loop, &c->io, c->sock, EPOLLIN, on_message, c);
	if (err)
		broken(c, err);
}

int clients_open(struct hold *h, int theirs[static OWNERS])
{
	int sv[2], err = 0;

	for (unsigned i = 0; i < OWNERS && !err; i++) {
		struct client *c = &h->clients[i];

		*c = (struct client){ .h = h, .owner = (enum item_owner)i, .sock = -1, .io.fd = -1 };
		err = ipc_pair(sv);
		if (err)
			break;
		c->sock = sv[0];
		theirs[i] = sv[1];
		err = loop_add(&h->loop, &c->io, c->sock, EPOLLOUT, on_room, c);
	}
	return err;
}

void clients_close(struct hold *h)
{
	for (unsigned i = 0; i < OWNERS; i++) {
		struct client *c = &h->clients[i];
		int err = 0;

		while (c->sock >= 0 && !err)
			err = receive(c);
		client_close(c);
	}
}

void clients_fenced(struct hold *h)
{
	struct client *c = &h->clients[OWNER_MANAGER];
	int err;

	if (!h->fencing || h->ngroups > 0 || c->sock < 0)
		return;
	h->fencing = false;
	items_cut_others(&h->items, h->generation);
	err = ipc_send(c->sock, HOLD_FENCED, NULL, NULL, 0);
	if (err)
		broken(c, err);
}

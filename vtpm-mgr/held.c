/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/held.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define FENCE_WAIT_MS 60000 /* for the end of all processes of earlier generations, which were killed */

/* --- what the last manager has left --- */

static int take_in(struct mgr *m, struct ipc_msg *msg)
{
	struct hold_item i;
	struct held_item *it;
	int err = hold_item_decode(&msg->body, &i);

	if (err || buf_left(&msg->body))
		return ERR_PROTO;
	it = calloc(1, sizeof(*it));
	if (!it)
		return ERR_NOMEM;
	memcpy(it->tag, i.tag, i.tag_len);
	it->tag_len = i.tag_len;
	memcpy(it->blob, i.blob, i.blob_len);
	it->blob_len = i.blob_len;
	it->nfds = msg->nfds;
	for (unsigned n = 0; n < it->nfds; n++)
		it->fds[n] = ipc_take_fd(msg, n);
	it->next = m->held.items;
	m->held.items = it;
	return 0;
}

int held_open(struct mgr *m, int fd)
{
	struct ipc_msg msg;
	int err = 0;

	m->held.sock = fd;
	while (fd >= 0 && !err) {
		err = ipc_recv(fd, &msg, m->rx, sizeof(m->rx), 0);
		if (err)
			break;
		if (msg.type == HOLD_END && msg.nfds == 0) {
			err = hold_end_decode(&msg.body, &m->held.generation);
			/* A token is never used twice, whatever the managers before have used. */
			m->next_token = (uint64_t)m->held.generation << 32;
			break;
		}
		err = msg.type == HOLD_ITEM ? take_in(m, &msg) : ERR_PROTO;
		ipc_msg_done(&msg);
	}
	return err;
}

void held_item_free(struct held_item *it)
{
	for (unsigned i = 0; i < it->nfds; i++)
		fd_close(&it->fds[i]);
	free(it);
}

struct held_item *held_take(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	struct held_item **at = &m->held.items, *it;

	while (*at && !((*at)->tag[0] == (uint8_t)kind &&
			(!uuid || ((*at)->tag_len == 1 + UUID_LEN && !memcmp((*at)->tag + 1, uuid, UUID_LEN)))))
		at = &(*at)->next;
	it = *at;
	if (it)
		*at = it->next;
	return it;
}

int held_take_listener(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	struct held_item *it = held_take(m, kind, uuid);
	int fd = -1;

	if (!it)
		return -1;
	if (it->nfds == 1) {
		fd = it->fds[0];
		it->nfds = 0;
	}
	held_item_free(it);
	return fd;
}

/* --- what is kept --- */

static void lost(struct mgr *m, int err)
{
	log_error("vtpm-hold has gone (%s): guests do not outlive this manager any more", err_text(err));
	loop_remove(&m->loop, &m->held.io);
	fd_close(&m->held.sock);
}

/* vtpm-hold waits for nobody. */
static void say(struct mgr *m, uint32_t type, const struct buf *b, const int *fds, unsigned nfds)
{
	int err = m->held.sock < 0 ? 0 : ipc_send_wait(m->held.sock, type, b, fds, nfds);

	if (err)
		lost(m, err);
}

static struct hold_item name(enum held_kind kind, const uint8_t *key, size_t len, uint8_t tag[static HOLD_TAG_MAX])
{
	tag[0] = (uint8_t)kind;
	if (len)
		memcpy(tag + 1, key, len);
	return (struct hold_item){ .tag = tag, .tag_len = 1 + len };
}

static void keep(struct mgr *m, struct hold_item *i, const int *fds, unsigned nfds)
{
	uint8_t mem[HOLD_KEEP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (!hold_keep_encode(&b, i))
		say(m, HOLD_KEEP, &b, fds, nfds);
}

static void drop(struct mgr *m, const struct hold_item *i)
{
	uint8_t mem[HOLD_DROP_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (!hold_drop_encode(&b, i))
		say(m, HOLD_DROP, &b, NULL, 0);
}

void held_keep(struct mgr *m, enum held_kind kind, const uint8_t *uuid, const struct buf *blob, const int *fds, unsigned nfds)
{
	uint8_t tag[HOLD_TAG_MAX];
	struct hold_item i = name(kind, uuid, uuid ? UUID_LEN : 0, tag);

	if (blob) {
		i.blob = blob->data;
		i.blob_len = blob->len;
	}
	keep(m, &i, fds, nfds);
}

void held_drop(struct mgr *m, enum held_kind kind, const uint8_t *uuid)
{
	uint8_t tag[HOLD_TAG_MAX];
	struct hold_item i = name(kind, uuid, uuid ? UUID_LEN : 0, tag);

	drop(m, &i);
}

static struct hold_item worker_name(const struct worker *w, uint8_t tag[static HOLD_TAG_MAX])
{
	return name(HELD_WORKER, (const uint8_t *)&w->token, sizeof(w->token), tag);
}

void held_leash_worker(struct worker *w, int third)
{
	uint8_t tag[HOLD_TAG_MAX];
	struct hold_item i = worker_name(w, tag);

	i.leash = true;
	w->leashed = true;
	keep(w->m, &i, (const int[]){ w->control, w->store, third }, third >= 0 ? 3 : 2);
}

void held_unleash_worker(struct worker *w)
{
	uint8_t tag[HOLD_TAG_MAX];
	struct hold_item i = worker_name(w, tag);

	if (w->leashed)
		drop(w->m, &i);
	w->leashed = false;
}

void held_leash_spawner(struct mgr *m)
{
	uint8_t tag[HOLD_TAG_MAX];
	struct hold_item i = name(HELD_SPAWNER, NULL, 0, tag);

	i.leash = true;
	keep(m, &i, &m->spawner, 1);
}

void held_unleash_spawner(struct mgr *m)
{
	held_drop(m, HELD_SPAWNER, NULL);
}

/* The file that a listener is bound to. */
static void unlink_bound(int fd)
{
	struct sockaddr_un sa = { 0 };
	socklen_t len = sizeof(sa) - 1; /* so that the path ends */

	if (!getsockname(fd, (struct sockaddr *)&sa, &len) && sa.sun_family == AF_UNIX && sa.sun_path[0] == '/')
		unlink(sa.sun_path);
}

void held_forget(struct mgr *m, const struct held_item *it)
{
	drop(m, &(struct hold_item){ .tag = it->tag, .tag_len = it->tag_len });
}

void held_settle(struct mgr *m)
{
	struct held_item *it;

	while ((it = m->held.items) != NULL) {
		m->held.items = it->next;
		held_forget(m, it);
		if (it->tag[0] == HELD_PORT && it->nfds == 1)
			unlink_bound(it->fds[0]);
		held_item_free(it);
	}
}

/* --- the loop --- */

static void on_hold(void *arg, uint32_t events)
{
	struct mgr *m = arg;
	struct ipc_msg msg;
	int err = ipc_recv(m->held.sock, &msg, m->rx, sizeof(m->rx), MSG_DONTWAIT);

	(void)events;
	if (err == ERR_AGAIN)
		return;
	if (!err)
		ipc_msg_done(&msg);
	lost(m, err ? err : ERR_PROTO); /* it has nothing to say but to answer */
}

int held_watch(struct mgr *m)
{
	return m->held.sock < 0 ? 0 : loop_add(&m->loop, &m->held.io, m->held.sock, EPOLLIN, on_hold, m);
}

unsigned held_generation(const struct mgr *m)
{
	return m->held.sock < 0 ? 0 : m->held.generation;
}

/* Nobody may wait for others here; but nothing may be served before the others are surely gone. */
static int fence(struct mgr *m)
{
	struct pollfd p = { .fd = m->held.sock, .events = POLLIN };
	struct ipc_msg msg;
	int err = ipc_send_wait(m->held.sock, HOLD_FENCE, NULL, NULL, 0);
	int n = 0;

	while (!err && (n = poll(&p, 1, FENCE_WAIT_MS)) < 0 && errno == EINTR)
		;
	if (!err && n == 0)
		err = ERR_TIMEOUT;
	if (!err)
		err = ipc_recv(m->held.sock, &msg, m->rx, sizeof(m->rx), MSG_DONTWAIT);
	if (err)
		return err;
	ipc_msg_done(&msg);
	return msg.type == HOLD_FENCED && msg.body.len == 0 && msg.nfds == 0 ? 0 : ERR_PROTO;
}

void held_take_over(struct mgr *m)
{
	int err;

	if (m->held.fenced)
		return;
	m->held.fenced = true;
	err = m->held.sock < 0 ? ERR_CLOSED : fence(m);
	if (err && m->held.generation > 1) {
		log_error("the processes of the last manager may not have ended (%s)", err_text(err));
		_exit(1);
	}
	if (err && m->held.sock >= 0)
		lost(m, err);
	held_guests_go(m);
}

void held_again(struct mgr *m)
{
	if (m->held.again)
		say(m, HOLD_AGAIN, NULL, NULL, 0);
	m->held.again = false;
}

void held_close(struct mgr *m)
{
	loop_remove(&m->loop, &m->held.io);
	fd_close(&m->held.sock);
}

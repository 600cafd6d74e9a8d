/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/links.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "vtpm-mgr/proto/spawn.h"

#define GIVES_SIZE (LINKS_MAX * sizeof(struct key_give))

enum { LINK_WAITS = 1u << 0, LINK_CERTIFIES = 1u << 1 };

static struct key_give *link_give(struct link *k)
{
	return &k->all->gives[k - k->all->slots];
}

/* The spawner is listened to as long as there is room for another channel. */
static void spawn_watch(struct links *l)
{
	if (l->spawn_io.fd >= 0 && loop_modify(l->loop, &l->spawn_io, l->fds < LINK_FDS_MAX ? EPOLLIN : 0u))
		l->ended = ERR_SYS;
}

static void link_free(struct link *k)
{
	struct links *l = k->all;

	loop_remove(l->loop, &k->io);
	if (k->fd >= 0) {
		fd_close(&k->fd);
		l->fds--;
		spawn_watch(l);
	}
	secmem_wipe(link_give(k), sizeof(struct key_give));
	k->token = 0;
	k->has_key = false;
	k->certify = k->certified = 0;
}

static struct link *link_find(struct links *l, uint64_t token)
{
	for (size_t i = 0; i < LINKS_MAX; i++)
		if (l->slots[i].token == token)
			return &l->slots[i];
	return NULL;
}

static int link_give_key(struct link *k)
{
	uint8_t mem[KEY_GIVE_SIZE];
	struct buf b;
	int r;

	buf_init(&b, mem, sizeof(mem));
	r = key_give_encode(&b, link_give(k));
	if (!r)
		r = ipc_send(k->fd, KEY_GIVE, &b, NULL, 0);
	secmem_wipe(mem, sizeof(mem));
	secmem_wipe(link_give(k), sizeof(struct key_give));
	return r;
}

/* Both halves are there. */
static void link_complete(struct link *k)
{
	int r = link_give_key(k);

	if (r)
		log_warn("a backend did not take its key: %s", err_text(r));
	if (r || !k->certify)
		link_free(k);
}

static int on_cert_request(void *peer, struct ipc_msg *m)
{
	uint8_t mem[CERT_ISSUED_MAX];
	struct cert_issued reply = {0};
	struct cert_request req;
	struct cert_der der;
	struct link *k = peer;
	struct ca *ca = k->all->ca;
	struct buf b;

	if (cert_request_decode(&m->body, &req) || buf_left(&m->body) || !(k->certify >> req.kind & 1) ||
	    k->certified >> req.kind & 1)
		return ERR_PROTO;
	k->certified = (uint8_t)(k->certified | 1u << req.kind);
	reply.kind = req.kind;
	reply.code = ca_certify(ca, &req, &k->of, &der);
	if (reply.code) {
		log_warn("no certificate: %s", ca->tpm->text);
	} else {
		reply.der = der.bytes;
		reply.der_len = der.len;
	}
	buf_init(&b, mem, sizeof(mem));
	return cert_issued_encode(&b, &reply) ? ERR_RANGE : ipc_send(k->fd, CERT_ISSUED, &b, NULL, 0);
}

static const struct ipc_rule link_rules[] = {
	{CERT_REQUEST, LINK_CERTIFIES, CERT_REQUEST_MIN, CERT_REQUEST_MAX, 0, 0, on_cert_request},
};

/* A backend speaks, or has gone. Before it has its key there is nothing that it may say. */
static void link_ready(void *arg, uint32_t events)
{
	uint8_t mem[CERT_REQUEST_MAX];
	struct link *k = arg;
	struct ipc_msg m;
	int r;

	(void)events;
	r = ipc_recv(k->fd, &m, mem, sizeof(mem), MSG_DONTWAIT);
	if (r == ERR_AGAIN)
		return;
	if (!r)
		r = ipc_dispatch(link_rules, ARRAY_LEN(link_rules), k->has_key ? LINK_CERTIFIES : LINK_WAITS, k, &m);
	if (r && r != ERR_CLOSED)
		log_warn("a backend's key channel is closed: %s", err_text(r));
	if (r || (k->has_key && k->certify && k->certified == k->certify))
		link_free(k);
}

/* Takes fd in any case. */
static int link_attach(struct link *k, int fd)
{
	int r;

	if (fcntl(fd, F_SETFL, O_NONBLOCK)) {
		fd_close(&fd);
		return ERR_SYS;
	}
	r = loop_add(k->all->loop, &k->io, fd, EPOLLIN, link_ready, k);
	if (r) {
		fd_close(&fd);
		return r;
	}
	k->fd = fd;
	k->all->fds++;
	spawn_watch(k->all);
	return 0;
}

static int on_link_backend(void *peer, struct ipc_msg *m)
{
	struct links *l = peer;
	struct link *k;
	uint64_t token;
	int r;

	if (spawn_token_decode(&m->body, &token) || buf_left(&m->body) || !token)
		return ERR_PROTO;
	k = link_find(l, token);
	if (k && k->fd >= 0)
		return ERR_PROTO;
	if (!k)
		k = link_find(l, 0);
	if (!k) {
		log_warn("a new backend is turned away: %u others wait for their keys", LINKS_MAX);
		return 0; /* its channel closes with the message */
	}
	k->token = token;
	r = link_attach(k, ipc_take_fd(m, 0));
	if (r) {
		log_warn("a backend's key channel cannot be used: %s", err_text(r));
		link_free(k);
	} else if (k->has_key) {
		link_complete(k);
	}
	return 0;
}

static const struct ipc_rule spawn_rules[] = {
	{LINK_BACKEND, 1, SPAWN_TOKEN_SIZE, SPAWN_TOKEN_SIZE, 1, 1, on_link_backend},
};

static void spawn_ready(void *arg, uint32_t events)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct links *l = arg;
	struct ipc_msg m;
	int r;

	/* While there is no room EPOLLHUP comes all the same; it stays until it is read. */
	if (!(events & (EPOLLIN | EPOLLHUP)))
		return;
	r = ipc_recv(l->spawn_fd, &m, mem, sizeof(mem), MSG_DONTWAIT);
	if (r == ERR_AGAIN)
		return;
	if (!r)
		r = ipc_dispatch(spawn_rules, ARRAY_LEN(spawn_rules), 1, l, &m);
	if (r)
		l->ended = r;
}

int links_init(struct links *l, struct loop *loop, int spawn_fd, struct ca *ca)
{
	memset(l, 0, sizeof(*l));
	l->loop = loop;
	l->ca = ca;
	l->spawn_fd = spawn_fd;
	l->spawn_io.fd = -1;
	for (size_t i = 0; i < LINKS_MAX; i++) {
		l->slots[i].all = l;
		l->slots[i].io.fd = l->slots[i].fd = -1;
	}
	l->gives = secmem_alloc(GIVES_SIZE);
	if (!l->gives)
		return ERR_NOMEM;
	return loop_add(loop, &l->spawn_io, spawn_fd, EPOLLIN, spawn_ready, l);
}

void links_free(struct links *l)
{
	if (!l->loop)
		return;
	loop_remove(l->loop, &l->spawn_io);
	for (size_t i = 0; l->gives && i < LINKS_MAX; i++)
		if (l->slots[i].token)
			link_free(&l->slots[i]);
	secmem_free(l->gives, GIVES_SIZE);
	l->gives = NULL;
}

int links_hand(struct links *l, uint64_t token, uint8_t certify, const uint8_t serial[static SERIAL_LEN], const struct key_give *give)
{
	struct link *k = link_find(l, token);

	if (k && k->has_key)
		return ERR_EXISTS;
	if (!k)
		k = link_find(l, 0);
	if (!k)
		return ERR_FULL;
	k->token = token;
	k->has_key = true;
	k->certify = certify;
	memcpy(k->of.uuid, give->uuid, UUID_LEN);
	memcpy(k->of.serial, serial, SERIAL_LEN);
	*link_give(k) = *give;
	if (k->fd >= 0)
		link_complete(k);
	return 0;
}

void links_drop(struct links *l, uint64_t token)
{
	struct link *k = link_find(l, token);

	if (k)
		link_free(k);
}

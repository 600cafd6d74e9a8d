/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * <runtime-dir>/NAME.ring: hands the ring of a running vTPM to one front end at a time. The
 * socket may be connected by anyone; the kernel says who it is, and only operators and the
 * vTPM's own user get the ring. Connected or not has no effect on the TPM.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/control_socket.h"
#include "vtpm-mgr/mgr.h"

int ring_path(const struct mgr *m, const char *name, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%s/%s.ring", m->cfg.runtime_dir, name);

	return n < 0 || (size_t)n >= cap ? ERR_RANGE : 0;
}

static void client_drop(struct vtpm *v)
{
	loop_remove(&v->m->loop, &v->client_io);
	if (v->client >= 0)
		held_client_drop(v);
	fd_close(&v->client);
}

/* A front end never sends: what arrives is its end, or nonsense. */
static void on_client(void *arg, uint32_t events)
{
	(void)events;
	client_drop(arg);
}

static int client_watch(struct vtpm *v)
{
	return loop_add(&v->m->loop, &v->client_io, v->client, EPOLLIN | EPOLLRDHUP, on_client, v);
}

static bool client_gone(const struct vtpm *v)
{
	char c;

	return recv(v->client, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

/* 0 and the client is kept, or the code it is refused with. */
static int client_admit(struct vtpm *v, int sock, char why[static TEXT_MAX + 1])
{
	uid_t uid;
	enum control_role role = control_role_of(v->m->control, sock, &uid);

	if (role != ROLE_OPERATOR && (v->row.user < 0 || uid != (uid_t)v->row.user)) {
		snprintf(why, TEXT_MAX + 1, "uid %u may not use %s; the operator can permit one user with create --user",
			 uid, v->row.name);
		return ERR_DENIED;
	}
	if (v->client >= 0 && client_gone(v))
		client_drop(v);
	if (v->client >= 0) {
		snprintf(why, TEXT_MAX + 1, "another program is using the TPM of %s", v->row.name);
		return ERR_BUSY;
	}
	return 0;
}

static void on_listener(void *arg, uint32_t events)
{
	struct vtpm *v = arg;
	char why[TEXT_MAX + 1];
	int sock = control_accept(v->m->control, v->listener);
	int err;

	(void)events;
	if (sock < 0)
		return;
	err = client_admit(v, sock, why);
	if (err) {
		control_log(v->m->control, "%s: ring refused: %s", v->row.name, why);
		if (local_send_refusal(sock, err, why))
			log_debug("%s: the refused client has gone", v->row.name);
		fd_close(&sock);
		return;
	}
	v->client = sock;
	held_client_keep(v); /* before it can have a command in hand */
	if (local_send_grant(sock, &v->ring) || client_watch(v))
		client_drop(v);
}

static int listener_open(struct vtpm *v)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int err = ring_path(v->m, v->row.name, path, sizeof(path));

	if (!err && v->listener < 0)
		err = socket_listen_anew(path, SOCK_SEQPACKET, 8, &v->listener);
	return err ? err : loop_add(&v->m->loop, &v->listener_io, v->listener, EPOLLIN, on_listener, v);
}

int ring_open(struct vtpm *v)
{
	int err = 0;

	if (v->ring.memfd < 0)
		err = local_ring_make(&v->ring);
	if (!err && v->listener_io.fd < 0)
		err = listener_open(v);
	if (!err && v->client >= 0 && v->client_io.fd < 0) /* the last manager's */
		err = client_watch(v);
	if (err)
		ring_close(v);
	return err;
}

void ring_close(struct vtpm *v)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	client_drop(v);
	held_guest_drop(v);
	loop_remove(&v->m->loop, &v->listener_io);
	if (v->listener >= 0 && !ring_path(v->m, v->row.name, path, sizeof(path)))
		unlink(path);
	fd_close(&v->listener);
	local_ring_close(&v->ring);
}

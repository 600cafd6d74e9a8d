/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"
#include "vtpm-mgr/control_inbox.h"
#include "vtpm-mgr/control_proto.h"
#include "vtpm-mgr/control_socket.h"

/*
 * Slots that a role and those below it may fill. Half of them are out of the reach of viewers, so that
 * they cannot lock out operators; those without a role are told so and dropped when CONTROL_IDLE_MS are over.
 */
#define GROUPS_MAX	   1024u /* supplementary groups of a peer that are looked at */
#define MESSAGE_MAX	   1024u
#define ACCEPT_BATCH	   16

struct client {
	struct control *control;
	struct client *next;
	struct loop_io io;
	struct loop_timer timer; /* for half a message, for a reply that is not read, and for nobodies */
	int fd;
	uid_t uid;
	pid_t pid;
	enum control_role role;
	struct call *call; /* in flight; NULL: none */
	struct call_bond *bond;
	bool busy;	   /* inside client_run: do not free, do not recurse */
	bool dead;
	char *out; /* NULL: nothing to send */
	size_t out_len, out_pos;
	struct inbox in;
};

struct call {
	struct client *client; /* NULL: it has gone */
	uid_t uid;
	pid_t pid;
	enum control_role role;
	bool oneway;
	unsigned nfds;
	int fds[CONTROL_FDS_MAX]; /* came with it; -1 where taken */
};

struct control {
	struct loop *loop;
	struct control_config cfg;
	struct loop_io io;
	int fd;
	int spare_fd; /* given up for a moment to refuse a client when descriptors have run out */
	ino_t ino;
	uint64_t quiet_until_ms; /* of control_log */
	unsigned unlogged;
	struct client *clients;
	unsigned count[ROLE_OPERATOR + 1];
};

/* ---- who is it ---- */

static bool in_group(int sock, gid_t primary, int64_t gid)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (gid < 0)
		return false;
	if ((int64_t)primary == gid)
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false; /* ERANGE included: whoever is in more groups than that names one as primary */
	for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
		if ((int64_t)groups[i] == gid)
			return true;
	}
	return false;
}

static enum control_role role_of(const struct control *c, int sock, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, cred, &len)) {
		*cred = (struct ucred){.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
		return ROLE_NONE;
	}
	if (cred->uid == 0 || cred->uid == geteuid() || in_group(sock, cred->gid, c->cfg.operator_gid))
		return ROLE_OPERATOR;
	return in_group(sock, cred->gid, c->cfg.viewer_gid) ? ROLE_VIEWER : ROLE_NONE;
}

enum control_role control_role_of(const struct control *c, int sock, uid_t *uid)
{
	struct ucred cred;
	enum control_role role = role_of(c, sock, &cred);

	*uid = cred.uid;
	return role;
}

void control_log(struct control *c, const char *fmt, ...)
{
	uint64_t now = loop_now_ms();
	char text[MESSAGE_MAX];
	va_list ap;

	if (now < c->quiet_until_ms) {
		c->unlogged++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c->unlogged)
		log_warn("%s (and %u more before, of this kind, not logged)", text, c->unlogged);
	else
		log_warn("%s", text);
	c->unlogged = 0;
	c->quiet_until_ms = now + CONTROL_QUIET_MS;
}

/* ---- clients ---- */

void bond_end(struct call_bond *b)
{
	if (b->at)
		*b->at = NULL;
	b->at = NULL;
}

int call_bind(struct call *c, struct call_bond *b, void (*gone)(void *arg), void *arg)
{
	if (!c->client || c->client->bond)
		return c->client ? ERR_BUSY : ERR_CLOSED;
	*b = (struct call_bond){.at = &c->client->bond, .gone = gone, .arg = arg};
	c->client->bond = b;
	return 0;
}

static void client_free(struct client *cl)
{
	struct client **at = &cl->control->clients;
	struct call_bond *bond = cl->bond;

	if (bond) {
		bond_end(bond);
		bond->gone(bond->arg);
	}
	while (*at != cl)
		at = &(*at)->next;
	*at = cl->next;
	cl->control->count[cl->role]--;
	loop_remove(cl->control->loop, &cl->io);
	loop_timer_cancel(cl->control->loop, &cl->timer);
	fd_close(&cl->fd);
	inbox_close(&cl->in);
	if (cl->call)
		cl->call->client = NULL;
	free(cl->out);
	free(cl);
}

static void client_drop(struct client *cl)
{
	cl->dead = true;
	if (!cl->busy)
		client_free(cl);
}

static void client_timeout(void *arg)
{
	struct client *cl = arg;

	control_log(cl->control, "control: client of uid %u dropped: it did not finish in time", cl->uid);
	client_drop(cl);
}

/* Queues one reply; there is never another one waiting. Steals reply. */
static void client_queue(struct client *cl, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	size_t len = text ? strlen(text) + 1 : 0; /* the NUL ends the message */

	json_decref(reply);
	if (!text || len > CONTROL_REPLY_MAX) {
		log_error("control: a reply could not be made, its client is dropped");
		free(text);
		cl->dead = true;
		return;
	}
	cl->out = text;
	cl->out_len = len;
	cl->out_pos = 0;
}

/* Sends what the socket takes. */
static int client_flush(struct client *cl)
{
	while (cl->out) {
		ssize_t r = send(cl->fd, cl->out + cl->out_pos, cl->out_len - cl->out_pos, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? 0 : ERR_CLOSED;
		cl->out_pos += (size_t)r;
		if (r > 0 && cl->role != ROLE_NONE) /* it reads: the time starts anew */
			loop_timer_cancel(cl->control->loop, &cl->timer);
		if (cl->out_pos == cl->out_len) {
			free(cl->out);
			cl->out = NULL;
		}
	}
	return 0;
}

/* ---- calls ---- */

static void call_free(struct call *c)
{
	for (unsigned i = 0; i < c->nfds; i++)
		fd_close(&c->fds[i]);
	free(c);
}

static void call_end(struct call *c, json_t *reply)
{
	struct client *cl = c->client;

	if (!cl) {
		json_decref(reply);
		call_free(c);
		return;
	}
	cl->call = NULL;
	if (c->oneway)
		json_decref(reply);
	else
		client_queue(cl, reply);
	call_free(c);
	if (cl->busy)
		return;
	(void)!client_flush(cl); /* at once: somebody waits for it */
	/* What stayed or failed is for a round of its own: whoever ends a call is not called back from here. */
	if (loop_modify(cl->control->loop, &cl->io, EPOLLOUT))
		client_drop(cl);
}

void call_reply(struct call *c, json_t *params)
{
	call_end(c, reply_params(params));
}

void call_error(struct call *c, int err, const char *fmt, ...)
{
	char error[64];
	char message[MESSAGE_MAX];
	json_t *text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	text = json_string(message);
	if (!text) /* not UTF-8, or cut in the middle of a character */
		text = json_string(err_text(err));
	snprintf(error, sizeof(error), CONTROL_INTERFACE ".%s", error_name(err));
	call_end(c, reply_error(error, json_pack("{s:o, s:i}", "message", text, "code", err)));
}

uid_t call_uid(const struct call *c)
{
	return c->uid;
}

pid_t call_pid(const struct call *c)
{
	return c->pid;
}

enum control_role call_role(const struct call *c)
{
	return c->role;
}

unsigned call_nfds(const struct call *c)
{
	return c->nfds;
}

int call_take_fd(struct call *c, unsigned i)
{
	int fd;

	if (i >= c->nfds)
		return -1;
	fd = c->fds[i];
	c->fds[i] = -1;
	return fd;
}

static const struct control_method *find_method(const struct control *c, const char *name)
{
	for (size_t i = 0; name && i < c->cfg.nmethods; i++) {
		if (strcmp(c->cfg.methods[i].name, name) == 0)
			return &c->cfg.methods[i];
	}
	return NULL;
}

/* What Varlink itself answers; NULL: the method is to be run. */
static json_t *early_reply(const struct control *c, const struct request *r, const struct control_method *m)
{
	const char *unknown = m && r->params ? request_unknown(r, m->takes) : NULL;

	if (!r->params || unknown)
		return reply_service_error(VARLINK_SERVICE ".InvalidParameter", "parameter", unknown ? unknown : "parameters");
	if (r->upgrade)
		return reply_service_error(VARLINK_SERVICE ".MethodNotImplemented", "method", r->method);
	return m ? NULL : service_reply(r, c->cfg.description);
}

/* What the table does not permit ends the client; who may not call at all is told so, and has no descriptors to give. */
static bool fds_fit(const struct client *cl, const struct control_method *m)
{
	if (!m || cl->role < m->role)
		return cl->in.nfds == 0;
	return cl->in.nfds >= m->min_fds && cl->in.nfds <= m->max_fds;
}

static int client_call(struct client *cl, const struct request *r)
{
	struct control *c = cl->control;
	const struct control_method *m = find_method(c, request_method(r));
	struct call *call;
	json_t *reply;

	if (!fds_fit(cl, m))
		return ERR_PROTO;
	call = calloc(1, sizeof(*call));
	if (!call)
		return ERR_NOMEM;
	*call = (struct call){.client = cl, .uid = cl->uid, .pid = cl->pid, .role = cl->role, .oneway = r->oneway};
	call->nfds = inbox_take_fds(&cl->in, call->fds);
	cl->call = call;
	reply = early_reply(c, r, m);
	if (reply)
		call_end(call, reply);
	else if (m && cl->role < m->role)
		call_error(call, ERR_DENIED, "uid %u may not call %s: it is not %s", cl->uid, m->name,
			   m->role == ROLE_OPERATOR ? "an operator" : "an operator or viewer");
	else if (m)
		m->handle(c->cfg.arg, call, r->params);
	else
		call_error(call, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
	return 0;
}

/* ---- its turns ---- */

/* Handles the next whole message. ERR_AGAIN: there is none. */
static int client_next(struct client *cl)
{
	struct request r;
	size_t used;
	int err = inbox_next(&cl->in, &used);

	if (!err)
		err = request_parse(cl->in.bytes, used - 1, &r);
	if (err)
		return err;
	err = client_call(cl, &r);
	request_free(&r);
	inbox_shift(&cl->in, used);
	if (cl->role != ROLE_NONE) /* the next one has a time of its own */
		loop_timer_cancel(cl->control->loop, &cl->timer);
	return err;
}

/* What to wait for next, and for how long. */
static int client_wait(struct client *cl)
{
	struct loop *l = cl->control->loop;
	bool half = !cl->call && !cl->out && cl->in.len > 0;
	uint32_t events = 0; /* while a call is in flight only its end, or the client's, matters */

	if (cl->out)
		events = EPOLLOUT;
	else if (!cl->call) /* with bytes that nobody has looked at yet: the next round is its next turn */
		events = cl->in.eof || cl->in.scanned < cl->in.len ? EPOLLOUT : EPOLLIN;
	if (!cl->out && !half && cl->role != ROLE_NONE)
		loop_timer_cancel(l, &cl->timer);
	else if (cl->timer.due_ms == 0) /* armed once: who sends a byte now and then gains nothing */
		loop_timer_set(l, &cl->timer, CONTROL_IDLE_MS, client_timeout, cl);
	return loop_modify(l, &cl->io, events);
}

/* Handles a request, if nothing is in flight and all is sent. */
static int client_turn(struct client *cl)
{
	int err = client_flush(cl);

	if (err || cl->dead || cl->call || cl->out)
		return err;
	err = client_next(cl);
	if (err == ERR_AGAIN)
		return cl->in.eof ? ERR_CLOSED : 0;
	return err ? err : client_flush(cl);
}

/* At most one request a round, so that whoever has sent many ahead does not keep the others waiting. */
static int client_run(struct client *cl, uint32_t events)
{
	int err = 0;

	if ((events & EPOLLERR) || ((events & EPOLLHUP) && (cl->call || cl->out)))
		return ERR_CLOSED;
	if ((events & (EPOLLIN | EPOLLHUP)) && !cl->call && !cl->out)
		err = inbox_read(&cl->in, cl->fd, cl->role == ROLE_OPERATOR);
	if (!err)
		err = client_turn(cl);
	return err || cl->dead ? err : client_wait(cl);
}

static void client_ready(void *arg, uint32_t events)
{
	struct client *cl = arg;
	int err;

	cl->busy = true;
	err = client_run(cl, events);
	cl->busy = false;
	if (err == ERR_PROTO || err == ERR_RANGE)
		control_log(cl->control, "control: client of uid %u dropped: %s", cl->uid, err_text(err));
	if (err || cl->dead)
		client_free(cl);
}

/* ---- the listener ---- */

static bool has_room(const struct control *c, enum control_role role)
{
	unsigned nobodies = c->count[ROLE_NONE];
	unsigned below = nobodies + c->count[ROLE_VIEWER];

	if (role == ROLE_OPERATOR)
		return below + c->count[ROLE_OPERATOR] < CONTROL_CLIENTS_MAX;
	if (role == ROLE_VIEWER)
		return below < CONTROL_VIEWERS_MAX && below + c->count[ROLE_OPERATOR] < CONTROL_CLIENTS_MAX;
	return nobodies < CONTROL_NOBODIES_MAX && below < CONTROL_VIEWERS_MAX &&
	       below + c->count[ROLE_OPERATOR] < CONTROL_CLIENTS_MAX;
}

static void client_add(struct control *c, int fd)
{
	struct ucred cred;
	enum control_role role = role_of(c, fd, &cred);
	struct client *cl = has_room(c, role) ? calloc(1, sizeof(*cl)) : NULL;

	if (!cl) {
		control_log(c, "control: client of uid %u refused: too many clients", cred.uid);
		fd_close(&fd);
		return;
	}
	cl->control = c;
	cl->fd = fd;
	cl->uid = cred.uid;
	cl->pid = cred.pid;
	cl->role = role;
	cl->next = c->clients;
	c->clients = cl;
	c->count[role]++;
	if (loop_add(c->loop, &cl->io, fd, EPOLLIN, client_ready, cl) || client_wait(cl))
		client_free(cl);
}

/* No descriptor is left for a client: take it with the spare one and close it, or the listener would stay ready for
 * ever. */
static void refuse_one(struct control *c, int listener)
{
	int fd;

	fd_close(&c->spare_fd);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	fd_close(&fd);
	c->spare_fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	control_log(c, "a client was refused: out of descriptors");
}

int control_accept(struct control *c, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		refuse_one(c, listener);
	return fd;
}

static void listener_ready(void *arg, uint32_t events)
{
	struct control *c = arg;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = control_accept(c, c->fd);

		if (fd < 0)
			return; /* if there are more, the loop says so */
		client_add(c, fd);
	}
}

static int socket_open(struct control *c)
{
	c->fd = c->cfg.listener;
	if (c->fd >= 0)
		return socket_inode(c->cfg.path, &c->ino);
	return socket_listen(c->cfg.path, &c->fd, &c->ino);
}

int control_open(struct control **out, struct loop *l, const struct control_config *cfg)
{
	struct control *c = calloc(1, sizeof(*c));
	size_t seed = 0;
	int err;

	*out = NULL;
	if (!c)
		return ERR_NOMEM;
	c->loop = l;
	c->cfg = *cfg;
	c->fd = c->spare_fd = c->io.fd = -1;
	/* Clients choose the keys of the objects that they send: they must not know their hashes. */
	err = random_bytes(&seed, sizeof(seed));
	if (!err) {
		json_object_seed(seed);
		err = socket_open(c);
	}
	if (!err)
		c->spare_fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	if (!err && c->spare_fd < 0)
		err = err_from_errno(errno);
	if (!err)
		err = loop_add(l, &c->io, c->fd, EPOLLIN, listener_ready, c);
	if (err) {
		control_close(c);
		return err;
	}
	*out = c;
	return 0;
}

int control_listener(const struct control *c)
{
	return c->fd;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	for (struct client *cl = c->clients, *next; cl; cl = next) {
		next = cl->next;
		client_free(cl);
	}
	loop_remove(c->loop, &c->io);
	socket_remove(c->cfg.path, c->ino);
	fd_close(&c->spare_fd);
	fd_close(&c->fd);
	free(c);
}

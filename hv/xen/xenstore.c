/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/xen/xenstore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#include "lib/buf.h"
#include "lib/util.h"

#define XENSTORED_SOCKET "/var/run/xenstored/socket"
#define READ_ROUNDS	 64 /* messages taken in one event of the loop */

_Static_assert(XENSTORE_VALUE_MAX == XENSTORE_PAYLOAD_MAX, "a value fits into one message");

struct request {
	struct request *next;
	xenstore_done *done;
	void *arg;
	size_t len, sent;
	uint8_t msg[]; /* header and payload */
};

struct xenstore {
	struct loop *loop;
	struct loop_io io;
	struct loop_timer broken; /* armed: a request could not be sent */
	int fd;
	struct xenstore_events events;
	struct request *first, **last; /* the first is on its way */
	size_t queued;
	uint32_t next_id;
	size_t have; /* bytes of the message that is coming in */
	size_t room; /* for a payload and a NUL behind it: XENSTORE_PAYLOAD_MAX, until a list is longer */
	uint8_t *in;
};

static size_t message_size(size_t payload)
{
	return sizeof(struct xsd_sockmsg) + payload + 1;
}

/* --- opening --- */

static int open_socket(int *out)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = XENSTORED_SOCKET };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_from_errno(errno);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return ERR_NOTFOUND;
	}
	*out = fd;
	return 0;
}

static int open_device(int *out)
{
	static const char *const paths[] = { "/dev/xen/xenbus", "/proc/xen/xenbus" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		*out = open(paths[i], O_RDWR | O_CLOEXEC);
		if (*out >= 0)
			return 0;
	}
	return ERR_NOTFOUND;
}

int xenstore_open(int *fd)
{
	*fd = -1;
	return open_socket(fd) == 0 ? 0 : open_device(fd);
}

/* --- the end of requests and of the connection --- */

static void request_end(struct xenstore *x, int err, const char *value, size_t len)
{
	struct request *r = x->first;

	x->first = r->next;
	if (x->first == NULL)
		x->last = &x->first;
	x->queued--;
	if (r->done != NULL)
		r->done(r->arg, err, value, len);
	free(r);
}

static void lose(struct xenstore *x)
{
	loop_remove(x->loop, &x->io);
	loop_timer_cancel(x->loop, &x->broken);
	fd_close(&x->fd);
	while (x->first != NULL)
		request_end(x, ERR_CLOSED, "", 0);
	x->events.lost(x->events.arg);
}

/* --- sending --- */

static int rewatch(struct xenstore *x)
{
	bool unsent = x->first != NULL && x->first->sent < x->first->len;

	return loop_modify(x->loop, &x->io, unsent ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/*
 * The first request, as far as it goes without waiting. The kernel's device takes one message at a time, so what
 * is written never goes beyond one. ERR_CLOSED: the connection is lost.
 */
static int push(struct xenstore *x)
{
	struct request *r = x->first;
	ssize_t n;

	while (r != NULL && r->sent < r->len) {
		n = write(x->fd, r->msg + r->sent, r->len - r->sent);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			return ERR_CLOSED;
		r->sent += n > 0 ? (size_t)n : 0;
	}
	return rewatch(x) != 0 ? ERR_CLOSED : 0;
}

static void on_broken(void *arg)
{
	lose(arg);
}

/*
 * text: what goes into the payload, n bytes, with the NULs that the request wants. Whether it went out shows in the
 * loop: nothing is torn down under a caller.
 */
static void ask(struct xenstore *x, uint32_t type, const void *payload, size_t n, xenstore_done *done, void *arg)
{
	struct xsd_sockmsg head = { .type = type, .len = (uint32_t)n };
	struct request *r = NULL;
	int err = ERR_NOMEM;

	if (x->fd < 0)
		err = ERR_CLOSED;
	else if (n > XENSTORE_PAYLOAD_MAX)
		err = ERR_RANGE;
	else if (x->queued >= XENSTORE_QUEUE_MAX)
		err = ERR_FULL;
	else
		r = malloc(sizeof(*r) + sizeof(head) + n);
	if (r == NULL) {
		if (done != NULL)
			done(arg, err, "", 0);
		return;
	}
	head.req_id = x->next_id++;
	*r = (struct request){ .done = done, .arg = arg, .len = sizeof(head) + n };
	memcpy(r->msg, &head, sizeof(head));
	memcpy(r->msg + sizeof(head), payload, n);
	*x->last = r;
	x->last = &r->next;
	x->queued++;
	/* At once: the kernel's device never says that it can be written to. */
	if (x->first == r && push(x) != 0)
		loop_timer_set(x->loop, &x->broken, 0, on_broken, x);
}

/* Two strings: the first with its NUL, the second with or without. */
static void ask_two(struct xenstore *x, uint32_t type, const char *a, const char *b, bool nul, xenstore_done *done,
		    void *arg)
{
	uint8_t payload[XENSTORE_PAYLOAD_MAX];
	size_t na = strlen(a) + 1, nb = strlen(b) + (nul ? 1 : 0);
	struct buf p;

	buf_init(&p, payload, sizeof(payload));
	if (na > XENSTORE_PATH_MAX || buf_put_bytes(&p, a, na) || buf_put_bytes(&p, b, nb)) {
		if (done != NULL)
			done(arg, ERR_RANGE, "", 0);
		return;
	}
	ask(x, type, payload, p.len, done, arg);
}

static void ask_path(struct xenstore *x, uint32_t type, const char *path, xenstore_done *done, void *arg)
{
	size_t n = strlen(path) + 1;

	if (n <= XENSTORE_PATH_MAX)
		ask(x, type, path, n, done, arg);
	else if (done != NULL)
		done(arg, ERR_RANGE, "", 0);
}

void xenstore_read(struct xenstore *x, const char *path, xenstore_done *done, void *arg)
{
	ask_path(x, XS_READ, path, done, arg);
}

void xenstore_list(struct xenstore *x, const char *path, xenstore_done *done, void *arg)
{
	ask_path(x, XS_DIRECTORY, path, done, arg);
}

void xenstore_write(struct xenstore *x, const char *path, const char *value, xenstore_done *done, void *arg)
{
	ask_two(x, XS_WRITE, path, value, false, done, arg);
}

void xenstore_remove(struct xenstore *x, const char *path, xenstore_done *done, void *arg)
{
	ask_path(x, XS_RM, path, done, arg);
}

void xenstore_watch(struct xenstore *x, const char *path, const char *token, xenstore_done *done, void *arg)
{
	ask_two(x, XS_WATCH, path, token, true, done, arg);
}

void xenstore_unwatch(struct xenstore *x, const char *path, const char *token)
{
	ask_two(x, XS_UNWATCH, path, token, true, NULL, NULL);
}

void xenstore_is_introduced(struct xenstore *x, unsigned domid, xenstore_done *done, void *arg)
{
	char text[12];

	(void)snprintf(text, sizeof(text), "%u", domid);
	ask(x, XS_IS_DOMAIN_INTRODUCED, text, strlen(text) + 1, done, arg);
}

void xenstore_forget(struct xenstore *x, const void *arg)
{
	if (x == NULL)
		return;
	for (struct request *r = x->first; r != NULL; r = r->next)
		if (r->arg == arg)
			r->done = NULL;
}

/* --- receiving --- */

static int code_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(xsd_errors); i++) {
		if (strcmp(name, xsd_errors[i].errstring) != 0)
			continue;
		switch (xsd_errors[i].errnum) {
		case ENOENT:
			return ERR_NOTFOUND;
		case E2BIG:
			return ERR_RANGE;
		default:
			return err_from_errno(xsd_errors[i].errnum);
		}
	}
	/* oxenstored's, where xenstored says E2BIG or ENOSPC. */
	return strcmp(name, "EQUOTA") == 0 ? ERR_FULL : ERR_SYS;
}

/* path NUL token NUL */
static int take_event(struct xenstore *x, const char *body, size_t len)
{
	size_t path = strnlen(body, len), token;

	if (path == len)
		return ERR_PROTO;
	token = strnlen(body + path + 1, len - path - 1);
	if (path + 1 + token == len)
		return ERR_PROTO;
	x->events.fired(x->events.arg, body, body + path + 1);
	return 0;
}

/* One whole message is in x->in. */
static int take_message(struct xenstore *x, const struct xsd_sockmsg *head)
{
	const char *body = (const char *)x->in + sizeof(*head);
	struct xsd_sockmsg asked;

	x->in[sizeof(*head) + head->len] = '\0';
	if (head->type == XS_WATCH_EVENT)
		return take_event(x, body, head->len);
	if (x->first == NULL || x->first->sent < x->first->len)
		return ERR_PROTO; /* nobody asked */
	memcpy(&asked, x->first->msg, sizeof(asked));
	if (head->req_id != asked.req_id)
		return ERR_PROTO;
	if (head->type == XS_ERROR)
		request_end(x, code_of(body), "", 0);
	else if (head->type == asked.type)
		request_end(x, 0, body, head->len);
	else
		return ERR_PROTO;
	return x->fd < 0 ? ERR_CLOSED : push(x);
}

/* Reads until want bytes are there. ERR_AGAIN: not yet. */
static int fill(struct xenstore *x, size_t want)
{
	ssize_t n;

	while (x->have < want) {
		n = read(x->fd, x->in + x->have, want - x->have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ERR_AGAIN;
		if (n <= 0)
			return ERR_CLOSED;
		x->have += (size_t)n;
	}
	return 0;
}

/* No message is longer than XENSTORE_PAYLOAD_MAX, but a list of oxenstored's, which means that for domains only. */
static int make_room(struct xenstore *x, const struct xsd_sockmsg *head)
{
	uint8_t *more;

	if (head->len <= XENSTORE_PAYLOAD_MAX)
		return 0;
	if (head->type != XS_DIRECTORY || head->len > XENSTORE_LIST_MAX)
		return ERR_PROTO;
	if (head->len <= x->room)
		return 0;
	more = realloc(x->in, message_size(head->len));
	if (more == NULL)
		return ERR_NOMEM;
	x->in = more;
	x->room = head->len;
	return 0;
}

/* Reads one message, or its next piece: ERR_AGAIN. */
static int pull(struct xenstore *x)
{
	struct xsd_sockmsg head;
	int err;

	err = fill(x, sizeof(head));
	if (err != 0)
		return err;
	memcpy(&head, x->in, sizeof(head));
	err = make_room(x, &head);
	if (err != 0)
		return err;
	err = fill(x, sizeof(head) + head.len);
	if (err != 0)
		return err;
	x->have = 0;
	return take_message(x, &head);
}

static void on_ready(void *arg, uint32_t events)
{
	struct xenstore *x = arg;
	int err = 0;

	if (events & EPOLLOUT)
		err = push(x);
	for (int i = 0; err == 0 && i < READ_ROUNDS; i++)
		err = pull(x);
	if (err != 0 && err != ERR_AGAIN)
		lose(x);
}

int xenstore_new(struct xenstore **out, struct loop *loop, int fd, const struct xenstore_events *events)
{
	struct xenstore *x = calloc(1, sizeof(*x));
	uint8_t *in = malloc(message_size(XENSTORE_PAYLOAD_MAX));
	int flags = fcntl(fd, F_GETFL), err = ERR_NOMEM;

	*out = NULL;
	if (x != NULL && in != NULL) {
		*x = (struct xenstore){ .loop = loop, .io.fd = -1, .fd = fd, .events = *events, .in = in, .room = XENSTORE_PAYLOAD_MAX };
		x->last = &x->first;
		err = flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ? ERR_SYS : 0;
	}
	if (err == 0)
		err = loop_add(loop, &x->io, fd, EPOLLIN, on_ready, x);
	if (err != 0) {
		close(fd);
		free(in);
		free(x);
		return err;
	}
	*out = x;
	return 0;
}

void xenstore_free(struct xenstore *x)
{
	if (x == NULL)
		return;
	loop_remove(x->loop, &x->io);
	loop_timer_cancel(x->loop, &x->broken);
	fd_close(&x->fd);
	while (x->first != NULL)
		request_end(x, ERR_CLOSED, "", 0);
	free(x->in);
	free(x);
}

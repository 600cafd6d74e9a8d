/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/vchan/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "lib/util.h"

#define CHUNK 2048u

/* One direction: what has been taken from one end and not yet been given to the other. */
struct pipe {
	uint8_t bytes[CHUNK];
	size_t at, len;
};

struct pumping {
	struct vchan *v;
	int sock;
	bool hung_up; /* the socket has said all */
	struct pipe up, down;
};

static int from_vchan(struct pumping *p)
{
	int err = vchan_read(p->v, p->up.bytes, CHUNK, &p->up.len);

	p->up.at = 0;
	return err == ERR_AGAIN ? 0 : err;
}

static int to_socket(struct pumping *p)
{
	ssize_t n = send(p->sock, p->up.bytes + p->up.at, p->up.len - p->up.at, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : ERR_CLOSED;
	p->up.at += (size_t)n;
	return 0;
}

static int from_socket(struct pumping *p)
{
	ssize_t n = recv(p->sock, p->down.bytes, CHUNK, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : ERR_CLOSED;
	p->hung_up = n == 0;
	p->down.at = 0;
	p->down.len = (size_t)n;
	return 0;
}

static int to_vchan(struct pumping *p)
{
	size_t n;
	int err = vchan_write(p->v, p->down.bytes + p->down.at, p->down.len - p->down.at, &n);

	p->down.at += n;
	return err == ERR_AGAIN ? 0 : err;
}

static bool is_empty(const struct pipe *p)
{
	return p->at == p->len;
}

/*
 * As far as it goes without waiting. A direction takes nothing in before the last is out, so neither end can make it hold
 * more than a chunk.
 */
static int turn(struct pumping *p)
{
	int err = 0;

	if (is_empty(&p->down) && !p->hung_up)
		err = from_socket(p);
	if (!err && !is_empty(&p->down))
		err = to_vchan(p);
	if (err)
		return err;
	if (p->hung_up)
		return is_empty(&p->down) ? ERR_CLOSED : 0;
	if (is_empty(&p->up))
		err = from_vchan(p);
	if (!err && !is_empty(&p->up))
		err = to_socket(p);
	return err;
}

static int wait_for_more(struct pumping *p)
{
	const short wanted = (short)((is_empty(&p->down) ? POLLIN : 0) | (is_empty(&p->up) ? 0 : POLLOUT));
	struct pollfd fds[] = {
		{ .fd = p->v->fd, .events = POLLIN },
		{ .fd = p->hung_up || !wanted ? -1 : p->sock, .events = wanted }, /* its end would be told without end */
	};

	if (poll(fds, ARRAY_LEN(fds), -1) < 0)
		return errno == EINTR ? 0 : err_from_errno(errno);
	return fds[0].revents ? vchan_ack(p->v) : 0;
}

int pump(struct vchan *v, int sock)
{
	struct pumping p = { .v = v, .sock = sock };
	int err = 0;

	while (!err) {
		err = turn(&p);
		if (!err)
			err = wait_for_more(&p);
	}
	return err;
}

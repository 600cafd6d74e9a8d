/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm socket --server: programs connect and speak TPM commands. Each connection goes to the backend (SET_DATAFD), one at a
 * time, others wait; not a byte of it is read here. The front keeps a copy of the descriptor, by which it sees the end: the
 * backend shuts a connection down when it has done with it.
 *
 * The vTPM's control channel is the front's for as long as it serves. A client of --ctrl is given the use of it, request by
 * request, between those of the front. So what it says is read here: as bytes that go on unchanged, but for what it must not
 * ask. State blobs are QEMU's, and the data channel is --server's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/channel.h"
#include "vtpm-mgr/swtpm/serve.h"

static void ask(struct serve *s, enum serve_asked who, const void *p, size_t n, int fd)
{
	if (channel_send(s->held, p, n, fd)) {
		serve_end(s, say_error("%s: its TPM takes no more", s->name));
		return;
	}
	s->asked = who;
}

/* --- clients of --server --- */

static void on_server(struct serve *s)
{
	uint8_t mem[2 * CHANNEL_WORD];
	struct buf b;

	s->data = accept4(s->server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->data < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			serve_end(s, say_error("%s: no connection can be taken: %s", s->name, strerror(errno)));
		return;
	}
	buf_init(&b, mem, sizeof(mem));
	if (!buf_put_u32be(&b, CHANNEL_SET_DATAFD) && (!s->o->once || !buf_put_u32be(&b, CHANNEL_DATAFD_ONCE)))
		ask(s, ASKED_DATA, b.data, b.len, s->data);
}

/* Gone, or sent away. */
static void on_data(struct serve *s)
{
	fd_close(&s->data);
	if (s->o->terminate)
		serve_end(s, 0);
}

/* --- clients of --ctrl --- */

static void drop(struct serve *s)
{
	fd_close(&s->conn);
	if (s->o->client_fd >= 0)
		serve_end(s, 0); /* there will not be another */
}

static void answer(struct serve *s, const void *p, size_t n)
{
	if (s->conn >= 0 && channel_send(s->conn, p, n, -1))
		drop(s); /* it has gone, or does not read */
}

/* Whether the front answers in the TPM's place, and with what. */
static bool refused(const struct serve *s, struct buf *b, uint32_t *result)
{
	uint8_t locality;

	switch (s->command) {
	case CHANNEL_GET_STATEBLOB:
	case CHANNEL_SET_STATEBLOB:
	case CHANNEL_SET_DATAFD:
		*result = CHANNEL_BAD_ORDINAL;
		return true;
	case CHANNEL_SET_LOCALITY:
		*result = CHANNEL_BAD_LOCALITY;
		return s->o->reject_locality_4 && !buf_get_u8(b, &locality) && locality == 4;
	default:
		return false;
	}
}

static void on_conn(struct serve *s)
{
	uint8_t mem[CHANNEL_REQUEST_MAX], reply[CHANNEL_WORD];
	ssize_t n = recv(s->conn, mem, sizeof(mem), MSG_DONTWAIT);
	uint32_t result;
	struct buf b, r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(s);
		return;
	}
	buf_wrap(&b, mem, (size_t)n);
	if (buf_get_u32be(&b, &s->command))
		s->command = 0; /* too short for one: the backend says so */
	if (!refused(s, &b, &result)) {
		ask(s, ASKED_CTRL, mem, (size_t)n, -1);
		return;
	}
	buf_init(&r, reply, sizeof(reply));
	if (!buf_put_u32be(&r, result))
		answer(s, r.data, r.len);
	if (s->command == CHANNEL_SET_STATEBLOB && s->conn >= 0)
		drop(s); /* what follows would be taken for requests */
}

static void on_listener(struct serve *s)
{
	s->conn = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->conn < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		serve_end(s, say_error("%s: no connection can be taken: %s", s->name, strerror(errno)));
}

/* --- replies --- */

/* GET_CAPABILITY: of what the TPM can do, what a client of --ctrl may have it do. */
static size_t capabilities(uint8_t *mem, size_t n)
{
	uint32_t result, caps;
	struct buf b;

	buf_wrap(&b, mem, n);
	if (buf_get_u32be(&b, &result) || buf_get_u32be(&b, &caps) || result)
		return n;
	caps &= ~(uint32_t)(CHANNEL_CAP_STATEBLOBS | CHANNEL_CAP_SET_DATAFD);
	buf_init(&b, mem, 2 * CHANNEL_WORD);
	return buf_put_u32be(&b, result) || buf_put_u32be(&b, caps) ? 0 : b.len;
}

static void on_reply(struct serve *s, uint8_t *mem, size_t n)
{
	enum serve_asked asked = s->asked;
	uint32_t result;
	struct buf b;

	s->last = asked;
	s->asked = ASKED_NOTHING;
	buf_wrap(&b, mem, n);
	if (asked == ASKED_NOTHING || buf_get_u32be(&b, &result)) {
		serve_end(s, say_error("%s: its TPM says what makes no sense", s->name));
		return;
	}
	if (asked == ASKED_CTRL) {
		answer(s, mem, s->command == CHANNEL_GET_CAPABILITY ? capabilities(mem, n) : n);
		return;
	}
	if (result) {
		say("%s: a connection is sent away: the TPM answers 0x%x to it", s->name, result);
		on_data(s);
	}
}

static void on_held(struct serve *s)
{
	uint8_t mem[CHANNEL_REPLY_MAX];
	ssize_t n = recv(s->held, mem, sizeof(mem), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		on_reply(s, mem, (size_t)n);
	else
		fd_close(&s->held); /* the manager says why */
}

/* --- the loop --- */

enum { LINK, SIGNALS, HELD, DATA, SERVER, CTRL, FDS };

static void watch(const struct serve *s, struct pollfd p[static FDS])
{
	bool free = s->held >= 0 && s->asked == ASKED_NOTHING;

	p[LINK] = (struct pollfd){ .fd = s->link, .events = POLLIN };
	p[SIGNALS] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
	p[HELD] = (struct pollfd){ .fd = s->held, .events = POLLIN };
	p[DATA] = (struct pollfd){ .fd = s->data }; /* its end alone */
	p[SERVER] = (struct pollfd){ .fd = free && s->data < 0 ? s->server : -1, .events = POLLIN };
	p[CTRL] = (struct pollfd){ .fd = s->conn < 0 ? s->listener : free ? s->conn : -1, .events = POLLIN };
}

int server_run(struct serve *s)
{
	struct pollfd p[FDS];

	while (!s->end) {
		watch(s, p);
		if (poll(p, FDS, -1) < 0) {
			if (errno == EINTR)
				continue;
			return say_error("%s: %s", s->name, strerror(errno));
		}
		if (p[SIGNALS].revents)
			serve_end(s, 0);
		else if (p[HELD].revents)
			on_held(s);
		else if (p[LINK].revents)
			serve_on_link(s);
		else if (p[DATA].revents)
			on_data(s);
		else if (p[CTRL].revents && s->conn < 0)
			on_listener(s);
		else if (p[CTRL].revents && (s->last == ASKED_DATA || !p[SERVER].revents)) /* in turns, if both keep coming */
			on_conn(s);
		else if (p[SERVER].revents)
			on_server(s);
	}
	return s->status;
}

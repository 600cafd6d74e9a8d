/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A control channel of the front's own: for --server, since there no QEMU brings one. The manager powers the TPM on for
 * it, as for any, and off when it ends. All of this happens before there is a socket, so it may wait.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/channel.h"
#include "vtpm-mgr/swtpm/serve.h"

#define TPM_STARTUP_SIZE 12u
#define TPM_HEADER_SIZE	 10u

/* The TPM has been lost on the way: the manager says why. */
static int lost(struct serve *s, char why[static WHY_MAX + 1])
{
	struct front_result r;
	int err = link_wait_off(s->link, &r);

	s->on = false;
	if (err || !r.text[0])
		return explain(why, ERR_CLOSED, "%s: its TPM is not to be had; the manager's log says more", s->name);
	return explain(why, ERR_CLOSED, "%s: its TPM is not to be had: %s", s->name, r.text);
}

/* Receives what the backend answers, at least min bytes of it, in one piece. */
static int await(struct serve *s, int fd, struct buf *b, uint8_t *mem, size_t cap, char why[static WHY_MAX + 1])
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;
	int ready;

	while ((ready = poll(&p, 1, LINK_TIMEOUT_MS)) < 0 && errno == EINTR)
		;
	if (ready == 0)
		return explain(why, ERR_TIMEOUT, "%s: its TPM does not answer", s->name);
	n = ready < 0 ? -1 : recv(fd, mem, cap, 0);
	if (n <= 0)
		return lost(s, why);
	buf_wrap(b, mem, (size_t)n);
	return 0;
}

/* Says something on the channel; a result that is none is an error. */
static int ask(struct serve *s, uint32_t command, uint32_t argument, int fd, char why[static WHY_MAX + 1])
{
	uint8_t mem[CHANNEL_REPLY_MAX];
	uint32_t result;
	struct buf b;

	buf_init(&b, mem, 2 * CHANNEL_WORD);
	if (buf_put_u32be(&b, command) || buf_put_u32be(&b, argument))
		return explain(why, ERR_RANGE, "0x%x cannot be said", command);
	if (channel_send(s->held, b.data, b.len, fd))
		return lost(s, why);
	if (await(s, s->held, &b, mem, sizeof(mem), why))
		return ERR_CLOSED;
	if (buf_get_u32be(&b, &result))
		return explain(why, ERR_PROTO, "%s: its TPM answers with too little", s->name);
	if (command == CHANNEL_INIT && result == CHANNEL_FAIL)
		return explain(why, ERR_BUSY, "%s: its TPM is not to be had as long as another client has it; the manager's log says more",
			       s->name);
	return result ? explain(why, ERR_ENGINE, "%s: its TPM answers 0x%x to 0x%x", s->name, result, command) : 0;
}

/* What the TPM says to it, swtpm does not ask: a startup-state without a saved state leaves the TPM waiting for another. */
static int startup(struct serve *s, uint16_t type, char why[static WHY_MAX + 1])
{
	uint8_t mem[64];
	uint32_t rc;
	struct buf b;
	int sv[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return explain(why, ERR_SYS, "no socket to be had: %s", strerror(errno));
	err = ask(s, CHANNEL_SET_DATAFD, CHANNEL_DATAFD_ONCE, sv[1], why);
	fd_close(&sv[1]);
	buf_init(&b, mem, sizeof(mem));
	if (!err && (buf_put_u16be(&b, 0x8001) || buf_put_u32be(&b, TPM_STARTUP_SIZE) || buf_put_u32be(&b, 0x144) ||
		     buf_put_u16be(&b, type) || channel_send(sv[0], b.data, b.len, -1)))
		err = lost(s, why);
	if (!err)
		err = await(s, sv[0], &b, mem, sizeof(mem), why);
	if (!err && (buf_skip(&b, TPM_HEADER_SIZE - sizeof(rc)) || buf_get_u32be(&b, &rc)))
		err = explain(why, ERR_PROTO, "%s: its TPM answers TPM2_Startup with too little", s->name);
	else if (!err && rc)
		say("%s: its TPM answers TPM2_Startup(%s) with 0x%x, and is not started", s->name, type ? "STATE" : "CLEAR", rc);
	fd_close(&sv[0]);
	return err;
}

int held_begin(struct serve *s, char why[static WHY_MAX + 1])
{
	int sv[2], err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return explain(why, ERR_SYS, "no socket to be had: %s", strerror(errno));
	s->held = sv[0];
	err = link_connect(s->link, sv[1]);
	fd_close(&sv[1]);
	if (err)
		return explain(why, err, "%s: the manager does not take the connection", s->name);
	s->on = true;
	/* The first answer says that the TPM is to be had. */
	err = ask(s, s->o->init ? CHANNEL_INIT : CHANNEL_GET_CAPABILITY, 0, -1, why);
	if (!err && s->o->startup != STARTUP_NONE)
		err = startup(s, s->o->startup == STARTUP_STATE, why);
	return err;
}

void held_end(struct serve *s)
{
	struct front_result r;

	fd_close(&s->data);
	fd_close(&s->held);
	if (!s->on)
		return;
	if (link_wait_off(s->link, &r))
		say("%s: the manager has ended before its TPM was off", s->name);
	else
		say("%s: its TPM is off%s%s", s->name, r.text[0] ? ": " : "", r.text);
	s->on = false;
}

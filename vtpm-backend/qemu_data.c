/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU's data channel: a stream of TPM commands, each answered before the next. A guest says how long its command is and
 * QEMU passes that on, so there may be less than a header, or a length that is nonsense. Whatever has come
 * by then is thrown away and answered with an error: QEMU waits for an answer, and the next command is a new one.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "lib/util.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/transport.h"

#define FORGET_MAX 256u /* reads: more than a socket holds */
#define REST_MS	  250 /* QEMU sends a command in one piece: the rest of one that came in part is not on the way */

void qemu_data_close(struct qemu *q)
{
	int fd = atomic_exchange(&q->data, -1);

	/* Others may have it, too, who brought it: all of them see that it has ended. */
	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR); /* fails if it has ended already */
	fd_close(&fd);
	q->once = false;
	q->have = q->taken = 0;
	q->expired = false;
}

static ssize_t receive(const struct qemu *q, uint8_t *p, size_t n)
{
	struct iovec iov = { .iov_base = p, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	return recvmsg(q->data, &msg, MSG_DONTWAIT);
}

void qemu_data_forget(struct backend *b)
{
	struct qemu *q = b->qemu;
	unsigned reads = 0;

	while (q->data >= 0 && receive(q, b->cmd, sizeof(b->cmd)) > 0) {
		if (++reads == FORGET_MAX)
			qemu_data_close(q); /* somebody sends as fast as we read */
	}
	secmem_wipe(b->cmd, sizeof(b->cmd));
	q->have = q->taken = 0;
	q->expired = false;
}

/* QEMU says when with INIT. */
static int qemu_begin(struct backend *b)
{
	b->locality_max = QEMU_LOCALITY_MAX;
	return 0;
}

/* A TPM whose volatile state QEMU has saved goes on from there (qemu_state.c). */
static int qemu_end(struct backend *b)
{
	qemu_state_forget(b->qemu);
	if (b->commit.exported)
		power_cut(b);
	return power_off(b);
}

static int qemu_wait(struct backend *b)
{
	struct qemu *q = b->qemu;
	int n;

	for (;;) {
		bool behind = q->taken > 0 && q->have > q->taken; /* perhaps all of the next command */
		struct pollfd fds[3] = { { .fd = b->stop_fd, .events = POLLIN },
					 { .fd = q->job_fd, .events = POLLIN },
					 { .fd = q->data, .events = POLLIN } };

		n = poll(fds, ARRAY_LEN(fds), behind ? 0 : q->have > q->taken ? REST_MS : -1);
		if (n < 0 && errno != EINTR)
			return ERR_SYS;
		if (fds[0].revents != 0 && n > 0)
			return ERR_CLOSED;
		if (fds[1].revents != 0 && n > 0) {
			qemu_job_run(b);
			continue;
		}
		/* A socket with an error queue stays ready without anything to read; QEMU's has none. */
		if (n > 0 && (fds[2].revents & (POLLERR | POLLNVAL)) && !(fds[2].revents & POLLIN))
			qemu_data_close(q);
		q->expired = n == 0 && !behind;
		if (n >= 0)
			return 0;
	}
}

/* Looks at what has come of a command. ERR_AGAIN: not all yet. ERR_RANGE: nonsense. */
static int look(const struct backend *b, size_t *len)
{
	uint32_t size;
	struct buf c;

	buf_wrap(&c, b->cmd, b->qemu->have);
	if (buf_skip(&c, 2) || buf_get_u32be(&c, &size))
		return ERR_AGAIN;
	if (size < TPM_HEADER_SIZE || size > CHAN_PACKET_MAX)
		return ERR_RANGE;
	*len = size;
	return b->qemu->have < size ? ERR_AGAIN : 0;
}

/* What came behind the last command is the beginning of the next. */
static void move_up(struct backend *b)
{
	struct qemu *q = b->qemu;

	q->have -= q->taken;
	memmove(b->cmd, b->cmd + q->taken, q->have);
	q->taken = 0;
}

/* CHAN_NONE: more is to come. */
static enum chan_verdict receive_command(struct backend *b, size_t *len)
{
	struct qemu *q = b->qemu;
	ssize_t n;
	int err;

	move_up(b);
	for (;;) {
		err = q->expired ? ERR_RANGE : look(b, len);
		if (err == ERR_RANGE) {
			qemu_data_forget(b);
			return CHAN_BAD;
		}
		if (err == 0)
			return CHAN_REQUEST;
		n = receive(q, b->cmd + q->have, sizeof(b->cmd) - q->have);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return CHAN_NONE;
		if (n <= 0) {
			qemu_data_close(q);
			return CHAN_NONE;
		}
		q->have += (size_t)n;
	}
}

static enum chan_verdict qemu_take(struct backend *b, struct chan_request *req)
{
	struct qemu *q = b->qemu;
	enum chan_verdict v;
	size_t len = 0;

	if (q->data < 0)
		return CHAN_NONE;
	atomic_store(&q->in_hand, true); /* before the command is out of the socket: a cancel may be on its heels */
	v = receive_command(b, &len);
	if (v == CHAN_NONE) {
		atomic_store(&q->in_hand, false);
		atomic_store(&q->cancel, false);
		return v;
	}
	req->len = v == CHAN_REQUEST ? len : 0;
	req->locality = q->locality;
	q->taken = req->len;
	return v;
}

/* QEMU reads an answer before it sends the next command, so one always fits; who does not read it gets no more. */
static int qemu_respond(struct backend *b, size_t len)
{
	struct qemu *q = b->qemu;
	struct iovec iov = { .iov_base = b->rsp, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	/* In this order, and before the answer: from then on a cancel is for the next command. */
	atomic_store(&q->in_hand, false);
	atomic_store(&q->cancel, false);
	if (sendmsg(q->data, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)len || q->once)
		qemu_data_close(q);
	return 0;
}

/* A job that ends the TPM's life does not wait for the command in hand, either. */
static bool qemu_cancelled(struct backend *b)
{
	struct qemu *q = b->qemu;

	return atomic_load(&q->cancel) ||
	       (atomic_load(&q->job.stage) == QEMU_JOB_POSTED && q->job.rule->ends);
}

const struct transport transport_qemu = {
	.option = "--qemu",
	.sandbox = SANDBOX_BACKEND,
	.begin = qemu_begin,
	.end = qemu_end,
	.wait = qemu_wait,
	.take = qemu_take,
	.respond = qemu_respond,
	.cancelled = qemu_cancelled,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* The control thread's side of QEMU's control channel. Nothing here waits: control_watch does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-backend/control.h"
#include "vtpm-backend/qemu.h"
#include "vtpm-mgr/proto/limits.h"

#define FDS_TAKEN 2u /* what fits into the space for one descriptor, by its alignment */

int qemu_attach(struct backend *b)
{
	struct qemu *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return ERR_NOMEM;
	q->job.fd = -1;
	atomic_init(&q->data, -1);
	atomic_init(&q->job.stage, QEMU_JOB_NONE);
	q->job_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->job_fd < 0) {
		free(q);
		return ERR_SYS;
	}
	b->qemu = q;
	return 0;
}

/* --- replies --- */

static size_t unsent(const struct qemu *q)
{
	return q->job.reply.b.len + q->job.reply.blob_len - q->sent;
}

static void hang_up(struct backend *b)
{
	b->qemu->gone = true;
	control_end(b);
}

/* The rest of the reply, as far as the socket takes it. */
static void send_reply(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_reply *r = &q->job.reply;
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	while (unsent(q) > 0) {
		bool head = q->sent < r->b.len;

		iov.iov_base = head ? r->b.data + q->sent : r->blob + (q->sent - r->b.len);
		iov.iov_len = head ? r->b.len - q->sent : unsent(q);
		n = sendmsg(BACKEND_FD_QEMU, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR) {
			hang_up(b);
			return;
		}
		q->sent += n > 0 ? (size_t)n : 0;
	}
	qemu_reply_free(r);
	q->sent = 0;
	if (q->quit)
		hang_up(b);
}

static void reply_code(struct backend *b, uint32_t result)
{
	qemu_reply_begin(&b->qemu->job.reply);
	qemu_reply_end(&b->qemu->job.reply, result);
	send_reply(b);
}

/* Whether the engine thread is at a command, or will be. */
static bool command_in_hand(struct qemu *q)
{
	struct pollfd p = { .fd = atomic_load(&q->data), .events = POLLIN };

	return atomic_load(&q->in_hand) || (poll(&p, 1, 0) > 0 && (p.revents & POLLIN));
}

/* One that comes while nothing is in hand came too late. It must not meet the next command, so it looks twice. */
static void cancel(struct qemu *q)
{
	atomic_store(&q->cancel, command_in_hand(q));
	if (!command_in_hand(q))
		atomic_store(&q->cancel, false);
}

/* What concerns no engine: it is answered while one is at work, too. */
static void reply_at_once(struct backend *b, const struct qemu_rule *rule)
{
	struct qemu *q = b->qemu;

	if (rule->cmd == CMD_CANCEL_TPM_CMD) {
		cancel(q);
		reply_code(b, QEMU_SUCCESS);
		return;
	}
	qemu_reply_begin(&q->job.reply);
	/* GET_CAPABILITY: older clients read one u64, newer ones result and u32. */
	if (buf_put_u32be(&q->job.reply.b, QEMU_CAPABILITIES))
		return;
	qemu_reply_end(&q->job.reply, QEMU_SUCCESS);
	send_reply(b);
}

/* --- requests --- */

static void post(struct backend *b)
{
	const uint64_t one = 1;

	atomic_store(&b->qemu->job.stage, QEMU_JOB_POSTED);
	(void)!write(b->qemu->job_fd, &one, sizeof(one)); /* fails only if it is readable already */
}

/* Makes room for the data of SET_STATEBLOB {u32 flags, u32 type, u32 length}, and takes what came with the request. */
static int blob_begin(struct qemu *q)
{
	struct buf head = q->job.body;
	uint32_t length;
	size_t n;

	if (buf_skip(&head, 8) || buf_get_u32be(&head, &length) || length > SEALED_STATE_MAX)
		return ERR_RANGE;
	q->job.blob = malloc(length + 1); /* of none, too */
	if (q->job.blob == NULL)
		return ERR_NOMEM;
	n = buf_left(&head) < length ? buf_left(&head) : length;
	q->job.blob_len = length;
	q->blob_have = n;
	q->receiving = true;
	return buf_get_bytes(&head, q->job.blob, n);
}

static void blob_check(struct backend *b)
{
	if (b->qemu->blob_have < b->qemu->job.blob_len)
		return;
	b->qemu->receiving = false;
	post(b);
}

/* n bytes of a request are in q->in. */
static void take_request(struct backend *b, size_t n)
{
	struct qemu *q = b->qemu;
	const struct qemu_rule *rule;
	uint32_t cmd;

	buf_wrap(&q->job.body, q->in, n);
	if (buf_get_u32be(&q->job.body, &cmd)) {
		reply_code(b, QEMU_BAD_PARAMETER);
		return;
	}
	rule = qemu_rule_find(cmd);
	q->job.rule = rule;
	if (rule == NULL) {
		reply_code(b, QEMU_BAD_ORDINAL);
	} else if (buf_left(&q->job.body) < rule->min) {
		reply_code(b, QEMU_BAD_PARAMETER);
	} else if (rule->run == NULL) {
		reply_at_once(b, rule);
	} else if (cmd != CMD_SET_STATEBLOB) {
		post(b);
	} else if (blob_begin(q) != 0) {
		hang_up(b); /* where its data would end, nobody knows */
	} else {
		blob_check(b);
	}
}

/* Keeps the first descriptor that came and closes all others. */
static void take_fds(struct qemu *q, struct msghdr *msg)
{
	int fds[FDS_TAKEN];

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > FDS_TAKEN)
			continue;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			if (q->job.fd < 0)
				q->job.fd = fds[i];
			else
				close(fds[i]);
		}
	}
}

static void receive(struct backend *b)
{
	struct qemu *q = b->qemu;
	union {
		struct cmsghdr align;
		uint8_t mem[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = q->in, .iov_len = sizeof(q->in) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	if (q->receiving) {
		iov.iov_base = q->job.blob + q->blob_have;
		iov.iov_len = q->job.blob_len - q->blob_have;
	}
	n = recvmsg(BACKEND_FD_QEMU, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(b);
		return;
	}
	take_fds(q, &msg);
	if (q->receiving) {
		q->blob_have += (size_t)n;
		blob_check(b);
	} else {
		take_request(b, (size_t)n);
	}
	if (atomic_load(&q->job.stage) == QEMU_JOB_NONE)
		fd_close(&q->job.fd); /* it came with something that takes none */
}

/* --- for control_watch --- */

static void finish_job(struct backend *b)
{
	struct qemu *q = b->qemu;

	fd_close(&q->job.fd);
	free(q->job.blob);
	q->job.blob = NULL;
	q->job.blob_len = 0;
	atomic_store(&q->job.stage, QEMU_JOB_NONE);
	send_reply(b);
}

void qemu_watch(struct backend *b, struct pollfd *p)
{
	struct qemu *q = b->qemu;
	bool idle = q != NULL && !q->gone && !b->stopping && atomic_load(&q->job.stage) == QEMU_JOB_NONE;

	p->fd = idle ? BACKEND_FD_QEMU : -1;
	p->events = idle && unsent(q) > 0 ? POLLOUT : POLLIN;
	p->revents = 0;
}

void qemu_service(struct backend *b, const struct pollfd *p)
{
	struct qemu *q = b->qemu;

	if (q == NULL || q->gone)
		return;
	if (atomic_load(&q->job.stage) == QEMU_JOB_DONE)
		finish_job(b);
	else if (p->revents != 0 && unsent(q) > 0)
		send_reply(b);
	else if (p->revents != 0)
		receive(b);
}

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

_Static_assert(sizeof(struct qemu_area) <= CHECKPOINT_LINK_LEN, "there is room for it");

int qemu_attach(struct backend *b)
{
	struct qemu *q = calloc(1, sizeof(*q));
	void *link;
	int err;

	if (q == NULL)
		return ERR_NOMEM;
	err = checkpoint_link(&b->area, QEMU_AREA_LOCKED, &link);
	if (err != 0) {
		free(q);
		return err;
	}
	q->area = link;
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

static uint64_t number(const struct qemu *q)
{
	return transfer_what(&q->area->request_in);
}

/* Whether the reply to the request in hand has been begun. */
static bool replied(const struct qemu *q)
{
	return transfer_what(&q->area->reply_out) == number(q);
}

static void hang_up(struct backend *b)
{
	b->qemu->gone = true;
	control_end(b);
}

/* The rest of the reply, as far as the socket takes it; when all of it is sent, the next request begins. */
static void send_reply(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a = q->area;
	const uint64_t next = number(q) + 1;
	int err = transfer_send(&a->reply_out, BACKEND_FD_QEMU, a->reply, sizeof(a->reply));

	if (err == ERR_AGAIN)
		return;
	if (err != 0 || q->quit) {
		hang_up(b);
		return;
	}
	transfer_clear(&a->request_in);
	transfer_start(&a->request_in, next, 0);
}

/* Takes the reply out of the job. From here on the request has been dealt with, whoever sends what is left of it. */
static void begin_reply(struct backend *b)
{
	struct qemu_area *a = b->qemu->area;
	struct qemu_reply *r = &b->qemu->job.reply;

	transfer_clear(&a->reply_out);
	memcpy(a->reply, r->b.data, r->b.len);
	if (r->blob_len > 0)
		memcpy(a->reply + r->b.len, r->blob, r->blob_len);
	transfer_start(&a->reply_out, number(b->qemu), r->b.len + r->blob_len);
	qemu_reply_free(r);
	send_reply(b);
}

static void reply_code(struct backend *b, uint32_t result)
{
	qemu_reply_begin(&b->qemu->job.reply);
	qemu_reply_end(&b->qemu->job.reply, result);
	begin_reply(b);
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
	begin_reply(b);
}

/* --- requests --- */

static void post(struct backend *b)
{
	const uint64_t one = 1;

	b->qemu->job.number = number(b->qemu);
	atomic_store(&b->qemu->job.stage, QEMU_JOB_POSTED);
	(void)!write(b->qemu->job_fd, &one, sizeof(one)); /* fails only if it is readable already */
}

/* What of the data of SET_STATEBLOB {u32 flags, u32 type, u32 length} came with the request; the rest is to come. */
static int blob_begin(struct qemu *q)
{
	struct qemu_area *a = q->area;
	struct buf head = q->job.body;
	uint32_t length;

	if (buf_skip(&head, 8) || buf_get_u32be(&head, &length) || length > SEALED_STATE_MAX)
		return ERR_RANGE;
	q->blob_head = buf_left(&head) < length ? buf_left(&head) : length;
	q->job.blob = a->blob;
	q->job.blob_len = length;
	q->receiving = true;
	if (transfer_what(&a->blob_in) != number(q)) {
		transfer_clear(&a->blob_in);
		transfer_start(&a->blob_in, number(q), 0);
	}
	return buf_get_bytes(&head, a->blob, q->blob_head);
}

static size_t blob_rest(const struct qemu *q)
{
	return q->job.blob_len - q->blob_head;
}

static void blob_check(struct backend *b)
{
	struct qemu *q = b->qemu;

	if (transfer_done(&q->area->blob_in, blob_rest(q)) < blob_rest(q))
		return;
	q->receiving = false;
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

/* What one recvmsg would bring, in q->in, and a descriptor that came with it: it is a copy. 0: nothing. Negative: the end. */
static ssize_t peek(struct qemu *q)
{
	union {
		struct cmsghdr align;
		uint8_t mem[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = q->in, .iov_len = sizeof(q->in) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	n = recvmsg(BACKEND_FD_QEMU, &msg, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -1;
	take_fds(q, &msg);
	return n;
}

static bool brings_data_channel(const struct qemu *q, size_t n)
{
	struct buf head;
	uint32_t cmd;

	buf_wrap(&head, q->in, n);
	return q->job.fd >= 0 && buf_get_u32be(&head, &cmd) == 0 && cmd == CMD_SET_DATAFD;
}

/* Takes n bytes of the request out of the socket. */
static int consume(struct qemu *q, size_t n)
{
	return transfer_receive(&q->area->request_in, BACKEND_FD_QEMU, q->area->request, n);
}

/*
 * Out of the socket, a descriptor is this process's alone and ends with it. So one that brings a data channel stays there until the
 * channel is in the stash, and finish_job takes it out.
 */
static void receive_request(struct backend *b)
{
	struct qemu *q = b->qemu;
	const ssize_t n = peek(q);
	int err = 0;

	if (n == 0)
		return;
	if (n > 0 && brings_data_channel(q, (size_t)n)) {
		q->unread = (size_t)n;
		take_request(b, (size_t)n);
		return;
	}
	fd_close(&q->job.fd); /* it came with something that takes none */
	if (n > 0)
		err = consume(q, (size_t)n);
	if (n < 0 || err == ERR_CLOSED)
		hang_up(b);
	else if (err == 0)
		take_request(b, transfer_done(&q->area->request_in, (size_t)n));
}

static void receive(struct backend *b)
{
	struct qemu *q = b->qemu;
	int err;

	if (!q->receiving) {
		receive_request(b);
		return;
	}
	err = transfer_receive(&q->area->blob_in, BACKEND_FD_QEMU, q->area->blob + q->blob_head, blob_rest(q));
	if (err == ERR_CLOSED)
		hang_up(b);
	else
		blob_check(b);
}

void qemu_begin_control(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a;
	size_t n;

	if (q == NULL)
		return;
	a = q->area;
	q->quit = a->quit != 0;
	if (number(q) == 0) { /* nobody was there, or the last reply was all that was left to do, and perhaps half forgotten */
		transfer_clear(&a->request_in);
		transfer_start(&a->request_in, transfer_what(&a->reply_out) + 1, 0);
	}
	n = transfer_done(&a->request_in, sizeof(a->request));
	if (replied(q)) {
		send_reply(b);
	} else if (n > 0) {
		memcpy(q->in, a->request, n);
		take_request(b, n);
	}
}

/* --- for control_watch --- */

static void finish_job(struct backend *b)
{
	struct qemu *q = b->qemu;

	fd_close(&q->job.fd);
	if (q->unread > 0 && consume(q, q->unread) != 0) {
		hang_up(b); /* it was there a moment ago: another reads from it */
		return;
	}
	q->unread = 0;
	q->job.blob = NULL;
	q->job.blob_len = 0;
	atomic_store(&q->job.stage, QEMU_JOB_NONE);
	begin_reply(b);
}

void qemu_watch(struct backend *b, struct pollfd *p)
{
	struct qemu *q = b->qemu;
	bool idle = q != NULL && !q->gone && !b->stopping && atomic_load(&q->job.stage) == QEMU_JOB_NONE;

	p->fd = idle ? BACKEND_FD_QEMU : -1;
	p->events = idle && replied(q) ? POLLOUT : POLLIN;
	p->revents = 0;
}

void qemu_service(struct backend *b, const struct pollfd *p)
{
	struct qemu *q = b->qemu;

	if (q == NULL || q->gone)
		return;
	if (atomic_load(&q->job.stage) == QEMU_JOB_DONE)
		finish_job(b);
	else if (p->revents != 0 && replied(q))
		send_reply(b);
	else if (p->revents != 0)
		receive(b);
}

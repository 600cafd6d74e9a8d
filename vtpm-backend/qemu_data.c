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
#include "vtpm-backend/resume.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/transport.h"

#define FORGET_MAX 256u /* reads: more than a socket holds */
#define REST_MS	  250 /* QEMU sends a command in one piece: the rest of one that came in part is not on the way */

void qemu_data_close(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a = q->area;
	int fd = atomic_exchange(&q->data, -1);

	/* Others may have it, too, who brought it: all of them see that it has ended. */
	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR); /* fails if it has ended already */
	fd_close(&fd);
	qemu_note(&a->data, 0);
	qemu_note(&a->once, 0);
	qemu_stash_clear();
	transfer_give_up(&a->rsp_out);
	qemu_cmd_begin_anew(q, b->seq + 1);
	q->expired = false;
}

/* Throws away what has come by now, but for what was received of a command. */
static void drain(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct iovec iov = { .iov_base = b->cmd, .iov_len = sizeof(b->cmd) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned reads = 0;

	while (q->data >= 0 && recvmsg(q->data, &msg, MSG_DONTWAIT) > 0) {
		if (++reads == FORGET_MAX)
			qemu_data_close(b); /* somebody sends as fast as we read */
	}
	secmem_wipe(b->cmd, sizeof(b->cmd));
	q->expired = false;
}

void qemu_data_forget(struct backend *b)
{
	drain(b);
	qemu_cmd_begin_anew(b->qemu, b->seq + 1);
}

/* How much of a command has come. */
static size_t have(const struct qemu *q)
{
	return transfer_done(&q->area->cmd_in, sizeof(q->area->cmd));
}

/* Looks at that. ERR_AGAIN: not all yet, *len bytes are to be received. 0: it has *len bytes. ERR_RANGE: nonsense. */
static int look(const struct qemu *q, size_t *len)
{
	uint32_t size;
	struct buf c;

	*len = TPM_HEADER_SIZE;
	buf_wrap(&c, q->area->cmd, have(q));
	if (buf_skip(&c, 2) || buf_get_u32be(&c, &size))
		return ERR_AGAIN;
	if (size < TPM_HEADER_SIZE || size > CHAN_PACKET_MAX)
		return ERR_RANGE;
	if (have(q) < TPM_HEADER_SIZE)
		return ERR_AGAIN;
	*len = size;
	return have(q) < size ? ERR_AGAIN : 0;
}

/* Sends what of the response the socket takes. QEMU reads one before it sends the next command, so it always fits; who does not gets no more. */
static void deliver(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a = q->area;

	if (q->data < 0 || transfer_send(&a->rsp_out, q->data, a->rsp, sizeof(a->rsp)) != 0 ||
	    (a->once != 0 && b->seq >= a->once))
		qemu_data_close(b);
	secmem_wipe(a->rsp, sizeof(a->rsp));
	qemu_cmd_begin(q, b->seq + 1);
}

/* Goes on where the last backend stood: its response to command b->seq has len bytes. */
static void go_on(struct backend *b, size_t len)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a = q->area;
	size_t n;

	/* One that was off has none of these in a checkpoint. */
	if (b->seq < transfer_what(&a->rsp_out))
		b->seq = transfer_what(&a->rsp_out);
	qemu_link_resume(b);
	if (b->seq != transfer_what(&a->rsp_out))
		qemu_rsp_begin(b, len);
	deliver(b);
	q->inherited = have(q) > 0 && look(q, &n) != ERR_AGAIN;
	resume_judge(b, q->inherited || atomic_load(&q->job.stage) == QEMU_JOB_POSTED);
}

/* QEMU says with INIT when the TPM is on. */
static int qemu_begin(struct backend *b)
{
	size_t len = 0;
	int err = 0;

	b->locality_max = QEMU_LOCALITY_MAX;
	if (!(b->start.flags & RUN_RESUME)) {
		qemu_cmd_begin(b->qemu, 1);
		return 0;
	}
	qemu_link_restore(b);
	if (b->last_mem != NULL)
		err = resume_restore(b, &len);
	else
		resume_off(b, &len);
	if (err == 0)
		go_on(b, len);
	if (err == 0)
		err = resume_renew(b, len);
	secmem_wipe(b->rsp, sizeof(b->rsp));
	return err;
}

/* A TPM whose volatile state QEMU has saved goes on from there (qemu_state.c). */
static int qemu_end(struct backend *b)
{
	qemu_state_forget(b->qemu);
	checkpoint_power_set(&b->area, CHECKPOINT_CHANGING);
	if (b->commit.exported)
		power_cut(b);
	return power_off(b);
}

static int qemu_wait(struct backend *b)
{
	struct qemu *q = b->qemu;
	int n;

	for (;;) {
		struct pollfd fds[3] = { { .fd = b->stop_fd, .events = POLLIN },
					 { .fd = q->job_fd, .events = POLLIN },
					 { .fd = q->data, .events = POLLIN } };

		n = poll(fds, ARRAY_LEN(fds), q->inherited ? 0 : have(q) > 0 ? REST_MS : -1);
		if (n < 0 && errno != EINTR)
			return ERR_SYS;
		if (fds[0].revents != 0 && n > 0)
			return transport_woken(b);
		if (q->inherited) /* before any job: it was in hand before that came */
			return 0;
		if (fds[1].revents != 0 && n > 0) {
			qemu_job_run(b);
			continue;
		}
		/* A socket with an error queue stays ready without anything to read; QEMU's has none. */
		if (n > 0 && (fds[2].revents & (POLLERR | POLLNVAL)) && !(fds[2].revents & POLLIN))
			qemu_data_close(b);
		q->expired = n == 0;
		if (n >= 0)
			return 0;
	}
}

/* CHAN_NONE: more is to come. */
static enum chan_verdict receive_command(struct backend *b, size_t *len)
{
	struct qemu *q = b->qemu;
	int err;

	for (;;) {
		err = q->expired ? ERR_RANGE : look(q, len);
		if (err == ERR_RANGE) {
			drain(b);
			return CHAN_BAD;
		}
		if (err == 0) {
			memcpy(b->cmd, q->area->cmd, *len);
			return CHAN_REQUEST;
		}
		err = transfer_receive(&q->area->cmd_in, q->data, q->area->cmd, *len);
		if (err == ERR_CLOSED)
			qemu_data_close(b);
		if (err != 0)
			return CHAN_NONE;
	}
}

static enum chan_verdict qemu_take(struct backend *b, struct chan_request *req)
{
	struct qemu *q = b->qemu;
	enum chan_verdict v;
	size_t len = 0;

	if (q->data < 0)
		return CHAN_NONE;
	q->inherited = false;
	atomic_store(&q->in_hand, true); /* before the command is out of the socket: a cancel may be on its heels */
	v = receive_command(b, &len);
	if (v == CHAN_NONE) {
		atomic_store(&q->in_hand, false);
		atomic_store(&q->cancel, false);
		return v;
	}
	req->len = v == CHAN_REQUEST ? len : 0;
	req->locality = q->locality;
	return v;
}

static int qemu_respond(struct backend *b, size_t len)
{
	struct qemu *q = b->qemu;

	/* In this order, and before the answer: from then on a cancel is for the next command. */
	atomic_store(&q->in_hand, false);
	atomic_store(&q->cancel, false);
	qemu_rsp_begin(b, len);
	deliver(b);
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
	.area_fd = BACKEND_FD_QEMU_AREA,
	.begin = qemu_begin,
	.end = qemu_end,
	.wait = qemu_wait,
	.take = qemu_take,
	.respond = qemu_respond,
	.cancelled = qemu_cancelled,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The link between a backend that is killed and the one that takes its place. The data channel came over the control channel, so
 * nobody but the backend has its descriptor: it is put into a channel to oneself, of which the spawner has both ends, and where it
 * stays, because whoever wants it looks and does not take it.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/secmem.h"
#include "lib/util.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/qemu.h"

void qemu_note(uint64_t *word, uint64_t v)
{
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
}

/* --- the stash --- */

union stash_control {
	struct cmsghdr align;
	uint8_t mem[CMSG_SPACE(sizeof(int))];
};

void qemu_stash_clear(void)
{
	uint64_t number;
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 }; /* without room for them, descriptors are closed */

	while (recvmsg(BACKEND_FD_STASH_OUT, &msg, MSG_DONTWAIT) > 0)
		;
}

int qemu_stash_put(uint64_t number, int fd)
{
	union stash_control control = { 0 };
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	qemu_stash_clear();
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(BACKEND_FD_STASH_IN, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(number) ? 0 : ERR_SYS;
}

int qemu_stash_get(uint64_t number)
{
	union stash_control control = { 0 };
	uint64_t got = 0;
	struct iovec iov = { .iov_base = &got, .iov_len = sizeof(got) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(BACKEND_FD_STASH_OUT, &msg, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC) != sizeof(got))
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (got != number)
		fd_close(&fd);
	return fd;
}

/* --- one command, one request --- */

void qemu_cmd_begin_anew(struct qemu *q, uint64_t number)
{
	struct qemu_area *a = q->area;
	const size_t n = transfer_done(&a->cmd_in, sizeof(a->cmd));

	transfer_clear(&a->cmd_in);
	secmem_wipe(a->cmd, n);
	transfer_start(&a->cmd_in, number, 0);
}

void qemu_cmd_begin(struct qemu *q, uint64_t number)
{
	if (transfer_what(&q->area->cmd_in) != number)
		qemu_cmd_begin_anew(q, number);
}

void qemu_rsp_begin(struct backend *b, size_t len)
{
	struct qemu_area *a = b->qemu->area;

	transfer_clear(&a->rsp_out);
	memcpy(a->rsp, b->rsp, len);
	transfer_start(&a->rsp_out, b->seq, len);
}

void qemu_judge(struct qemu *q, uint32_t result)
{
	qemu_note(&q->area->verdict, q->job.number << 32 | result);
}

/* --- the next backend --- */

void qemu_link_restore(struct backend *b)
{
	struct qemu *q = b->qemu;
	struct qemu_area *a = q->area;
	uint32_t min;

	b->halted = a->halted != 0;
	q->locality = a->locality <= QEMU_LOCALITY_MAX ? (uint8_t)a->locality : 0;
	if (a->packet_max != 0)
		(void)engine_packet_max((uint32_t)a->packet_max, &min);
	if (a->data != 0)
		q->data = qemu_stash_get(a->data);
}

void qemu_link_resume(struct backend *b)
{
	struct qemu_area *a = b->qemu->area;

	qemu_state_restore(b);
	if (b->commit.version != 0 && a->exported == b->commit.version)
		commit_export(&b->commit);
	if (b->qemu->data < 0)
		qemu_data_close(b); /* or it was lost with the stash: then nobody is there to get an answer */
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/swtpm/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool channel_is_shutdown(const uint8_t *p, size_t n)
{
	struct buf b;
	uint32_t command;

	buf_wrap(&b, p, n);
	return !buf_get_u32be(&b, &command) && command == CHANNEL_SHUTDOWN;
}

int channel_send(int sock, const void *p, size_t n, int fd)
{
	union {
		struct cmsghdr align;
		uint8_t mem[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t sent;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fd)) };
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	return sent == (ssize_t)n ? 0 : sent < 0 ? err_from_errno(errno) : ERR_IO;
}

int channel_answer(int sock)
{
	static const uint8_t success[CHANNEL_WORD];

	return channel_send(sock, success, sizeof(success), -1);
}

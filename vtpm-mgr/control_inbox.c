/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/control_inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/util.h"

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
};

/* Those for which there is no room are closed. */
static int take_rights(struct inbox *in, const struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (in->nfds < CONTROL_FDS_MAX) {
			in->fds[in->nfds++] = fd;
		} else {
			fd_close(&fd);
			err = ERR_PROTO;
		}
	}
	return err;
}

/* They come all at once: a second helping is none of a request's. */
static int take_control(struct inbox *in, struct msghdr *mh)
{
	const bool had = in->nfds > 0;
	int err = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || had)
			err = ERR_PROTO;
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && take_rights(in, c))
			err = ERR_PROTO;
	}
	return (mh->msg_flags & MSG_CTRUNC) ? ERR_PROTO : err;
}

/* Whether all that is held is one request, whole or not. */
static bool is_alone(const struct inbox *in)
{
	const char *nul = memchr(in->bytes, '\0', in->len);

	return !nul || nul == in->bytes + in->len - 1;
}

int inbox_read(struct inbox *in, int sock, bool may_give)
{
	struct iovec iov = {in->bytes + in->len, sizeof(in->bytes) - in->len};
	union rights room;
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;
	int err;

	if (iov.iov_len == 0)
		return 0; /* whole requests are waiting: leave the rest in the kernel */
	if (may_give) { /* without room the kernel throws descriptors away, and says so */
		mh.msg_control = room.bytes;
		mh.msg_controllen = sizeof(room.bytes);
	}
	fd_hurry_begin();
	r = recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	fd_hurry_end();
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : ERR_CLOSED;
	err = take_control(in, &mh);
	if (r == 0)
		in->eof = true;
	in->len += (size_t)r;
	return !err && in->nfds > 0 && !is_alone(in) ? ERR_PROTO : err;
}

int inbox_next(struct inbox *in, size_t *used)
{
	const char *nul = memchr(in->bytes + in->scanned, '\0', in->len - in->scanned);

	if (!nul) {
		in->scanned = in->len;
		return in->len > CONTROL_REQUEST_MAX ? ERR_RANGE : ERR_AGAIN;
	}
	*used = (size_t)(nul - in->bytes) + 1;
	return 0;
}

void inbox_shift(struct inbox *in, size_t used)
{
	in->len -= used;
	in->scanned = 0;
	memmove(in->bytes, in->bytes + used, in->len);
}

unsigned inbox_take_fds(struct inbox *in, int fds[static CONTROL_FDS_MAX])
{
	const unsigned n = in->nfds;

	memcpy(fds, in->fds, n * sizeof(fds[0]));
	in->nfds = 0;
	return n;
}

void inbox_close(struct inbox *in)
{
	for (unsigned i = 0; i < in->nfds; i++)
		fd_close(&in->fds[i]);
	in->nfds = 0;
}

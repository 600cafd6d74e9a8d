/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/ipc.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lib/util.h"

#define IPC_TYPE_SIZE 4u
/* The kernel keeps 32 bytes of the send buffer for itself (net/unix/af_unix.c, unix_dgram_sendmsg). */
#define IPC_SOCKET_SPARE 64u

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
};

int ipc_size_socket(int fd)
{
	const int want = (int)(IPC_BODY_MAX + IPC_TYPE_SIZE + IPC_SOCKET_SPARE);
	int got = 0;
	socklen_t len = sizeof(got);

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want)))
		return err_from_errno(errno);
	/* Doubled, and silently cut to net.core.wmem_max: look at what came of it. */
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &got, &len))
		return err_from_errno(errno);
	return got < want ? ERR_RANGE : 0;
}

int ipc_pair(int sv[2])
{
	int err;

	sv[0] = sv[1] = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return err_from_errno(errno);
	err = ipc_size_socket(sv[0]);
	if (!err)
		err = ipc_size_socket(sv[1]);
	if (err) {
		fd_close(&sv[0]);
		fd_close(&sv[1]);
	}
	return err;
}

/* Attaches fds as one SCM_RIGHTS message (cmsg(3)). */
static void put_fds(struct msghdr *mh, union control *ctl, const int *fds, unsigned nfds)
{
	struct cmsghdr *c;

	if (nfds == 0)
		return;
	memset(ctl, 0, sizeof(*ctl));
	mh->msg_control = ctl->bytes;
	mh->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
}

int ipc_send(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds)
{
	uint8_t head[IPC_TYPE_SIZE];
	struct buf h;
	struct iovec iov[2] = {{head, sizeof(head)}, {NULL, 0}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	union control ctl;
	ssize_t r;

	if (body)
		iov[1] = (struct iovec){body->data, body->len};
	buf_init(&h, head, sizeof(head));
	if (nfds > IPC_FDS_MAX || iov[1].iov_len > IPC_BODY_MAX || buf_put_u32le(&h, type))
		return ERR_RANGE;
	put_fds(&mh, &ctl, fds, nfds);
	do
		r = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r < 0 ? err_from_errno(errno) : 0;
}

int ipc_send_wait(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int err;

	while ((err = ipc_send(fd, type, body, fds, nfds)) == ERR_AGAIN)
		(void)poll(&p, 1, -1);
	return err;
}

static void msg_clear(struct ipc_msg *m)
{
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < IPC_FDS_MAX; i++)
		m->fds[i] = -1;
}

/* Takes the descriptors of one SCM_RIGHTS message; what is too many is closed and makes it fail. */
static bool take_rights(struct ipc_msg *m, struct cmsghdr *c)
{
	size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (m->nfds < IPC_FDS_MAX) {
			m->fds[m->nfds++] = fd;
		} else {
			fd_close(&fd);
			ok = false;
		}
	}
	return ok;
}

/* Looks at all control data, also after the first bad one: descriptors among it are ours to close. */
static int take_control(struct ipc_msg *m, struct msghdr *mh)
{
	bool ok = (mh->msg_flags & MSG_TRUNC) == 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || !take_rights(m, c))
			ok = false;
	}
	if (!ok)
		return ERR_PROTO;
	if ((mh->msg_flags & MSG_CTRUNC) == 0)
		return 0;
	/* Cut short: with all places filled the sender sent too many, otherwise no more could be opened here. */
	return m->nfds == IPC_FDS_MAX ? ERR_PROTO : ERR_FULL;
}

/*
 * Whether to receive the next message may mean to close descriptors. The kernel marks what it has no room for, and such a look costs a
 * tenth of what the timer does. Where there is no message yet, the one that comes may have some.
 */
static bool may_close(int fd)
{
	struct msghdr none = {0};

	return recvmsg(fd, &none, MSG_PEEK | MSG_DONTWAIT) < 0 || (none.msg_flags & MSG_CTRUNC);
}

static int receive(int fd, struct ipc_msg *m, void *storage, size_t cap, int flags, union control *ctl)
{
	const bool hurry = fd_hurry_is_prepared() && may_close(fd);
	uint8_t head[IPC_TYPE_SIZE];
	struct buf h;
	struct iovec iov[2] = {{head, sizeof(head)}, {storage, cap}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	int err;
	ssize_t r;

	if (ctl) {
		mh.msg_control = ctl->bytes;
		mh.msg_controllen = sizeof(ctl->bytes);
	}
	msg_clear(m);
	if (hurry)
		fd_hurry_begin(); /* descriptors that do not fit are closed by the kernel, here */
	do
		r = recvmsg(fd, &mh, flags | MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (hurry)
		fd_hurry_end();
	if (r < 0)
		return err_from_errno(errno);
	err = take_control(m, &mh);
	if (r == 0 && !err && m->nfds == 0)
		return ERR_CLOSED;
	buf_wrap(&h, head, (size_t)r < sizeof(head) ? (size_t)r : sizeof(head));
	if (buf_get_u32le(&h, &m->type))
		err = ERR_PROTO;
	if (err)
		ipc_msg_done(m);
	if (err != ERR_PROTO)
		buf_wrap(&m->body, storage, (size_t)r - sizeof(head));
	return err;
}

int ipc_recv(int fd, struct ipc_msg *m, void *storage, size_t cap, int flags)
{
	union control ctl;

	return receive(fd, m, storage, cap, flags, &ctl);
}

int ipc_recv_bare(int fd, struct ipc_msg *m, void *storage, size_t cap, int flags)
{
	int err = receive(fd, m, storage, cap, flags, NULL);

	return err == ERR_FULL ? ERR_PROTO : err;
}

int ipc_take_fd(struct ipc_msg *m, unsigned i)
{
	int fd;

	if (i >= m->nfds)
		return -1;
	fd = m->fds[i];
	m->fds[i] = -1;
	return fd;
}

void ipc_msg_done(struct ipc_msg *m)
{
	for (unsigned i = 0; i < m->nfds; i++)
		fd_close(&m->fds[i]);
	m->nfds = 0;
}

static const struct ipc_rule *find_rule(const struct ipc_rule *rules, size_t nrules, uint32_t state,
					const struct ipc_msg *m)
{
	for (size_t i = 0; i < nrules; i++) {
		const struct ipc_rule *r = &rules[i];

		if (r->type == m->type && (r->states & state) && m->body.len >= r->min && m->body.len <= r->max &&
		    m->nfds >= r->min_fds && m->nfds <= r->max_fds)
			return r;
	}
	return NULL;
}

int ipc_dispatch(const struct ipc_rule *rules, size_t nrules, uint32_t state, void *peer, struct ipc_msg *m)
{
	const struct ipc_rule *rule = find_rule(rules, nrules, state, m);
	int err = rule ? rule->handle(peer, m) : ERR_PROTO;

	ipc_msg_done(m);
	if (!err && buf_left(&m->body) != 0)
		err = ERR_PROTO;
	return err;
}

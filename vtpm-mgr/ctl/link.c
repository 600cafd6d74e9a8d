/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/ctl/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/util.h"

int link_unreachable(const struct link *l, struct ctl_error *e, const char *why)
{
	snprintf(e->name, sizeof(e->name), "org.vtpm.ctl.Unreachable");
	return ctl_fail(e, ERR_CLOSED, EXIT_UNREACHABLE, "no manager at %s: %s; is vtpm-mgr running?", l->where, why);
}

static int dial(struct link *l, const char *runtime_dir, struct ctl_error *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", runtime_dir);

	snprintf(l->where, sizeof(l->where), "%s/control.sock", runtime_dir);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return link_unreachable(l, e, "the path is too long for a socket");
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd >= 0 && connect(l->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return 0;
	return link_unreachable(l, e, strerror(errno));
}

int link_open(struct link *l, const struct ctl_target *at, struct ctl_error *e)
{
	*l = LINK_NONE;
	return at->xen_domain ? domain_attach(l, at->xen_domain, e) : dial(l, at->runtime_dir, e);
}

void link_close(struct link *l)
{
	fd_close(&l->fd);
	vchan_close(&l->v);
	fd_close(&l->lock); /* last: who comes next finds the vchan given back */
}

/* --- a socket --- */

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CTL_FDS_MAX)];
};

/* Descriptors go with the first byte. */
static void put_fds(struct msghdr *mh, union rights *room, const int *fds, unsigned nfds)
{
	struct cmsghdr *c;

	memset(room, 0, sizeof(*room));
	mh->msg_control = room->bytes;
	mh->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
}

static int socket_send(int fd, const char *p, size_t n, const int *fds, unsigned nfds)
{
	union rights room;

	while (n > 0) {
		struct iovec iov = {(void *)(uintptr_t)p, n};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t r;

		if (nfds > 0)
			put_fds(&mh, &room, fds, nfds);
		r = sendmsg(fd, &mh, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_from_errno(errno);
		nfds = 0;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static int wait_readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int n = poll(&pfd, 1, CTL_TIMEOUT_MS);

	if (n < 0)
		return errno == EINTR ? 0 : err_from_errno(errno);
	return n == 0 ? ERR_TIMEOUT : 0;
}

static int socket_receive(int fd, char *p, size_t cap, size_t *n)
{
	ssize_t r;
	int err;

	do {
		err = wait_readable(fd);
		r = err ? 0 : recv(fd, p, cap, MSG_DONTWAIT);
	} while (!err && r < 0 && (errno == EINTR || errno == EAGAIN));
	if (err)
		return err;
	if (r < 0)
		return err_from_errno(errno);
	*n = (size_t)r;
	return r == 0 ? ERR_CLOSED : 0;
}

/* --- a vchan --- */

static int vchan_wait(struct vchan *v)
{
	int err = wait_readable(v->fd);

	return err ? err : vchan_ack(v);
}

static int vchan_send(struct vchan *v, const char *p, size_t n)
{
	size_t put;
	int err = 0;

	while (n > 0 && !err) {
		err = vchan_write(v, p, n, &put);
		p += put;
		n -= put;
		if (err == ERR_AGAIN)
			err = vchan_wait(v);
	}
	return err;
}

static int vchan_receive(struct vchan *v, char *p, size_t cap, size_t *n)
{
	int err;

	do {
		err = vchan_read(v, p, cap, n);
	} while (err == ERR_AGAIN && (err = vchan_wait(v)) == 0 && *n == 0);
	return err;
}

/* --- either --- */

int link_send(struct link *l, const char *p, size_t n, const int *fds, unsigned nfds)
{
	if (l->fd >= 0)
		return socket_send(l->fd, p, n, fds, nfds);
	return nfds > 0 ? ERR_INVAL : vchan_send(&l->v, p, n);
}

int link_receive(struct link *l, char *p, size_t cap, size_t *n)
{
	*n = 0;
	return l->fd >= 0 ? socket_receive(l->fd, p, cap, n) : vchan_receive(&l->v, p, cap, n);
}

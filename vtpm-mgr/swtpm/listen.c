/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/front.h"

static int bind_path(const struct listen_options *o, int *sock, char why[static WHY_MAX + 1])
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat sb;
	mode_t mask;
	int rc;

	if (strlen(o->path) >= sizeof(sa.sun_path))
		return explain(why, ERR_RANGE, "%.300s: the path is too long for a socket", o->path);
	memcpy(sa.sun_path, o->path, strlen(o->path));
	if (lstat(sa.sun_path, &sb) == 0 && S_ISSOCK(sb.st_mode) && unlink(sa.sun_path))
		return explain(why, err_from_errno(errno), "%s: %s", sa.sun_path, strerror(errno));
	*sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*sock < 0)
		return explain(why, err_from_errno(errno), "no socket to be had: %s", strerror(errno));
	mask = umask(0777);
	rc = bind(*sock, (struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	/* Nobody can connect before it listens, with its owner and mode. */
	if (!rc && (((o->uid >= 0 || o->gid >= 0) && lchown(sa.sun_path, (uid_t)o->uid, (gid_t)o->gid)) ||
		    chmod(sa.sun_path, o->mode) || listen(*sock, 8)))
		rc = -1;
	if (!rc)
		return 0;
	rc = explain(why, err_from_errno(errno), "%s: %s", sa.sun_path, strerror(errno));
	fd_close(sock); /* what has the name may be another's: it is left alone */
	return rc;
}

/* One that somebody else has bound. */
static int take_fd(int fd, int *sock, char why[static WHY_MAX + 1])
{
	int listens = 0, domain = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len))
		return explain(why, err_from_errno(errno), "fd %d: %s", fd, strerror(errno));
	if (!listens || domain != AF_UNIX)
		return explain(why, ERR_INVAL, "fd %d is no unix socket that listens", fd);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return explain(why, err_from_errno(errno), "fd %d: %s", fd, strerror(errno));
	*sock = fd;
	return 0;
}

int listen_open(const struct listen_options *o, int *sock, char why[static WHY_MAX + 1])
{
	*sock = -1;
	return o->path ? bind_path(o, sock, why) : o->fd >= 0 ? take_fd(o->fd, sock, why) : 0;
}

void listen_close(const struct listen_options *o, int *sock)
{
	if (o->path && *sock >= 0)
		unlink(o->path);
	fd_close(sock);
}

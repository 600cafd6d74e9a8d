/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/control_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Removes a socket that nobody listens on. */
static int remove_stale(const struct sockaddr_un *sa)
{
	struct stat sb;
	int fd;
	int rc;

	if (lstat(sa->sun_path, &sb))
		return errno == ENOENT ? 0 : err_from_errno(errno);
	if (!S_ISSOCK(sb.st_mode))
		return ERR_EXISTS;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_from_errno(errno);
	rc = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	if (rc && errno != ECONNREFUSED)
		rc = 0; /* EAGAIN: its backlog is full, so it has a listener */
	close(fd);
	if (rc == 0)
		return ERR_BUSY;
	return unlink(sa->sun_path) ? err_from_errno(errno) : 0;
}

int socket_listen(const char *path, int *fd, ino_t *ino)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat sb;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return ERR_RANGE;
	memcpy(sa.sun_path, path, strlen(path));
	err = remove_stale(&sa);
	if (err)
		return err;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0 || bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) || lstat(sa.sun_path, &sb))
		return err_from_errno(errno);
	*ino = sb.st_ino;
	/* Everybody may connect, and is asked who it is; before listen nobody can. */
	return chmod(sa.sun_path, 0666) || listen(*fd, SOMAXCONN) ? err_from_errno(errno) : 0;
}

int socket_inode(const char *path, ino_t *ino)
{
	struct stat sb;

	if (lstat(path, &sb))
		return err_from_errno(errno);
	*ino = sb.st_ino;
	return 0;
}

int socket_listen_anew(const char *path, int type, int backlog, int *fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(sa.sun_path))
		return ERR_RANGE;
	memcpy(sa.sun_path, path, strlen(path));
	*fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0 || (unlink(path) && errno != ENOENT))
		return err_from_errno(errno);
	if (bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(path, 0666) || listen(*fd, backlog))
		return err_from_errno(errno);
	return 0;
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), len = strlen(suffix);

	return n > len && strcmp(name + n - len, suffix) == 0;
}

int socket_sweep(const char *dir, const char *suffix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat sb;
	int err = 0;

	if (!d)
		return err_from_errno(errno);
	while ((e = readdir(d)) != NULL) {
		if (ends_in(e->d_name, suffix) && fstatat(dirfd(d), e->d_name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISSOCK(sb.st_mode) && unlinkat(dirfd(d), e->d_name, 0) && errno != ENOENT)
			err = err_from_errno(errno);
	}
	closedir(d);
	return err;
}

void socket_remove(const char *path, ino_t ino)
{
	struct stat sb;

	/* Only our own: somebody may have put another one there. */
	if (ino && lstat(path, &sb) == 0 && sb.st_ino == ino)
		unlink(path);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager's sockets as files, AF_UNIX, mode 0666: everybody may connect, and is asked who it is. */
#ifndef VTPM_MGR_CONTROL_SOCKET_H
#define VTPM_MGR_CONTROL_SOCKET_H

#include <sys/types.h>

#include "lib/err.h"

/*
 * The control socket: listens at path, SOCK_STREAM. A socket that nobody listens on is replaced; ERR_BUSY: somebody does; ERR_EXISTS: path is no socket.
 * *fd and *ino may be set even on an error: fd is closed by the caller, ino is for socket_remove.
 */
CHECKED int socket_listen(const char *path, int *fd, ino_t *ino);
/* *ino: of the file at path, for socket_remove. */
CHECKED int socket_inode(const char *path, ino_t *ino);
/* Removes path if it is that file. ino 0: it was never made. */
void socket_remove(const char *path, ino_t ino);
/*
 * The others, for who has the control socket: nobody else serves them in its directory, and a file that is there is a dead
 * manager's. Listens at path instead of it; type is a socket's. *fd may be set even on an error, and is closed by the caller.
 */
CHECKED int socket_listen_anew(const char *path, int type, int backlog, int *fd);
/* Removes the sockets in dir whose names end so: what they were for may not be there any more. */
CHECKED int socket_sweep(const char *dir, const char *suffix);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket as a file: AF_UNIX SOCK_STREAM, mode 0666. */
#ifndef VTPM_MGR_CONTROL_SOCKET_H
#define VTPM_MGR_CONTROL_SOCKET_H

#include <sys/types.h>

#include "lib/err.h"

/*
 * Listens at path. A socket that nobody listens on is replaced; ERR_BUSY: somebody does; ERR_EXISTS: path is no socket.
 * *fd and *ino may be set even on an error: fd is closed by the caller, ino is for socket_remove.
 */
CHECKED int socket_listen(const char *path, int *fd, ino_t *ino);
/* Removes path if it is that file. ino 0: it was never made. */
void socket_remove(const char *path, ino_t ino);

#endif

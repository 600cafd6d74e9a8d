/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A control server for tests: Echo (viewer) returns its parameters, a and n, and who asked; Hold (operator) is not
 * answered until the next Hold, which makes it Busy; Big (operator) returns "size" bytes; Count (viewer) tells how often
 * it was called before; Give (operator, 1 or 2 descriptors) takes the first, leaves the second, and returns what the first
 * holds, at most 100 bytes, and how many came; Quit ends it.
 */
#ifndef VTPM_TESTS_CONTROL_SERVER_H
#define VTPM_TESTS_CONTROL_SERVER_H

#include <jansson.h>
#include <stddef.h>

#define VIEWER_GID   64101
#define OPERATOR_GID 64102

/* Serves on path and exits when it is told to. Writes a byte to ready when it listens. */
_Noreturn void control_server_run(const char *path, int ready);

/* For its clients: sends bytes, unless they have been dropped meanwhile. */
void client_put(int fd, const char *text, size_t n);
/* One reply as JSON; NULL: the connection has ended. */
json_t *client_get(int fd);
/* Sends text with its NUL and waits for the reply. */
json_t *client_call(int fd, const char *text);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A control server for tests: Echo (viewer) returns its parameters and who asked; Hold (operator) is not
 * answered until the next Hold, which makes it Busy; Big (operator) returns "size" bytes; Quit ends it.
 */
#ifndef VTPM_TESTS_CONTROL_SERVER_H
#define VTPM_TESTS_CONTROL_SERVER_H

#define VIEWER_GID   64101
#define OPERATOR_GID 64102

/* Serves on path and exits when it is told to. Writes a byte to ready when it listens. */
_Noreturn void control_server_run(const char *path, int ready);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A front end in a guest of Xen that is a program: it writes what it likes into its own nodes. What fails ends the program. */
#ifndef TESTS_TOOLS_FRONT_XEN_H
#define TESTS_TOOLS_FRONT_XEN_H

#include "tests/tools/front.h"

/* front_open is all of these: a page and a port for the back end, named in the nodes, state 3, and the back end's 4 awaited. */
void front_prepare(struct front *f, const char *handle);
void front_publish(struct front *f, const char *ref, const char *port, const char *state);
void front_await(struct front *f, int state);
/* One node of the own device, any bytes. */
void front_write(struct front *f, const char *node, const void *value, size_t n);
/* The back end's state. */
int front_back_state(struct front *f);
/* The two nodes of the own device by which it finds the back end, as they were. */
void front_restore(struct front *f);
/* Gives page and port back, whatever the back end makes of that. */
void front_drop(struct front *f);
/* A page that is granted to domain domid and not to the back end. */
uint32_t front_grant_to(struct front *f, uint16_t domid);

#endif

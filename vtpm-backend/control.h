/* SPDX-License-Identifier: BSD-2-Clause */
/* The control thread of a backend. */
#ifndef VTPM_BACKEND_CONTROL_H
#define VTPM_BACKEND_CONTROL_H

#include "vtpm-backend/backend.h"

/*
 * Receives what this backend is for and its key, opens the state, posts b->go, then watches the control
 * channel until the process ends. End of file there ends it at once; a message out of order too.
 */
_Noreturn void control_run(struct backend *b);

/* The control thread's: BACKEND_STOP has come, or the guest has gone for good. The engine thread stops in order. */
void control_end(struct backend *b);

#endif

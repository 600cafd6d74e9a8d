/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transport over rings of a guest of Xen. A guest's driver makes a ring whenever it is loaded, so the process outlives
 * rings: one comes over BACKEND_FD_ATTACH, opened by the spawner, and goes at the manager's word (BACKEND_DETACH); the TPM
 * notices neither.
 *
 * The control thread takes what comes, and maps it: mmap is all that is left to do, and may be done in the sandbox. The
 * engine thread uses the page, so it is the one to begin and to end that: it is handed the channel over in `link.next`
 * and looks at the hand-over between two commands.
 */
#ifndef VTPM_BACKEND_XEN_H
#define VTPM_BACKEND_XEN_H

#include "vtpm-backend/backend.h"

/* Before the sandbox. */
CHECKED int xen_prepare(struct backend *b);

/* Control thread. A code: the peer has broken the protocol. */
CHECKED int xen_receive(struct backend *b);
CHECKED int xen_detach(struct backend *b);

#endif

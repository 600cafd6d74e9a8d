/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine thread's side of the store channel: seal the newest state, send it, wait for the verdict. */
#ifndef VTPM_BACKEND_STORE_H
#define VTPM_BACKEND_STORE_H

#include "vtpm-backend/backend.h"

/*
 * Commits the newest state of the engine. What the store says, or what kept it from being asked, goes to
 * b->commit: look there for whether it is stale. A non-zero return is the end of this process:
 * ERR_CLOSED (the manager has gone) or ERR_PROTO.
 */
CHECKED int store_commit_newest(struct backend *b);
/* Seals the newest state of the engine as version into out. */
CHECKED int store_seal_newest(struct backend *b, uint64_t version, struct buf *out);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine thread's side of the store channel: seal the newest state, send it, wait for the verdict; ask for the TPM. */
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
/* What seals the next commit, and the checkpoint that counts once it is durable. */
struct sealer *store_sealer(struct backend *b);

/*
 * Asks the manager for the TPM, which another backend may have: with the saved state of a version, or (0) with none. Waits for the
 * answer, *t, a view of *mem, which the caller frees. Returns as store_commit_newest does.
 */
CHECKED int store_take(uint64_t version, struct store_taken *t, uint8_t **mem);

#endif

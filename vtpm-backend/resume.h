/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend that is killed is replaced by another, and its guest notices nothing but time. What the first leaves for the second is
 * in checkpoint.h; this is when, and what the second makes of it. docs/continuity.md has the table of what is found after
 * each step.
 */
#ifndef VTPM_BACKEND_RESUME_H
#define VTPM_BACKEND_RESUME_H

#include "vtpm-backend/backend.h"
#include "vtpm-backend/tpmcmd.h"

/* The TPM has been powered on: the first checkpoint. */
CHECKED int resume_begin(struct backend *b);
/*
 * The same for one whose power-on is committed here. If the store does not take it (b->commit.stale) the checkpoint does not count, and those
 * before it do.
 */
CHECKED int resume_begin_commit(struct backend *b);
/*
 * A checkpoint of now, in which command b->seq is the last one, with len bytes of b->rsp as its response. pending: the commit
 * of the newest state is sent next. If it cannot be made none counts any more, until the next one.
 */
void resume_keep(struct backend *b, size_t len, bool pending);
/*
 * The commit of what a response of len bytes speaks of. The checkpoint goes first: it counts once the store has the version,
 * so the two become durable as one. A state that the store does not take goes into another one, and the response is withheld.
 */
CHECKED int resume_commit(struct backend *b, size_t *len);
/*
 * Of one that goes on, with len bytes of b->rsp as its last response: a commit of the state as it is, if its key is to be replaced. One that
 * was given away must stay the newest, and one that the store does not take keeps its key: both until its next commit.
 */
CHECKED int resume_renew(struct backend *b, size_t len);
/* Whether a command that was executed, and did not change the permanent state, needs one. Once for each. */
bool resume_is_due(struct backend *b, const struct tpm_header *h);
/* The same for a command of which a record on top of the last one will do: it has been executed and lies in b->cmd. False: it does not. */
bool resume_redo(struct backend *b, const struct chan_request *req, bool succeeded);
/* A command is executed now. */
void resume_attempt(struct backend *b);
/* Whether the request that was taken was tried before as often as may be. */
bool resume_refuses(const struct backend *b);
/* Nothing is executed any more. */
void resume_settled(struct backend *b);
/* Command seq gets len bytes of b->rsp, whatever happens from here on. */
void resume_answer(struct backend *b, uint64_t seq, size_t len);

/* The control thread's, with RUN_RESUME: finds where to go on, or that the TPM was off, or ends the process. */
void resume_open(struct backend *b, const uint8_t key[static KEY_LEN]);
/* The engine has the permanent state: the rest. Then b->rsp, of *len bytes, is the response to command b->seq. */
CHECKED int resume_restore(struct backend *b, size_t *len);
/* The same for a TPM that was off. */
void resume_off(struct backend *b, size_t *len);
/* Whether the guest waits for what was in execution; what it was is not tried too often. */
void resume_judge(struct backend *b, bool waits);
/* Over b->chan: the response of len bytes, if the guest still waits for it. */
CHECKED int resume_deliver(struct backend *b, size_t len);

#endif

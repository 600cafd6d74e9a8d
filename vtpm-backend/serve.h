/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine thread of a backend that serves a ring. */
#ifndef VTPM_BACKEND_SERVE_H
#define VTPM_BACKEND_SERVE_H

#include "vtpm-backend/backend.h"

/* Powers the engine on with b->plain, serves until BACKEND_STOP, shuts down in order, ends the process. */
_Noreturn void serve_run(struct backend *b);

/* What is in hand takes long, or is over: whether it is to be cancelled is looked at meanwhile. */
void serve_lengthy(struct backend *b, bool begins);

/* Puts a response into b->rsp that is only a code, and returns its length. */
size_t serve_put_rc(struct backend *b, uint32_t rc);

/*
 * Whether a command may make the permanent state outgrow the quota, given the size it has now:
 * it is answered TPM_RC_NV_SPACE and not executed. Commands that free space always pass, so a vTPM
 * that is full is never stuck. cmd: len >= TPM_HEADER_SIZE bytes.
 */
bool quota_refuses(const uint8_t *cmd, size_t len, size_t state_len, size_t state_max);

#endif

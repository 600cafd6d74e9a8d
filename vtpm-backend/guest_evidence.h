/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest asks for evidence about its vTPM by a TPM2_NV_Write of its nonce (evidence_nv.h), and finds it when that is answered. In between the
 * manager is asked, who has this vTPM quote for it: as any other quote, but by a copy (quote.h), while the command is in hand. Nonce and evidence
 * become durable as one, with the commit of the command; whoever takes this process's place before that executes it, and asks, again.
 *
 * The wait has an end: then the guest is told so, and an answer that comes later is nobody's.
 */
#ifndef VTPM_BACKEND_GUEST_EVIDENCE_H
#define VTPM_BACKEND_GUEST_EVIDENCE_H

#include "vtpm-backend/backend.h"

#define GUEST_EVIDENCE_WAIT_MS 5000u

/* Whether that command, of len bytes, writes to the nonce's index; how many bytes, and where: the sizes are in the clear whatever its sessions. */
bool guest_evidence_parse(const uint8_t *cmd, size_t len, size_t *n, size_t *offset);
/*
 * Before b->cmd, of len bytes, is executed. *rc not 0: it is answered that instead, since the guest has taken all sessions, and there would be none to
 * write the evidence by.
 */
CHECKED int guest_evidence_expect(struct backend *b, size_t len, uint32_t *rc);
/* After it, if it has succeeded: asks, waits, writes. *changed: the permanent state has changed, whatever engine_dirty says. */
CHECKED int guest_evidence_answer(struct backend *b, bool succeeded, bool *changed);
/* Control thread: BACKEND_EVIDENCE has come. */
CHECKED int guest_evidence_take(struct backend *b, struct buf *body);
/* The same thread: nobody is to wait for it any more. */
void guest_evidence_cancel(struct backend *b);

#endif

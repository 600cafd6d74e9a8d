/* SPDX-License-Identifier: BSD-2-Clause */
/* One command of our own (tpmcmd.h) through the engine. */
#ifndef VTPM_BACKEND_TPMRUN_H
#define VTPM_BACKEND_TPMRUN_H

#include "hv/chan_abi.h"
#include "vtpm-backend/tpmcmd.h"

/* Storage for a command and its response, and the cursor to build the command with. */
struct tpmrun {
	struct buf cmd;
	uint8_t cmd_mem[CHAN_PACKET_MAX], rsp_mem[CHAN_PACKET_MAX];
	struct tpmrsp rsp;
};

void tpmrun_init(struct tpmrun *t);
/*
 * Executes the command in t->cmd at locality 0 and takes the response apart into t->rsp. handles: how many the
 * response has. ERR_ENGINE: the engine failed, or answered with anything but TPM_RC_SUCCESS (t->rsp.rc says what).
 */
CHECKED int tpmrun(struct tpmrun *t, unsigned handles);
/* n bytes of an index, from its first on, in as many commands as that takes; platform authorisation. */
CHECKED int tpmrun_nv_write(struct tpmrun *t, uint32_t index, const uint8_t *data, size_t n);
/* Wipes both buffers. */
void tpmrun_wipe(struct tpmrun *t);

#endif

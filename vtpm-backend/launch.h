/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A measured launch at power-on: what its event log (proto/launch.h) says, done to the TPM as a platform's firmware would do it,
 * before the first byte of the guest's. The engine thread's.
 *
 * The guest reads the log in NV, with an empty auth, under the first of these handles and those that follow it: a u32, little-endian,
 * that says how many bytes it has, and these; 2,048 bytes in each index, in the last what is left.
 */
#ifndef VTPM_BACKEND_LAUNCH_H
#define VTPM_BACKEND_LAUNCH_H

#include "vtpm-backend/backend.h"

/* In the range of the platform's manufacturer (Registry of Reserved TPM 2.0 Handles and Localities, 2.2): that is us. */
#define LAUNCH_NV_FIRST 0x01407600u
#define LAUNCH_NV_SIZE	2048u
#define LAUNCH_NV_COUNT ((4u + LAUNCH_LOG_MAX + LAUNCH_NV_SIZE - 1) / LAUNCH_NV_SIZE)

/*
 * The engine has just been powered on. The H-CRTM's event, before TPM2_Startup. If that is the guest firmware's to send, the log is
 * written before, and the engine is then powered on once more.
 */
CHECKED int launch_begin(struct backend *b);
/* TPM2_Startup(CLEAR) has been sent and the platform auth is empty: writes the log, extends what it says. */
CHECKED int launch_extend(struct backend *b);

#endif

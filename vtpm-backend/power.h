/* SPDX-License-Identifier: BSD-2-Clause */
/* Power-on and power-off of the engine, for every transport. The engine thread's. */
#ifndef VTPM_BACKEND_POWER_H
#define VTPM_BACKEND_POWER_H

#include "vtpm-backend/backend.h"

/*
 * _TPM_Init, and with RUN_STARTUP TPM2_Startup(CLEAR) and a random platform auth; of a measured launch what launch.h says. Then the state is committed, changed
 * or not: if the store cannot take it, the vTPM is stale before the first guest byte. Otherwise each
 * reset on a full disk would give away one guess at a PIN. ERR_ENGINE: libtpms does not take the state.
 */
CHECKED int power_on(struct backend *b);
/* The same with a volatile state that belongs to the newest permanent one, and without a commit: the guest notices nothing. */
CHECKED int power_continue(struct backend *b, const uint8_t *state, size_t len);
/* After power_continue, before anything that may draw from the generator. Ends the hardware's hash sequence, as a command does. */
CHECKED int power_stir(struct backend *b);
/*
 * TPM2_Shutdown if the guest did not send it, and a commit of what has changed. The engine keeps its state for another
 * power_on. A code: the store does not have the newest state.
 */
CHECKED int power_off(struct backend *b);
/* Ends what is running without a word to it: another state takes its place. */
void power_cut(struct backend *b);

#endif

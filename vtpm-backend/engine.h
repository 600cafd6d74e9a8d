/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TPM 2.0 engine: the binding to libtpms, which is the only place where it appears.
 * libtpms has global state and calls its storage callbacks without a context, so there is one
 * engine per process. Everything but engine_cancel belongs to one thread at a time.
 *
 * The engine never waits for a store. When a command changed the permanent state, the newest
 * state lies here, engine_dirty() says so, and the caller commits it before it answers.
 */
#ifndef VTPM_BACKEND_ENGINE_H
#define VTPM_BACKEND_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/chan_abi.h"
#include "lib/err.h"

/*
 * Sets memory for the state aside and locks it as it is touched: the sandbox permits neither
 * later. Once per process.
 */
CHECKED int engine_prepare(void);

/*
 * Powers a TPM on (_TPM_Init). With a state of len bytes: that TPM. Without one (NULL, 0): a new
 * TPM is manufactured; no other call ever makes one. ERR_ENGINE: libtpms refused the state.
 */
CHECKED int engine_open(const uint8_t *state, size_t len);
/*
 * Takes the state of a TPM that engine_power_on will power on, instead of engine_open and in place of the one it had; the
 * power is off. NULL, 0: it is to follow.
 */
CHECKED int engine_load(const uint8_t *state, size_t len);
/*
 * _TPM_Init of the newest permanent state, stored or not. resume: the volatile state (engine_volatile) that
 * belongs to it, NULL: a plain power-on. ERR_ENGINE: libtpms refused them.
 */
CHECKED int engine_power_on(const uint8_t *resume, size_t len);
/* Ends what engine_power_on began; the permanent state stays. */
void engine_power_off(void);
/* Powers the TPM off, forgets it and gives the memory back. Nothing happens if nothing was prepared. */
void engine_close(void);

/*
 * Executes one command of len bytes (10 … CHAN_PACKET_MAX) and writes the response, 10 … CHAN_PACKET_MAX
 * bytes, to rsp, which may be where cmd is. ERR_ENGINE: libtpms failed or answered nonsense.
 */
CHECKED int engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX],
			   size_t *rsp_len);

/*
 * Asks for the command in hand to be cancelled; the only call that another thread may make. One
 * that comes before libtpms has begun is lost, and libtpms looks only between candidate
 * primes: repeat it until the command has returned.
 */
void engine_cancel(void);

/*
 * The size of the largest packet that the engine advertises. wanted: 0 asks; otherwise, with the power off, it is
 * brought between *min and CHAN_PACKET_MAX and used from the next power-on. Returns what is in use.
 */
uint32_t engine_packet_max(uint32_t wanted, uint32_t *min);
/* What libtpms says of itself, as JSON, freed with free(3); NULL: no memory. */
char *engine_info(uint32_t flags);

/* The hardware's side of a D-RTM event (TPM 2.0 Part 1, 34.2), at locality 4, and what is left of it. */
CHECKED int engine_hash_start(void);
CHECKED int engine_hash_data(const uint8_t *data, size_t n);
CHECKED int engine_hash_end(void);
CHECKED int engine_established(bool *bit);
/* ERR_DENIED: not from that locality. */
CHECKED int engine_established_reset(uint8_t locality);

/* Everything that a power-off would lose: secret, freed with free(3). */
CHECKED int engine_volatile(uint8_t **state, size_t *len);

/* Whether the permanent state has changed since the last engine_clean. */
bool engine_dirty(void);
void engine_clean(void);
/*
 * The newest permanent state: a view that holds until the next engine_process. ERR_FULL: it is
 * larger than any store takes.
 */
CHECKED int engine_state(const uint8_t **state, size_t *len);

#endif

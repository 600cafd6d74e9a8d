/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The minimum version of PCR sets: an NV counter of the physical TPM that anybody may read and the owner may increment. It has no
 * secret, because it is read before there is one. It never goes back: a counter that is defined anew starts above all that
 * the TPM ever had (TPM 2.0 Part 1, 37.2.5). Functions are parts of operations (tpm.h).
 */
#ifndef VTPM_KEEPER_COUNTER_H
#define VTPM_KEEPER_COUNTER_H

#include "vtpm-mgr/keeper/tpm.h"

#define COUNTER_RAISE_MAX 1000u /* each step is a write to the TPM's flash */

/* Its handle in this context. ERR_NOTFOUND: there is none, or it was never incremented; ERR_EXISTS: it is something else. */
CHECKED int counter_find(struct tpm *t, uint32_t handle, ESYS_TR *tr);
/* *value: 0 if there is none. */
CHECKED int counter_read(struct tpm *t, uint32_t handle, uint32_t *value);
/* Both by the owner, whose auth is set (nv_owner). Makes it, if there is none, and gives it a value. */
CHECKED int counter_make(struct tpm *t, uint32_t handle);
CHECKED int counter_raise(struct tpm *t, uint32_t handle, uint32_t to, uint32_t *value);

#endif

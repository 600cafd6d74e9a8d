/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hash by which firmware measures an EFI program into PCR 4: Authenticode's, which leaves out the checksum and the
 * signatures (Microsoft, "Windows Authenticode Portable Executable Signature Format", 2008; UEFI 2.10, 32.5).
 */
#ifndef VTPM_PREDICT_AUTHENTICODE_H
#define VTPM_PREDICT_AUTHENTICODE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* SHA-256 of a PE image of n bytes. ERR_PROTO: it is none, or damaged. */
CHECKED int authenticode_hash(const uint8_t *image, size_t n, uint8_t out[static 32]);

#endif

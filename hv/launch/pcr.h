/* SPDX-License-Identifier: BSD-2-Clause */
/* A PCR of the SHA-256 bank of the physical TPM, over the kernel's device, /dev/tpmrm0 or another. What the TPM answers is hostile until it is parsed. */
#ifndef VTPM_HV_LAUNCH_PCR_H
#define VTPM_HV_LAUNCH_PCR_H

#include <stdint.h>

#include "lib/err.h"

#define PCR_SIZE 32u

/* ERR_NOTFOUND: there is no such bank. ERR_TPM: it refuses. */
CHECKED int pcr_read(int fd, unsigned pcr, uint8_t value[static PCR_SIZE]);
CHECKED int pcr_extend(int fd, unsigned pcr, const uint8_t digest[static PCR_SIZE]);

#endif

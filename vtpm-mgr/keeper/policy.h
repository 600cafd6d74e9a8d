/* SPDX-License-Identifier: BSD-2-Clause */
/* What a seal to PCRs says: which PCRs, which values, and the digest that stands for both. */
#ifndef VTPM_KEEPER_POLICY_H
#define VTPM_KEEPER_POLICY_H

#include <stdint.h>

#include "vtpm-mgr/proto/keeper.h"

#define POLICY_DEFAULT_CANDIDATES 0x0b95u /* 0, 2, 4, 7, 8, 9, 11 */

/*
 * The default set: firmware and its configuration (0, 2), boot loader (4), Secure Boot (7), and
 * where they were extended the loader's commands and files (8, 9) and the unified kernel image (11).
 */
uint32_t policy_default_mask(const uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* The first PCR of the mask that is all zero or all one: nothing was ever measured into it. -1: none. */
int policy_empty_pcr(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* The first PCR of the mask whose values differ. -1: none. */
int policy_differing_pcr(uint32_t mask, const uint8_t a[static PCR_COUNT][DIGEST_LEN],
			 const uint8_t b[static PCR_COUNT][DIGEST_LEN]);
/* The pcrDigest: SHA-256 over the selected values in ascending order (TPM 2.0 Part 1, 17.6). */
CHECKED int policy_pcr_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN],
			      uint8_t out[static DIGEST_LEN]);
/* The authPolicy of one TPM2_PolicyPCR over the SHA-256 bank (TPM 2.0 Part 3, 23.7). */
CHECKED int policy_auth_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN],
			       uint8_t out[static DIGEST_LEN]);

#endif

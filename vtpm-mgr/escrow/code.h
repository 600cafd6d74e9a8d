/* SPDX-License-Identifier: BSD-2-Clause */
/* What a person compares: 96 bits over a challenge's nonce and public key, so that nobody finds another key with the same. */
#ifndef VTPM_ESCROW_CODE_H
#define VTPM_ESCROW_CODE_H

#include "vtpm-mgr/proto/escrow.h"

#define CODE_STR_LEN 29u /* six groups of four digits, and "-" between them */

CHECKED int challenge_code(const uint8_t nonce[static CHALLENGE_NONCE_LEN], const uint8_t *der, size_t len,
			   char code[static CODE_STR_LEN + 1]);

#endif

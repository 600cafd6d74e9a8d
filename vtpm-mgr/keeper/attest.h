/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical TPM's half of evidence: its attestation key quotes the host's PCRs and certifies what anchor A holds, both over the
 * same Merkle root. The label and the key's Name in what is signed are put there here, so that nobody has anything else signed.
 */
#ifndef VTPM_KEEPER_ATTEST_H
#define VTPM_KEEPER_ATTEST_H

#include "vtpm-mgr/keeper/anchor.h"
#include "vtpm-mgr/keeper/enroll.h"
#include "vtpm-mgr/proto/attest.h"

struct host_quote_blob { /* storage for the views of a struct host_quote */
	uint8_t attest[ATTEST_MAX], sig[ATTEST_SIG_MAX], anchor[ATTEST_MAX], anchor_sig[ATTEST_SIG_MAX], anchor_public[NV_PUBLIC_LEN];
	uint8_t pcrs[PCR_COUNT * DIGEST_LEN];
};

/* Texts are left in the TPM's. ERR_AUTH: the record is not of this CA. ERR_WRONG_STATE: the anchors are not open. */
CHECKED int attest_host(struct ca *ca, struct anchor *an, const struct enrolment *e, const struct host_quote_request *over,
			struct host_quote_blob *mem, struct host_quote *q);

#endif

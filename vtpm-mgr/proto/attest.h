/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the physical TPM says of the host, for evidence about vTPMs. By the rules of keeper.h; needs the CA and the anchors to be open.
 *
 *	HOST_QUOTE   {var record, 32 bytes Merkle root, u32 leaves, u32 mask} -> struct host_quote	record: of ENROLL. TPM2_Quote of the PCRs of the mask,
 *							SHA-256 bank, and TPM2_NV_Certify of anchor A, by the attestation key of the record, both
 *							over evidence_outer_data of root and number of leaves, which the keeper computes
 */
#ifndef VTPM_PROTO_ATTEST_H
#define VTPM_PROTO_ATTEST_H

#include "vtpm-mgr/proto/enroll.h"

enum { KEEPER_HOST_QUOTE = 0x4b4500c1 };

struct host_quote {
	const uint8_t *attest, *sig;	       /* views: of the quote, TPMS_ATTEST and TPMT_SIGNATURE */
	const uint8_t *pcrs;		       /* the values that were quoted, DIGEST_LEN bytes each, in their order */
	const uint8_t *anchor, *anchor_sig;    /* of TPM2_NV_Certify */
	const uint8_t *anchor_public;	       /* TPMS_NV_PUBLIC of anchor A */
	size_t attest_len, sig_len, pcrs_len, anchor_len, anchor_sig_len, anchor_public_len;
};
struct host_quote_request {
	const uint8_t *record; /* view: an encoded struct enrolment */
	size_t record_len;
	uint8_t root[DIGEST_LEN];
	uint32_t leaves, mask;
};

#define HOST_QUOTE_MAX	      (24u + 2u * (ATTEST_MAX + ATTEST_SIG_MAX) + PCR_COUNT * DIGEST_LEN + NV_PUBLIC_LEN)
#define KEEPER_HOST_QUOTE_MIN (KEEPER_ID_SIZE + 4u + DIGEST_LEN + 8u)
#define KEEPER_HOST_QUOTE_MAX (KEEPER_HOST_QUOTE_MIN + ENROLMENT_MAX)
_Static_assert(KEEPER_HOST_QUOTE_MAX <= KEEPER_REQUEST_MAX && HOST_QUOTE_MAX <= KEEPER_RESULT_MAX, "it fits");

CHECKED int host_quote_request_encode(struct buf *b, const struct host_quote_request *m);
CHECKED int host_quote_request_decode(struct buf *b, struct host_quote_request *m);
CHECKED int host_quote_encode(struct buf *b, const struct host_quote *m);
CHECKED int host_quote_decode(struct buf *b, struct host_quote *m);

#endif

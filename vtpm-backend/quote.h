/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A quote of the running TPM by its attestation key, between two commands of its guest. The guest must not notice: no session, object,
 * audit or counter of its TPM may change, and no slot that it has filled may be in the way. Where that can be known beforehand, the TPM
 * itself quotes. Otherwise a copy does: the engine's whole state is taken, the quote made, and the engine powered on with that state
 * again, as if nothing had been. That takes three times as long, since a TPM that was powered on tests its algorithms.
 *
 * A generator whose state is restored repeats its output, and a signature whose nonce is repeated gives the key away. So fresh random
 * bytes are stirred into the copy's before anything is drawn from it; the guest's goes on as if there had been no copy.
 */
#ifndef VTPM_BACKEND_QUOTE_H
#define VTPM_BACKEND_QUOTE_H

#include "lib/buf.h"
#include "vtpm-backend/backend.h"

struct quote {
	uint8_t attest[ATTEST_MAX], sig[ATTEST_SIG_MAX], pcrs[QUOTE_PCRS_LEN];
	size_t attest_len, sig_len;
};

/* Control thread: BACKEND_QUOTE has come. ERR_PROTO: one is in hand, or there is no guest. */
CHECKED int quote_ask(struct backend *b, struct buf *body);
/* Engine thread: makes the one that was asked for, if one was, and answers it. Not 0: this process cannot go on. */
CHECKED int quote_serve(struct backend *b);
/* Either way; *code: 0, or what becomes of the request (backend_quoted). Not 0: the engine could not be put back, or is to be given up. */
CHECKED int quote_make(struct backend *b, const uint8_t over[static DIGEST_LEN], struct quote *q, int *code);

#endif

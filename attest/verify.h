/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One verification in hand. A step looks at what the steps before it have taken apart, says what it has found with passed, warned, skipped
 * or failed, and returns that; the first that fails is the last. Steps are listed, in their order, in verify.c.
 */
#ifndef VTPM_ATTEST_VERIFY_H
#define VTPM_ATTEST_VERIFY_H

#include <openssl/x509.h>

#include "attest/evidence.h"
#include "attest/policy.h"
#include "attest/tpms.h"
#include "attest/trust.h"
#include "attest/vtpm-verify.h"

struct verify {
	const struct vtpm_verify_input *in;
	char *text; /* of the present step */
	struct evidence e;
	struct binding b;
	const struct trust_host *host;
	struct tpms_public host_ak, ca, ak, ek;
	struct tpms_attest outer, anchor, inner;
	uint8_t outer_data[EVIDENCE_DIGEST];
	X509 *ca_cert, *ak_cert;
	uint8_t host_pcr[EVIDENCE_PCRS][EVIDENCE_DIGEST], guest_pcr[EVIDENCE_PCRS][EVIDENCE_DIGEST];
};

#define SAYS __attribute__((format(printf, 2, 3)))
SAYS enum vtpm_outcome passed(struct verify *v, const char *fmt, ...);
SAYS enum vtpm_outcome warned(struct verify *v, const char *fmt, ...);
SAYS enum vtpm_outcome skipped(struct verify *v, const char *fmt, ...);
SAYS enum vtpm_outcome failed(struct verify *v, const char *fmt, ...);

/* Hexadecimal digits for a text; at most four in use at a time. */
const char *verify_hex(const void *p, size_t n);

/* verify.c: the form, and whom it is for */
enum vtpm_outcome step_format(struct verify *v);
enum vtpm_outcome step_nonce(struct verify *v);
enum vtpm_outcome step_subject(struct verify *v);
enum vtpm_outcome step_attached(struct verify *v);
/* verify_host.c: the physical TPM */
enum vtpm_outcome step_host_key(struct verify *v);
enum vtpm_outcome step_host_chain(struct verify *v);
enum vtpm_outcome step_outer(struct verify *v);
enum vtpm_outcome step_anchor(struct verify *v);
enum vtpm_outcome step_clock(struct verify *v);
enum vtpm_outcome step_ca(struct verify *v);
enum vtpm_outcome step_ca_creation(struct verify *v);
/* verify_guest.c: the vTPM */
enum vtpm_outcome step_ak(struct verify *v);
enum vtpm_outcome step_revoked(struct verify *v);
enum vtpm_outcome step_ek(struct verify *v);
enum vtpm_outcome step_inner(struct verify *v);
/* verify_state.c: what was booted, and what is demanded of it and of the state */
enum vtpm_outcome step_host_pcrs(struct verify *v);
enum vtpm_outcome step_host_log(struct verify *v);
enum vtpm_outcome step_host_events(struct verify *v);
enum vtpm_outcome step_launch(struct verify *v);
enum vtpm_outcome step_launch_log(struct verify *v);
enum vtpm_outcome step_guest_pcrs(struct verify *v);
enum vtpm_outcome step_freshness(struct verify *v);
enum vtpm_outcome step_known(struct verify *v);

/* The values behind a quote, by number, if they are those that were quoted. */
CHECKED int quote_values(const struct evidence_quote *q, const struct tpms_attest *a, uint8_t pcr[static EVIDENCE_PCRS][EVIDENCE_DIGEST]);

#endif

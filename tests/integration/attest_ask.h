/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking the verifier about a piece of evidence, and what must come out. */
#ifndef VTPM_TESTS_ATTEST_ASK_H
#define VTPM_TESTS_ATTEST_ASK_H

#include "attest/vtpm-verify.h"
#include "tests/integration/attest_rig.h"

#define ANY "{\"clock\": \"trusted\"}"

extern struct vtpm_trust *trust;
extern struct vtpm_report report; /* of the last question */

struct question {
	const struct vtpm_trust *trust; /* NULL: trust */
	const char *policy;		/* NULL: ANY */
	const uint8_t *nonce, *uuid;	/* NULL: the piece's */
	const struct vtpm_known *known;
	const struct blob *launch_log; /* beside the evidence */
	int64_t later;
};

void verifies(const struct piece *p, const struct question *q);
/* The last step, and a part of its text. */
void fails(const struct piece *p, const struct question *q, const char *step, const char *reason);
const struct vtpm_step *step_named(const char *name);

struct vtpm_policy *policy_of(const char *text);
/* more: further members of the host's object. */
void trust_host(struct vtpm_trust *t, const struct host *h, const char *more);

void piece_write(const struct piece *p, const char *path);

/* A maker of chips, self-signed. */
X509 *maker_make(EVP_PKEY *key);
/* The member of an enrolled host that names its EK. */
void ek_member(const struct host *h, char out[static 128]);

#endif

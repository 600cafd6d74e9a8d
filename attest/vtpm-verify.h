/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libvtpm-verify: whether evidence about a vTPM is to be believed. It needs no TPM, opens no files, asks nobody and looks at no
 * clock: the answer follows from what it is given. docs/attestation.md says what is checked and what that means.
 *
 * Functions return 0 or a negative number; why[] then holds the reason, in English. Not thread-safe for one object;
 * trust and policy may be used by many threads once they have been read.
 */
#ifndef VTPM_VERIFY_H
#define VTPM_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define VTPM_VERIFY_TEXT  512 /* bytes of a text, with the NUL */
#define VTPM_VERIFY_STEPS 24

/* Whom to believe: enrolled attestation keys of hosts, roots of endorsement keys, revocation lists. */
struct vtpm_trust;
struct vtpm_trust *vtpm_trust_new(void);
void vtpm_trust_free(struct vtpm_trust *t);
/* One file: PEM with certificates (roots) and revocation lists, or JSON with enrolled hosts. */
int vtpm_trust_add(struct vtpm_trust *t, const void *file, size_t len, char why[VTPM_VERIFY_TEXT]);

/* What is demanded: JSON, as vtpm-verify(1) describes it. */
struct vtpm_policy;
int vtpm_policy_read(const void *file, size_t len, struct vtpm_policy **out, char why[VTPM_VERIFY_TEXT]);
void vtpm_policy_free(struct vtpm_policy *p);

/* What a verifier remembers of a vTPM from one evidence to the next. */
struct vtpm_known {
	uint8_t uuid[16];
	uint64_t epoch, version, discontinuities;
	uint8_t host[34], ak[34]; /* Names of the host's and the vTPM's attestation key */
};

struct vtpm_verify_input {
	const void *evidence;
	size_t evidence_len;
	const void *nonce; /* the one that was asked with */
	size_t nonce_len;
	const uint8_t *uuid; /* of the vTPM that it must be about, 16 bytes; NULL: any */
	const struct vtpm_trust *trust;
	const struct vtpm_policy *policy;
	uint64_t time; /* seconds since 1970 */
	const struct vtpm_known *known; /* all that are known */
	size_t nknown;
	/* The guest's launch event log, for evidence that has none (a guest that asks for it itself sends both); NULL, 0: there is none. */
	const void *launch_log;
	size_t launch_log_len;
};

enum vtpm_outcome {
	VTPM_PASSED,
	VTPM_WARNED,  /* in order as far as it goes; the text says how far */
	VTPM_SKIPPED, /* not demanded, or nothing there to be checked */
	VTPM_FAILED,
};
/* What a step is about: claims of AR4SI's trustworthiness vector. */
enum vtpm_claim { VTPM_CLAIM_INSTANCE, VTPM_CLAIM_HARDWARE, VTPM_CLAIM_EXECUTABLES, VTPM_CLAIM_CONFIGURATION, VTPM_CLAIM_STORAGE, VTPM_CLAIMS };

struct vtpm_step {
	const char *name;
	enum vtpm_claim claim;
	enum vtpm_outcome outcome;
	char text[VTPM_VERIFY_TEXT]; /* what was checked against what, and what came out */
};
struct vtpm_report {
	struct vtpm_step step[VTPM_VERIFY_STEPS]; /* up to the first that failed, which is the last */
	size_t steps;
	enum vtpm_outcome verdict; /* VTPM_PASSED, VTPM_WARNED or VTPM_FAILED */
	struct vtpm_known seen;	   /* to be remembered if it did not fail */
};

/* Always gives a report. */
void vtpm_verify(const struct vtpm_verify_input *in, struct vtpm_report *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

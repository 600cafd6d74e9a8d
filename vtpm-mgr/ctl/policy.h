/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl policy: policy.c makes calls of files and files of replies, policy_sign.c and policy_key.c sign without a manager or a
 * TPM, predict.c computes the PCRs of a boot to come, policy_print.c says in words what would unseal.
 */
#ifndef VTPM_CTL_POLICY_H
#define VTPM_CTL_POLICY_H

#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/proto/pcr_set_json.h"

#define POLICY_FILE_MAX 16384u
#define CHALLENGE_FORMAT "vtpm-recovery-challenge-1"
#define ANSWER_FORMAT	 "vtpm-recovery-answer-1"
#define ANSWER_SECONDS	 600u

struct key_signature {
	uint8_t scheme; /* enum policy_scheme */
	uint8_t bytes[SIGNATURE_MAX];
	size_t len;
};

/* ---- policy_key.c ---- */

/* A public key of a PEM file as a TPMT_PUBLIC. */
CHECKED int key_public_hex(const char *path, char hex[static 2 * POLICY_KEY_MAX + 1], struct ctl_error *e);
CHECKED int key_sign(const char *path, const uint8_t digest[static DIGEST_LEN], struct key_signature *out, struct ctl_error *e);

/* ---- policy.c ---- */

/* NULL: e says why. */
json_t *policy_file_read(const char *path, struct ctl_error *e);
CHECKED int policy_prepare_set(struct ctl_args *a, struct ctl_error *e);
CHECKED int policy_prepare_file(struct ctl_args *a, struct ctl_error *e);
CHECKED int policy_prepare_answer(struct ctl_args *a, struct ctl_error *e);
/* Files for somebody to sign. */
CHECKED int policy_current(struct ctl_args *a, json_t **reply, struct ctl_error *e);
CHECKED int policy_challenge(struct ctl_args *a, json_t **reply, struct ctl_error *e);
int print_file(const struct ctl_args *a, json_t *params);

/* ---- policy_sign.c ---- */

/* Asks nobody. */
CHECKED int policy_sign(struct ctl_args *a, json_t **reply, struct ctl_error *e);

/* ---- predict.c ---- */

CHECKED int policy_predict(struct ctl_args *a, json_t **reply, struct ctl_error *e);

/* ---- policy_print.c ---- */

int print_policy(const struct ctl_args *a, json_t *params);
int print_policy_plan(const struct ctl_args *a, json_t *params);
int print_policy_raised(const struct ctl_args *a, json_t *params);
int print_policy_tested(const struct ctl_args *a, json_t *params);

#endif

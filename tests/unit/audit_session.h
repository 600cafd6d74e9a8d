/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An audit session, neither bound nor salted, of whoever executes commands. While it is exclusive (TPM 2.0 Part 1, 19.8.3), a command of
 * anybody's that it does not audit ends that.
 */
#ifndef VTPM_TESTS_AUDIT_SESSION_H
#define VTPM_TESTS_AUDIT_SESSION_H

#include <stddef.h>
#include <stdint.h>

#define AUDIT_RC_EXCLUSIVE 0x121u

struct audit_session {
	/* Puts the response to a command into rsp; returns its length. */
	size_t (*execute)(void *arg, const uint8_t *cmd, size_t len, uint8_t *rsp);
	void *arg;
	uint32_t handle;
	uint8_t tpm[16]; /* nonceTPM */
};

void audit_start(struct audit_session *s);
/* TPM2_GetRandom of 4 bytes in it; exclusive: only if the session is. The response code. */
uint32_t audit_command(struct audit_session *s, int exclusive);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend whose engine has been taken over by its guest. It is the real one (rogue.c is put
 * between it and its engine when it is linked) until the guest sends
 *
 *	{u16be TPM_ST_NO_SESSIONS, u32be size, u32be ROGUE_COMMAND, u32be attempt, u32be pid of the victim}
 *
 * Then it makes that attempt, in the engine's thread and the sandbox of a running vTPM. If it
 * is still alive it answers {header with TPM_RC_SUCCESS, u32be errno}.
 */
#ifndef TESTS_TOOLS_ROGUE_H
#define TESTS_TOOLS_ROGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROGUE_COMMAND 0x20001234u /* TPM 2.0 Part 2, 8.9: bit V, a vendor's command */
/*
 * An "attempt" of another kind: commits of nonsense, as many as the channel takes, whose answers are never read.
 * In the place of the victim stands the version to begin with.
 */
#define ROGUE_FLOOD 1000u

/* What must come of an attempt. */
struct rogue_attempt {
	const char *name;
	void (*run)(uint32_t victim);
	int refused; /* 0: the process dies of SIGSYS; otherwise the errno of the refusal */
	bool chroot; /* it is refused because the root directory is empty, which only root can arrange */
};

/* Attempts are numbered from 0; false: there are no more. */
bool rogue_get(uint32_t attempt, struct rogue_attempt *out);
/* Makes one. Returns errno, if it returns. */
int rogue_run(uint32_t attempt, uint32_t victim);

#endif

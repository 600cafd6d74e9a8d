/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is found at a start, and what follows from it: the table of docs/continuity.md as one function without a side
 * effect. recovery.c gathers the facts and does what it says.
 */
#ifndef VTPM_MGR_RECOVERY_TABLE_H
#define VTPM_MGR_RECOVERY_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "vtpm-mgr/proto/anchor.h"

struct recovery_facts {
	enum anchor_state a, v;
	bool strict_only;     /* the chip has no V */
	uint32_t reset_count; /* of the TPM, now */
	/* The row that A holds the value of, because it was extended by it. */
	bool a_row;
	uint8_t a_kind;
	uint32_t a_reset_count;
	/* The row that V holds the value of; A holds what that row names as A's value before it, or the one after it. */
	bool v_row, v_fits;
};

enum recovery_outcome {
	/* The last row on the disk is the base. */
	RECOVERY_GOES_ON,    /* no TPM reset since: nothing can be missing */
	RECOVERY_REBOOTED,   /* after an orderly stop: nothing can be missing */
	RECOVERY_POWER_LOST, /* what bounded guests changed since the last anchored row may be missing */
	/* Nothing is written, nothing is served. */
	RECOVERY_A_MISSING,
	RECOVERY_A_FOREIGN,
	RECOVERY_A_AUTH,
	RECOVERY_A_EMPTY,
	RECOVERY_A_UNKNOWN,
	RECOVERY_V_MISSING,
	RECOVERY_V_FOREIGN,
	RECOVERY_V_AUTH,
	RECOVERY_V_UNKNOWN,
	RECOVERY_V_SPLIT,
	RECOVERY_V_REMOVED,
	/* Not of the table: what it rests on. */
	RECOVERY_RECORD,
	RECOVERY_JOURNAL,
	RECOVERY_LEAVES,
	RECOVERY_OUTCOMES
};

enum recovery_outcome recovery_decide(const struct recovery_facts *f);
bool recovery_refuses(enum recovery_outcome o);
/* A sentence for the operator; never NULL. */
const char *recovery_sentence(enum recovery_outcome o);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that keeps its own record of what its TPM must hold, command by command, and compares: so a command that was executed twice, or
 * lost, is seen whatever the TPM says of itself.
 */
#ifndef VTPM_TESTS_RESUME_GUEST_H
#define VTPM_TESTS_RESUME_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>

#include "tests/unit/backend_guest.h"

#define RECORD_DIGEST 32u

struct record {
	uint8_t pcr[RECORD_DIGEST];    /* PCR 16 */
	uint8_t policy[RECORD_DIGEST]; /* digest of a policy session that lives as long as the TPM is on */
	uint32_t session;
	uint32_t sequence; /* a hash sequence, */
	uint8_t data[4096]; /* and what went into it */
	size_t data_len;
	uint32_t key; /* a transient object, */
	uint8_t name[RECORD_DIGEST + 2]; /* and its Name */
	uint64_t counter; /* an NV index, and durable */
	uint32_t lockout; /* failed authorisations */
	uint64_t clock;	  /* never goes back */
	uint8_t clock_info[9]; /* resetCount, restartCount, safe: the TPM was not reset */
	uint32_t n;	  /* commands so far: what makes them differ */
};

enum work { WORK_EXTEND, WORK_READ, WORK_RANDOM, WORK_POLICY, WORK_SEQUENCE, WORK_COUNT, WORK_BAD_PIN, WORK_KINDS };

/* The TPM has just been powered on: makes what the record speaks of. */
void record_begin(struct record *r, struct rig_backend *b);
/* Builds a command into cmd. */
void record_build(struct record *r, enum work w);
/* Its response is in rsp: demands the right one, and writes it down. */
void record_take(struct record *r, enum work w);
/* Compares all of it. */
void record_compare(struct record *r, struct rig_backend *b);
/* The hash sequence, and it ends. */
void record_end(struct record *r, struct rig_backend *b);

/* A thread that kills whoever it is told to, now and then. */
struct killer {
	atomic_int pid; /* 0: nobody is to be killed */
	atomic_bool over;
	unsigned seed;
	unsigned wait_us; /* at most, between two looks */
};
/* arg: the killer. Ends when it is over. */
void *killer_main(void *arg);

#endif

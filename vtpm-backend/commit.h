/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a command may run and when its answer may go out, given what the store did with the
 * states before. A pure state machine: it knows neither engine nor store.
 *
 * A commit that fails must not become an oracle. A wrong PIN changes the state (the
 * dictionary-attack counter), a right one does not: whoever makes the store fail would see
 * which was which, and a power cut would forget the try. So after a failed commit the engine
 * keeps its new state and the machine is *stale*:
 *
 *	- every command first tries to commit the newest state; success ends the staleness;
 *	- a command with sessions (it may carry an authorisation) is not executed at all;
 *	- a command without sessions runs, but if it changed the state its answer is withheld.
 *
 * Withheld and refused alike are TPM_RC_NV_UNAVAILABLE. A change whose answer was withheld is kept
 * and committed later: for the guest it is a command whose answer was lost, not one undone.
 *
 * A state that was given away (QEMU saves it) can be brought back as long as the store has its version, and with it
 * goes what the TPM holds in memory only. So before anything else happens to the TPM the version must change: the first
 * command that follows is executed only once a new one is stored, whatever it would do.
 */
#ifndef VTPM_BACKEND_COMMIT_H
#define VTPM_BACKEND_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

struct commit {
	uint64_t version; /* of the last state that the store has */
	bool stale;
	int why;     /* while stale: the code of the last failure */
	bool exported; /* the state of this version was given away and nothing has happened since */
	bool first;  /* nothing was committed since the power-on */
};

/* version: of the state that was loaded. */
void commit_init(struct commit *c, uint64_t version);
/* The same for a state that another process had in use. why: the store does not have it, and the code of that; 0: it has. */
void commit_resume(struct commit *c, uint64_t version, int why);
/* The version under which the next state is sent. */
uint64_t commit_next(const struct commit *c);
/* The state of this version is given away. */
void commit_export(struct commit *c);
/* Whether the newest state must be sent to the store before the next command. */
bool commit_due(const struct commit *c);
/* Takes the store's verdict on that state: 0 or a negative code. */
void commit_settle(struct commit *c, int code);
/* Whether a command with this tag may be executed. */
bool commit_admits(const struct commit *c, uint16_t tag);
/* Whether its answer must be withheld; changed: it changed the state, and commit_settle has been called since. */
bool commit_withholds(const struct commit *c, bool changed);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend that can be killed at a chosen step. It is the real one (mortal.c is put between its parts when it is linked) until
 * the guest sends
 *
 *	{u16be TPM_ST_NO_SESSIONS, u32be size, u32be MORTAL_COMMAND, u32be step}
 *
 * which is answered with TPM_RC_SUCCESS. When one of the next commands comes to that step, the backend writes the step to the last
 * byte of the page, where a short packet does not reach, and does nothing any more. Whoever sees it there kills it.
 */
#ifndef TESTS_TOOLS_MORTAL_H
#define TESTS_TOOLS_MORTAL_H

#include "hv/chan_abi.h"

#define MORTAL_COMMAND 0x20005678u /* TPM 2.0 Part 2, 8.9: bit V, a vendor's command */
#define MORTAL_MARK    (CHAN_PAGE_SIZE - 1)

/* In the order in which a command comes to them; not every command comes to all. */
enum mortal_step {
	MORTAL_NONE,
	MORTAL_TAKEN,	    /* the request is off the page */
	MORTAL_EXECUTED,    /* the engine has moved on, and nobody knows */
	MORTAL_SEALING,	    /* a part of the checkpoint, or of the record of a command, is in its place */
	MORTAL_SEALED,	    /* all of it is, and it is not published */
	MORTAL_PUBLISHED,   /* it is: for good, or together with a commit */
	MORTAL_COMMIT_SENT, /* the store may have it */
	MORTAL_COMMIT_DONE, /* it has said so */
	MORTAL_SETTLED,	    /* and the area says so, too */
	MORTAL_RECORDED,    /* the response to a command without a checkpoint of its own lies in the area */
	MORTAL_RESPONDING,  /* nothing is on the page yet */
	MORTAL_HALF_WRITTEN, /* a part of the response has replaced the request */
	MORTAL_FINISHED,    /* FINISH is on the page and the guest was not signalled */
	MORTAL_SIGNALLED,   /* it was */
	MORTAL_STEPS
};

/*
 * Of one that serves a QEMU the step is a number: at so many gaps from the answer on, whichever they are, it ends by itself. Its gaps are those
 * above and, in either thread: something was received; an answer is about to be begun, is begun, is sent by half, is sent.
 */

/* A command that crashes the engine each time it is executed. */
#define MORTAL_CRASH 0x20005679u
/* One that makes the backend wait to be killed each time it is executed: step MORTAL_TAKEN. */
#define MORTAL_WAIT  0x2000567au

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one error type of this project: an int that is 0 or one of these negative codes.
 * Every function that can fail returns it and is marked CHECKED. TPM_RC values are not
 * errors of ours: they exist only where TPM bytes are handled.
 */
#ifndef VTPM_LIB_ERR_H
#define VTPM_LIB_ERR_H

#define CHECKED __attribute__((warn_unused_result))

enum {
	ERR_SYS = -1,		/* a system call failed for a reason without a code of its own */
	ERR_NOMEM = -2,		/* out of memory */
	ERR_RANGE = -3,		/* a length or number is outside its bounds */
	ERR_PROTO = -4,		/* a peer sent what the protocol does not permit */
	ERR_AUTH = -5,		/* a state, key or signature does not verify */
	ERR_NOTFOUND = -6,	/* no such object */
	ERR_EXISTS = -7,	/* an object of that name or uuid is there already */
	ERR_BUSY = -8,		/* somebody else has it */
	ERR_DENIED = -9,	/* the peer's credentials do not permit it */
	ERR_FULL = -10,		/* no room: disk, quota or table */
	ERR_READONLY = -11,	/* the store cannot be written */
	ERR_IO = -12,		/* the disk failed */
	ERR_TPM = -13,		/* the physical TPM answered with an error */
	ERR_TPM_LOST = -14,	/* the physical TPM does not answer */
	ERR_TPM_IDENTITY = -15, /* the TPM, or its storage root key, is not the pinned one */
	ERR_PCR = -16,		/* PCRs are not what the seal demands, or bind nothing */
	ERR_CLOSED = -17,	/* the peer has gone */
	ERR_AGAIN = -18,	/* nothing to be had without waiting */
	ERR_TIMEOUT = -19,	/* waited long enough */
	ERR_VERSION = -20,	/* made by a newer release, or an unknown format */
	ERR_WRONG_STATE = -21,	/* not possible in the state that the object is in */
	ERR_INVAL = -22,	/* an argument makes no sense */
	ERR_QUARANTINE = -23,	/* set aside because it does not verify */
	ERR_ENGINE = -24,	/* libtpms refused or failed */
	ERR_CRYPTO = -25,	/* OpenSSL failed */
	ERR_LAST = -25
};

/* A short English text for a code; never NULL. Context is the caller's to add. */
const char *err_text(int err);

/* The code that fits an errno value best. */
int err_from_errno(int errnum);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/err.h"

#include <errno.h>
#include <stddef.h>

static const char *const texts[] = {
	[0] = "success",
	[-ERR_SYS] = "system call failed",
	[-ERR_NOMEM] = "out of memory",
	[-ERR_RANGE] = "length or number out of bounds",
	[-ERR_PROTO] = "protocol violation",
	[-ERR_AUTH] = "does not verify",
	[-ERR_NOTFOUND] = "not found",
	[-ERR_EXISTS] = "exists already",
	[-ERR_BUSY] = "in use by another",
	[-ERR_DENIED] = "permission denied",
	[-ERR_FULL] = "no room left",
	[-ERR_READONLY] = "store is read-only",
	[-ERR_IO] = "input/output error",
	[-ERR_TPM] = "the physical TPM answered with an error",
	[-ERR_TPM_LOST] = "the physical TPM does not answer",
	[-ERR_TPM_IDENTITY] = "not the physical TPM, or not the storage root key, that was pinned",
	[-ERR_PCR] = "PCRs do not satisfy the seal",
	[-ERR_CLOSED] = "the peer has gone",
	[-ERR_AGAIN] = "nothing to be had without waiting",
	[-ERR_TIMEOUT] = "timed out",
	[-ERR_VERSION] = "unknown or newer format version",
	[-ERR_WRONG_STATE] = "not possible in this state",
	[-ERR_INVAL] = "invalid argument",
	[-ERR_QUARANTINE] = "quarantined",
	[-ERR_ENGINE] = "TPM engine failed",
	[-ERR_CRYPTO] = "cryptographic operation failed",
};

_Static_assert(sizeof(texts) / sizeof(texts[0]) == 1 - ERR_LAST, "every code has a text");

const char *err_text(int err)
{
	if (err > 0 || err < ERR_LAST)
		return "unknown error";
	return texts[-err];
}

/* Pairs, not a switch: some errno values are the same number on some systems and not on others. */
static const struct {
	int errnum;
	int err;
} errnos[] = {
	{ENOMEM, ERR_NOMEM},	  {ENOBUFS, ERR_NOMEM},
	{ERANGE, ERR_RANGE},	  {EMSGSIZE, ERR_RANGE},
	{EOVERFLOW, ERR_RANGE},	  {ENAMETOOLONG, ERR_RANGE},
	{EPROTO, ERR_PROTO},	  {EBADMSG, ERR_PROTO},
	{ENOENT, ERR_NOTFOUND},	  {ENODEV, ERR_NOTFOUND},
	{ENXIO, ERR_NOTFOUND},	  {ESRCH, ERR_NOTFOUND},
	{EEXIST, ERR_EXISTS},	  {EBUSY, ERR_BUSY},
	{EADDRINUSE, ERR_BUSY},	  {ETXTBSY, ERR_BUSY},
	{EACCES, ERR_DENIED},	  {EPERM, ERR_DENIED},
	{ENOSPC, ERR_FULL},	  {EDQUOT, ERR_FULL},
	{EMFILE, ERR_FULL},	  {ENFILE, ERR_FULL},
	{EFBIG, ERR_FULL},	  {ETOOMANYREFS, ERR_FULL},
	{EROFS, ERR_READONLY},	  {EIO, ERR_IO},
	{EPIPE, ERR_CLOSED},	  {ECONNRESET, ERR_CLOSED},
	{ENOTCONN, ERR_CLOSED},	  {ECONNREFUSED, ERR_CLOSED},
	{EAGAIN, ERR_AGAIN},	  {EWOULDBLOCK, ERR_AGAIN},
	{EINPROGRESS, ERR_AGAIN}, {ETIMEDOUT, ERR_TIMEOUT},
	{EINVAL, ERR_INVAL},
};

int err_from_errno(int errnum)
{
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (errnos[i].errnum == errnum)
			return errnos[i].err;
	}
	return ERR_SYS;
}

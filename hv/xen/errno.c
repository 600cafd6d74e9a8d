/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "hv/xen/xen.h"

int xen_err_from_errno(int errnum)
{
	switch (errnum) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return ERR_NOTFOUND;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ENOMEM:
	case ENOSPC: /* event channels of this domain */
	case EMFILE:
	case ENFILE:
		return err_from_errno(errnum);
	default:
		return ERR_INVAL;
	}
}

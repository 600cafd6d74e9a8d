/* SPDX-License-Identifier: BSD-2-Clause */
/* Who the manager runs as and whom it serves: looked up once, before the sandbox forbids reading files. */
#ifndef VTPM_MGR_IDENTITY_H
#define VTPM_MGR_IDENTITY_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/*
 * A user by name or number; NULL: the user vtpm. The gid is that of the user, or the same number.
 * ERR_NOTFOUND: there is no such user.
 */
CHECKED int identity_user(const char *name, uid_t *uid, gid_t *gid);
/* The gid of a group by name or number. name NULL: that of deflt, or -1 if there is none. ERR_NOTFOUND: no group of that name. */
CHECKED int identity_group(const char *name, const char *deflt, int64_t *gid);

#endif

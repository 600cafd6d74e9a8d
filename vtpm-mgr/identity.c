/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/identity.h"

#include <grp.h>
#include <pwd.h>
#include <stddef.h>

#include "lib/util.h"

int identity_user(const char *name, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw;
	uint64_t n;

	if (name && !parse_u64(name, UINT32_MAX - 1, &n)) {
		*uid = (uid_t)n;
		*gid = (gid_t)n;
		return 0;
	}
	pw = getpwnam(name ? name : "vtpm");
	if (!pw)
		return ERR_NOTFOUND;
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

int identity_group(const char *name, const char *deflt, int64_t *gid)
{
	const struct group *gr;
	uint64_t n;

	if (name && !parse_u64(name, UINT32_MAX - 1, &n)) {
		*gid = (int64_t)n;
		return 0;
	}
	gr = getgrnam(name ? name : deflt);
	*gid = gr ? (int64_t)gr->gr_gid : -1;
	return gr || !name ? 0 : ERR_NOTFOUND;
}

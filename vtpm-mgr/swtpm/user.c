/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/front.h"

int become(const char *user, char why[static WHY_MAX + 1])
{
	const struct passwd *pw;
	uint64_t n;

	errno = 0;
	pw = parse_u64(user, UINT32_MAX - 1, &n) ? getpwnam(user) : getpwuid((uid_t)n);
	if (!pw)
		return explain(why, ERR_NOTFOUND, "--runas: there is no user %.64s", user);
	if (pw->pw_uid == geteuid())
		return 0;
	if (initgroups(pw->pw_name, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
		return explain(why, ERR_DENIED, "--runas %.64s: %s", user, strerror(errno));
	return 0;
}

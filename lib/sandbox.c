/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/util.h"

#define BACKEND_FILES	 16u
#define KEEPER_FILES	 64u
#define LOCKED_BYTES_MAX (4u * 1024u * 1024u) /* keys and working copies; a state has at most 320 KiB */

/*
 * Address space of a backend. It has 18 MiB, making keys and certificates and with the largest state, and what it
 * had before comes from the spawner. AddressSanitizer has terabytes of its own.
 */
#ifdef __SANITIZE_ADDRESS__
#define BACKEND_MEMORY RLIM_INFINITY
#else
#define BACKEND_MEMORY (96u * 1024u * 1024u)
#endif

/* Empties all capability sets; the ambient set cannot keep what the inheritable set has lost (capabilities(7)). */
static int clear_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capset, &head, data))
		return err_from_errno(errno);
	memset(data, 0xff, sizeof(data));
	if (syscall(SYS_capget, &head, data))
		return err_from_errno(errno);
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return ERR_DENIED;
	}
	return 0;
}

/*
 * What an exec could give back, were it not for no_new_privs. It ends at the last capability
 * that this kernel knows, or at once without CAP_SETPCAP: then the set stays as it was inherited.
 */
static void clear_bounding_set(void)
{
	int cap = 0;

	while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
		cap++;
}

/* True if all ids are uid:gid, and no way leads back. */
static bool is_only(uid_t uid, gid_t gid)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	if (getresuid(&ru, &eu, &su) || getresgid(&rg, &eg, &sg))
		return false;
	if (ru != uid || eu != uid || su != uid || rg != gid || eg != gid || sg != gid)
		return false;
	if (getgroups(0, NULL) != 0)
		return false;
	return setresuid((uid_t)-1, 0, (uid_t)-1) != 0 && setresgid((gid_t)-1, 0, (gid_t)-1) != 0;
}

/* True if nothing but "." and ".." is in it. */
static bool is_empty(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own < 0 ? NULL : fdopendir(own);
	unsigned n = 0;

	if (!dir) {
		fd_close(&own);
		return false;
	}
	while (n < 3 && readdir(dir))
		n++;
	closedir(dir);
	return n == 2;
}

int sandbox_open_empty(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_from_errno(errno);
	if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) || !is_empty(fd)) {
		fd_close(&fd);
		return ERR_DENIED;
	}
	return fd;
}

/* Looked at and entered is the same open directory, whatever is put into its place meanwhile. */
static int enter_empty(const char *path)
{
	int err = 0, fd = sandbox_open_empty(path);

	if (fd < 0)
		return fd;
	if (fchdir(fd) || chroot(".") || chdir("/"))
		err = err_from_errno(errno);
	fd_close(&fd);
	return err;
}

int sandbox_confine(const char *emptydir)
{
	int err;

	if (geteuid() != 0)
		return 0;
	err = emptydir ? enter_empty(emptydir) : 0;
	if (err)
		return err;
	clear_bounding_set();
	return setgroups(0, NULL) ? err_from_errno(errno) : 0;
}

int sandbox_become(uid_t uid, gid_t gid)
{
	int err;

	if (geteuid() != 0)
		return 0;
	if (uid == 0 || gid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1)
		return ERR_INVAL;
	/* Groups first: without uid 0 they can no longer be changed. */
	if (setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return err_from_errno(errno);
	/* Whose ids change gets the host's default back (fs.suid_dumpable): dumped, or traced by others of the uid. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_SYS;
	err = clear_capabilities();
	if (err)
		return err;
	return is_only(uid, gid) ? 0 : ERR_DENIED;
}

int sandbox_drop(uid_t uid, gid_t gid, const char *emptydir)
{
	int err;

	if (geteuid() == 0 && (uid == 0 || gid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1))
		return ERR_INVAL;
	err = sandbox_confine(emptydir);
	return err ? err : sandbox_become(uid, gid);
}

/* Lowers soft and hard limit to at most max; what is lower already stays. */
static int lower(__rlimit_resource_t resource, rlim_t max)
{
	struct rlimit rl;

	if (getrlimit(resource, &rl))
		return err_from_errno(errno);
	if (rl.rlim_max == RLIM_INFINITY || rl.rlim_max > max)
		rl.rlim_max = max;
	rl.rlim_cur = rl.rlim_max;
	return setrlimit(resource, &rl) ? err_from_errno(errno) : 0;
}

static int limit_worker(rlim_t files, rlim_t memory)
{
	static const struct {
		__rlimit_resource_t resource;
		rlim_t max;
	} limits[] = {
		{RLIMIT_CORE, 0},
		{RLIMIT_NPROC, 0},
		{RLIMIT_FSIZE, 0},
		{RLIMIT_MEMLOCK, LOCKED_BYTES_MAX},
	};

	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return err_from_errno(errno);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		int err = lower(limits[i].resource, limits[i].max);

		if (err)
			return err;
	}
	if (lower(RLIMIT_AS, memory))
		return ERR_SYS;
	return lower(RLIMIT_NOFILE, files);
}

/* The manager has a few descriptors per guest: as many as it may have. */
static int limit_manager(void)
{
	int err = lower(RLIMIT_CORE, 0);

	return err ? err : lower(RLIMIT_NOFILE, RLIM_INFINITY);
}

int sandbox_limit(enum sandbox_kind kind)
{
	switch (kind) {
	case SANDBOX_BACKEND:
	case SANDBOX_BACKEND_XEN:
		return limit_worker(BACKEND_FILES, BACKEND_MEMORY);
	case SANDBOX_KEEPER:
		return limit_worker(KEEPER_FILES, RLIM_INFINITY);
	case SANDBOX_MANAGER:
		return limit_manager();
	}
	return ERR_INVAL;
}

/* The smallest descriptor of keep that is at least from; -1 if there is none. */
static int next_kept(const int *keep, unsigned n, int from)
{
	int best = -1;

	for (unsigned i = 0; i < n; i++) {
		if (keep[i] >= from && (best < 0 || keep[i] < best))
			best = keep[i];
	}
	return best;
}

int sandbox_close_others(const int *keep, unsigned n)
{
	int from = STDERR_FILENO + 1;
	int kept;

	while ((kept = next_kept(keep, n, from)) >= 0) {
		if (kept > from && close_range((unsigned)from, (unsigned)kept - 1, 0))
			return err_from_errno(errno);
		if (kept == INT_MAX)
			return 0;
		from = kept + 1;
	}
	return close_range((unsigned)from, UINT_MAX, 0) ? err_from_errno(errno) : 0;
}

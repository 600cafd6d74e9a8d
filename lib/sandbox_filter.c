/* SPDX-License-Identifier: BSD-2-Clause */
/* The seccomp allow-lists. What is not listed here kills the process (seccomp(2)). */
#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/util.h"

/* Arguments that are int in the kernel: the upper half of the register is not defined. */
#define INT_MASK 0xffffffffu

/*
 * What every process needs: memory, waiting, what is open, time, randomness, an end. mmap and
 * mprotect have rules of their own below. abort() is missing on purpose: it ends in tgkill, and
 * the filter kills as surely. restart_syscall is the kernel's, for sleeps that a stop interrupted.
 * sysinfo: qsort(3) asks how much memory there is; it tells load and memory size, nothing else.
 */
/* AddressSanitizer's runtime asks for more; such a build is for tests. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_CALLS SCMP_SYS(sigaltstack), SCMP_SYS(sched_getaffinity), SCMP_SYS(getrusage), SCMP_SYS(readlink),
#else
#define SANITIZER_CALLS
#endif

static const int common_calls[] = {
	SANITIZER_CALLS
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(close),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(futex),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sysinfo),
	SCMP_SYS(fstat),
};

/* The keeper's loop, and send(2) and recv(2) of the TCTIs that speak to a software TPM. */
static const int keeper_calls[] = {
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(sendto), SCMP_SYS(recvfrom),
};

/* SQLite, sockets and the loop. File permissions and the root directory say which files; this list says what may be
 * done. */
static const int manager_calls[] = {
	/* files */
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(writev),
	SCMP_SYS(readv),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	SCMP_SYS(newfstatat),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(statx),
	SCMP_SYS(lseek),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(flock),
	SCMP_SYS(geteuid),
	SCMP_SYS(getuid),
	SCMP_SYS(umask),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(lchown),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(getdents64),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(wait4), /* for the spawner's end */
	/* sockets; socket and socketpair have a rule below; there is nobody to connect to */
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept4),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(shutdown),
	/* rings and the loop */
	SCMP_SYS(memfd_create),
	SCMP_SYS(eventfd2),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(signalfd4),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(uname),
};

/* Backend and keeper look at the flags and seals of what they are given. */
static const int worker_fcntls[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GET_SEALS};

/* The manager also locks (SQLite), duplicates and seals. Not F_SETOWN, which sends signals to others. */
static const int manager_fcntls[] = {
	F_GETFD, F_SETFD,  F_GETFL,	F_SETFL,     F_GET_SEALS,  F_ADD_SEALS, F_GETLK,
	F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_DUPFD,	F_DUPFD_CLOEXEC,
};

static int allow_calls(scmp_filter_ctx ctx, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0))
			return ERR_SYS;
	}
	return 0;
}

/* Allows a call if its argument arg is value under mask. */
static int allow_masked(scmp_filter_ctx ctx, int call, unsigned arg, scmp_datum_t mask, scmp_datum_t value)
{
	const struct scmp_arg_cmp cmp = SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, mask, value);

	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, call, 1, &cmp) ? ERR_SYS : 0;
}

static int allow_fcntls(scmp_filter_ctx ctx, const int *cmds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (allow_masked(ctx, SCMP_SYS(fcntl), 1, INT_MASK, (scmp_datum_t)cmds[i]))
			return ERR_SYS;
	}
	return 0;
}

/* Memory that is never executable: no way to run code that was not there at the start. */
static int allow_memory(scmp_filter_ctx ctx)
{
	if (allow_masked(ctx, SCMP_SYS(mmap), 2, PROT_EXEC, 0))
		return ERR_SYS;
	return allow_masked(ctx, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
}

static int allow_common(scmp_filter_ctx ctx)
{
	if (allow_memory(ctx))
		return ERR_SYS;
	return allow_calls(ctx, common_calls, ARRAY_LEN(common_calls));
}

static int allow_worker(scmp_filter_ctx ctx)
{
	if (allow_common(ctx) || allow_fcntls(ctx, worker_fcntls, ARRAY_LEN(worker_fcntls)))
		return ERR_SYS;
	/*
	 * fstat(3) of glibc 2.33 and later. The filter cannot see that the path is empty; in the
	 * empty root directory there is no other.
	 */
	return allow_masked(ctx, SCMP_SYS(newfstatat), 3, INT_MASK, AT_EMPTY_PATH);
}

static int allow_keeper(scmp_filter_ctx ctx)
{
	if (allow_worker(ctx))
		return ERR_SYS;
	return allow_calls(ctx, keeper_calls, ARRAY_LEN(keeper_calls));
}

static int allow_manager(scmp_filter_ctx ctx)
{
	if (allow_common(ctx) || allow_fcntls(ctx, manager_fcntls, ARRAY_LEN(manager_fcntls)))
		return ERR_SYS;
	if (allow_masked(ctx, SCMP_SYS(socket), 0, INT_MASK, AF_UNIX) ||
	    allow_masked(ctx, SCMP_SYS(socketpair), 0, INT_MASK, AF_UNIX))
		return ERR_SYS;
	return allow_calls(ctx, manager_calls, ARRAY_LEN(manager_calls));
}

static int allow_kind(scmp_filter_ctx ctx, enum sandbox_kind kind)
{
	switch (kind) {
	case SANDBOX_BACKEND:
		return allow_worker(ctx);
	case SANDBOX_KEEPER:
		return allow_keeper(ctx);
	case SANDBOX_MANAGER:
		return allow_manager(ctx);
	}
	return ERR_INVAL;
}

static int set_attributes(scmp_filter_ctx ctx)
{
	if (seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 1) || seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) ||
	    seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS))
		return ERR_SYS;
	return 0;
}

/*
 * glibc's allocator opens files at moments nobody expects: /proc/sys/vm/overcommit_memory before it
 * shrinks the heap of a thread, /sys/devices/system/cpu/online before its ninth heap. Opening is
 * death here, so it must never shrink one nor make another.
 */
static void tame_malloc(void)
{
	(void)mallopt(M_TRIM_THRESHOLD, -1); /* an allocator that does not know these has no such habits */
	(void)mallopt(M_ARENA_MAX, 1);
}

int sandbox_filter(enum sandbox_kind kind)
{
	scmp_filter_ctx ctx;
	int err;

	tame_malloc();
	ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!ctx)
		return ERR_NOMEM;
	err = set_attributes(ctx);
	if (!err)
		err = allow_kind(ctx, kind);
	if (!err && seccomp_load(ctx))
		err = ERR_SYS;
	seccomp_release(ctx);
	return err;
}

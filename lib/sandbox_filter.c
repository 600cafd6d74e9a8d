/* SPDX-License-Identifier: BSD-2-Clause */
/* The seccomp allow-lists. What is not listed here kills the process (seccomp(2)). */
#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/util.h"

/* Arguments that are int in the kernel: the upper half of the register is not defined. */
#define INT_MASK 0xffffffffu

/* AddressSanitizer's runtime asks for more; such a build is for tests. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_CALLS SCMP_SYS(sigaltstack), SCMP_SYS(sched_getaffinity), SCMP_SYS(getrusage), SCMP_SYS(readlink),
#else
#define SANITIZER_CALLS
#endif

/*
 * What every process needs: memory, waiting, what is open, time, randomness, an end. mmap and
 * mprotect have rules of their own below. abort() is missing on purpose: it ends in tgkill, and
 * the filter kills as surely. restart_syscall is the kernel's, for sleeps that a stop interrupted.
 * sysinfo: qsort(3) asks how much memory there is; it tells load and memory size, nothing else.
 */
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
	SCMP_SYS(timer_settime), /* fd_hurry_begin */
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

/*
 * By dprintf(3) libtpms complains, to /dev/null, of a state that it does not understand; and that asks where the
 * descriptor stands, and whether it is a terminal. shutdown: whoever else has a data channel is to see its end.
 * recvmmsg and sendmmsg do what recvmsg and sendmsg do, and count it in memory (vtpm-backend/transfer.h).
 */
static int allow_backend(scmp_filter_ctx ctx)
{
	static const int calls[] = {SCMP_SYS(lseek), SCMP_SYS(shutdown), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg)};

	if (allow_worker(ctx) || allow_calls(ctx, calls, ARRAY_LEN(calls)))
		return ERR_SYS;
	return allow_masked(ctx, SCMP_SYS(ioctl), 1, INT_MASK, TCGETS);
}

static int allow_backend_xen(scmp_filter_ctx ctx)
{
	if (allow_backend(ctx))
		return ERR_SYS;
	return allow_masked(ctx, SCMP_SYS(ioctl), 1, INT_MASK, SANDBOX_IOCTL_NOTIFY);
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
		return allow_backend(ctx);
	case SANDBOX_BACKEND_XEN:
		return allow_backend_xen(ctx);
	case SANDBOX_KEEPER:
		return allow_keeper(ctx);
	case SANDBOX_MANAGER:
		return allow_manager(ctx);
	}
	return ERR_INVAL;
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

/* libseccomp writes a program to a descriptor only. A pipe holds all of it, and RLIMIT_FSIZE does not count there. */
static int export_program(const scmp_filter_ctx ctx, struct sock_fprog *prog)
{
	static const size_t max = BPF_MAXINSNS * sizeof(struct sock_filter);
	int err = ERR_SYS, fds[2] = { -1, -1 };
	ssize_t len;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) || seccomp_export_bpf(ctx, fds[1]))
		goto out;
	prog->filter = malloc(max);
	if (!prog->filter) {
		err = ERR_NOMEM;
		goto out;
	}
	len = read(fds[0], prog->filter, max);
	if (len > 0 && (size_t)len % sizeof(struct sock_filter) == 0) {
		prog->len = (unsigned short)((size_t)len / sizeof(struct sock_filter));
		err = 0;
	}
	if (err)
		sandbox_program_free(prog);
out:
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return err;
}

int sandbox_build(enum sandbox_kind kind, struct sock_fprog *prog)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	*prog = (struct sock_fprog){ 0 };
	if (!ctx)
		return ERR_NOMEM;
	err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) ? ERR_SYS : allow_kind(ctx, kind);
	if (!err)
		err = export_program(ctx, prog);
	seccomp_release(ctx);
	return err;
}

int sandbox_load(const struct sock_fprog *prog)
{
	tame_malloc();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_from_errno(errno);
	/* A positive result is a thread that could not be synchronised. */
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, prog) ? ERR_SYS : 0;
}

void sandbox_program_free(struct sock_fprog *prog)
{
	free(prog->filter);
	*prog = (struct sock_fprog){ 0 };
}

int sandbox_filter(enum sandbox_kind kind)
{
	struct sock_fprog prog;
	int err = sandbox_build(kind, &prog);

	if (err)
		return err;
	err = sandbox_load(&prog);
	sandbox_program_free(&prog);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sandbox every process enters before it reads its first untrusted byte. Privilege only
 * shrinks. The order is: OpenSSL warmed, sandbox_drop, threads made, sandbox_limit (it forbids
 * more of them), sandbox_filter. A call that the filter does not list kills the process.
 */
#ifndef VTPM_LIB_SANDBOX_H
#define VTPM_LIB_SANDBOX_H

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "lib/err.h"

/* The one ioctl that SANDBOX_BACKEND_XEN allows, on any descriptor: IOCTL_EVTCHN_NOTIFY of xen/sys/evtchn.h. */
#define SANDBOX_IOCTL_NOTIFY _IOC(_IOC_NONE, 'E', 4, 4)

enum sandbox_kind {
	SANDBOX_BACKEND, /* engine and control thread: memory, futex, poll, send and receive on what is open */
	SANDBOX_KEEPER,	 /* the same, plus what a TCTI does on the descriptor it has open */
	SANDBOX_MANAGER, /* files below its directories, sockets of its own; no exec, no fork, no ptrace */
	SANDBOX_BACKEND_XEN, /* as SANDBOX_BACKEND, plus the signal to a guest of Xen */
};

/*
 * Opens a directory to be locked in. ERR_DENIED: it is not the effective user's own, others may write to
 * it, or it is not empty. A symbolic link is not followed: whoever owns the directory above may have put it there.
 */
CHECKED int sandbox_open_empty(const char *path);
/*
 * Gives up the identity of root for uid:gid: chroot to the directory emptydir (NULL: none; see
 * sandbox_open_empty), no supplementary groups, real, effective and saved ids set and checked, not to be
 * dumped or traced, no capabilities.
 * As a process that is not root it does nothing and returns 0 (there is nothing to give up).
 * ERR_INVAL: uid or gid is 0. Capabilities are the calling thread's: call it while there is no other.
 */
CHECKED int sandbox_drop(uid_t uid, gid_t gid, const char *emptydir);
/*
 * The same in two steps, for who does the first before it is known who he becomes: chroot, bounding set and groups; then ids and
 * capabilities.
 */
CHECKED int sandbox_confine(const char *emptydir);
CHECKED int sandbox_become(uid_t uid, gid_t gid);
/*
 * RLIMITs of a kind: files, processes, core, file size, locked memory, and for a backend all memory,
 * so that one that its guest has taken over cannot take the host's. Backend and keeper can
 * make neither a thread nor a child any more, and cannot write to a regular file (EFBIG; SIGXFSZ
 * is ignored, so that a log that was redirected to a file costs lines and not the process).
 */
CHECKED int sandbox_limit(enum sandbox_kind kind);
/* no_new_privs, then the seccomp filter over all threads (SECCOMP_FILTER_FLAG_TSYNC). Threads must exist and OpenSSL must be warm by now. */
CHECKED int sandbox_filter(enum sandbox_kind kind);
/*
 * The same in two steps, for who makes many processes of a kind: building the filter takes longer than
 * loading it. The program is freed with sandbox_program_free.
 */
struct sock_fprog;
CHECKED int sandbox_build(enum sandbox_kind kind, struct sock_fprog *prog);
CHECKED int sandbox_load(const struct sock_fprog *prog);
void sandbox_program_free(struct sock_fprog *prog);
/*
 * Closes every descriptor but 0, 1, 2 and the n in keep (in any order; negative ones count for
 * nothing). The standard ones stay, because whatever took the number 2 would get the log.
 */
CHECKED int sandbox_close_others(const int *keep, unsigned n);

#endif

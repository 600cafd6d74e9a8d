/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of vtpm-spawn share: spawn.c (the loop and its messages), birth.c (fork), reexec.c. */
#ifndef VTPM_BACKEND_SPAWNER_H
#define VTPM_BACKEND_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/filter.h>
#include <sys/types.h>

#include "lib/loop.h"
#include "vtpm-backend/children.h"
#include "vtpm-backend/warm.h"
#include "vtpm-mgr/proto/spawn.h"

#define SPAWN_FD_MANAGER 3 /* the socket to the manager, from the first instruction on, */
#define SPAWN_FD_HOLD	 4 /* and, with --held, that to vtpm-hold */

struct spawn_options {
	const char *keeper, *backend; /* programs */
	const char *empty_dir;	      /* NULL: no chroot */
	char **keeper_args;	      /* NULL-terminated */
	uint32_t uid_base;	      /* keeper: this one; the backend of a slot: this + 1 + slot */
	bool no_prefork, held;
	int resume_fd; /* -1, or the memfd of reexec.h */
};

struct spawner {
	struct spawn_options opt;
	struct loop loop;
	struct loop_io manager_io, signal_io;
	struct children children;
	int signal_fd;	/* SIGCHLD */
	int link_fd;	/* to the keeper; -1: there is none */
	int null_fd;	/* /dev/null */
	int netns_fd;	/* an empty network namespace; -1: not permitted */
	int exe_fd;	/* this program */
	int argc;
	char **argv;
	struct sock_fprog filter, filter_xen; /* for all backends; filter_xen: for those that serve a guest of Xen */
	struct warm_state warm;
	pid_t spare_pid; /* a backend that waits for somebody to serve; 0: none */
	int spare_fd;
	struct loop_timer reserve; /* until the next one is made */
	bool crashed;	/* a forked backend crashed: get a new address layout */
	int status;	/* to exit with */
};

/* Forks the keeper; sock is its manager socket, link its end of the link, fence what it holds. The pid, or a negative code. */
CHECKED pid_t birth_keeper(struct spawner *s, int sock, int link, int fence);
/*
 * Makes a backend of the one in reserve, or forks one. fds: control, store, key channel, then what its kind is given, and with a
 * ring an area for checkpoints: in the order of their places (backend.h). The pid, or a negative code.
 */
CHECKED pid_t birth_backend(struct spawner *s, const struct spawn_backend *req, const int *fds, unsigned n);
/* The same by fork and exec, with an address layout of its own. */
CHECKED pid_t birth_exec(struct spawner *s, const struct spawn_backend *req, const int *fds, unsigned n);
/*
 * Forks a backend for the next power-on, if there is none: it goes as far as one can without knowing whom it will
 * serve, and waits with the rights of the spawner for nothing but the spawner's word. leisure: somebody will have to
 * wait for it only later, so it warms up.
 */
CHECKED int birth_spare(struct spawner *s, bool leisure);
/* Opens /dev/null, this program and (as root) an empty network namespace. */
CHECKED int birth_prepare(struct spawner *s);

/*
 * Forked processes share address layout and stack canary with the spawner: one that crashed may have told an
 * attacker both. Executes this program again, with the manager socket, the link and the table of
 * children; they stay its children. Returns only if that failed.
 */
CHECKED int reexec(struct spawner *s);
/* The other half: takes link and children out of opt.resume_fd. */
CHECKED int reexec_resume(struct spawner *s);

#endif

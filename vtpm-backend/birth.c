/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/util.h"
#include "lib/ipc.h"
#include "vtpm-backend/run.h"
#include "vtpm-backend/transport.h"
#include "vtpm-backend/warm.h"

#define FD_FIRST   3  /* behind standard input, output and error */
#define FD_ASIDE   32 /* above every place that is filled */
#define FD_SET_MAX 8u
#define EXIT_EXEC  127

/*
 * An empty network namespace for all backends: made once, because making one costs more than the
 * rest of a backend. Without the right to do so they have the sandbox alone.
 */
static int make_netns(void)
{
	int own, empty = -1;

	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -1;
	if (unshare(CLONE_NEWNET) == 0) {
		empty = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (setns(own, CLONE_NEWNET) != 0)
			log_warn("cannot leave the empty network namespace: %s", strerror(errno));
	}
	close(own);
	return empty;
}

int birth_prepare(struct spawner *s)
{
	int err;

	s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	s->exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (s->null_fd < 0 || s->exe_fd < 0)
		return err_from_errno(errno);
	err = s->opt.no_prefork ? 0 : sandbox_build(SANDBOX_BACKEND, &s->filter);
	if (err == 0 && !s->opt.no_prefork)
		err = sandbox_build(SANDBOX_BACKEND_XEN, &s->filter_xen);
	if (err)
		return err;
	if (geteuid() != 0)
		return 0;
	s->netns_fd = make_netns();
	if (s->netns_fd < 0)
		log_info("backends get no network namespace of their own: %s", strerror(errno));
	return 0;
}

/* Puts fds at 3, 4, … and closes everything behind them. Sources and places may overlap. */
static int place_fds(const int *fds, unsigned n)
{
	int aside[FD_SET_MAX];

	if (n > FD_SET_MAX)
		return ERR_RANGE;
	for (unsigned i = 0; i < n; i++) {
		aside[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FD_ASIDE);
		if (aside[i] < 0)
			return err_from_errno(errno);
	}
	for (unsigned i = 0; i < n; i++)
		if (dup2(aside[i], FD_FIRST + (int)i) < 0)
			return err_from_errno(errno);
	return close_range(FD_FIRST + n, ~0u, 0) == 0 ? 0 : err_from_errno(errno);
}

/* The same where a QEMU's socket may be among what is closed: it may linger, and be the last of it if the spawner has closed its own by now. */
static int place_fds_in_a_hurry(const int *fds, unsigned n)
{
	int err = fd_hurry_prepare();

	if (err != 0)
		return err;
	fd_hurry_begin();
	err = place_fds(fds, n);
	fd_hurry_end();
	fd_hurry_forget();
	return err;
}

/* Standard input and output are nothing; so is standard error for those who must not speak. */
static int silence(const struct spawner *s, bool stderr_too)
{
	if (dup2(s->null_fd, STDIN_FILENO) < 0 || dup2(s->null_fd, STDOUT_FILENO) < 0)
		return err_from_errno(errno);
	if (stderr_too && dup2(s->null_fd, STDERR_FILENO) < 0)
		return err_from_errno(errno);
	return 0;
}

static int unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) == 0 ? 0 : ERR_SYS;
}

static _Noreturn void exec_backend(const struct spawner *s, const struct run_config *cfg)
{
	char id[16];
	const char *argv[9];
	unsigned n = 0;

	(void)snprintf(id, sizeof(id), "%u", (unsigned)cfg->uid);
	argv[n++] = "vtpm-backend";
	argv[n++] = "--uid";
	argv[n++] = id;
	argv[n++] = "--gid";
	argv[n++] = id;
	if (s->opt.empty_dir != NULL) {
		argv[n++] = "--empty-dir";
		argv[n++] = s->opt.empty_dir;
	}
	if (cfg->transport != NULL)
		argv[n++] = cfg->transport->option;
	argv[n] = NULL;
	execv(s->opt.backend, (char *const *)(uintptr_t)argv);
	_exit(EXIT_EXEC);
}

static struct run_config backend_config(const struct spawner *s, uint32_t slot, uint8_t kind)
{
	static const struct transport *const transports[SERVE_KINDS] = {
		[SERVE_RING] = &transport_ring, [SERVE_QEMU] = &transport_qemu, [SERVE_XEN] = &transport_xen };
	const uint32_t id = s->opt.uid_base + 1 + slot;

	return (struct run_config){ .uid = id,
				    .gid = id,
				    .filter = kind == SERVE_XEN ? &s->filter_xen : &s->filter,
				    .transport = transports[kind] };
}

/* What every backend does first, with n descriptors for a start. */
static void enter_child(const struct spawner *s, const int *fds, unsigned n)
{
	if (s->netns_fd >= 0 && setns(s->netns_fd, CLONE_NEWNET) != 0)
		_exit(1);
	if (silence(s, true) != 0 || place_fds_in_a_hurry(fds, n) != 0 || unblock_signals() != 0)
		_exit(1);
}

pid_t birth_exec(struct spawner *s, const struct spawn_backend *req, const int *fds, unsigned n)
{
	const struct run_config cfg = backend_config(s, req->slot, req->kind);
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		enter_child(s, fds, n);
		exec_backend(s, &cfg);
	}
	return pid > 0 ? pid : err_from_errno(errno);
}

/* --- a backend in reserve --- */

enum { BIRTH_GO = 0x42490001 }; /* spawner -> spare {as SPAWN_BACKEND} + its descriptors */

/* Waits to be told whom to serve. End of file: nobody. Only the spawner's own words are read here. */
static void spare_wait(struct ipc_msg *m, struct spawn_backend *req)
{
	uint8_t mem[SPAWN_BACKEND_SIZE];

	if (ipc_recv(FD_FIRST, m, mem, sizeof(mem), 0) != 0)
		_exit(0);
	if (m->type != BIRTH_GO || spawn_backend_decode(&m->body, req) != 0 || buf_left(&m->body) != 0)
		_exit(1);
}

static _Noreturn void spare_child(const struct spawner *s, int sock, bool leisure)
{
	struct run_config cfg;
	struct backend *b;
	struct spawn_backend req;
	struct ipc_msg m;
	int err;

	enter_child(s, &sock, 1);
	if ((leisure && warm_again(&s->warm) != 0) || backend_prepare(&b) != 0)
		_exit(1);
	err = sandbox_confine(s->opt.empty_dir);
	spare_wait(&m, &req);
	cfg = backend_config(s, req.slot, req.kind);
	if (place_fds(m.fds, m.nfds) != 0)
		_exit(1);
	if (err != 0)
		backend_fail(b, err, "enter the sandbox");
	backend_run(b, &cfg);
}

int birth_spare(struct spawner *s, bool leisure)
{
	int sv[2], err;
	pid_t pid;

	if (s->spare_pid > 0)
		return 0;
	err = ipc_pair(sv);
	if (err != 0)
		return err;
	pid = fork();
	if (pid == 0)
		spare_child(s, sv[1], leisure);
	close(sv[1]);
	if (pid < 0) {
		close(sv[0]);
		return err_from_errno(errno);
	}
	s->spare_pid = pid;
	s->spare_fd = sv[0];
	return 0;
}

static pid_t spare_send(struct spawner *s, const struct spawn_backend *req, const int *fds, unsigned n)
{
	const pid_t pid = s->spare_pid;
	uint8_t mem[SPAWN_BACKEND_SIZE];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = spawn_backend_encode(&b, req);
	if (err == 0)
		err = ipc_send(s->spare_fd, BIRTH_GO, &b, fds, n);
	fd_close(&s->spare_fd);
	s->spare_pid = 0;
	return err != 0 ? err : pid;
}

pid_t birth_backend(struct spawner *s, const struct spawn_backend *req, const int *fds, unsigned n)
{
	pid_t pid;
	int err;

	err = birth_spare(s, false);
	if (err != 0)
		return err;
	pid = spare_send(s, req, fds, n);
	if (pid > 0)
		return pid;
	err = birth_spare(s, false); /* that one had died: a fresh one, once */
	return err != 0 ? err : spare_send(s, req, fds, n);
}

static size_t count_args(char **args)
{
	size_t n = 0;

	while (args[n] != NULL)
		n++;
	return n;
}

static _Noreturn void exec_keeper(const struct spawner *s)
{
	const size_t given = count_args(s->opt.keeper_args);
	size_t n = 0;
	const char **argv;
	char id[16];

	argv = calloc(given + 8, sizeof(*argv));
	if (argv == NULL)
		_exit(1);
	(void)snprintf(id, sizeof(id), "%u", (unsigned)s->opt.uid_base);
	argv[n++] = "vtpm-keeper";
	for (size_t i = 0; i < given; i++)
		argv[n++] = s->opt.keeper_args[i];
	if (geteuid() == 0) {
		argv[n++] = "--uid";
		argv[n++] = id;
		argv[n++] = "--gid";
		argv[n++] = id;
	}
	if (s->opt.empty_dir != NULL) {
		argv[n++] = "--empty-dir";
		argv[n++] = s->opt.empty_dir;
	}
	execv(s->opt.keeper, (char *const *)(uintptr_t)argv);
	log_error("cannot execute %s: %s", s->opt.keeper, strerror(errno));
	_exit(EXIT_EXEC);
}

pid_t birth_keeper(struct spawner *s, int sock, int link, int fence)
{
	const int fds[3] = { sock, link, fence };
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		if (silence(s, false) != 0 || place_fds_in_a_hurry(fds, ARRAY_LEN(fds)) != 0 || unblock_signals() != 0)
			_exit(1);
		exec_keeper(s);
	}
	return pid > 0 ? pid : err_from_errno(errno);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The spawner process: the one that keeps the right to change uid. It is started first, before the manager gives its own away. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "vtpm-mgr/mgr.h"

#define SPAWN_FD      3
#define SPAWN_FD_HOLD 4

#define FENCE_FILE    "keeper.lock"
#define FENCE_POLL_MS 10
#define FENCE_MAX_MS  90000 /* a keeper has patience with its TPM for a minute (keeper/anchor.c) */

/* Puts both channels into their places, which may be each other's. */
static int place_channels(const struct mgr *m, int sock)
{
	const int hold = m->cfg.hold_spawner_fd;
	int aside, aside_hold = -1;

	/* A Ctrl-C on the manager's terminal is the manager's to handle: it powers everything off in order. vtpm-hold has seen to that. */
	if (hold < 0)
		setsid();
	aside = fcntl(sock, F_DUPFD_CLOEXEC, SPAWN_FD_HOLD + 1);
	if (hold >= 0)
		aside_hold = fcntl(hold, F_DUPFD_CLOEXEC, SPAWN_FD_HOLD + 1);
	if (aside < 0 || dup2(aside, SPAWN_FD) < 0)
		return ERR_SYS;
	return hold >= 0 && dup2(aside_hold, SPAWN_FD_HOLD) < 0 ? ERR_SYS : 0;
}

static void exec_spawner(struct mgr *m, int sock)
{
	char program[PATH_MAX], keeper[PATH_MAX], backend[PATH_MAX], empty[PATH_MAX], base[16];
	const char *argv[21];
	unsigned n = 0;

	snprintf(program, sizeof(program), "%s/vtpm-spawn", m->cfg.libexec_dir);
	snprintf(keeper, sizeof(keeper), "%s/vtpm-keeper", m->cfg.libexec_dir);
	snprintf(backend, sizeof(backend), "%s/vtpm-backend", m->cfg.libexec_dir);
	snprintf(empty, sizeof(empty), "%s/empty", m->cfg.runtime_dir);
	snprintf(base, sizeof(base), "%u", m->cfg.uid_base);
	argv[n++] = "vtpm-spawn";
	argv[n++] = "--keeper";
	argv[n++] = keeper;
	argv[n++] = "--backend";
	argv[n++] = backend;
	if (geteuid() == 0) {
		argv[n++] = "--uid-base";
		argv[n++] = base;
		argv[n++] = "--empty-dir";
		argv[n++] = empty;
	}
	if (m->cfg.no_prefork)
		argv[n++] = "--no-prefork";
	if (m->cfg.hold_spawner_fd >= 0)
		argv[n++] = "--held";
	argv[n++] = "--";
	argv[n++] = "--tcti";
	argv[n++] = m->cfg.tcti;
	argv[n++] = "--recovery-keys";
	argv[n++] = m->cfg.recovery_keys;
	argv[n] = NULL;
	if (place_channels(m, sock))
		_exit(126);
	execv(program, (char *const *)(uintptr_t)argv);
	log_error("cannot start %s: %s; --libexec-dir says where the helpers are", program, strerror(errno));
	_exit(127);
}

int host_start_spawner(struct mgr *m)
{
	int sv[2];
	int err = ipc_pair(sv);

	if (err)
		return err;
	m->spawner_pid = fork();
	if (m->spawner_pid == 0)
		exec_spawner(m, sv[1]);
	fd_close(&sv[1]);
	fd_close(&m->cfg.hold_spawner_fd);
	if (m->spawner_pid < 0) {
		fd_close(&sv[0]);
		return ERR_SYS;
	}
	m->spawner = sv[0];
	return 0;
}

int host_fence(struct mgr *m)
{
	const struct timespec poll = {.tv_nsec = FENCE_POLL_MS * 1000000L};
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/" FENCE_FILE, m->cfg.state_dir) >= sizeof(path))
		return ERR_RANGE;
	m->fence = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->fence < 0)
		return err_from_errno(errno);
	for (unsigned waited = 0; flock(m->fence, LOCK_EX | LOCK_NB); waited += FENCE_POLL_MS) {
		if (errno != EWOULDBLOCK)
			return err_from_errno(errno);
		if (waited == 0)
			log_warn("waiting for the keeper of an earlier vtpm-mgr to end: it may still change the anchors");
		if (waited >= FENCE_MAX_MS)
			return ERR_BUSY;
		nanosleep(&poll, NULL);
	}
	return 0;
}

static int on_exited(void *peer, struct ipc_msg *msg)
{
	struct mgr *m = peer;
	struct spawn_exited e;
	int err = spawn_exited_decode(&msg->body, &e);

	if (err)
		return err;
	if (e.token == 0) /* the end of file on its own socket says when, and of which keeper */
		log_debug("a keeper ended with status %#x", e.status);
	else
		worker_exited(m, e.token, e.status);
	return 0;
}

static int on_unattached(void *peer, struct ipc_msg *msg)
{
	struct spawn_attach a;
	int err = spawn_attach_decode(&msg->body, &a);

	return err ? err : xen_ring_refused(peer, &a);
}

static const struct ipc_rule spawner_rules[] = {
	{ SPAWN_EXITED, ~0u, SPAWN_EXITED_SIZE, SPAWN_EXITED_SIZE, 0, 0, on_exited },
	{ SPAWN_UNATTACHED, ~0u, SPAWN_ATTACH_SIZE, SPAWN_ATTACH_SIZE, 0, 0, on_unattached },
};

static void on_spawner(void *arg, uint32_t events)
{
	struct mgr *m = arg;
	struct ipc_msg msg;
	int err;

	(void)events;
	err = ipc_recv(m->spawner, &msg, m->rx, sizeof(m->rx), MSG_DONTWAIT);
	if (err == ERR_AGAIN)
		return;
	if (!err)
		err = ipc_dispatch(spawner_rules, ARRAY_LEN(spawner_rules), 1, m, &msg);
	if (!err)
		return;
	/* Without it nothing can be started, and the manager may not start another: it has no right to change uid. */
	log_error("vtpm-spawn has ended (%s); stopping", err_text(err));
	loop_remove(&m->loop, &m->spawner_io);
	fd_close(&m->spawner);
	m->exit_code = 1;
	loop_stop(&m->loop);
}

int host_watch_spawner(struct mgr *m)
{
	return loop_add(&m->loop, &m->spawner_io, m->spawner, EPOLLIN, on_spawner, m);
}

int host_send(struct mgr *m, uint32_t type, const struct buf *body, const int *fds, unsigned nfds)
{
	if (m->spawner < 0)
		return ERR_CLOSED;
	return ipc_send(m->spawner, type, body, fds, nfds);
}

void host_close(struct mgr *m)
{
	loop_remove(&m->loop, &m->spawner_io);
	fd_close(&m->spawner);
}

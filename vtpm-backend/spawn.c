/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-spawn: forks the keeper and the backends for the manager. Started as root it stays root, because
 * only root can give its children their uids; so it parses nothing but its five messages, and stays single-threaded.
 *
 *	vtpm-spawn --keeper PATH --backend PATH [--uid-base N] [--empty-dir DIR] [--no-prefork] [--held] -- KEEPER-ARGS…
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/xen/xen.h"
#include "lib/log.h"
#include "lib/sandbox.h"
#include "lib/secmem.h"
#include "lib/util.h"
#include "lib/version.h"
#include "vtpm-backend/checkpoint.h"
#include "vtpm-backend/held.h"
#include "vtpm-backend/spawner.h"
#include "vtpm-backend/warm.h"

#define RESERVE_DELAY_MS 3	     /* about twice what a power-on takes */
#define KEY_CHANNEL	 2u	     /* place of the key channel among a backend's descriptors */

static void report_exit(struct spawner *s, uint64_t token, uint32_t status)
{
	const struct spawn_exited m = { .token = token, .status = status };
	uint8_t mem[SPAWN_EXITED_SIZE];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = spawn_exited_encode(&b, &m);
	if (err == 0)
		err = ipc_send_wait(SPAWN_FD_MANAGER, SPAWN_EXITED, &b, NULL, 0);
	if (err == 0)
		return;
	if (err != ERR_CLOSED) { /* a manager that has gone is the ordinary end */
		log_error("cannot report to the manager: %s", err_text(err));
		s->status = 1;
	}
	loop_stop(&s->loop);
}

/* Signals that a bug raises, not a person or the kernel short of memory. */
static bool is_crash(int status)
{
	if (!WIFSIGNALED(status))
		return false;
	return WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGINT &&
	       WTERMSIG(status) != SIGHUP;
}

static void child_ended(struct spawner *s, struct child *ch, int status)
{
	struct child was = *ch;

	/* Only one that has ended in order is sure to need no successor; of others the manager says so. */
	if (was.kind == CHILD_BACKEND && was.legacy.area >= 0 && status != 0) {
		ch->kind = CHILD_GONE;
		ch->pid = 0;
	} else {
		children_remove(&s->children, ch);
		held_drop(s, &was);
		legacy_close(&was.legacy);
	}
	if (was.kind == CHILD_REPLACED)
		return;
	if (was.kind == CHILD_KEEPER)
		fd_close(&s->link_fd);
	if (is_crash(status))
		log_error("process %d crashed: %s", (int)was.pid, strsignal(WTERMSIG(status)));
	if (was.kind == CHILD_BACKEND && is_crash(status) && !s->opt.no_prefork)
		s->crashed = true;
	report_exit(s, was.token, (uint32_t)status);
}

static void reap(struct spawner *s)
{
	struct child *ch;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->spare_pid) {
			s->spare_pid = 0; /* the next power-on makes another */
			fd_close(&s->spare_fd);
		}
		ch = children_find_pid(&s->children, pid);
		if (ch != NULL)
			child_ended(s, ch, status);
	}
}

static void on_reserve(void *arg)
{
	struct spawner *s = arg;
	int err;

	err = birth_spare(s, true);
	if (err != 0)
		log_warn("no backend in reserve: %s", err_text(err));
}

/* When nobody has asked for a backend for a moment: making one would only slow the last one down. */
static void reserve_later(struct spawner *s)
{
	if (!s->opt.no_prefork)
		loop_timer_set(&s->loop, &s->reserve, RESERVE_DELAY_MS, on_reserve, s);
}

static int on_keeper(void *peer, struct ipc_msg *m)
{
	struct spawner *s = peer;
	struct child *old = children_find_keeper(&s->children);
	int link[2], err;
	pid_t pid;

	if (old != NULL) {
		kill(old->pid, SIGKILL);
		old->kind = CHILD_REPLACED;
	}
	fd_close(&s->link_fd);
	err = ipc_pair(link);
	if (err != 0) {
		report_exit(s, 0, SPAWN_NOT_BORN);
		return 0;
	}
	err = children_reserve(&s->children);
	pid = err != 0 ? err : birth_keeper(s, m->fds[0], link[1], m->fds[1]);
	close(link[1]);
	if (pid < 0) {
		close(link[0]);
		report_exit(s, 0, SPAWN_NOT_BORN);
		return 0;
	}
	s->link_fd = link[0];
	children_add(&s->children, &(struct child){ .kind = CHILD_KEEPER, .pid = pid, .legacy = LEGACY_NONE });
	return 0;
}

/*
 * Gives the keeper its end of a backend's key channel. Without a keeper, or with one that has
 * hundreds of them unread, that end is closed, and the backend says by itself that its key
 * cannot come: nothing here may wait for a keeper that waits for the manager.
 */
static void link_backend(struct spawner *s, uint64_t token, int end)
{
	uint8_t mem[SPAWN_TOKEN_SIZE];
	struct buf b;
	int err;

	if (s->link_fd < 0)
		return;
	buf_init(&b, mem, sizeof(mem));
	err = spawn_token_encode(&b, token);
	if (err == 0)
		err = ipc_send(s->link_fd, LINK_BACKEND, &b, &end, 1);
	if (err != 0)
		log_warn("cannot link a backend with the keeper: %s", err_text(err));
}

static int make_legacy(uint8_t kind, struct legacy *l)
{
	int err = checkpoint_area_make(&l->area);

	if (err == 0 && kind == SERVE_QEMU)
		err = ipc_pair(l->stash);
	return err;
}

/* What one that serves a guest will leave behind: all anew, or that of the one whose place it takes, which served in the same way. */
static int take_legacy(struct spawner *s, const struct spawn_backend *req, struct legacy *l)
{
	struct child *gone;

	if (req->kind == SERVE_NOBODY)
		return req->replaces == 0 ? 0 : ERR_INVAL;
	if (req->replaces == 0) {
		int err = make_legacy(req->kind, l);

		if (err == 0)
			held_keep(s, req->token, l);
		return err;
	}
	gone = children_find_gone(&s->children, req->replaces);
	if (gone == NULL || (gone->legacy.stash[0] >= 0) != (req->kind == SERVE_QEMU))
		return ERR_NOTFOUND;
	*l = gone->legacy;
	children_remove(&s->children, gone);
	return 0;
}

static pid_t make_backend(struct spawner *s, const struct spawn_backend *req, const struct ipc_msg *m, const struct legacy *l)
{
	int fds[SPAWN_FDS_MAX + 1 + LEGACY_FDS], key[2], err;
	unsigned n = 0;
	pid_t pid;

	err = children_reserve(&s->children);
	if (err == 0)
		err = ipc_pair(key);
	if (err != 0)
		return err;
	for (unsigned i = 0; i < m->nfds; i++) {
		if (i == KEY_CHANNEL)
			fds[n++] = key[1];
		fds[n++] = m->fds[i];
	}
	if (m->nfds == KEY_CHANNEL)
		fds[n++] = key[1];
	if (l->area >= 0)
		fds[n++] = l->area;
	for (unsigned i = 0; i < 2 && l->stash[i] >= 0; i++)
		fds[n++] = l->stash[i];
	pid = s->opt.no_prefork ? birth_exec(s, req, fds, n) : birth_backend(s, req, fds, n);
	reserve_later(s);
	close(key[1]);
	if (pid > 0)
		link_backend(s, req->token, key[0]);
	close(key[0]);
	return pid;
}

static int on_backend(void *peer, struct ipc_msg *m)
{
	struct spawner *s = peer;
	struct child ch = { .kind = CHILD_BACKEND, .legacy = LEGACY_NONE };
	struct spawn_backend req;
	pid_t pid;
	int err;

	err = spawn_backend_decode(&m->body, &req);
	if (err != 0)
		return err;
	if (m->nfds != spawn_backend_fds(req.kind) || children_find_token(&s->children, req.token) != NULL)
		return ERR_PROTO;
	ch.token = req.token;
	ch.name = req.replaces != 0 ? req.replaces : req.token;
	err = take_legacy(s, &req, &ch.legacy);
	pid = err != 0 ? err : make_backend(s, &req, m, &ch.legacy);
	if (pid > 0) {
		ch.pid = pid;
		children_add(&s->children, &ch);
		return 0;
	}
	if (err == 0 && req.replaces != 0) { /* it is there for the next attempt, in the room that it had */
		ch.kind = CHILD_GONE;
		children_add(&s->children, &ch);
	} else {
		held_drop(s, &ch);
		legacy_close(&ch.legacy);
	}
	log_error("cannot make a backend: %s", err_text(pid));
	report_exit(s, req.token, err == ERR_NOTFOUND ? SPAWN_NOTHING_LEFT : SPAWN_NOT_BORN);
	return 0;
}

static void forget_legacy(struct spawner *s, struct child *ch)
{
	struct child was;

	if (ch == NULL)
		return;
	was = *ch;
	children_remove(&s->children, ch);
	held_drop(s, &was);
	legacy_close(&was.legacy);
}

/* A manager that was killed may have forgotten a vTPM whose area its spawner, killed as well, was yet to let go of: nobody would ever name it. */
static int on_claim(void *peer, struct ipc_msg *m)
{
	struct spawner *s = peer;
	struct child *ch;
	uint64_t area;
	int err;

	err = spawn_token_decode(&m->body, &area);
	if (err != 0)
		return err;
	ch = children_find_left(&s->children, area);
	if (area != 0 && ch != NULL)
		ch->kind = CHILD_GONE;
	for (; area == 0 && ch != NULL; ch = children_find_left(&s->children, 0))
		forget_legacy(s, ch);
	return 0;
}

static int on_kill(void *peer, struct ipc_msg *m)
{
	struct spawner *s = peer;
	struct child *ch;
	uint64_t token;
	int err = spawn_token_decode(&m->body, &token);

	if (err != 0)
		return err;
	ch = token == 0 ? children_find_keeper(&s->children) : children_find_token(&s->children, token);
	if (ch != NULL)
		kill(ch->pid, SIGKILL);
	if (m->type == SPAWN_END)
		return 0; /* another one goes on from there; otherwise nobody is to */
	if (ch != NULL) {
		held_drop(s, ch);
		legacy_close(&ch->legacy);
	} else { /* it has ended, and its SPAWN_EXITED is on the way or there */
		forget_legacy(s, children_find_gone(&s->children, token));
	}
	return 0;
}

/*
 * Opens a ring to a guest of Xen and passes it to the backend it is for, over that backend's own channel: the manager
 * never holds the guest's page. A backend that has gone does not hear it; its end is reported.
 */
static int on_attach(void *peer, struct ipc_msg *m)
{
	struct attach_ring answer = { 0 };
	struct spawn_attach req;
	struct xen_ring ring;
	uint8_t mem[ATTACH_RING_SIZE];
	struct buf b;
	int fds[ATTACH_FDS], err;

	(void)peer;
	err = spawn_attach_decode(&m->body, &req);
	if (err != 0)
		return err;
	answer.code = xen_ring_open(&ring, req.domid, req.ref, req.port);
	answer.index = ring.index;
	answer.port = ring.local;
	answer.again = req.again;
	fds[0] = ring.grant;
	fds[1] = ring.port;
	buf_init(&b, mem, sizeof(mem));
	err = attach_ring_encode(&b, &answer);
	if (err == 0)
		err = ipc_send(m->fds[0], ATTACH_RING, &b, fds, answer.code == 0 ? ATTACH_FDS : 0);
	if (err != 0 && err != ERR_CLOSED)
		log_warn("cannot give a backend its ring: %s", err_text(err));
	xen_ring_close(&ring);
	return 0;
}

static const struct ipc_rule spawn_rules[] = {
	{ SPAWN_KEEPER, 1, 0, 0, SPAWN_KEEPER_FDS, SPAWN_KEEPER_FDS, on_keeper },
	{ SPAWN_BACKEND, 1, SPAWN_BACKEND_SIZE, SPAWN_BACKEND_SIZE, SPAWN_FDS_MIN, SPAWN_FDS_MAX, on_backend },
	{ SPAWN_ATTACH, 1, SPAWN_ATTACH_SIZE, SPAWN_ATTACH_SIZE, 1, 1, on_attach },
	{ SPAWN_CLAIM, 1, SPAWN_TOKEN_SIZE, SPAWN_TOKEN_SIZE, 0, 0, on_claim },
	{ SPAWN_KILL, 1, SPAWN_TOKEN_SIZE, SPAWN_TOKEN_SIZE, 0, 0, on_kill },
	{ SPAWN_END, 1, SPAWN_TOKEN_SIZE, SPAWN_TOKEN_SIZE, 0, 0, on_kill },
};

/* What comes with a request found no room among the descriptors of this process: that is the end of that one, and of no other. */
static int refuse(struct spawner *s, struct ipc_msg *m)
{
	struct spawn_backend req;
	int err = 0;

	if (m->type == SPAWN_ATTACH)
		return ipc_send_wait(SPAWN_FD_MANAGER, SPAWN_UNATTACHED, &m->body, NULL, 0);
	if (m->type == SPAWN_KEEPER && m->body.len == 0)
		req.token = 0;
	else if (m->type == SPAWN_BACKEND && m->body.len == SPAWN_BACKEND_SIZE)
		err = spawn_backend_decode(&m->body, &req);
	else
		err = ERR_PROTO;
	if (err != 0)
		return err;
	log_error("no descriptors are left for another process (RLIMIT_NOFILE)");
	report_exit(s, req.token, SPAWN_NOT_BORN);
	return 0;
}

static void on_manager(void *arg, uint32_t events)
{
	struct spawner *s = arg;
	uint8_t mem[SPAWN_BACKEND_SIZE];
	struct ipc_msg m;
	int err;

	(void)events;
	err = ipc_recv(SPAWN_FD_MANAGER, &m, mem, sizeof(mem), MSG_DONTWAIT);
	if (err == ERR_AGAIN)
		return;
	if (err == ERR_FULL)
		err = refuse(s, &m);
	else if (err == 0)
		err = ipc_dispatch(spawn_rules, ARRAY_LEN(spawn_rules), 1, s, &m);
	if (err == 0)
		return;
	if (err != ERR_CLOSED) {
		log_error("the manager: %s", err_text(err));
		s->status = 1;
	}
	loop_stop(&s->loop);
}

static void on_signal(void *arg, uint32_t events)
{
	struct signalfd_siginfo si;
	struct spawner *s = arg;

	(void)events;
	if (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		reap(s);
}

/* After all events of a round: the manager has been told everything that this life knows. */
static void after_round(void *arg)
{
	struct spawner *s = arg;
	int err;

	if (s->crashed) {
		s->crashed = false;
		err = reexec(s);
		log_error("going on without a new address layout: %s", err_text(err));
	}
}

static int watch(struct spawner *s)
{
	sigset_t mask;
	int err;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &mask, NULL) != 0)
		return ERR_SYS;
	s->signal_fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signal_fd < 0)
		return err_from_errno(errno);
	err = loop_open(&s->loop);
	if (err == 0)
		err = loop_add(&s->loop, &s->manager_io, SPAWN_FD_MANAGER, EPOLLIN, on_manager, s);
	if (err == 0)
		err = loop_add(&s->loop, &s->signal_io, s->signal_fd, EPOLLIN, on_signal, s);
	if (err == 0)
		loop_set_after(&s->loop, after_round, s);
	return err;
}

static void end_children(struct spawner *s)
{
	for (size_t i = 0; i < s->children.n; i++)
		if (s->children.list[i].pid > 0)
			kill(s->children.list[i].pid, SIGKILL);
	fd_close(&s->spare_fd); /* it ends by itself */
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	children_free(&s->children);
	sandbox_program_free(&s->filter);
	sandbox_program_free(&s->filter_xen);
	free(s->warm.data);
}

static const struct option options[] = {
	{ "keeper", required_argument, NULL, 'k' },    { "backend", required_argument, NULL, 'b' },
	{ "uid-base", required_argument, NULL, 'u' },  { "empty-dir", required_argument, NULL, 'e' },
	{ "no-prefork", no_argument, NULL, 'n' },      { "resume", required_argument, NULL, 'r' },
	{ "held", no_argument, NULL, 'H' },
	{ "help", no_argument, NULL, 'h' },	       { "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: vtpm-spawn --keeper PATH --backend PATH [--uid-base N] [--empty-dir DIR] [--no-prefork] [--held] -- KEEPER-ARGS\n"
	"Starts keeper and backends for vtpm-mgr, whose socket is its descriptor 3; see vtpm-spawn(8).\n";

static int take_option(struct spawn_options *o, int opt, const char *arg)
{
	uint64_t v;

	switch (opt) {
	case 'k':
		o->keeper = arg;
		return 0;
	case 'b':
		o->backend = arg;
		return 0;
	case 'e':
		o->empty_dir = arg;
		return 0;
	case 'n':
		o->no_prefork = true;
		return 0;
	case 'H':
		o->held = true;
		return 0;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	case 'V':
		puts("vtpm-spawn " VTPM_VERSION);
		exit(0);
	case 'u':
		if (parse_u64(arg, UINT32_MAX - SPAWN_SLOT_MAX - 2, &v) != 0 || v == 0)
			return ERR_INVAL;
		o->uid_base = (uint32_t)v;
		return 0;
	case 'r':
		if (parse_u64(arg, INT32_MAX, &v) != 0)
			return ERR_INVAL;
		o->resume_fd = (int)v;
		return 0;
	default:
		return ERR_INVAL;
	}
}

static int parse_options(int argc, char **argv, struct spawn_options *o)
{
	int opt, err;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		err = take_option(o, opt, optarg);
		if (err != 0)
			return err;
	}
	o->keeper_args = argv + optind;
	return o->keeper != NULL && o->backend != NULL ? 0 : ERR_INVAL;
}

/* Each guest costs up to three: what its backend leaves (children.h). */
static int raise_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return ERR_SYS;
	rl.rlim_cur = rl.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &rl) == 0 ? 0 : ERR_SYS;
}

static int start(struct spawner *s)
{
	int err;

	/* Nothing that comes from here gains rights by executing a program. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return ERR_SYS;
	err = raise_descriptors();
	if (err == 0)
		err = fd_hurry_prepare(); /* a QEMU's data channel, which its backend has left, may linger when the last of it is closed */
	if (err == 0)
		err = birth_prepare(s);
	if (err == 0)
		err = secmem_process(); /* no secrets here, but the address layout that all backends share */
	if (err == 0)
		err = warm_up(s->opt.no_prefork ? WARM_CRYPTO : WARM_ENGINE, &s->warm);
	if (err == 0)
		err = watch(s);
	if (err == 0 && s->opt.resume_fd >= 0)
		err = reexec_resume(s);
	else if (err == 0)
		err = held_receive(s);
	if (err == 0)
		reserve_later(s);
	return err;
}

int main(int argc, char **argv)
{
	struct spawner s = {
		.opt = { .uid_base = UID_BASE_DEFAULT, .resume_fd = -1 },
		.signal_fd = -1, .link_fd = -1, .null_fd = -1, .netns_fd = -1, .exe_fd = -1, .spare_fd = -1,
		.argc = argc, .argv = argv,
	};
	int err;

	log_open("vtpm-spawn", 0);
	if (parse_options(argc, argv, &s.opt) != 0) {
		fputs(usage, stderr);
		return 2;
	}
	err = start(&s);
	if (err != 0) {
		log_error("cannot start: %s", err_text(err));
		return 1;
	}
	reap(&s); /* who ended while this program was executed again */
	err = loop_run(&s.loop);
	if (err != 0)
		log_error("cannot wait for events: %s", err_text(err));
	end_children(&s);
	return err != 0 ? 1 : s.status;
}

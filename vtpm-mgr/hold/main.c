/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpm-hold: starts the manager, and the next one when it has ended, and keeps what guests must not lose meanwhile: descriptors,
 * and with them the other ends of their TPMs. It parses nothing but its clients' few messages (proto/hold.h).
 *
 *	vtpm-hold [--manager PROGRAM] [--restarts N] [--] ARGUMENTS OF vtpm-mgr…
 *
 *	SIGTERM, SIGINT	the manager is told to stop in order, and this ends with it
 *	SIGHUP		the manager is killed, and the program that lies at its path now is started: an upgrade
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "lib/util.h"
#include "lib/version.h"
#include "vtpm-mgr/hold/hold.h"

#define RESTARTS_DEFAULT  10u	   /* at once, */
#define RESTART_EVERY_MS  60000.0  /* and one more in that time: each costs a write to the TPM's flash */
#define DELAY_MIN_MS	  100u	   /* before those that come sooner, twice as long each time */
#define DELAY_MAX_MS	  30000u
#define ARGS_EXTRA	  6u

static _Noreturn void die(const char *what, const char *why)
{
	log_error("%s: %s", what, why);
	exit(1);
}

/* --- the manager --- */

/* execv(3) has no const for historical reasons, and writes nothing. */
static char *as_arg(const char *s)
{
	return (char *)(uintptr_t)s;
}

/*
 * Whatever a manager has is here, too, and so is what its spawner keeps, which is no more than that. So it is the manager who runs out
 * first, and refuses the next guest; if it were vtpm-hold, the manager would be ended, and so would each one after it.
 */
static int leave_half(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return -1;
	rl.rlim_cur = rl.rlim_max = rl.rlim_max / 2;
	return setrlimit(RLIMIT_NOFILE, &rl);
}

static _Noreturn void exec_manager(const struct hold *h, const int theirs[static OWNERS])
{
	char number[OWNERS][16], **argv;
	size_t n = 0, given = 0;
	sigset_t none;

	while (h->args[given] != NULL)
		given++;
	argv = calloc(given + ARGS_EXTRA, sizeof(*argv));
	if (argv == NULL)
		_exit(1);
	argv[n++] = as_arg(h->program);
	for (size_t i = 0; i < given; i++)
		argv[n++] = h->args[i];
	argv[n++] = as_arg("--hold");
	argv[n++] = number[OWNER_MANAGER];
	argv[n++] = as_arg("--hold-spawner");
	argv[n++] = number[OWNER_SPAWNER];
	sigemptyset(&none);
	for (unsigned i = 0; i < OWNERS; i++) {
		(void)snprintf(number[i], sizeof(number[i]), "%d", theirs[i]);
		if (fcntl(theirs[i], F_SETFD, 0) != 0)
			_exit(1);
	}
	/* A group of its own: a Ctrl-C is vtpm-hold's to pass on. */
	if (setsid() < 0 || leave_half() != 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		_exit(1);
	execv(h->program, argv);
	log_error("cannot start %s: %s", h->program, strerror(errno));
	_exit(127);
}

static void start_later(struct hold *h);

static void on_start(void *arg)
{
	struct hold *h = arg;
	int theirs[OWNERS] = { -1, -1 }, err;

	if (h->ngroups == GROUPS_MAX) { /* those that were killed do not end */
		start_later(h);
		return;
	}
	h->generation++;
	h->fenced = h->fencing = h->again = false;
	err = clients_open(h, theirs);
	h->manager = err ? -1 : fork();
	if (h->manager == 0)
		exec_manager(h, theirs);
	for (unsigned i = 0; i < OWNERS; i++)
		fd_close(&theirs[i]);
	h->alive = h->manager > 0;
	if (h->alive)
		return;
	log_error("cannot start a manager: %s", err ? err_text(err) : strerror(errno));
	h->manager = 0;
	clients_close(h);
	start_later(h);
}

/* A manager that dies again and again writes to the TPM's flash each time, and helps nobody. */
static void start_later(struct hold *h)
{
	const uint64_t now = loop_now_ms();
	uint64_t delay = 0;

	h->allowance += (double)(now - h->allowance_ms) / RESTART_EVERY_MS;
	if (h->allowance > h->restarts_max)
		h->allowance = h->restarts_max;
	h->allowance_ms = now;
	if (h->allowance >= 1.0) {
		h->allowance -= 1.0;
		h->delay_ms = 0;
	} else {
		h->delay_ms = h->delay_ms ? h->delay_ms * 2 : DELAY_MIN_MS;
		if (h->delay_ms > DELAY_MAX_MS)
			h->delay_ms = DELAY_MAX_MS;
		delay = h->delay_ms;
	}
	loop_timer_set(&h->loop, &h->start, delay, on_start, h);
}

void hold_kill_manager(struct hold *h)
{
	if (h->alive)
		kill(h->manager, SIGKILL);
}

static void manager_ended(struct hold *h)
{
	const int s = h->status;

	clients_close(h);
	groups_retire(h);
	if (h->stopping || (WIFEXITED(s) && WEXITSTATUS(s) == 0) || (!h->served && !h->again)) {
		loop_stop(&h->loop);
		return;
	}
	if (h->again) {
		log_info("the next vtpm-mgr takes over");
		loop_timer_set(&h->loop, &h->start, 0, on_start, h);
		return;
	}
	log_error("vtpm-mgr has ended (%s %d); its guests are kept, and another is started", WIFSIGNALED(s) ? "signal" : "status",
		  WIFSIGNALED(s) ? WTERMSIG(s) : WEXITSTATUS(s));
	start_later(h);
}

/* --- signals --- */

static void on_child(struct hold *h)
{
	if (groups_reap(h))
		manager_ended(h);
	if (h->fencing)
		groups_kill(h); /* who was being made when the others were killed */
	clients_fenced(h);
}

static void on_stop(struct hold *h)
{
	h->stopping = true;
	if (h->alive)
		kill(h->manager, SIGTERM); /* the second one ends it at once */
	else
		loop_stop(&h->loop);
}

static void on_upgrade(struct hold *h)
{
	h->again = h->alive;
	hold_kill_manager(h);
}

static void on_signal(void *arg, uint32_t events)
{
	struct hold *h = arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(h->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			on_child(h);
		else if (si.ssi_signo == SIGHUP)
			on_upgrade(h);
		else
			on_stop(h);
	}
}

/* --- start --- */

static const char usage[] =
	"usage: vtpm-hold [--manager PROGRAM] [--restarts N] [--] [arguments of vtpm-mgr]\n"
	"Starts vtpm-mgr, and another when it has ended, without a guest noticing; see vtpm-hold(8).\n"
	"\n"
	"  --manager PROGRAM  vtpm-mgr (the one beside this program)\n"
	"  --restarts N       managers that are started without a wait, and one more a minute (10)\n"
	"  --help, --version\n";

static const struct option options[] = {
	{ "manager", required_argument, NULL, 'm' }, { "restarts", required_argument, NULL, 'r' },
	{ "help", no_argument, NULL, 'h' },	     { "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static void parse_options(struct hold *h, int argc, char **argv)
{
	uint64_t v = RESTARTS_DEFAULT;
	int opt;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			h->program = optarg;
			break;
		case 'r':
			if (parse_u64(optarg, 1000000, &v) != 0)
				die("--restarts", "not a number in range");
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			puts("vtpm-hold " VTPM_VERSION);
			exit(0);
		default:
			exit(2); /* getopt_long has said why */
		}
	}
	h->restarts_max = (unsigned)v;
	h->args = argv + optind;
}

/* Beside this program, as it was called or installed. */
static const char *default_manager(void)
{
	static char path[PATH_MAX];
	const char name[] = "/vtpm-mgr";
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (n < 0)
		die("/proc/self/exe", strerror(errno));
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (slash == NULL || (size_t)(slash - path) + sizeof(name) > sizeof(path))
		die(path, "is no path of a program");
	memcpy(slash, name, sizeof(name));
	return path;
}

/* Some for each vTPM. */
static int raise_descriptors(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) != 0)
		return -1;
	rl.rlim_cur = rl.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &rl);
}

static void watch_signals(struct hold *h)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		die("signals", strerror(errno));
	h->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->signals < 0 || loop_add(&h->loop, &h->signals_io, h->signals, EPOLLIN, on_signal, h))
		die("signals", strerror(errno));
}

int main(int argc, char **argv)
{
	static struct hold hold;
	struct hold *h = &hold;

	log_open("vtpm-hold", 0);
	parse_options(h, argc, argv);
	if (h->program == NULL)
		h->program = default_manager();
	for (unsigned i = 0; i < OWNERS; i++)
		h->clients[i] = (struct client){ .h = h, .sock = -1, .io.fd = -1 };
	/* Whoever loses its parent is this one's child, and nobody gains rights by executing a program. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("prctl", strerror(errno));
	if (secmem_process())
		die("core dumps", "cannot be forbidden");
	if (raise_descriptors())
		die("RLIMIT_NOFILE", strerror(errno));
	if (loop_open(&h->loop))
		die("event loop", strerror(errno));
	if (fd_hurry_prepare()) /* what guests and clients hand over may linger when it is closed */
		die("a timer", strerror(errno));
	watch_signals(h);
	h->allowance = h->restarts_max;
	h->allowance_ms = loop_now_ms();
	on_start(h);
	if (loop_run(&h->loop))
		h->status = 1 << 8;
	clients_close(h);
	groups_end(h);
	loop_close(&h->loop);
	return WIFEXITED(h->status) ? WEXITSTATUS(h->status) : 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * swtpm socket: shows the manager the token, binds the socket that the caller named, and brings the manager each
 * connection that is made there, one at a time. It stays as long as it is wanted, since its caller watches this process:
 * with --terminate until the first connection has ended and its TPM is off.
 *
 * Nothing of what QEMU says is read here, with one exception: a SHUTDOWN (swtpm_ioctl -s) while the TPM is off is meant
 * for this process, and no reason to power a TPM on. To look at a connection's first word does not take it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vtpm-mgr/swtpm/channel.h"
#include "vtpm-mgr/swtpm/serve.h"

static const char capabilities[] =
	"{ \"type\": \"swtpm\", \"features\": [ \"tpm-2.0\", \"cmdarg-print-states\", \"nvram-backend-dir\", "
	"\"nvram-backend-file\" ], \"version\": \"" SWTPM_VERSION "\" }\n";

void serve_end(struct serve *s, int status)
{
	s->end = true;
	s->status = status;
}

/* --- the manager --- */

void serve_on_link(struct serve *s)
{
	struct front_result r;
	int err = link_off(s->link, &r);

	if (err == ERR_AGAIN)
		return;
	if (err) {
		serve_end(s, say_error("%s: the manager has ended, and the TPM with it", s->name));
		return;
	}
	s->on = false;
	if (r.code)
		say_error("%s: its TPM is off: %s", s->name, r.text);
	else
		say("%s: its TPM is off", s->name);
	if (s->o->terminate || s->o->client_fd >= 0 || s->o->has_server)
		serve_end(s, r.code ? 1 : 0);
}

static void bring(struct serve *s)
{
	if (link_connect(s->link, s->conn)) {
		serve_end(s, say_error("%s: the manager does not take the connection", s->name));
		return;
	}
	s->on = true;
	fd_close(&s->conn); /* the manager's alone: when that one closes it, QEMU must see it */
}

/* --- connections --- */

static void on_listener(struct serve *s)
{
	s->conn = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s->conn < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		serve_end(s, say_error("%s: no connection can be taken: %s", s->name, strerror(errno)));
}

/* Its first word is there, or it has gone without one. */
static void on_conn(struct serve *s)
{
	uint8_t word[CHANNEL_WORD];
	ssize_t n = recv(s->conn, word, sizeof(word), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fd_close(&s->conn);
		return;
	}
	if (!channel_is_shutdown(word, (size_t)n)) {
		bring(s);
		return;
	}
	say("%s: told to shut down", s->name);
	if (channel_answer(s->conn))
		say("%s: who said so has gone", s->name);
	serve_end(s, 0);
}

/* --- the loop --- */

static int serve_run(struct serve *s)
{
	enum { LINK, SIGNALS, CONN };
	struct pollfd p[3];

	while (!s->end) {
		p[LINK] = (struct pollfd){ .fd = s->link, .events = POLLIN };
		p[SIGNALS] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
		/* Others wait in the listener's queue, as with swtpm. */
		p[CONN] = (struct pollfd){ .fd = s->on ? -1 : s->conn >= 0 ? s->conn : s->listener, .events = POLLIN };
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return say_error("%s: %s", s->name, strerror(errno));
		if (p[SIGNALS].revents)
			serve_end(s, 0);
		else if (p[LINK].revents)
			serve_on_link(s);
		else if (p[CONN].revents && s->conn >= 0)
			on_conn(s);
		else if (p[CONN].revents)
			on_listener(s);
	}
	return s->status;
}

/* --- the start --- */

static int open_channels(struct serve *s, char why[static WHY_MAX + 1])
{
	int err = listen_open(&s->o->ctrl, &s->listener, why);

	s->conn = s->o->client_fd;
	return err ? err : listen_open(&s->o->server, &s->server, why);
}

static int write_pid(const struct serve_options *o, char why[static WHY_MAX + 1])
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", getpid());
	int fd = o->pid_path ? open(o->pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0644)
			     : o->pid_fd;
	int err = 0;

	if (!o->pid_path && o->pid_fd < 0)
		return 0;
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		err = explain(why, err_from_errno(errno), "--pid: %s", strerror(errno));
	if (o->pid_path)
		fd_close(&fd);
	return err;
}

static int open_signals(struct serve *s, char why[static WHY_MAX + 1])
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	s->signals = sigprocmask(SIG_BLOCK, &set, NULL) ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? explain(why, ERR_SYS, "signals: %s", strerror(errno)) : 0;
}

/* --daemon: who started this goes on when all is in place, the pid file too, and not before. */
static int daemon_begin(int *ready, char why[static WHY_MAX + 1])
{
	int p[2];
	pid_t pid;
	char c;

	if (pipe2(p, O_CLOEXEC))
		return explain(why, ERR_SYS, "--daemon: %s", strerror(errno));
	pid = fork();
	if (pid > 0) {
		close(p[1]);
		_exit(read(p[0], &c, 1) == 1 ? 0 : 1);
	}
	close(p[0]);
	*ready = p[1];
	return pid < 0 || setsid() < 0 ? explain(why, ERR_SYS, "--daemon: %s", strerror(errno)) : 0;
}

static int daemon_end(int *ready, char why[static WHY_MAX + 1])
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), err = 0;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0 ||
	    write(*ready, "", 1) != 1)
		err = explain(why, ERR_SYS, "--daemon: %s", strerror(errno));
	fd_close(&null);
	fd_close(ready);
	return err;
}

/* What can fail fails before there is a socket: libvirt starts the machine as soon as it sees one. */
static int serve_start(struct serve *s, char why[static WHY_MAX + 1])
{
	struct front_claim token;
	int ready = -1, err = place_read(&s->o->place, &token, why);

	if (!err)
		err = link_open(&s->link, why);
	if (!err)
		err = link_claim(s->link, &token, s->name, why);
	explicit_bzero(&token, sizeof(token));
	if (!err && s->o->has_server)
		err = held_begin(s, why);
	if (!err)
		err = open_signals(s, why);
	if (!err)
		err = open_channels(s, why);
	if (!err && s->o->daemon)
		err = daemon_begin(&ready, why);
	if (!err)
		err = write_pid(s->o, why);
	if (!err && s->o->daemon)
		err = daemon_end(&ready, why);
	return err;
}

/* QEMU resets the TPM before its firmware starts it: what a flag would have done before that leaves no trace. */
static void say_flags(const struct serve *s)
{
	if (s->o->init && !s->o->has_server)
		say("%s: --flags: it is QEMU that sends INIT; nothing is sent before", s->name);
}

static int serve(const struct serve_options *o)
{
	struct serve s = { .o = o, .link = -1, .listener = -1, .signals = -1, .conn = -1, .held = -1, .server = -1, .data = -1 };
	char why[WHY_MAX + 1];
	int status;

	if (serve_start(&s, why)) {
		status = say_error("%s", why);
	} else {
		say_flags(&s);
		say("%s: waiting for %s", s.name, o->has_server ? "clients" : "QEMU");
		status = o->has_server ? server_run(&s) : serve_run(&s);
	}
	listen_close(&o->ctrl, &s.listener);
	listen_close(&o->server, &s.server);
	if (o->has_server)
		held_end(&s);
	if (o->pid_path && !status)
		unlink(o->pid_path);
	return status;
}

static int print_states(const struct serve_options *o)
{
	struct front_claim token;
	char why[WHY_MAX + 1];
	int err = place_read(&o->place, &token, why);

	explicit_bzero(&token, sizeof(token));
	if (err && err != ERR_NOTFOUND)
		return say_error("%s", why);
	printf("{ \"type\": \"swtpm\", \"states\": [%s] }", err ? "" : " {\"name\": \"permall\"} ");
	return 0;
}

/* The parser cuts what it is given in place, and ps is to show the command line as it was. */
static char **copy_arguments(int argc, char **argv)
{
	char **copy = calloc((size_t)argc + 1, sizeof(*copy));

	for (int i = 0; copy && i < argc; i++) {
		copy[i] = strdup(argv[i]);
		if (copy[i])
			continue;
		while (i-- > 0)
			free(copy[i]);
		free(copy);
		return NULL;
	}
	return copy;
}

int serve_main(int argc, char **argv)
{
	struct serve_options o;
	char why[WHY_MAX + 1];

	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0)) {
		puts("TPM emulator version " SWTPM_VERSION ", by vtpm-swtpm: the TPM is a vTPM of this host");
		return 0;
	}
	if (argc < 2 || strcmp(argv[1], "socket") != 0)
		return say_error("\"swtpm socket\" is what is offered; see vtpm-swtpm(8)");
	argv = copy_arguments(argc, argv);
	if (!argv)
		return say_error("out of memory");
	if (serve_options_parse(argc - 1, argv + 1, &o, why))
		return say_error("swtpm socket: %s", why);
	if (o.print_capabilities)
		return fputs(capabilities, stdout) < 0;
	if (o.runas && become(o.runas, why))
		return say_error("%s", why);
	if (say_open(o.log_path, o.log_fd, o.log_prefix, o.log_truncate))
		return say_error("--log: %s", strerror(errno));
	return o.print_states ? print_states(&o) : serve(&o);
}

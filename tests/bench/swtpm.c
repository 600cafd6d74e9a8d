/* SPDX-License-Identifier: BSD-2-Clause */
/* Debian's swtpm, the other column: its socket, one connection, state in a directory on the store's file system. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/util.h"
#include "tests/bench/bench.h"

#define TEMPLATE "template"

extern char **environ;

__attribute__((format(printf, 3, 4))) static void write_file(const struct bench *b, const char *name, const char *fmt,
							     ...)
{
	char path[256];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", b->lab, name);
	f = fopen(path, "we");
	if (!f)
		die("%s: %s", path, strerror(errno));
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	if (fclose(f))
		die("%s: %s", path, strerror(errno));
}

static void make_dir(const struct bench *b, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", b->lab, name);
	if (mkdir(path, 0700) && errno != EEXIST)
		die("%s: %s", path, strerror(errno));
}

/* What a program says goes to swtpm.log in the laboratory. */
static pid_t run(const struct bench *b, char *const argv[])
{
	posix_spawn_file_actions_t fa;
	char log[256];
	pid_t pid;
	int err;

	snprintf(log, sizeof(log), "%s/swtpm.log", b->lab);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&fa, 1, 2);
	err = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (err)
		die("%s: %s", argv[0], strerror(err));
	return pid;
}

void swtpm_setup(const struct bench *b, const char *name)
{
	char state[256], config[256];
	char *const argv[] = { "swtpm_setup", "--tpm2", "--tpmstate", state, "--create-ek-cert",
			       "--config", config, "--overwrite", NULL };
	int status;

	make_dir(b, name);
	snprintf(state, sizeof(state), "%s/%s", b->lab, name);
	snprintf(config, sizeof(config), "%s/setup.conf", b->lab);
	if (waitpid(run(b, argv), &status, 0) < 0 || status)
		die("swtpm_setup failed; see %s/swtpm.log", b->lab);
}

void swtpm_prepare(const struct bench *b)
{
	make_dir(b, "ca");
	write_file(b, "setup.conf",
		   "create_certs_tool = swtpm_localca\ncreate_certs_tool_config = %s/localca.conf\n"
		   "create_certs_tool_options = %s/localca.options\nactive_pcr_banks = sha256,sha384\n",
		   b->lab, b->lab);
	write_file(b, "localca.conf",
		   "statedir = %s/ca\nsigningkey = %s/ca/signkey.pem\n"
		   "issuercert = %s/ca/issuercert.pem\ncertserial = %s/ca/certserial\n",
		   b->lab, b->lab, b->lab, b->lab);
	write_file(b, "localca.options",
		   "--platform-manufacturer Bench\n--platform-version 1\n--platform-model Bench\n");
	swtpm_setup(b, TEMPLATE); /* also makes the CA, once, as on a host */
}

void swtpm_copy(const struct bench *b, const char *name)
{
	char from[256], to[256], bytes[65536];
	int in, out;
	ssize_t n;

	make_dir(b, name);
	snprintf(from, sizeof(from), "%s/" TEMPLATE "/tpm2-00.permall", b->lab);
	snprintf(to, sizeof(to), "%s/%s/tpm2-00.permall", b->lab, name);
	in = open(from, O_RDONLY | O_CLOEXEC);
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	n = read(in, bytes, sizeof(bytes));
	if (n <= 0 || n == sizeof(bytes) || write(out, bytes, (size_t)n) != n)
		die("%s cannot be copied: %s", from, strerror(errno));
	close(in);
	close(out);
}

/* The listening socket exists before swtpm does, so that nobody need wait for it to appear. */
static int listen_at(struct sockaddr_un *sa, const struct bench *b, const char *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* inherited */

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s/sock", b->lab, name) >= (int)sizeof(sa->sun_path))
		die("the laboratory's path is too long");
	unlink(sa->sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)sa, sizeof(*sa)) || listen(fd, 1))
		die("%s: %s", sa->sun_path, strerror(errno));
	return fd;
}

void swtpm_start(struct target *t, const struct bench *b, const char *name)
{
	char state[280], server[64];
	char *const argv[] = { "swtpm",	 "socket", "--tpm2",	 "--tpmstate", state, "--server", server,
			       "--flags", "not-need-init,startup-clear", "--terminate", NULL };
	struct sockaddr_un sa;
	int listener = listen_at(&sa, b, name);

	*t = (struct target){ .kind = SWTPM };
	snprintf(state, sizeof(state), "dir=%s/%s", b->lab, name);
	snprintf(server, sizeof(server), "type=unixio,fd=%d", listener);
	t->pid = run(b, argv);
	close(listener);
	t->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->sock < 0 || connect(t->sock, (struct sockaddr *)&sa, sizeof(sa)))
		die("%s: %s", sa.sun_path, strerror(errno));
}

pid_t swtpm_start_for_qemu(const struct bench *b, const char *name, int *control)
{
	char state[280], ctrl[64];
	char *const argv[] = { "swtpm", "socket", "--tpm2", "--tpmstate", state, "--ctrl", ctrl, "--terminate", NULL };
	int sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) || fcntl(sv[0], F_SETFD, FD_CLOEXEC)) /* the other is inherited */
		die("socketpair: %s", strerror(errno));
	snprintf(state, sizeof(state), "dir=%s/%s", b->lab, name);
	snprintf(ctrl, sizeof(ctrl), "type=unixio,clientfd=%d", sv[1]);
	pid = run(b, argv);
	close(sv[1]);
	*control = sv[0];
	return pid;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "lib/util.h"

static _Noreturn void become(char *const *argv, int out)
{
	signal(SIGPIPE, SIG_DFL); /* we ignore it: main.c */
	if (out >= 0 && dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Until the writer has closed its end. What exceeds max is an error, but is read all the same. */
static int take(int fd, char **out, size_t max)
{
	size_t len = 0;
	char *p = malloc(max + 1), spill[4096];
	bool more = false;
	ssize_t r = 1;

	if (!p)
		return ERR_NOMEM;
	while (r != 0) {
		r = len < max ? read(fd, p + len, max - len) : read(fd, spill, sizeof(spill));
		if (r < 0 && errno != EINTR)
			break;
		more |= r > 0 && len == max;
		len += r > 0 && len < max ? (size_t)r : 0;
	}
	p[len] = '\0';
	*out = p;
	return more || strlen(p) != len ? ERR_RANGE : 0;
}

static int wait_for(pid_t pid, int *status)
{
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return err_from_errno(errno);
	return 0;
}

int run_program(char *const *argv, char **out, size_t max, struct ctl_error *e)
{
	int fds[2] = {-1, -1}, status = 0;
	int err = 0;
	pid_t pid;

	if (out && pipe2(fds, O_CLOEXEC))
		return ctl_fail(e, ERR_SYS, EXIT_FAILED, "%s: %s", argv[0], strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		become(argv, fds[1]);
	fd_close(&fds[1]);
	if (pid < 0)
		err = err_from_errno(errno);
	if (!err && out)
		err = take(fds[0], out, max);
	fd_close(&fds[0]);
	if (pid > 0 && wait_for(pid, &status))
		err = ERR_SYS;
	if (err == ERR_RANGE)
		return ctl_fail(e, err, EXIT_FAILED, "%s printed what makes no sense", argv[0]);
	if (err)
		return ctl_fail(e, err, EXIT_FAILED, "%s: %s", argv[0], err_text(err));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ctl_fail(e, ERR_SYS, EXIT_FAILED, "%s could not be run", argv[0]);
	return ctl_fail(e, ERR_SYS, EXIT_FAILED, "%s %s failed; what it said stands above", argv[0], argv[1]);
}

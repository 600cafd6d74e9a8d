/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/software_tpm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void shell(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

/* With --daemon it returns when its sockets are there. */
pid_t software_tpm_start(const char *dir)
{
	char path[128];
	pid_t pid;
	FILE *f;

	shell("mkdir -p %s/state && swtpm socket --tpm2 --tpmstate dir=%s/state --server type=unixio,path=%s/tpm "
	      "--ctrl type=unixio,path=%s/tpm.ctrl --flags not-need-init,startup-clear --daemon --pid file=%s/pid "
	      ">/dev/null 2>&1",
	      dir, dir, dir, dir, dir);
	snprintf(path, sizeof(path), "%s/pid", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%d", &pid), 1);
	fclose(f);
	return pid;
}

/* It is nobody's child: its death shows as a closed control socket. */
void software_tpm_kill(const char *dir, pid_t pid)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char c;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/tpm.ctrl", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	kill(pid, SIGKILL);
	while (read(fd, &c, 1) > 0)
		;
	close(fd);
}

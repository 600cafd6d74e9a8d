/* SPDX-License-Identifier: BSD-2-Clause */
/* The rig looks at its processes, and kills them. */
#include "tests/unit/backend_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned long rig_status(pid_t pid, const char *field)
{
	unsigned long v = 0;
	char path[64], line[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f))
		if (strncmp(line, field, strlen(field)) == 0)
			v = strtoul(line + strlen(field), NULL, 10);
	if (f != NULL)
		fclose(f);
	return v;
}

pid_t rig_newest_child(const struct rig *r)
{
	char path[64], text[65536], *p;
	pid_t pid = -1;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)r->spawn, (int)r->spawn);
	fd = open(path, O_RDONLY);
	MUST(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	MUST(n > 0);
	text[n] = '\0';
	for (p = strtok(text, " "); p != NULL; p = strtok(NULL, " "))
		if (rig_status((pid_t)atoi(p), "Seccomp:") == 2) /* the one in reserve has no filter yet */
			pid = (pid_t)atoi(p);
	return pid;
}

void rig_kill_newest(const struct rig *r, int sig)
{
	pid_t pid;

	do
		pid = rig_newest_child(r);
	while (pid <= 1); /* to kill(2), -1 is everybody */
	MUST(kill(pid, sig) == 0);
}

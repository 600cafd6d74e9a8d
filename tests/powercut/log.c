/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * powercut_log FILE VICTIMS: appends standard input to FILE. At a line "powercut here PID", which a keeper says that
 * stands still at the instant it was told (trace_keeper.c), kills at once whoever the file VICTIMS names, and PID.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void kill_one(int pid)
{
	if (pid > 1)
		kill(pid, SIGKILL);
}

static void cut(const char *path, int keeper)
{
	FILE *f = fopen(path, "r");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		kill_one(pid);
	if (f)
		fclose(f);
	kill_one(keeper);
}

int main(int argc, char **argv)
{
	static const char here[] = "vtpm-keeper: powercut here ";
	static char line[4096];
	FILE *out = argc == 3 ? fopen(argv[1], "a") : NULL;

	if (!out)
		return 2;
	setvbuf(out, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, here, sizeof(here) - 1) == 0)
			cut(argv[2], atoi(line + sizeof(here) - 1));
		fputs(line, out);
	}
	return fclose(out) != 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/swtpm/front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TEXT_ROOM (WHY_MAX + 256u)

/* The log is the process's, as its standard error is. */
static int log_fd = -1;
static const char *log_prefix = "";

int say_open(const char *path, int fd, const char *prefix, bool truncate)
{
	if (path)
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | (truncate ? O_TRUNC : 0), 0640);
	else if (fd >= 0 && truncate && ftruncate(fd, 0))
		return err_from_errno(errno);
	if (path && fd < 0)
		return err_from_errno(errno);
	log_fd = fd;
	log_prefix = prefix ? prefix : "";
	return 0;
}

/* What came from elsewhere ends no line and moves no cursor. */
static void put(int fd, const char *prefix, const char *text)
{
	char line[TEXT_ROOM + 128u], stamp[32] = "";
	time_t now = time(NULL);
	struct tm tm;
	int n;

	if (gmtime_r(&now, &tm))
		strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ ", &tm);
	n = snprintf(line, sizeof(line) - 1, "%s%.64s%s%s", fd == STDERR_FILENO ? "" : stamp, prefix,
		     fd == STDERR_FILENO ? "vtpm-swtpm: " : "", text);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	for (int i = 0; i < n; i++)
		if (line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	if (write(fd, line, (size_t)n) < 0)
		return; /* there is nobody else to tell */
}

void say(const char *fmt, ...)
{
	char text[TEXT_ROOM];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(log_fd >= 0 ? log_fd : STDERR_FILENO, log_prefix, text);
}

int say_error(const char *fmt, ...)
{
	char text[TEXT_ROOM];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (log_fd >= 0 && log_fd != STDERR_FILENO)
		put(log_fd, log_prefix, text);
	put(STDERR_FILENO, "", text); /* libvirt shows it to who started the machine */
	return 1;
}

int explain(char why[static WHY_MAX + 1], int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, WHY_MAX + 1, fmt, ap);
	va_end(ap);
	return err;
}

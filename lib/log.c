/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#define LOG_TEXT_MAX 1024u		       /* of one call, before escaping */
#define LOG_LINE_MAX (LOG_TEXT_MAX * 4u + 64u) /* every byte may become \xNN */

/* Set once at start, before a second thread exists; only read after that. */
static const char *log_ident = "vtpm";
static bool log_verbose;
static bool log_priorities;

void log_open(const char *ident, int verbose)
{
	log_ident = ident;
	log_verbose = verbose != 0;
	log_priorities = getenv("JOURNAL_STREAM") != NULL;
}

/* Writes text to line so that no byte of it can end the line or move a terminal's cursor. */
static size_t escape(char *line, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c == '\\') {
			line[n++] = '\\';
			line[n++] = '\\';
		} else if (c >= 0x20 && c < 0x7f) {
			line[n++] = (char)c;
		} else {
			line[n++] = '\\';
			line[n++] = 'x';
			line[n++] = digits[c >> 4];
			line[n++] = digits[c & 15];
		}
	}
	return n;
}

/* "<N>ident: ", at most half of what LOG_LINE_MAX leaves beside the text. */
static size_t prefix(char *line, size_t cap, int priority)
{
	int n;

	if (log_priorities)
		n = snprintf(line, cap, "<%d>%.16s: ", priority, log_ident);
	else
		n = snprintf(line, cap, "%.16s: ", log_ident);
	return n < 0 ? 0 : (size_t)n;
}

/* One write for one line, so that lines of several processes on one pipe do not mix. */
__attribute__((format(printf, 2, 0))) static void log_line(int priority, const char *fmt, va_list ap)
{
	char text[LOG_TEXT_MAX];
	char line[LOG_LINE_MAX];
	int saved = errno;
	size_t len;
	ssize_t r;

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	len = prefix(line, LOG_LINE_MAX - LOG_TEXT_MAX * 4u, priority);
	len += escape(line + len, text);
	line[len++] = '\n';
	do
		r = write(STDERR_FILENO, line, len);
	while (r < 0 && errno == EINTR);
	errno = saved;
}

#define LOG_AT(priority, fmt)                                                                                          \
	do {                                                                                                           \
		va_list ap;                                                                                            \
		va_start(ap, fmt);                                                                                     \
		log_line(priority, fmt, ap);                                                                           \
		va_end(ap);                                                                                            \
	} while (0)

void log_error(const char *fmt, ...)
{
	LOG_AT(LOG_ERR, fmt);
}

void log_warn(const char *fmt, ...)
{
	LOG_AT(LOG_WARNING, fmt);
}

void log_info(const char *fmt, ...)
{
	LOG_AT(LOG_INFO, fmt);
}

void log_debug(const char *fmt, ...)
{
	if (log_verbose)
		LOG_AT(LOG_DEBUG, fmt);
}

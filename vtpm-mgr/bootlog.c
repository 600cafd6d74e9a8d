/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/bootlog.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"
#include "lib/eventlog.h"

#define FILE_NAME "eventlog"
#define TOLD_ALL_MAX 320u
#define TOLD_MAX  72u /* bytes of an event, with the NUL */

/* A whole file; NULL: there is none, or it is no log by its length. Files of securityfs do not say how long they are. */
static uint8_t *file_read(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint8_t *p = fd < 0 ? NULL : malloc(EVENTLOG_MAX);
	ssize_t n = p ? 1 : 0;

	for (*len = 0; n > 0 && *len < EVENTLOG_MAX; *len += (size_t)(n > 0 ? n : 0))
		n = read(fd, p + *len, EVENTLOG_MAX - *len);
	fd_close(&fd);
	if (n == 0 && *len > 0)
		return p;
	free(p);
	return NULL;
}

void bootlog_read(struct bootlog *b, const char *tcti)
{
	if (!strncmp(tcti, "device:", 7))
		b->now = file_read(EVENTLOG_LINUX, &b->now_len);
}

void bootlog_free(struct bootlog *b)
{
	free(b->now);
	*b = (struct bootlog){ .now = NULL };
}

static int file_write(const char *path, const char *temporary, const uint8_t *p, size_t len)
{
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = fd < 0 || write(fd, p, len) != (ssize_t)len || fsync(fd) ? ERR_IO : 0;

	fd_close(&fd);
	if (!err && rename(temporary, path))
		err = ERR_IO;
	if (err)
		unlink(temporary);
	return err;
}

void bootlog_keep(struct bootlog *b, const char *state_dir)
{
	char path[512], temporary[512];
	uint8_t *was;
	size_t len;

	if (!b->now || b->kept)
		return;
	b->kept = true; /* or tried, once */
	snprintf(path, sizeof(path), "%s/" FILE_NAME, state_dir);
	snprintf(temporary, sizeof(temporary), "%s/" FILE_NAME ".new", state_dir);
	was = file_read(path, &len);
	if ((!was || len != b->now_len || memcmp(was, b->now, len) != 0) && file_write(path, temporary, b->now, b->now_len))
		log_warn("%s: cannot be written; if a later boot is refused, nothing will say which event is another", path);
	free(was);
}

/* One event, next to what it was; either may have an empty text, if there is none. */
static size_t tell(const struct event *was, const struct event *is, unsigned pcr, char *out, size_t max)
{
	char a[TOLD_MAX], b[TOLD_MAX];
	char *old = eventlog_text(was), *new = eventlog_text(is);
	int n = 0;

	if (old && new) {
		eventlog_excerpt(old, new, sizeof(a), a, b);
		if (!strcmp(old, new))
			n = snprintf(out, max, "; the event log has another content for %s (PCR %u)", a, pcr);
		else
			n = snprintf(out, max, "; the event log of PCR %u has \"%s\" where it had \"%s\"", pcr, b, a);
	}
	free(old);
	free(new);
	return n > 0 && (size_t)n < max ? (size_t)n : 0; /* half of it would mislead */
}

void bootlog_explain(const struct bootlog *b, const char *state_dir, uint32_t mask, char text[static TEXT_MAX + 1])
{
	char path[512], told[TOLD_ALL_MAX] = "";
	size_t len, at = 0, had = strlen(text);
	uint8_t *kept;

	snprintf(path, sizeof(path), "%s/" FILE_NAME, state_dir);
	kept = b->now ? file_read(path, &len) : NULL;
	for (unsigned pcr = 0; kept && pcr < EVENTLOG_PCRS; pcr++) {
		struct event was, is;

		if (mask >> pcr & 1 && !eventlog_difference(kept, len, b->now, b->now_len, pcr, &was, &is))
			at += tell(&was, &is, pcr, told + at, sizeof(told) - at);
		told[at] = '\0';
	}
	free(kept);
	if (at && had + at > TEXT_MAX) { /* which event it is helps more than the last of the digests */
		had = TEXT_MAX - at - 3;
		memcpy(text + had, "...", 4);
		had += 3;
	}
	snprintf(text + had, TEXT_MAX + 1 - had, "%s", told);
}

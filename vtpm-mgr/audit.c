/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/util.h"

#define AUDIT_FILE "audit.log"

/* A crash in mid-line leaves a torn one: end it, so that the next begins on a line of its own. */
static int end_torn_line(int fd)
{
	struct stat sb;
	char last;

	if (fstat(fd, &sb))
		return err_from_errno(errno);
	if (!S_ISREG(sb.st_mode))
		return ERR_INVAL;
	if (sb.st_size == 0)
		return 0;
	if (pread(fd, &last, 1, sb.st_size - 1) != 1)
		return ERR_IO;
	if (last == '\n')
		return 0;
	return write(fd, "\n", 1) == 1 ? 0 : err_from_errno(errno);
}

/* The name of a new file is durable only when its directory is. */
static int open_file(int dir, int *fd)
{
	int err;

	*fd = openat(dir, AUDIT_FILE, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	err = *fd < 0 ? err_from_errno(errno) : end_torn_line(*fd);
	if (!err && fsync(dir))
		err = err_from_errno(errno);
	if (err)
		fd_close(fd);
	return err;
}

int audit_open(struct audit *a, const char *dir)
{
	int err;

	*a = (struct audit){ .fd = -1 };
	a->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = a->dir < 0 ? err_from_errno(errno) : open_file(a->dir, &a->fd);
	if (err)
		audit_close(a);
	return err;
}

void audit_close(struct audit *a)
{
	fd_close(&a->fd);
	fd_close(&a->dir);
}

/*
 * Who rotates the log renames it, and tells nobody: the next line begins another file. It has to be possible, and what was written to the one
 * before safe; otherwise that one goes on.
 */
static void follow_name(struct audit *a)
{
	struct stat ours, named;
	int fd;

	if (fstat(a->fd, &ours))
		return;
	if (!fstatat(a->dir, AUDIT_FILE, &named, AT_SYMLINK_NOFOLLOW) && named.st_ino == ours.st_ino && named.st_dev == ours.st_dev)
		return;
	if ((a->unsynced && fdatasync(a->fd)) || open_file(a->dir, &fd))
		return;
	fd_close(&a->fd);
	a->fd = fd;
}

static int format_time(char *out, size_t cap)
{
	struct timespec now;
	struct tm tm;
	char seconds[32];

	if (clock_gettime(CLOCK_REALTIME, &now) || !gmtime_r(&now.tv_sec, &tm) ||
	    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return ERR_SYS;
	snprintf(out, cap, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
	return 0;
}

/* Text that is not UTF-8 would make the whole line impossible: its foreign bytes become '?'. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);
	char *ascii;

	if (j || !(ascii = strdup(s)))
		return j;
	for (char *p = ascii; *p; p++) {
		if (*p & 0x80)
			*p = '?';
	}
	j = json_string(ascii);
	free(ascii);
	return j;
}

static json_t *build(const struct audit_entry *e)
{
	char uuid[UUID_STR_LEN + 1];
	char when[64];
	json_t *o;
	int bad;

	if (format_time(when, sizeof(when)))
		return NULL;
	o = json_object();
	bad = json_object_set_new(o, "time", json_string(when));
	bad |= json_object_set_new(o, "uid", json_integer(e->uid));
	bad |= json_object_set_new(o, "pid", json_integer(e->pid));
	bad |= json_object_set_new(o, "action", text(e->action));
	if (e->vtpm)
		bad |= json_object_set_new(o, "vtpm", text(e->vtpm));
	if (e->uuid) {
		uuid_format(e->uuid, uuid);
		bad |= json_object_set_new(o, "uuid", json_string(uuid));
	}
	bad |= json_object_set_new(o, "result", json_string(e->result ? err_text(e->result) : "ok"));
	if (e->detail)
		bad |= json_object_set_new(o, "detail", text(e->detail));
	if (!bad)
		return o;
	json_decref(o);
	return NULL;
}

/* All of it or nothing: what a full disk cut short is taken back, or else ended by the next line's newline. */
static int append(int fd, const char *line, size_t len)
{
	struct stat sb;
	size_t done = 0;
	int err = fstat(fd, &sb) ? err_from_errno(errno) : 0;

	while (!err && done < len) {
		ssize_t r = write(fd, line + done, len - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			err = r < 0 ? err_from_errno(errno) : ERR_IO;
		else
			done += (size_t)r;
	}
	if (err && done > 0 && ftruncate(fd, sb.st_size))
		return err; /* end_torn_line deals with what stayed */
	return err;
}

int audit_write(struct audit *a, const struct audit_entry *e)
{
	json_t *o = build(e);
	char *line = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t len = line ? strlen(line) : 0;
	int err = line ? 0 : ERR_NOMEM;

	json_decref(o);
	follow_name(a);
	if (!err)
		err = end_torn_line(a->fd);
	if (!err) {
		line[len] = '\n'; /* in place of the NUL: one write, one line */
		err = append(a->fd, line, len + 1);
		a->unsynced |= !err;
	}
	free(line);
	return err;
}

int audit_sync(struct audit *a)
{
	if (!a->unsynced)
		return 0;
	a->unsynced = false;
	return fdatasync(a->fd) ? err_from_errno(errno) : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a restore replaces is not lost: it goes to a backup of its own, in the state directory, before. It is on the
 * disk when done is called, and comes back the way every backup does.
 */
#include "vtpm-mgr/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define SYNC_BYTES (1024u * 1024u) /* at once, so that nobody waits long for one of them */

struct aside {
	struct mgr *m;
	struct backup *b;
	aside_done *done;
	void *arg;
	int fd;
	size_t unsynced;
	char path[320];
};

static void aside_end(struct aside *a, int code, const char *text)
{
	fd_close(&a->fd);
	if (code && a->path[0] && unlink(a->path))
		log_warn("%s: it is incomplete, and cannot be removed: %s", a->path, strerror(errno));
	a->done(a->arg, code, text, a->path);
	backup_free(a->b);
	free(a);
}

static int put(struct aside *a, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t r = write(a->fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? err_from_errno(errno) : ERR_FULL;
		p += r;
		n -= (size_t)r;
		a->unsynced += (size_t)r;
	}
	if (a->unsynced < SYNC_BYTES)
		return 0;
	a->unsynced = 0;
	return fdatasync(a->fd) ? err_from_errno(errno) : 0;
}

/* The file, and its name. */
static int sync_all(const struct aside *a)
{
	int dir = open(a->m->cfg.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 || fsync(a->fd) || fsync(dir) ? err_from_errno(errno) : 0;

	fd_close(&dir);
	return err;
}

static void on_piece(void *arg, int code, const char *text, const uint8_t *p, size_t n)
{
	struct aside *a = arg;
	int err = code;

	if (!err)
		err = n > 0 ? put(a, p, n) : sync_all(a);
	if (err || n == 0)
		aside_end(a, err, code ? text : "what is to be replaced cannot be kept in the state directory");
	else
		backup_next(a->b, on_piece, a);
}

static int make_file(struct aside *a)
{
	time_t now = (time_t)backup_created(a->b);
	uint8_t random[4];
	char when[32], hex[2 * sizeof(random) + 1];
	struct tm tm;
	int err = random_bytes(random, sizeof(random));

	if (err || !gmtime_r(&now, &tm) || !strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm) ||
	    hex_encode(random, sizeof(random), hex, sizeof(hex)))
		return err ? err : ERR_SYS;
	if ((size_t)snprintf(a->path, sizeof(a->path), "%s/replaced-%s-%s.backup", a->m->cfg.state_dir, when, hex) >=
	    sizeof(a->path)) {
		a->path[0] = '\0';
		return ERR_RANGE;
	}
	a->fd = open(a->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (a->fd >= 0)
		return 0;
	a->path[0] = '\0';
	return err_from_errno(errno);
}

static void on_begun(void *arg, int code, const char *text)
{
	struct aside *a = arg;
	int err = code ? code : make_file(a);

	if (err)
		aside_end(a, err, code ? text : "what is to be replaced cannot be kept in the state directory");
	else
		backup_next(a->b, on_piece, a);
}

void backup_aside(struct mgr *m, const uint8_t (*only)[UUID_LEN], size_t n, aside_done *done, void *arg)
{
	struct aside *a = calloc(1, sizeof(*a));

	if (!a) {
		done(arg, ERR_NOMEM, err_text(ERR_NOMEM), "");
		return;
	}
	*a = (struct aside){.m = m, .done = done, .arg = arg, .fd = -1};
	if (backup_begin(m, only, n, on_begun, a, &a->b)) {
		free(a);
		done(arg, ERR_NOMEM, err_text(ERR_NOMEM), "");
	}
}

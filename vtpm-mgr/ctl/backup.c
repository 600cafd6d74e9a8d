/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl backup and restore: carries a file from and to the manager, piece by piece over one connection. What is in it
 * is the manager's to know. A file gets its name when it is complete and on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/ctl/link.h"

#define PART_SUFFIX ".part"
#define PIECE_MAX   (256u * 1024u) /* what one reply may bring */

static int failed(struct ctl_error *e, int errnum, const char *path)
{
	int err = err_from_errno(errnum);
	int status = err == ERR_NOTFOUND ? EXIT_NOT_FOUND
		     : err == ERR_DENIED ? EXIT_DENIED
		     : err == ERR_EXISTS ? EXIT_STATE
					 : EXIT_FAILED;

	return ctl_fail(e, err, status, "%s: %s", path, strerror(errnum));
}

/* For who watches a terminal. */
static void progress(const struct ctl_args *a, const char *what, uint64_t done, uint64_t all)
{
	if (a->json || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%s: %3u %%", what, all ? (unsigned)(done * 100 / all) : 100);
	if (done >= all)
		fputs("\r\033[K", stderr);
}

/* ---- backup ---- */

struct copy {
	const struct ctl_args *a;
	struct link link;
	json_t *id; /* {"id": …} */
	char *part; /* the file's name until it is complete; NULL: there is none */
	int fd;
	uint64_t done, all;
};

/* The directory that path is in; the file's name is there to stay after this. */
static int sync_dir(const char *path, struct ctl_error *e)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = fd < 0 || fsync(fd) ? failed(e, errno, path) : 0;

	fd_close(&fd);
	free(copy);
	return err;
}

static int make_file(struct copy *c, struct ctl_error *e)
{
	const char *path = c->a->name;
	struct stat st;

	if (lstat(path, &st) == 0)
		return ctl_fail(e, ERR_EXISTS, EXIT_STATE, "%s is there already; a backup replaces none", path);
	if (asprintf(&c->part, "%s" PART_SUFFIX, path) < 0) {
		c->part = NULL;
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	}
	c->fd = open(c->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->fd >= 0)
		return 0;
	if (errno == EEXIST)
		(void)ctl_fail(e, ERR_EXISTS, EXIT_STATE,
			       "%s is there: another backup is on its way, or was interrupted; then remove it",
			       c->part);
	else
		(void)failed(e, errno, c->part);
	free(c->part);
	c->part = NULL;
	return e->code;
}

static int put(struct copy *c, const uint8_t *p, size_t n, struct ctl_error *e)
{
	while (n > 0) {
		ssize_t r = write(c->fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return failed(e, errno, c->part);
		p += r;
		n -= (size_t)r;
		c->done += (size_t)r;
	}
	return 0;
}

static int put_hex(struct copy *c, const char *hex, struct ctl_error *e)
{
	size_t n = hex ? strlen(hex) / 2 : 0;
	uint8_t *data = malloc(n + 1);
	int err = !data ? ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory") : 0;

	if (!err && (!hex || n > PIECE_MAX || strlen(hex) % 2 || hex_decode(hex, data, n)))
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	if (!err)
		err = put(c, data, n, e);
	free(data);
	return err;
}

static int read_all(struct copy *c, struct ctl_error *e)
{
	bool last = false;
	json_t *reply;
	int err = 0;

	while (!err && !last) {
		err = client_ask(&c->link, "BackupRead", c->id, NULL, 0, &reply, e);
		if (err)
			break;
		last = json_is_true(json_object_get(reply, "last"));
		err = put_hex(c, json_string_value(json_object_get(reply, "data")), e);
		json_decref(reply);
		progress(c->a, "backup", c->done, c->all);
	}
	if (!err && c->done != c->all)
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's backup has another size than it said");
	return err;
}

/* On the disk, then under its name, then that on the disk. */
static int finish(struct copy *c, struct ctl_error *e)
{
	const char *path = c->a->name;

	if (fsync(c->fd))
		return failed(e, errno, c->part);
	if (renameat2(AT_FDCWD, c->part, AT_FDCWD, path, RENAME_NOREPLACE) &&
	    (errno != EINVAL || access(path, F_OK) == 0 ||
	     rename(c->part, path))) /* not every file system knows that flag */
		return failed(e, errno, path);
	free(c->part);
	c->part = NULL;
	return sync_dir(path, e);
}

/* The id of what was begun. */
static int take_id(struct copy *c, json_t *reply, struct ctl_error *e)
{
	json_t *id = json_object_get(reply, "id");

	c->id = json_is_string(id) ? json_pack("{s:O}", "id", id) : NULL;
	return c->id ? 0 : ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
}

static int begin(struct copy *c, json_t **reply, struct ctl_error *e)
{
	int err = link_open(&c->link, &c->a->at, e);

	if (!err)
		err = client_ask(&c->link, c->a->command->method, c->a->params, NULL, 0, reply, e);
	return err ? err : take_id(c, *reply, e);
}

static void copy_close(struct copy *c)
{
	if (c->part)
		unlink(c->part);
	free(c->part);
	fd_close(&c->fd);
	json_decref(c->id);
	link_close(&c->link);
}

int backup_run(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	struct copy c = {.a = a, .link = LINK_NONE, .fd = -1};
	int err;

	*reply = NULL;
	err = make_file(&c, e);
	if (!err)
		err = begin(&c, reply, e);
	if (!err) {
		c.all = (uint64_t)json_integer_value(json_object_get(*reply, "bytes"));
		err = read_all(&c, e);
	}
	if (!err)
		err = finish(&c, e);
	if (!err && !json_array_size(json_object_get(*reply, "offline_keys")))
		fputs("vtpmctl: this file opens with this TPM alone, for there is no offline key: vtpmctl recovery init, then take another\n", stderr);
	if (!err && (json_object_del(*reply, "id") || json_object_set_new(*reply, "file", json_string(a->name))))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	copy_close(&c);
	if (err) {
		json_decref(*reply);
		*reply = NULL;
	}
	return err;
}

int print_backup(const struct ctl_args *a, json_t *params)
{
	printf("%s: %lld bytes, as of ", a->name, (long long)json_integer_value(json_object_get(params, "bytes")));
	ctl_put_text(json_string_value(json_object_get(params, "created"))
			     ? json_string_value(json_object_get(params, "created"))
			     : "");
	putchar('\n');
	return EXIT_OK;
}

/* ---- restore ---- */

static int open_file(struct copy *c, struct ctl_error *e)
{
	const char *path = c->a->name;
	struct stat st;

	c->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0 || fstat(c->fd, &st))
		return failed(e, errno, path);
	if (S_ISDIR(st.st_mode))
		return failed(e, EISDIR, path);
	c->all = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

static int write_piece(struct copy *c, const uint8_t *p, size_t n, struct ctl_error *e)
{
	char *hex = malloc(2 * n + 1);
	json_t *reply = NULL;
	int err;

	if (!hex || hex_encode(p, n, hex, 2 * n + 1) || json_object_set_new(c->id, "data", json_string(hex)))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	else
		err = client_ask(&c->link, "RestoreWrite", c->id, NULL, 0, &reply, e);
	json_decref(reply);
	free(hex);
	return err;
}

static int write_all(struct copy *c, size_t piece, struct ctl_error *e)
{
	uint8_t *p = malloc(piece);
	ssize_t r = 1;
	int err = p ? 0 : ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");

	while (!err && r != 0) {
		r = read(c->fd, p, piece);
		if (r < 0 && errno != EINTR)
			err = failed(e, errno, c->a->name);
		if (r <= 0)
			continue;
		err = write_piece(c, p, (size_t)r, e);
		c->done += (size_t)r;
		progress(c->a, "restore", c->done, c->all);
	}
	free(p);
	return err;
}

int restore_run(struct ctl_args *a, json_t **reply, struct ctl_error *e)
{
	struct copy c = {.a = a, .link = LINK_NONE, .fd = -1};
	json_t *begun = NULL;
	json_int_t piece;
	int err;

	*reply = NULL;
	err = open_file(&c, e);
	if (!err)
		err = begin(&c, &begun, e);
	piece = json_integer_value(json_object_get(begun, "piece_max"));
	if (!err && (piece < 1 || piece > PIECE_MAX))
		err = ctl_fail(e, ERR_PROTO, EXIT_FAILED, "the manager's reply makes no sense");
	if (!err)
		err = write_all(&c, (size_t)piece, e);
	if (!err)
		err = json_object_del(c.id, "data") && c.done ? ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory")
							      : 0;
	if (!err)
		err = client_ask(&c.link, "RestoreCommit", c.id, NULL, 0, reply, e);
	json_decref(begun);
	copy_close(&c);
	return err;
}

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_item(json_t *v, bool check)
{
	json_t *was = json_object_get(v, "replaced_version");

	ctl_put_text(text(v, "name"));
	printf("  change %lld", (long long)json_integer_value(json_object_get(v, "version")));
	if (json_is_integer(was))
		printf(check ? ", now %lld" : ", was %lld", (long long)json_integer_value(was));
	if (!json_is_true(json_object_get(v, "restored"))) {
		fputs(check ? "; cannot come back: " : "; left out: ", stdout);
		ctl_put_text(text(v, "reason"));
	}
	putchar('\n');
}

/* What else than this TPM opens the file. */
static void print_keys(json_t *keys)
{
	json_t *key;
	size_t i;

	if (!json_array_size(keys))
		puts("it opens with this TPM alone: no offline key does");
	json_array_foreach(keys, i, key) {
		fputs("it opens on another TPM with key ", stdout);
		ctl_put_text(json_is_string(key) ? json_string_value(key) : "");
		putchar('\n');
	}
}

int print_restore(const struct ctl_args *a, json_t *params)
{
	bool check = json_is_true(json_object_get(a->params, "check"));
	json_t *v;
	size_t i;

	fputs(check ? "a backup as of " : "restored as of ", stdout);
	ctl_put_text(text(params, "created"));
	putchar('\n');
	if (check)
		print_keys(json_object_get(params, "offline_keys"));
	json_array_foreach(json_object_get(params, "vtpms"), i, v) print_item(v, check);
	if (text(params, "replaced")[0]) {
		fputs("what was there before is kept in ", stdout);
		ctl_put_text(text(params, "replaced"));
		putchar('\n');
	}
	return EXIT_OK;
}

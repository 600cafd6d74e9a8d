/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vtpmctl import: what is read here is read with the caller's rights, copied into memfds that nobody can change any more, and
 * given to the manager as descriptors. Nothing in swtpm's directory is changed; its lock is held until the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/sealed.h"
#include "lib/util.h"
#include "vtpm-mgr/ctl/ctl.h"
#include "vtpm-mgr/proto/limits.h"

#define STATE_FILE    "tpm2-00.permall"
#define VOLATILE_FILE "tpm2-00.volatilestate"
#define TPM12_FILE    "tpm-00.permall"
#define LOCK_FILE     ".lock"
#define SECRET_MAX    4096u /* bytes of a key or a passphrase: what the worker takes */

static int failed(struct ctl_error *e, int errnum, const char *dir, const char *file)
{
	int err = err_from_errno(errnum);

	return ctl_fail(e, err, err == ERR_NOTFOUND ? EXIT_NOT_FOUND : err == ERR_DENIED ? EXIT_DENIED : EXIT_FAILED,
			"%s%s%s: %s", dir, file[0] ? "/" : "", file, strerror(errnum));
}

/*
 * swtpm holds a write lock on this file (fcntl) as long as it uses the directory. Ours excludes it in turn, and vanishes
 * with this process; *fd stays open until then. A directory of a swtpm that knew no lock has no such file.
 */
static int lock(int dir, const char *path, int *fd, struct ctl_error *e)
{
	struct flock fl = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	*fd = openat(dir, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == ENOENT ? 0 : failed(e, errno, path, LOCK_FILE);
	if (fcntl(*fd, F_SETLK, &fl) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return failed(e, errno, path, LOCK_FILE);
	return ctl_fail(e, ERR_BUSY, EXIT_STATE, "%s: swtpm is using it; shut the virtual machine down first", path);
}

/* Only a TPM that is off has all of its state in one file. */
static int check_off(int dir, const char *path, struct ctl_error *e)
{
	if (faccessat(dir, VOLATILE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : failed(e, errno, path, VOLATILE_FILE);
	return ctl_fail(e, ERR_WRONG_STATE, EXIT_STATE,
			"%s/" VOLATILE_FILE ": this is the TPM of a suspended machine; resume the machine with swtpm, shut it "
			"down in order, then import (or remove that file, if what it was doing is to be forgotten)",
			path);
}

/* Gives the copy of from, which is closed, to the call. */
static int give(struct ctl_args *a, int from, const char *path, size_t max, struct ctl_error *e)
{
	size_t size;
	int fd;
	int err = sealed_copy(from, "import", max, &fd, &size);

	fd_close(&from);
	if (!err)
		a->fds[a->nfds++] = fd;
	if (!err)
		return 0;
	if (err == ERR_RANGE)
		return ctl_fail(e, err, EXIT_FAILED, "%s: it has more than %zu bytes, which is no such thing", path, max);
	return ctl_fail(e, err, EXIT_FAILED, "%s: %s", path, err_text(err));
}

/* What is missing is often there under another name. */
static int no_state(int dir, const char *path, struct ctl_error *e)
{
	if (faccessat(dir, TPM12_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return ctl_fail(e, ERR_VERSION, EXIT_FAILED, "%s: this is a TPM 1.2; only a TPM 2.0 can be imported", path);
	return ctl_fail(e, ERR_NOTFOUND, EXIT_NOT_FOUND, "%s: there is no " STATE_FILE " in it", path);
}

static int give_state(struct ctl_args *a, int dir, const char *path, struct ctl_error *e)
{
	/* O_NONBLOCK: a FIFO is not waited for. */
	int fd = openat(dir, STATE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char *name = NULL;
	struct stat st;
	int err;

	if (fd < 0)
		return errno == ENOENT ? no_state(dir, path, e) : failed(e, errno, path, STATE_FILE);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		fd_close(&fd);
		return ctl_fail(e, ERR_INVAL, EXIT_FAILED, "%s/" STATE_FILE ": not a file", path);
	}
	if (asprintf(&name, "%s/" STATE_FILE, path) < 0)
		name = NULL;
	err = give(a, fd, name ? name : STATE_FILE, SWTPM_FILE_MAX, e);
	free(name);
	return err;
}

/*
 * FILE or FILE,option=word, which is cut off. words: the two there are. *word stays what it is without an option.
 */
static int split_file(char *arg, const char *option, const char *const words[static 2], const char **word,
		      struct ctl_error *e)
{
	char *comma = strrchr(arg, ',');
	size_t n = strlen(option);

	if (!comma || strncmp(comma + 1, option, n) != 0 || comma[1 + n] != '=')
		return 0; /* a comma in a file's name is a comma */
	*comma = '\0';
	for (size_t i = 0; i < 2; i++) {
		if (strcmp(comma + n + 2, words[i]) == 0) {
			*word = words[i];
			return 0;
		}
	}
	return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "%s is neither %s nor %s: %s", option, words[0], words[1],
			comma + n + 2);
}

/* path may be a pipe: a shell's <(command). */
static int give_secret(struct ctl_args *a, const char *file, const char *option, const char *const words[static 2],
		       struct ctl_error *e)
{
	char *path = strdup(file);
	const char *word = words[0];
	int fd = -1;
	int err;

	if (!path)
		return ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
	err = split_file(path, option, words, &word, e);
	if (err)
		goto out;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err = failed(e, errno, path, "");
	else
		err = give(a, fd, path, SECRET_MAX, e);
	if (!err && json_object_set_new(a->params, "secret", json_string(word)))
		err = ctl_fail(e, ERR_NOMEM, EXIT_FAILED, "out of memory");
out:
	free(path);
	return err;
}

static int give_any_secret(struct ctl_args *a, struct ctl_error *e)
{
	static const char *const formats[2] = {"hex", "binary"}; /* as swtpm */
	static const char *const kdfs[2] = {"pbkdf2", "sha512"};

	if (a->keys[0])
		return give_secret(a, a->keys[0], "format", formats, e);
	return a->pwd ? give_secret(a, a->pwd, "kdf", kdfs, e) : 0;
}

int import_prepare(struct ctl_args *a, struct ctl_error *e)
{
	int dir;
	int err;

	if (a->at.xen_domain)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE,
				"import gives the manager descriptors, which do not pass between domains of Xen: it takes a manager "
				"in this one");
	if (!a->swtpm)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "import needs --swtpm DIR, the directory of swtpm's state");
	if (a->keys[0] && a->pwd)
		return ctl_fail(e, ERR_INVAL, EXIT_USAGE, "--key and --pwd exclude each other");
	err = token_prepare(a, e);
	if (err)
		return err;
	dir = open(a->swtpm, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return failed(e, errno, a->swtpm, "");
	err = lock(dir, a->swtpm, &a->lock, e);
	if (!err)
		err = check_off(dir, a->swtpm, e);
	if (!err)
		err = give_state(a, dir, a->swtpm, e);
	if (!err)
		err = give_any_secret(a, e);
	fd_close(&dir);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The token, where swtpm would keep a TPM: in a directory as the file vtpm-token, or at the start of a file or device.
 *
 *	"vtpm-token-1\n" uuid of the vTPM "\n" token, 64 hexadecimal digits "\n"	in a device: then zeros, 512 bytes in all
 *
 * Whoever can read it has the TPM, as whoever could read swtpm's state had that one.
 */
#include "vtpm-mgr/swtpm/front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_FILE "vtpm-token"
#define SWTPM_FILE "tpm2-00.permall"
#define MAGIC	   "vtpm-token-1\n"
#define TEXT_LEN   (sizeof(MAGIC) - 1 + UUID_STR_LEN + 1 + 2 * FRONT_TOKEN_LEN + 1)
#define BLOCK	   512u /* what a device writes at once */

_Static_assert(TEXT_LEN < BLOCK, "it is written at once");

int place_parse(const char *text, struct place *p)
{
	*p = (struct place){ .path = text };
	if (strncmp(text, "dir://", 6) == 0)
		p->path = text + 6;
	else if ((p->is_file = strncmp(text, "file://", 7) == 0))
		p->path = text + 7;
	return p->path[0] ? 0 : ERR_INVAL;
}

static int text_parse(const char *text, size_t len, struct front_claim *c)
{
	char uuid[UUID_STR_LEN + 1], hex[2 * FRONT_TOKEN_LEN + 1];
	struct buf b;
	char magic[sizeof(MAGIC) - 1], end[2];
	int err;

	*c = (struct front_claim){ 0 };
	buf_wrap(&b, text, len);
	uuid[UUID_STR_LEN] = hex[2 * FRONT_TOKEN_LEN] = '\0';
	err = buf_get_bytes(&b, magic, sizeof(magic)) || buf_get_bytes(&b, uuid, UUID_STR_LEN) ||
	      buf_get_bytes(&b, &end[0], 1) || buf_get_bytes(&b, hex, 2 * FRONT_TOKEN_LEN) || buf_get_bytes(&b, &end[1], 1) ||
	      memcmp(magic, MAGIC, sizeof(magic)) != 0 || end[0] != '\n' || end[1] != '\n' || uuid_parse(uuid, c->uuid) ||
	      hex_decode(hex, c->token, FRONT_TOKEN_LEN);
	explicit_bzero(hex, sizeof(hex));
	return err ? ERR_AUTH : 0;
}

static int text_make(const struct front_claim *c, char text[static TEXT_LEN + 1])
{
	char uuid[UUID_STR_LEN + 1], hex[2 * FRONT_TOKEN_LEN + 1];
	int n;

	uuid_format(c->uuid, uuid);
	if (hex_encode(c->token, FRONT_TOKEN_LEN, hex, sizeof(hex)))
		return ERR_RANGE;
	n = snprintf(text, TEXT_LEN + 1, MAGIC "%s\n%s\n", uuid, hex);
	explicit_bzero(hex, sizeof(hex));
	return n == (int)TEXT_LEN ? 0 : ERR_RANGE;
}

static int read_all(int fd, char *p, size_t cap, size_t *len)
{
	ssize_t r;

	*len = 0;
	while (*len < cap) {
		r = read(fd, p + *len, cap - *len);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_from_errno(errno);
		if (r == 0)
			break;
		*len += (size_t)r;
	}
	return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t r = write(fd, p, len);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? err_from_errno(errno) : ERR_IO;
		p += r;
		len -= (size_t)r;
	}
	return fsync(fd) ? err_from_errno(errno) : 0;
}

/* --- reading --- */

static bool all_zero(const char *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

/* A descriptor of the token's file or of the device. */
static int open_to_read(const struct place *p, int *dir)
{
	int fd;

	*dir = -1;
	if (p->is_file)
		return open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	*dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = *dir < 0 ? -1 : openat(*dir, TOKEN_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
	return fd;
}

static void warn_if_shared(const struct place *p, int fd)
{
	struct stat sb;

	if (!fstat(fd, &sb) && S_ISREG(sb.st_mode) && (sb.st_mode & (S_IRWXG | S_IRWXO)))
		say("%s: others may open the token there, and with it the TPM; its mode should be 0600", p->path);
}

int place_read(const struct place *p, struct front_claim *c, char why[static WHY_MAX + 1])
{
	char text[BLOCK];
	size_t len = 0;
	int dir, fd = open_to_read(p, &dir), errnum = errno, err = 0;

	*c = (struct front_claim){ 0 };
	if (fd < 0 && dir >= 0 && errnum == ENOENT && faccessat(dir, SWTPM_FILE, F_OK, 0) == 0)
		err = explain(why, ERR_EXISTS,
			   "%.300s holds the state of a TPM of swtpm itself, which this is not; "
			   "\"vtpmctl import NAME --swtpm DIR --token DIR\" takes it over",
			   p->path);
	else if (fd < 0 && errnum == ENOENT)
		err = explain(why, ERR_NOTFOUND, "%.300s holds no token of a TPM: it was never set up with swtpm_setup", p->path);
	else if (fd < 0)
		err = explain(why, err_from_errno(errnum), "%.300s: %s", p->path, strerror(errnum));
	else if (read_all(fd, text, p->is_file ? BLOCK : TEXT_LEN + 1, &len))
		err = explain(why, ERR_IO, "%.300s: %s", p->path, strerror(errno));
	else if (p->is_file && all_zero(text, len))
		err = explain(why, ERR_NOTFOUND, "%.300s is empty: it was never set up with swtpm_setup", p->path);
	else if (text_parse(text, p->is_file && len > TEXT_LEN ? TEXT_LEN : len, c) || (!p->is_file && len != TEXT_LEN))
		err = explain(why, p->is_file ? ERR_EXISTS : ERR_AUTH, "%.300s holds something else than the token of a TPM",
			   p->path);
	if (!err)
		warn_if_shared(p, fd);
	explicit_bzero(text, sizeof(text));
	fd_close(&fd);
	fd_close(&dir);
	return err;
}

/* --- writing --- */

static int write_device(const struct place *p, const char *text)
{
	char block[BLOCK] = { 0 };
	int fd = open(p->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	int err = fd < 0 ? err_from_errno(errno) : 0;

	memcpy(block, text, TEXT_LEN);
	if (!err)
		err = write_all(fd, block, sizeof(block));
	explicit_bzero(block, sizeof(block));
	fd_close(&fd);
	return err;
}

/* What root keeps in another's directory is for him who will read it there. */
static int give_to_owner(int dir, int fd)
{
	struct stat sb;

	if (geteuid() != 0)
		return 0;
	return fstat(dir, &sb) || fchown(fd, sb.st_uid, sb.st_gid) ? err_from_errno(errno) : 0;
}

/* Whole or not at all: a new file takes the old one's name. */
static int write_in_dir(const struct place *p, const char *text)
{
	static const char new[] = TOKEN_FILE ".new";
	int dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1, err = 0;

	if (dir < 0)
		return err_from_errno(errno);
	if (unlinkat(dir, new, 0) && errno != ENOENT)
		err = err_from_errno(errno);
	if (!err && (fd = openat(dir, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
		err = err_from_errno(errno);
	if (!err)
		err = give_to_owner(dir, fd);
	if (!err)
		err = write_all(fd, text, TEXT_LEN);
	if (!err && (renameat(dir, new, dir, TOKEN_FILE) || fsync(dir)))
		err = err_from_errno(errno);
	if (err && fd >= 0 && unlinkat(dir, new, 0))
		say("%s: %s is left behind", p->path, new);
	fd_close(&fd);
	fd_close(&dir);
	return err;
}

int place_write(const struct place *p, const struct front_claim *c, char why[static WHY_MAX + 1])
{
	char text[TEXT_LEN + 1];
	int err = text_make(c, text);

	if (!err)
		err = p->is_file ? write_device(p, text) : write_in_dir(p, text);
	explicit_bzero(text, sizeof(text));
	return err ? explain(why, err, "the token cannot be kept in %.300s: %s", p->path, err_text(err)) : 0;
}

void place_forget(const struct place *p)
{
	char block[BLOCK] = { 0 };
	int fd = open(p->path, p->is_file ? O_WRONLY | O_CLOEXEC : O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || (p->is_file ? write_all(fd, block, sizeof(block)) : unlinkat(fd, TOKEN_FILE, 0)))
		say("%s: a token for nothing is left behind", p->path);
	fd_close(&fd);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linked into a manager under test: these definitions come before those of the C library, for SQLite, too. Every write to the store's
 * files is recorded (disk.h) before it is done; nothing is ever really synced, which only makes the test faster: what a
 * disk holds after a power cut is made of the record.
 *
 *	POWERCUT_LOG		the record; without it nothing is recorded
 *	POWERCUT_PLAN		plan.h: the manager ends in the place of one of its operations
 *	POWERCUT_DISK_LIES	a sync is not recorded: the disk says that it is done, and has it not
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/powercut/disk.h"
#include "tests/powercut/plan.h"

#define FDS   1024
#define FILES 256
#define LIB   __attribute__((visibility("default")))

/* The calls that it stands for have no argument to keep it in. */
static int log_fd = -1;
static struct plan *plan;
static uint32_t last_op;
static uint32_t file_of[FDS]; /* 0: another file */
static struct {
	ino_t inode;
	char name[64];
} files[FILES];
static uint32_t nfiles;

LIB int open(const char *path, int flags, ...);
LIB int open64(const char *path, int flags, ...);
LIB ssize_t pwrite(int fd, const void *p, size_t n, off_t off);
LIB ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off);
LIB int ftruncate(int fd, off_t size);
LIB int ftruncate64(int fd, off64_t size);
LIB int fsync(int fd);
LIB int fdatasync(int fd);
LIB int unlink(const char *path);
LIB int close(int fd);

static const char *store_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	return strncmp(name, DISK_PREFIX, strlen(DISK_PREFIX)) == 0 ? name : NULL;
}

static void record(struct disk_record r, const void *data)
{
	const struct iovec iov[2] = { { .iov_base = &r, .iov_len = sizeof(r) },
				      { .iov_base = (void *)(uintptr_t)data, .iov_len = r.len } };

	/* The log that is filled with zeros at a start is one operation: otherwise there would hardly be another. */
	bool counts = r.op != DISK_OPEN && (r.op != DISK_ZERO || last_op != DISK_ZERO);

	last_op = r.op;
	if (counts && plan && plan->disk > 0 && --plan->disk == 0)
		_exit(137);
	if (writev(log_fd, iov, 2) != (ssize_t)(sizeof(r) + r.len)) {
		perror("powercut: the record of the disk");
		abort();
	}
}

/* The manager before this one may have been killed while it wrote a record: that one is nothing. */
static void mend_log(void)
{
	struct disk_record r;
	struct stat sb;
	off_t at = 0;

	if (fstat(log_fd, &sb) != 0)
		abort();
	while (pread(log_fd, &r, sizeof(r), at) == (ssize_t)sizeof(r) && r.len <= (uint64_t)(sb.st_size - at) - sizeof(r))
		at += (off_t)(sizeof(r) + r.len);
	if (at < sb.st_size && syscall(SYS_ftruncate, log_fd, at) != 0)
		abort();
}

static bool recording(void)
{
	const char *path = getenv("POWERCUT_LOG");

	if (log_fd >= 0 || path == NULL)
		return log_fd >= 0;
	log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_APPEND | O_CLOEXEC, 0);
	if (log_fd < 0)
		return false;
	mend_log();
	plan = plan_map();
	return true;
}

/* Two descriptors of one file are the same file; a name that is made anew is another one. */
static void opened(int fd, const char *name, bool made)
{
	struct stat sb;
	uint32_t i = nfiles;

	if (fd < 0 || fd >= FDS || fstat(fd, &sb) != 0)
		return;
	while (!made && i > 0 && (files[i - 1].inode != sb.st_ino || strcmp(files[i - 1].name, name) != 0))
		i--;
	if (made || i == 0) {
		if (nfiles == FILES)
			abort();
		files[nfiles].inode = sb.st_ino;
		snprintf(files[nfiles].name, sizeof(files[nfiles].name), "%s", name);
		i = ++nfiles;
		record((struct disk_record){ .op = DISK_OPEN, .file = i, .a = made, .len = strlen(name) }, name);
	}
	file_of[fd] = i;
}

static int open_it(const char *path, int flags, mode_t mode)
{
	const char *name = store_name(path);
	bool there = name && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);

	if (fd >= 0 && fd < FDS)
		file_of[fd] = 0;
	if (name && fd >= 0 && (flags & O_ACCMODE) != O_RDONLY && recording())
		opened(fd, name, !there);
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_it(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return open_it(path, flags, mode);
}

static uint32_t recorded(int fd)
{
	return log_fd >= 0 && fd >= 0 && fd < FDS ? file_of[fd] : 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n > 0 && p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t off)
{
	uint32_t file = recorded(fd);

	if (file && all_zero(p, n))
		record((struct disk_record){ .op = DISK_ZERO, .file = file, .a = (uint64_t)off, .b = n }, NULL);
	else if (file)
		record((struct disk_record){ .op = DISK_WRITE, .file = file, .a = (uint64_t)off, .len = n }, p);
	return syscall(SYS_pwrite64, fd, p, n, off);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	return pwrite64(fd, p, n, off);
}

int ftruncate64(int fd, off64_t size)
{
	uint32_t file = recorded(fd);

	if (file)
		record((struct disk_record){ .op = DISK_SIZE, .file = file, .a = (uint64_t)size }, NULL);
	return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int fdatasync(int fd)
{
	uint32_t file = recorded(fd);
	struct stat sb;

	if (file && !getenv("POWERCUT_DISK_LIES"))
		record((struct disk_record){ .op = DISK_SYNC, .file = file }, NULL);
	else if (!file && log_fd >= 0 && fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode))
		record((struct disk_record){ .op = DISK_DIRSYNC }, NULL);
	return 0;
}

int fsync(int fd)
{
	return fdatasync(fd);
}

int unlink(const char *path)
{
	const char *name = store_name(path);

	if (name && log_fd >= 0)
		record((struct disk_record){ .op = DISK_UNLINK, .len = strlen(name) }, name);
	return (int)syscall(SYS_unlink, path);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		file_of[fd] = 0;
	return (int)syscall(SYS_close, fd);
}

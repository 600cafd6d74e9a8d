/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/util.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* By way of the memfd's own memory, which has one byte more than there may be. */
static int fill(int from, int to, size_t max, size_t *size)
{
	ssize_t r = 1;
	int err = 0;
	char *p;

	*size = 0;
	if (ftruncate(to, (off_t)max + 1))
		return err_from_errno(errno);
	p = mmap(NULL, max + 1, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	while (r != 0 && *size <= max && !err) {
		r = read(from, p + *size, max + 1 - *size);
		if (r < 0 && errno != EINTR)
			err = err_from_errno(errno);
		else if (r > 0)
			*size += (size_t)r;
	}
	munmap(p, max + 1); /* or it could not be sealed */
	return !err && *size > max ? ERR_RANGE : err;
}

int sealed_copy(int from, const char *name, size_t max, int *fd, size_t *size)
{
	int err;

	*size = 0;
	*fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return err_from_errno(errno);
	err = fill(from, *fd, max, size);
	if (!err && (ftruncate(*fd, (off_t)*size) || fcntl(*fd, F_ADD_SEALS, SEALS)))
		err = err_from_errno(errno);
	if (err)
		fd_close(fd);
	return err;
}

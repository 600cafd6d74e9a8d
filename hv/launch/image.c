/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hv/launch/launch.h"
#include "lib/sealed.h"
#include "lib/util.h"

static int digest(const EVP_MD *md, const void *p, size_t n, uint8_t out[static LAUNCH_DIGEST_MAX])
{
	unsigned len;

	return EVP_Digest(p, n, out, &len, md, NULL) == 1 ? 0 : ERR_CRYPTO;
}

int digests_of(const void *p, size_t n, struct digests *d)
{
	int err;

	memset(d, 0, sizeof(*d));
	err = digest(EVP_sha1(), p, n, d->of[LAUNCH_SHA1]);
	if (!err)
		err = digest(EVP_sha256(), p, n, d->of[LAUNCH_SHA256]);
	if (!err)
		err = digest(EVP_sha384(), p, n, d->of[LAUNCH_SHA384]);
	if (!err)
		err = digest(EVP_sha512(), p, n, d->of[LAUNCH_SHA512]);
	return err;
}

const void *image_map(const struct image *i)
{
	void *p;

	if (i->size == 0)
		return "";
	p = mmap(NULL, i->size, PROT_READ, MAP_PRIVATE, i->fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

void image_unmap(const struct image *i, const void *p)
{
	if (p && i->size > 0)
		munmap((void *)(uintptr_t)p, i->size);
}

static int failed(struct ctl_error *e, int err, const char *file, const char *why)
{
	return ctl_fail(e, err, err == ERR_NOTFOUND ? EXIT_NOT_FOUND : err == ERR_DENIED ? EXIT_DENIED : EXIT_FAILED, "%s: %s", file,
			why);
}

static int hash(struct image *i)
{
	const void *p = image_map(i);
	int err = p ? digests_of(p, i->size, &i->digests) : ERR_NOMEM;

	image_unmap(i, p);
	return err;
}

int image_read(struct image *i, const char *file, size_t max, struct ctl_error *e)
{
	int from = open(file, O_RDONLY | O_CLOEXEC);
	int err;

	*i = IMAGE_NONE;
	if (from < 0)
		return failed(e, err_from_errno(errno), file, strerror(errno));
	err = sealed_copy(from, "measured", max, &i->fd, &i->size);
	if (err == ERR_RANGE)
		(void)ctl_fail(e, err, EXIT_FAILED, "%s: it has more than %zu bytes", file, max);
	else if (err)
		(void)failed(e, err, file, strerror(errno));
	fd_close(&from);
	if (err)
		return err;
	err = hash(i);
	if (!err && fcntl(i->fd, F_SETFD, 0)) /* whom we execute inherits it */
		err = err_from_errno(errno);
	snprintf(i->path, sizeof(i->path), "/proc/self/fd/%d", i->fd);
	if (!err)
		return 0;
	image_close(i);
	return failed(e, err, file, err_text(err));
}

void image_close(struct image *i)
{
	fd_close(&i->fd);
	*i = IMAGE_NONE;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/util.h"

#define REEXEC_MAX (4u + CHILDREN_ENCODED_SIZE(1u << 20))

/* u32 link descriptor (all ones: none), then the children. */
static int encode_state(struct buf *b, const struct spawner *s)
{
	if (buf_put_u32le(b, (uint32_t)s->link_fd))
		return ERR_RANGE;
	return children_encode(b, &s->children);
}

static int save_state(const struct spawner *s, int fd)
{
	const size_t cap = 4u + CHILDREN_ENCODED_SIZE(s->children.n);
	struct buf b;
	uint8_t *mem;
	int err;

	mem = malloc(cap);
	if (mem == NULL)
		return ERR_NOMEM;
	buf_init(&b, mem, cap);
	err = encode_state(&b, s);
	if (err == 0 && pwrite(fd, b.data, b.len, 0) != (ssize_t)b.len)
		err = ERR_SYS;
	free(mem);
	return err;
}

/* Whether fd is inherited by the program that is executed next. */
static int inherit(int fd, bool yes)
{
	return fd < 0 || fcntl(fd, F_SETFD, yes ? 0 : FD_CLOEXEC) == 0 ? 0 : err_from_errno(errno);
}

/* What was open from the first instruction on. */
static int inherit_channels(const struct spawner *s, bool yes)
{
	int err = inherit(SPAWN_FD_MANAGER, yes);

	return err != 0 || !s->opt.held ? err : inherit(SPAWN_FD_HOLD, yes);
}

/* What children leave goes on, too. */
static int inherit_legacies(const struct children *c, bool yes)
{
	int err = 0;

	for (size_t i = 0; i < c->n && err == 0; i++)
		if (inherit(c->list[i].legacy.area, yes) != 0 || inherit(c->list[i].legacy.stash[0], yes) != 0 ||
		    inherit(c->list[i].legacy.stash[1], yes) != 0)
			err = ERR_SYS;
	return err;
}

/* execv(3) has no const for historical reasons, and writes nothing. */
static char *as_arg(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* Program name, --resume and the descriptor, then what this one was given (without its own --resume). */
static void exec_self(struct spawner *s, int fd)
{
	const int skip = s->opt.resume_fd >= 0 ? 3 : 1;
	char number[16], **argv;
	int n = 0;

	argv = calloc((size_t)s->argc + 4, sizeof(*argv));
	if (argv == NULL)
		return;
	(void)snprintf(number, sizeof(number), "%d", fd);
	argv[n++] = s->argv[0];
	argv[n++] = as_arg("--resume");
	argv[n++] = number;
	for (int i = skip; i < s->argc; i++)
		argv[n++] = s->argv[i];
	fexecve(s->exe_fd, argv, environ);
	log_error("cannot execute vtpm-spawn again: %s", strerror(errno));
	free(argv);
}

int reexec(struct spawner *s)
{
	int fd, err;

	fd_close(&s->spare_fd); /* the one in reserve has the old layout, and ends by itself */
	s->spare_pid = 0;
	fd = memfd_create("vtpm-spawn", MFD_CLOEXEC);
	if (fd < 0)
		return err_from_errno(errno);
	err = save_state(s, fd);
	if (err == 0 && inherit(fd, true) == 0 && inherit(s->link_fd, true) == 0 &&
	    inherit_channels(s, true) == 0 && inherit_legacies(&s->children, true) == 0)
		exec_self(s, fd);
	close(fd);
	if (inherit(s->link_fd, false) != 0 || inherit_channels(s, false) != 0 ||
	    inherit_legacies(&s->children, false) != 0)
		return ERR_SYS;
	return err != 0 ? err : ERR_SYS;
}

static int decode_state(struct buf *b, struct spawner *s)
{
	uint32_t link;
	int err;

	if (buf_get_u32le(b, &link))
		return ERR_RANGE;
	s->link_fd = (int32_t)link;
	if (inherit(s->link_fd, false) != 0)
		return ERR_SYS;
	err = children_decode(b, &s->children);
	return err != 0 ? err : inherit_legacies(&s->children, false);
}

int reexec_resume(struct spawner *s)
{
	struct stat st;
	struct buf b;
	void *mem;
	int err;

	if (fstat(s->opt.resume_fd, &st) != 0 || st.st_size <= 0 || st.st_size > (off_t)REEXEC_MAX)
		return ERR_SYS;
	mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, s->opt.resume_fd, 0);
	if (mem == MAP_FAILED)
		return ERR_NOMEM;
	buf_wrap(&b, mem, (size_t)st.st_size);
	err = decode_state(&b, s);
	munmap(mem, (size_t)st.st_size);
	close(s->opt.resume_fd);
	return err;
}

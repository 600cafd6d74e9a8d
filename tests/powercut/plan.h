/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When somebody is to end: a file that the test and the processes under test have mapped, so that those that run already can be told, and whoever takes a
 * place goes on counting. POWERCUT_PLAN names it; without it nobody ends.
 */
#ifndef TESTS_POWERCUT_PLAN_H
#define TESTS_POWERCUT_PLAN_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
	int64_t disk;	/* the manager, in the place of that operation on the store's files from now on; 0: no */
	int64_t keeper; /* 2n before, 2n + 1 after the n-th extend from now on; 0: no */
};

/* NULL: there is none. */
static inline struct plan *plan_map(void)
{
	const char *path = getenv("POWERCUT_PLAN");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = fd >= 0 ? mmap(NULL, sizeof(struct plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	return p == MAP_FAILED ? NULL : p;
}

#endif

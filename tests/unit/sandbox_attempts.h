/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process in a sandbox must die of: raw system calls, so that no library changes the attempt. */
#ifndef TESTS_SANDBOX_ATTEMPTS_H
#define TESTS_SANDBOX_ATTEMPTS_H

#include <stddef.h>
#include <sys/types.h>

struct sandbox_attempt {
	const char *name;
	void (*run)(void);
	unsigned kinds; /* that must die of it: 1 << enum sandbox_kind */
};

extern const struct sandbox_attempt sandbox_attempts[];
extern const size_t sandbox_attempts_count;

/* Before the filter: whom to attack, and a descriptor that is open. */
void sandbox_attempts_prepare(pid_t victim, int open_fd);

#endif

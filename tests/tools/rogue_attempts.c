/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/tools/rogue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sandbox.h"
#include "lib/util.h"
#include "tests/unit/sandbox_attempts.h"

#define LOCKED_TOO_MUCH (64u << 20)

static void open_mem(uint32_t victim)
{
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/%u/mem", (unsigned)victim);
	syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
}

static void open_own_root(uint32_t victim)
{
	(void)victim;
	syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
}

/* The filter cannot see the path that comes with AT_EMPTY_PATH. */
static void stat_with_path(uint32_t victim)
{
	struct stat st;

	(void)victim;
	syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &st, AT_EMPTY_PATH);
}

static void lock_all_memory(uint32_t victim)
{
	void *p = mmap(NULL, LOCKED_TOO_MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)victim;
	if (p != MAP_FAILED)
		syscall(SYS_mlock, p, (size_t)LOCKED_TOO_MUCH);
}

/* MAP_SHARED and PROT_EXEC of what is open already. */
static void map_shared_exec(uint32_t victim)
{
	(void)victim;
	syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static const struct rogue_attempt own[] = {
	{"open of another backend's /proc/PID/mem", open_mem, 0, false},
	{"open of its own root directory", open_own_root, 0, false},
	{"mmap(PROT_EXEC, MAP_SHARED)", map_shared_exec, 0, false},
	{"stat of a path behind AT_EMPTY_PATH", stat_with_path, ENOENT, true},
	{"mlock of 64 MiB", lock_all_memory, ENOMEM, false},
};

/* The n-th of the unit test's attempts that a backend must die of. */
static const struct sandbox_attempt *common(uint32_t n)
{
	for (size_t i = 0; i < sandbox_attempts_count; i++)
		if ((sandbox_attempts[i].kinds & (1u << SANDBOX_BACKEND)) != 0 && n-- == 0)
			return &sandbox_attempts[i];
	return NULL;
}

bool rogue_get(uint32_t attempt, struct rogue_attempt *out)
{
	const struct sandbox_attempt *a;

	if (attempt < ARRAY_LEN(own)) {
		*out = own[attempt];
		return true;
	}
	a = common(attempt - (uint32_t)ARRAY_LEN(own));
	if (a != NULL)
		*out = (struct rogue_attempt){.name = a->name};
	return a != NULL;
}

int rogue_run(uint32_t attempt, uint32_t victim)
{
	const struct sandbox_attempt *a;

	errno = 0;
	if (attempt < ARRAY_LEN(own)) {
		own[attempt].run(victim);
		return errno;
	}
	a = common(attempt - (uint32_t)ARRAY_LEN(own));
	if (a == NULL)
		return EINVAL;
	sandbox_attempts_prepare((pid_t)victim, STDIN_FILENO);
	a->run();
	return errno;
}

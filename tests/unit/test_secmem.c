/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/secmem.h"

#ifdef __SANITIZE_ADDRESS__
#define HAVE_MLOCK 0 /* AddressSanitizer replaces mlock(2) by nothing */
#else
#define HAVE_MLOCK 1
#endif

/* A line of the mapping that holds p in /proc/self/smaps. */
static void smaps_line(const void *p, const char *field, char *out, size_t cap)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	int inside = 0;

	out[0] = '\0';
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, field, strlen(field)) == 0)
			snprintf(out, cap, "%s", line);
	}
	fclose(f);
}

static void memory_is_zeroed_locked_and_not_dumped(void **state)
{
	char flags[512];
	uint8_t *p = secmem_alloc(5000);

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(p[i], 0);
	memset(p, 0xa5, 5000);
	smaps_line(p, "VmFlags:", flags, sizeof(flags));
	assert_non_null(strstr(flags, " dd"));
	assert_non_null(strstr(flags, " wf"));
	if (HAVE_MLOCK)
		assert_non_null(strstr(flags, " lo"));
	else
		print_message("lock not looked at: AddressSanitizer replaces mlock\n");
	secmem_free(p, 5000);
}

static void a_fork_sees_zeroes(void **state)
{
	uint8_t *p = secmem_alloc(32);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(p);
	memset(p, 0xa5, 32);
	pid = fork();
	if (pid == 0)
		_exit(p[0] == 0 && p[31] == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[31], 0xa5);
	secmem_free(p, 32);
}

static void impossible_sizes_give_null(void **state)
{
	(void)state;
	assert_null(secmem_alloc(0));
	for (size_t d = 0; d < 4096; d += 63)
		assert_null(secmem_alloc(SIZE_MAX - d));
	assert_null(secmem_alloc(SIZE_MAX / 2));
	secmem_free(NULL, 0);
	secmem_free(NULL, 100);
}

static void too_much_to_lock_gives_null(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!HAVE_MLOCK) {
		print_message("skipped: AddressSanitizer replaces mlock\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		static const struct rlimit rl = { 8192, 8192 };

		/* CAP_IPC_LOCK lifts the limit: give it up. */
		if (setrlimit(RLIMIT_MEMLOCK, &rl) || (geteuid() == 0 && setuid(65534)))
			_exit(2);
		_exit(secmem_alloc(8193) == NULL && secmem_alloc(8192) != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void wipe_wipes_and_equal_compares(void **state)
{
	uint8_t a[33], b[33];

	(void)state;
	memset(a, 0x11, sizeof(a));
	memcpy(b, a, sizeof(b));
	assert_true(secmem_equal(a, b, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		assert_false(secmem_equal(a, b, sizeof(a)));
		assert_true(secmem_equal(a, b, i));
		b[i] ^= 0x80;
	}
	assert_true(secmem_equal(NULL, NULL, 0));
	secmem_wipe(a, 32);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(a[i], 0);
	assert_int_equal(a[32], 0x11);
	secmem_wipe(NULL, 0);
}

static void a_secret_process_is_not_dumpable(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct rlimit rl;

		if (secmem_process() || prctl(PR_GET_DUMPABLE) != 0 || getrlimit(RLIMIT_CORE, &rl))
			_exit(1);
		_exit(rl.rlim_cur == 0 && rl.rlim_max == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_locked_and_not_dumped),
		cmocka_unit_test(a_fork_sees_zeroes),
		cmocka_unit_test(impossible_sizes_give_null),
		cmocka_unit_test(too_much_to_lock_gives_null),
		cmocka_unit_test(wipe_wipes_and_equal_compares),
		cmocka_unit_test(a_secret_process_is_not_dumpable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

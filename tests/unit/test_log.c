/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

static int saved_stderr;
static int pipe_fds[2];
static char got[16384];

static int capture(void **state)
{
	(void)state;
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (saved_stderr < 0 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) || dup2(pipe_fds[1], STDERR_FILENO) < 0)
		return -1;
	return 0;
}

static int release(void **state)
{
	(void)state;
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

/* What the last calls wrote. */
static const char *logged(void)
{
	ssize_t n = read(pipe_fds[0], got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static void lines_have_ident_and_priority(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	log_open("unit", 0);
	log_error("a %d", 1);
	log_warn("b");
	log_info("c");
	log_debug("not wanted");
	assert_string_equal(logged(), "unit: a 1\nunit: b\nunit: c\n");
	setenv("JOURNAL_STREAM", "8:1", 1);
	log_open("unit", 1);
	unsetenv("JOURNAL_STREAM");
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	assert_string_equal(logged(), "<3>unit: a\n<4>unit: b\n<6>unit: c\n<7>unit: d\n");
}

static void nothing_can_forge_a_line(void **state)
{
	(void)state;
	log_open("unit", 0);
	log_info("name %s", "x\nunit: forged\r\x1b[2J\t\\n\x7f\xc3\xa4");
	assert_string_equal(logged(),
			    "unit: name x\\x0aunit: forged\\x0d\\x1b[2J\\x09\\\\n\\x7f\\xc3\\xa4\n");
}

static void long_texts_are_cut_and_stay_one_line(void **state)
{
	static char text[5000];
	const char *line;

	(void)state;
	memset(text, '\n', sizeof(text) - 1);
	log_open("a-rather-long-identification-of-a-program", 0);
	log_info("%s", text);
	line = logged();
	assert_true(strlen(line) > 4000);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void errno_is_kept_also_when_nobody_reads(void **state)
{
	(void)state;
	log_open("unit", 0);
	errno = ENOLCK;
	for (int i = 0; i < 20000; i++) /* until the pipe is full, and on */
		log_info("x");
	assert_int_equal(errno, ENOLCK);
	while (*logged())
		continue;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lines_have_ident_and_priority, capture, release),
		cmocka_unit_test_setup_teardown(nothing_can_forge_a_line, capture, release),
		cmocka_unit_test_setup_teardown(long_texts_are_cut_and_stay_one_line, capture, release),
		cmocka_unit_test_setup_teardown(errno_is_kept_also_when_nobody_reads, capture, release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said of a boot that was refused, from two logs of which none is trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/util.h"
#include "tests/unit/event_log.h"
#include "vtpm-mgr/bootlog.h"
#include "lib/eventlog.h"

#define REFUSED "PCR 8 is not what it was"

struct fixture {
	char dir[64], path[80];
	struct bootlog boot;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/vtpm-bootlog.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/eventlog", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bootlog_free(&f->boot);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* The log of this boot, as if the kernel had shown it: one command of GRUB and one file. */
static void boots(struct fixture *f, const char *command, const char *file)
{
	struct log l;
	uint8_t digest[32];

	log_begin(&l);
	log_event(&l, 8, EV_IPL, command, strlen(command), NULL);
	sha256(file, strlen(file), digest);
	log_event(&l, 9, EV_IPL, "/initrd.img", 11, digest);
	bootlog_free(&f->boot);
	f->boot.now = malloc(l.b.len);
	assert_non_null(f->boot.now);
	memcpy(f->boot.now, l.mem, l.b.len);
	f->boot.now_len = l.b.len;
}

static void expect_text(const struct fixture *f, uint32_t mask, const char *want)
{
	char text[TEXT_MAX + 1] = REFUSED;

	bootlog_explain(&f->boot, f->dir, mask, text);
	assert_string_equal(text, want);
}

static void test_names_the_event(void **state)
{
	struct fixture *f = *state;
	struct stat sb;

	boots(f, "grub_cmd: multiboot2 /xen lab=a", "one");
	bootlog_keep(&f->boot, f->dir);
	assert_int_equal(stat(f->path, &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0600);
	expect_text(f, 1u << 8 | 1u << 9, REFUSED);
	boots(f, "grub_cmd: multiboot2 /xen lab=b", "two");
	expect_text(f, 1u << 8,
		    REFUSED "; the event log of PCR 8 has \"...md: multiboot2 /xen lab=b\" where it had \"...md: multiboot2 /xen lab=a\"");
	expect_text(f, 1u << 9, REFUSED "; the event log has another content for /initrd.img (PCR 9)");
	expect_text(f, 1u << 4, REFUSED);
}

/* Only the first boot that is let in is kept, and it replaces the one of before. */
static void test_is_kept_once(void **state)
{
	struct fixture *f = *state;

	boots(f, "a", "one");
	bootlog_keep(&f->boot, f->dir);
	boots(f, "b", "one");
	bootlog_keep(&f->boot, f->dir);
	expect_text(f, 1u << 8, REFUSED);
	f->boot.now[f->boot.now_len - 1] ^= 1;
	bootlog_keep(&f->boot, f->dir);
	f->boot.now[f->boot.now_len - 1] ^= 1;
	expect_text(f, 1u << 8 | 1u << 9, REFUSED);
}

static void test_a_long_refusal_is_cut(void **state)
{
	struct fixture *f = *state;
	char text[TEXT_MAX + 1];

	boots(f, "a", "one");
	bootlog_keep(&f->boot, f->dir);
	boots(f, "a", "two");
	memset(text, 'x', TEXT_MAX);
	text[TEXT_MAX] = '\0';
	bootlog_explain(&f->boot, f->dir, 1u << 9, text);
	assert_int_equal(strlen(text), TEXT_MAX);
	assert_non_null(strstr(text, "xxx...; the event log has another content for /initrd.img (PCR 9)"));
}

/* Whatever lies there or is shown, the refusal stays what it is. */
static void test_junk_explains_nothing(void **state)
{
	struct fixture *f = *state;
	FILE *out;

	expect_text(f, 1u << 9, REFUSED); /* no log at all */
	boots(f, "a", "one");
	expect_text(f, 1u << 9, REFUSED); /* none was kept */
	bootlog_keep(&f->boot, f->dir);
	boots(f, "a", "two");
	f->boot.now_len--;
	expect_text(f, 1u << 9, REFUSED);
	f->boot.now_len++;
	out = fopen(f->path, "w");
	assert_non_null(out);
	fputs("junk", out);
	fclose(out);
	expect_text(f, 1u << 9, REFUSED);
	unlink(f->path);
	assert_int_equal(symlink("/etc/passwd", f->path), 0);
	expect_text(f, 1u << 9, REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_the_event, setup, teardown),
		cmocka_unit_test_setup_teardown(test_is_kept_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_long_refusal_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_junk_explains_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

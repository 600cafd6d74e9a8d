/* SPDX-License-Identifier: BSD-2-Clause */
/* What is read from xenstore, before anything is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vtpm-mgr/xen_device.h"

static void values_too_long_or_with_a_nul_are_none(void **state)
{
	struct xen_value v;
	char big[XEN_VALUE_MAX + 1];

	(void)state;
	memset(big, '1', sizeof(big));
	xen_value_set(&v, big, sizeof(big));
	assert_int_equal(v.len, 0);
	assert_string_equal(v.text, "");
	xen_value_set(&v, big, XEN_VALUE_MAX);
	assert_int_equal(v.len, XEN_VALUE_MAX);
	xen_value_set(&v, "3\0", 2);
	assert_int_equal(v.len, 0);
	xen_value_set(&v, "", 0);
	assert_int_equal(v.len, 0);
}

static void paths(void **state)
{
	static const char *const bad[] = { "", "/", "5", "5/", "/5/0", "a/0", "5/b", "-5/0", "32752/0", "99999999999/0", "5//0" };
	unsigned domid, handle;
	const char *rest;

	(void)state;
	assert_int_equal(xen_path_parse("5/0", &domid, &handle, &rest), 0);
	assert_int_equal(domid, 5);
	assert_string_equal(rest, "");
	assert_int_equal(xen_path_parse("32751/17/state", &domid, &handle, &rest), 0);
	assert_int_equal(domid, 32751);
	assert_int_equal(handle, 17);
	assert_string_equal(rest, "/state");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(xen_path_parse(bad[i], &domid, &handle, &rest), ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_too_long_or_with_a_nul_are_none),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

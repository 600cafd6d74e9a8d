/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may have a vTPM with a launch and without: launch_policy.c, in a store in which no group has said anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-mgr/launch.h"

static struct mgr mgr;
static char why[TEXT_MAX + 1];

/* --- the rest of the manager --- */

int leaf_of_launch(const char *group, const void *value, size_t len, struct store_leaf *out)
{
	(void)group;
	(void)value;
	(void)len;
	memset(out, 0, sizeof(*out));
	return 0;
}

struct leaf *leaves_find(const struct leaves *l, const uint8_t uuid[static UUID_LEN])
{
	(void)l;
	(void)uuid;
	return NULL;
}

int store_meta_get(struct store *s, const char *key, void *value, size_t *len)
{
	(void)s;
	(void)key;
	(void)value;
	(void)len;
	return ERR_NOTFOUND;
}

unsigned xen_domid(const struct xen_front *f)
{
	(void)f;
	return 7;
}

/* --- */

/* mode of the row; what it is like now, state VTPM_STOPPED: nothing of it is there; domain: it is a domain's */
static int admit(uint8_t mode, enum vtpm_state state, bool domain, enum start_kind kind)
{
	struct store_vtpm row = { .name = "web1", .group = "default", .launch = mode };
	struct vtpm v = { .state = state, .xen = domain, .front = domain ? (struct xen_front *)&mgr : NULL };

	return launch_admit(&mgr, &row, state == VTPM_STOPPED ? NULL : &v, kind, why);
}

static void a_domain_must_be_launched_and_others_may(void **state)
{
	(void)state;
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_STOPPED, false, START_RING), 0);
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_STOPPED, false, START_QEMU), 0);
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_STOPPED, false, START_XEN), ERR_DENIED);
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_STOPPED, false, START_LAUNCH), 0);
	assert_int_equal(admit(LAUNCH_OFF, VTPM_STOPPED, false, START_XEN), 0);
	assert_int_equal(admit(LAUNCH_REQUIRED, VTPM_STOPPED, false, START_RING), ERR_DENIED);
	assert_int_equal(admit(LAUNCH_REQUIRED, VTPM_LAUNCHED, false, START_RING), 0);
	assert_int_equal(admit(LAUNCH_REQUIRED, VTPM_FAILED, false, START_QEMU), ERR_DENIED);
}

/* Its guest could extend empty PCRs to what a launch would have left there. */
static void what_failed_under_a_domain_is_not_reset_without_a_launch(void **state)
{
	(void)state;
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_FAILED, true, START_RING), ERR_DENIED);
	assert_non_null(strstr(why, "vtpm-launch"));
	assert_int_equal(admit(LAUNCH_OFF, VTPM_FAILED, true, START_RING), 0);
}

static void nor_launched_for_another_while_that_one_is_there(void **state)
{
	(void)state;
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_FAILED, true, START_LAUNCH), ERR_WRONG_STATE);
	assert_string_equal(why, "web1 belongs to domain 7, which must end first");
	assert_int_equal(admit(LAUNCH_AUTO, VTPM_FAILED, false, START_LAUNCH), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_domain_must_be_launched_and_others_may),
		cmocka_unit_test(what_failed_under_a_domain_is_not_reset_without_a_launch),
		cmocka_unit_test(nor_launched_for_another_while_that_one_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

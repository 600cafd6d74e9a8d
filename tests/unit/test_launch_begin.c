/* SPDX-License-Identifier: BSD-2-Clause */
/* launch.c when a power-on comes to nothing at once: the vTPM and its launch are gone by then, and the call has been answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-mgr/launch.h"

static struct mgr mgr;
static struct launch *taken;
static int refusal;
static unsigned errors;

/* --- the rest of the manager --- */

int vtpm_start_launched(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c, struct vtpm **out,
			char why[static TEXT_MAX + 1])
{
	static struct vtpm gone;

	(void)m;
	(void)row;
	why[0] = '\0';
	if (refusal)
		return refusal;
	call_error(c, ERR_AUTH, "its state is missing");
	memset(l, 0, sizeof(*l)); /* as what is freed may be */
	taken = l;
	*out = &gone;
	return 0;
}

void call_error(struct call *c, int err, const char *fmt, ...)
{
	(void)c;
	(void)err;
	(void)fmt;
	errors++;
}

void call_reply(struct call *c, json_t *params)
{
	(void)c;
	(void)params;
	fail_msg("a launch that came to nothing was answered");
}

void mgr_audit(struct mgr *m, const struct call *c, const char *action, const struct store_vtpm *row, int result, const char *detail)
{
	(void)m;
	(void)c;
	(void)row;
	(void)result;
	(void)detail;
	fail_msg("audited: %s", action);
}

struct vtpm *vtpm_find(struct mgr *m, const uint8_t uuid[static UUID_LEN])
{
	(void)m;
	(void)uuid;
	return NULL;
}

int store_vtpm_by_uuid(struct store *s, const uint8_t uuid[static UUID_LEN], struct store_vtpm *row)
{
	(void)s;
	(void)uuid;
	(void)row;
	return ERR_NOTFOUND;
}

void vtpm_deserted(struct vtpm *v) { (void)v; }
void held_launch_keep(struct vtpm *v) { (void)v; }
void held_launch_drop(struct vtpm *v) { (void)v; }
bool xen_is_leaving(const struct vtpm *v) { return v->front != NULL; }
bool qemu_has_gone(const struct vtpm *v) { return v->qemu < 0; }

/* --- */

static void begin(void)
{
	struct store_vtpm row = { .name = "web1" };
	struct launch *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	l->for_domain = l->waits = true;
	errors = 0;
	launch_begin(&mgr, &row, l, NULL);
	assert_int_equal(errors, 1);
}

static void one_that_fails_at_once_is_not_looked_at_again(void **state)
{
	(void)state;
	refusal = 0;
	begin();
	free(taken);
}

static void one_that_is_refused_is_answered_once(void **state)
{
	(void)state;
	refusal = ERR_BUSY;
	begin();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_fails_at_once_is_not_looked_at_again),
		cmocka_unit_test(one_that_is_refused_is_answered_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

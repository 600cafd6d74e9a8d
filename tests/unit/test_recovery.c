/* SPDX-License-Identifier: BSD-2-Clause */
/* The recovery table: each row of docs/continuity.md and its neighbours, and then every combination there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/util.h"
#include "vtpm-mgr/recovery_table.h"

#define NOW 7u

/* A is row i's value, V row j's, and they fit. */
static const struct recovery_facts good = {.a = ANCHOR_VALUE,
					   .v = ANCHOR_VALUE,
					   .reset_count = NOW,
					   .a_row = true,
					   .a_kind = ROW_ANCHOR,
					   .a_reset_count = NOW,
					   .v_row = true,
					   .v_fits = true};

static enum recovery_outcome with(void (*change)(struct recovery_facts *f))
{
	struct recovery_facts f = good;

	change(&f);
	return recovery_decide(&f);
}

static void a_missing(struct recovery_facts *f) { f->a = ANCHOR_MISSING; }
static void a_foreign(struct recovery_facts *f) { f->a = ANCHOR_FOREIGN; }
static void a_auth(struct recovery_facts *f) { f->a = ANCHOR_AUTH; }
static void a_empty(struct recovery_facts *f) { f->a = ANCHOR_ABSENT; }
static void a_unknown(struct recovery_facts *f) { f->a_row = false; }
static void v_missing(struct recovery_facts *f) { f->v = ANCHOR_MISSING; }
static void v_foreign(struct recovery_facts *f) { f->v = ANCHOR_FOREIGN; }
static void v_auth(struct recovery_facts *f) { f->v = ANCHOR_AUTH; }
static void v_unknown(struct recovery_facts *f) { f->v_row = false; }
static void v_split(struct recovery_facts *f) { f->v_fits = false; }
static void v_absent(struct recovery_facts *f) { f->v = ANCHOR_ABSENT; }

static void test_rows(void **state)
{
	(void)state;
	assert_int_equal(recovery_decide(&good), RECOVERY_GOES_ON);
	assert_int_equal(with(a_missing), RECOVERY_A_MISSING);
	assert_int_equal(with(a_foreign), RECOVERY_A_FOREIGN);
	assert_int_equal(with(a_auth), RECOVERY_A_AUTH);
	assert_int_equal(with(a_empty), RECOVERY_A_EMPTY);
	assert_int_equal(with(a_unknown), RECOVERY_A_UNKNOWN);
	assert_int_equal(with(v_missing), RECOVERY_V_MISSING);
	assert_int_equal(with(v_foreign), RECOVERY_V_FOREIGN);
	assert_int_equal(with(v_auth), RECOVERY_V_AUTH);
	assert_int_equal(with(v_unknown), RECOVERY_V_UNKNOWN);
	assert_int_equal(with(v_split), RECOVERY_V_SPLIT);
	assert_int_equal(with(v_absent), RECOVERY_V_REMOVED);
}

static void test_after_a_reset(void **state)
{
	static const struct {
		uint8_t kind;
		enum recovery_outcome outcome;
	} kinds[] = {
		{ROW_GENESIS, RECOVERY_REBOOTED},
		{ROW_CLOSE, RECOVERY_REBOOTED},
		{ROW_OPEN, RECOVERY_POWER_LOST},
		{ROW_ANCHOR, RECOVERY_POWER_LOST},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct recovery_facts f = good;

		f.a_kind = kinds[i].kind;
		f.v = ANCHOR_ABSENT;
		assert_int_equal(recovery_decide(&f), RECOVERY_V_REMOVED); /* the count is the same: it was no reset */
		f.reset_count = NOW + 1;
		assert_int_equal(recovery_decide(&f), kinds[i].outcome);
		f.reset_count = NOW - 1; /* a TPM that was cleared counts anew; then A would be gone, too */
		assert_int_equal(recovery_decide(&f), kinds[i].outcome);
		f.v = ANCHOR_VALUE; /* what V holds was put there after the reset: it counts, whatever the count */
		assert_int_equal(recovery_decide(&f), RECOVERY_GOES_ON);
		f.v_row = false;
		assert_int_equal(recovery_decide(&f), RECOVERY_V_UNKNOWN);
	}
}

static void test_without_v(void **state)
{
	struct recovery_facts f = good;

	(void)state;
	f.strict_only = true;
	f.v = ANCHOR_ABSENT;
	f.v_row = f.v_fits = false;
	assert_int_equal(recovery_decide(&f), RECOVERY_GOES_ON);
	f.reset_count = NOW + 1;
	assert_int_equal(recovery_decide(&f), RECOVERY_GOES_ON);
	f.a_row = false;
	assert_int_equal(recovery_decide(&f), RECOVERY_A_UNKNOWN);
	f.a = ANCHOR_MISSING;
	assert_int_equal(recovery_decide(&f), RECOVERY_A_MISSING);
}

/* Whatever the facts: it is served only where one of three sentences holds. */
static void expect_sound(const struct recovery_facts *f)
{
	enum recovery_outcome o = recovery_decide(f);
	bool a = f->a == ANCHOR_VALUE && f->a_row;
	bool v = f->v == ANCHOR_VALUE && f->v_row && f->v_fits;
	bool gone = f->v == ANCHOR_ABSENT && f->reset_count != f->a_reset_count;
	bool closed = f->a_kind == ROW_CLOSE || f->a_kind == ROW_GENESIS;

	assert_int_equal(!recovery_refuses(o), a && (f->strict_only || v || gone));
	if (!recovery_refuses(o))
		assert_int_equal(o == RECOVERY_POWER_LOST, !f->strict_only && gone && !closed);
	assert_true(strlen(recovery_sentence(o)) > 20);
}

static void test_every_combination(void **state)
{
	struct recovery_facts f = good;

	(void)state;
	for (unsigned bits = 0; bits < 32; bits++)
		for (f.a = 0; f.a < ANCHOR_STATES; f.a++)
			for (f.v = 0; f.v < ANCHOR_STATES; f.v++)
				for (f.a_kind = ROW_GENESIS; f.a_kind < ROW_PLAIN; f.a_kind++) {
					f.strict_only = bits & 1;
					f.a_row = bits & 2;
					f.v_row = bits & 4;
					f.v_fits = bits & 8;
					f.a_reset_count = bits & 16 ? NOW : NOW - 1;
					expect_sound(&f);
				}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_after_a_reset),
		cmocka_unit_test(test_without_v),
		cmocka_unit_test(test_every_combination),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Packing: whatever goes in comes out, in one form and no longer than it was, and no other form is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/pack.h"

#define N 8192u

static uint8_t plain[N], packed[N + PACK_HEAD_MAX];

/* Into packed; returns its length. */
static size_t join(const uint8_t *p, size_t n)
{
	struct state_part parts[PACK_PARTS_MAX];
	uint8_t head[PACK_HEAD_MAX];
	unsigned used = pack(p, n, head, parts);
	struct buf b;

	assert_true(used <= PACK_PARTS_MAX);
	buf_init(&b, packed, sizeof(packed));
	for (unsigned i = 0; i < used; i++)
		if (parts[i].len > 0)
			assert_int_equal(buf_put_bytes(&b, parts[i].data, parts[i].len), 0);
	assert_true(b.len <= n + PACK_OVERHEAD);
	return b.len;
}

static int try_unpack(const uint8_t *p, size_t n, size_t max, uint8_t **out, size_t *len)
{
	struct buf b;
	int err;

	buf_wrap(&b, p, n);
	err = unpack(&b, max, out, len);
	if (err != 0) {
		assert_null(*out);
		assert_int_equal(*len, 0);
	} else {
		assert_int_equal(buf_left(&b), 0);
		assert_true(*len > 0 && *len <= max);
	}
	return err;
}

/* Returns the length of the packed form of n bytes of plain. */
static size_t round_trip(size_t n)
{
	const size_t len = join(plain, n);
	uint8_t *p;
	size_t got;

	assert_int_equal(try_unpack(packed, len, n, &p, &got), 0);
	assert_int_equal(got, n);
	assert_memory_equal(p, plain, n);
	free(p);
	assert_int_equal(try_unpack(packed, len, n - 1, &p, &got), ERR_FULL);
	return len;
}

static void no_runs(size_t n)
{
	for (size_t i = 0; i < n; i++)
		plain[i] = (uint8_t)(i * 7 + 1);
}

/* One run, at every place around the words and probes, of every length around the least: it is found if it is long enough. */
static void test_one_run(void **state)
{
	(void)state;
	for (size_t at = 0; at < 200; at++)
		for (size_t n = PACK_RUN_MIN - 2; n < PACK_RUN_MIN + 3; n++) {
			no_runs(400);
			memset(plain + at, 0xff, n);
			if (at > 0)
				plain[at - 1] = 1;
			plain[at + n] = 2;
			assert_int_equal(round_trip(400), n < PACK_RUN_MIN ? 401 : 401 + 9 - n);
			assert_int_equal(round_trip(at + n), n < PACK_RUN_MIN ? at + n + 1 : at + 1 + 9);
		}
}

static void test_runs_side_by_side(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		memset(plain + (size_t)i * 100, (int)i, 100);
	assert_int_equal(round_trip(1000), 1 + 10 * 9);
	memset(plain, 0, N);
	assert_int_equal(round_trip(N), 1 + 9);
	for (size_t n = 1; n < 300; n++)
		(void)round_trip(n);
}

/* Runs that are too short, next to each other and to one that is not. */
static void test_nearly(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		memset(plain + (size_t)i * (PACK_RUN_MIN - 1), (int)i, PACK_RUN_MIN - 1);
	assert_int_equal(round_trip(20 * (PACK_RUN_MIN - 1)), 20 * (PACK_RUN_MIN - 1) + 1);
	memset(plain + 1000, 0x77, PACK_RUN_MIN);
	(void)round_trip(20 * (PACK_RUN_MIN - 1));
}

/* What comes after the last that the table has room for stays as it is. */
static void test_more_runs_than_room(void **state)
{
	const size_t each = PACK_RUN_MIN + 1, all = N / each;

	(void)state;
	assert_true(all > PACK_RUNS_MAX);
	memset(plain, 0, N);
	for (size_t i = 0; i < all; i++)
		plain[i * each] = 1;
	assert_int_equal(round_trip(all * each), 1 + PACK_RUNS_MAX * (9 + 1) + (all - PACK_RUNS_MAX) * each);
}

/* Pieces of random bytes and of runs, of all lengths. */
static void test_at_random(void **state)
{
	(void)state;
	srand(1);
	for (unsigned round = 0; round < 2000; round++) {
		size_t n = 0, want = 1 + (size_t)rand() % N;

		while (n < want) {
			size_t len = (size_t)rand() % (rand() % 2 ? 100 : 1000) + 1;
			const int value = rand() % 3 ? rand() % 3 * 0x7f : -1;

			if (len > want - n)
				len = want - n;
			for (size_t i = 0; i < len; i++)
				plain[n + i] = (uint8_t)(value >= 0 ? value : rand());
			n += len;
		}
		(void)round_trip(n);
	}
}

/* Fails, or is the one form of what it gives. */
static void judge(const uint8_t *p, size_t n)
{
	uint8_t *out;
	size_t len;

	if (try_unpack(p, n, N, &out, &len) != 0)
		return;
	assert_int_equal(join(out, len), n);
	assert_memory_equal(packed, p, n);
	free(out);
}

static void test_no_other_form(void **state)
{
	uint8_t form[600];
	size_t n;

	(void)state;
	no_runs(500);
	memset(plain, 0, 70);
	memset(plain + 70, 0xff, 64);
	memset(plain + 150, 0x20, 200);
	n = join(plain, 500);
	assert_true(n < 260);
	memcpy(form, packed, n);
	for (size_t len = 0; len < n; len++)
		judge(form, len);
	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			form[i] ^= (uint8_t)(1u << bit);
			judge(form, n);
			form[i] ^= (uint8_t)(1u << bit);
		}
}

static int unpack_these(const char *hex_table, size_t n)
{
	uint8_t *out;
	size_t len;
	int err = try_unpack((const uint8_t *)hex_table, n, N, &out, &len);

	free(out);
	return err;
}
#define UNPACK(s) unpack_these(s, sizeof(s) - 1)

static void test_nonsense(void **state)
{
	(void)state;
	assert_int_equal(UNPACK(""), ERR_PROTO);
	assert_int_equal(UNPACK("\0"), ERR_PROTO); /* nothing */
	assert_int_equal(UNPACK("\0x"), 0);
	assert_int_equal(UNPACK("\1\0\0\0\0\x40\0\0\0\0"), 0);
	assert_int_equal(UNPACK("\1\0\0\0\0\x3f\0\0\0\0"), ERR_PROTO);     /* too short */
	assert_int_equal(UNPACK("\1\0\0\0\0\x40\0\0\0\0\0"), ERR_PROTO);   /* not all of it */
	assert_int_equal(UNPACK("\1\1\0\0\0\x40\0\0\0\0"), ERR_PROTO);     /* behind a byte that is not there */
	assert_int_equal(UNPACK("\1\0\0\0\0\0\0\0\0\0"), ERR_PROTO);
	assert_int_equal(UNPACK("\1\0\0\0\0\xff\xff\xff\xff\0"), ERR_FULL);
	assert_int_equal(UNPACK("\1\xff\xff\xff\xff\x40\0\0\0\0x"), ERR_PROTO);
	assert_int_equal(UNPACK("\2\0\0\0\0\x40\0\0\0\0\0\0\0\0\x40\0\0\0\0"), ERR_PROTO); /* one run as two */
	assert_int_equal(UNPACK("\2\0\0\0\0\x40\0\0\0\0\0\0\0\0\x40\0\0\0\1"), 0);
	assert_int_equal(UNPACK("\x41xxxxxxxxx"), ERR_PROTO); /* more than there may be */
	memset(plain, 0, 100);
	plain[0] = 0; /* a table of none before 99 zeros: a run that was left */
	assert_int_equal(unpack_these((const char *)plain, 100), ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_run),
		cmocka_unit_test(test_runs_side_by_side),
		cmocka_unit_test(test_nearly),
		cmocka_unit_test(test_more_runs_than_room),
		cmocka_unit_test(test_at_random),
		cmocka_unit_test(test_no_other_form),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Sealed states: what was sealed comes back, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/state.h"

#define N 1000u

static uint8_t key[KEY_LEN], plain[N], mem[N + STATE_OVERHEAD], got[N];
static struct state_id id = { .kind = STATE_PERMANENT, .version = 7 };
static struct buf sealed;

static int setup(void **state)
{
	struct sealer s;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		plain[i] = (uint8_t)(i * 7);
	memset(key, 0x42, sizeof(key));
	memset(id.uuid, 0x11, UUID_LEN);
	buf_init(&sealed, mem, sizeof(mem));
	assert_int_equal(sealer_init(&s, key), 0);
	assert_int_equal(state_seal(&s, &id, plain, N, &sealed), 0);
	sealer_wipe(&s);
	return 0;
}

static int try_open(const uint8_t *k, const struct state_id *want, size_t n)
{
	size_t len = 0;
	int err;

	memset(got, 0xee, sizeof(got));
	err = state_open(k, want, mem, n, got, &len);
	if (err == 0) {
		assert_int_equal(len, N);
		assert_memory_equal(got, plain, N);
	} else {
		assert_memory_not_equal(got, plain, N);
	}
	return err;
}

static void test_round_trip(void **state)
{
	(void)state;
	assert_int_equal(sealed.len, N + STATE_OVERHEAD);
	assert_null(memmem(mem, sealed.len, plain, 16));
	assert_int_equal(try_open(key, &id, sealed.len), 0);
}

static void test_every_bit_counts(void **state)
{
	int err;

	(void)state;
	for (size_t i = 0; i < sealed.len; i++) {
		mem[i] ^= (uint8_t)(1u << i % 8);
		err = try_open(key, &id, sealed.len);
		assert_true(err == ERR_AUTH || (i == 4 && err == ERR_VERSION));
		mem[i] ^= (uint8_t)(1u << i % 8);
	}
}

static void test_every_length_counts(void **state)
{
	(void)state;
	for (size_t n = 0; n < sealed.len; n++)
		assert_int_equal(try_open(key, &id, n), ERR_AUTH);
}

static void test_identity_counts(void **state)
{
	struct state_id wrong = id;
	uint8_t other[KEY_LEN];

	(void)state;
	wrong.version++;
	assert_int_equal(try_open(key, &wrong, sealed.len), ERR_AUTH);
	wrong = id;
	wrong.kind++;
	assert_int_equal(try_open(key, &wrong, sealed.len), ERR_AUTH);
	wrong = id;
	wrong.uuid[15] ^= 1;
	assert_int_equal(try_open(key, &wrong, sealed.len), ERR_AUTH);
	wrong = id;
	wrong.line = 1;
	assert_int_equal(try_open(key, &wrong, sealed.len), ERR_AUTH);
	memcpy(other, key, sizeof(other));
	other[0] ^= 1;
	assert_int_equal(try_open(other, &id, sealed.len), ERR_AUTH);
}

static void test_newer_format(void **state)
{
	(void)state;
	mem[4] = 2;
	assert_int_equal(try_open(key, &id, sealed.len), ERR_VERSION);
	mem[4] = 0;
	assert_int_equal(try_open(key, &id, sealed.len), ERR_AUTH);
}

/* Salt and counter together never repeat: not within a process, not between two. */
static void test_nonces_differ(void **state)
{
	uint8_t again[N + STATE_OVERHEAD];
	struct sealer s, t;
	struct buf b;

	(void)state;
	assert_int_equal(sealer_init(&s, key), 0);
	assert_int_equal(sealer_init(&t, key), 0);
	assert_memory_not_equal(s.salt, t.salt, STATE_SALT_LEN);
	for (uint64_t i = 1; i < 4; i++) {
		buf_init(&b, again, sizeof(again));
		assert_int_equal(state_seal(&s, &id, plain, N, &b), 0);
		assert_int_equal(again[32], i);
		assert_int_equal(s.counter, i);
	}
	sealer_wipe(&s);
	sealer_wipe(&t);
}

static void test_bounds(void **state)
{
	struct sealer s;
	struct buf b;

	(void)state;
	assert_int_equal(sealer_init(&s, key), 0);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(state_seal(&s, &id, plain, 0, &b), ERR_RANGE);
	buf_init(&b, mem, sizeof(mem) - 1);
	assert_int_equal(state_seal(&s, &id, plain, N, &b), ERR_RANGE);
	assert_int_equal(b.len, 0);
	sealer_wipe(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_round_trip, setup),	     cmocka_unit_test_setup(test_every_bit_counts, setup),
		cmocka_unit_test_setup(test_every_length_counts, setup), cmocka_unit_test_setup(test_identity_counts, setup),
		cmocka_unit_test_setup(test_newer_format, setup),    cmocka_unit_test_setup(test_nonces_differ, setup),
		cmocka_unit_test_setup(test_bounds, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

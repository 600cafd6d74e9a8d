/* SPDX-License-Identifier: BSD-2-Clause */
/* What is sealed as a permanent state: the secret and the blob come back, and no other form is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-backend/permanent.h"

#define N 1000u

static uint8_t key[KEY_LEN], secret[KEY_LEN], blob[SEALED_STATE_MAX], mem[SEALED_STATE_MAX];
static struct state_id id = { .kind = STATE_PERMANENT, .version = 7 };
static struct sealer sealer;
static struct buf sealed;

static int setup(void **state)
{
	(void)state;
	memset(key, 0x42, sizeof(key));
	memset(secret, 0x17, sizeof(secret));
	memset(id.uuid, 0x11, UUID_LEN);
	for (unsigned i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 7);
	buf_init(&sealed, mem, sizeof(mem));
	return sealer_init(&sealer, key);
}

static int teardown(void **state)
{
	(void)state;
	sealer_wipe(&sealer);
	return 0;
}

/* Gives nothing with an error. */
static int try_open(const struct state_id *as, size_t want)
{
	uint8_t got[KEY_LEN], *p;
	size_t n;
	int err;

	memset(got, 0xee, sizeof(got));
	err = permanent_open(key, as, sealed.data, sealed.len, got, &p, &n);
	if (err == 0) {
		assert_memory_equal(got, secret, KEY_LEN);
		assert_int_equal(n, want);
		assert_memory_equal(p, blob, n);
	} else {
		assert_null(p);
		assert_int_equal(n, 0);
		assert_memory_not_equal(got, secret, KEY_LEN);
	}
	free(p);
	return err;
}

static void test_round_trip(void **state)
{
	static const uint8_t kinds[] = { STATE_PERMANENT, STATE_SAVED_PERMANENT };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds); i++) {
		struct state_id as = id;

		as.kind = kinds[i];
		buf_reset(&sealed);
		assert_int_equal(permanent_seal(&sealer, &as, secret, blob, N, &sealed), 0);
		assert_true(sealed.len <= N + PERMANENT_OVERHEAD);
		assert_int_equal(try_open(&as, N), 0);
		as.kind ^= STATE_PERMANENT ^ STATE_SAVED_PERMANENT;
		assert_int_equal(try_open(&as, N), ERR_AUTH);
	}
}

/* What a TPM has room for and nothing in it costs next to nothing. */
static void test_packed(void **state)
{
	(void)state;
	memset(blob + 100, 0, 20000);
	assert_int_equal(permanent_seal(&sealer, &id, secret, blob, 20200, &sealed), 0);
	assert_int_equal(sealed.len, 200 + 9 + PERMANENT_OVERHEAD);
	assert_int_equal(try_open(&id, 20200), 0);
}

/* A few bytes that unpack to more than any state has. */
static void test_bomb(void **state)
{
	uint8_t payload[1 + KEY_LEN + PACK_HEAD_MAX];
	struct buf b;

	(void)state;
	for (uint32_t len = PERMANENT_MAX; len < PERMANENT_MAX + 2; len++) {
		buf_init(&b, payload, sizeof(payload));
		memset(blob, 0, sizeof(blob));
		assert_int_equal(buf_put_u8(&b, 1) | buf_put_bytes(&b, secret, KEY_LEN) | buf_put_u8(&b, 1) | buf_put_u32le(&b, 0) |
					 buf_put_u32le(&b, len) | buf_put_u8(&b, 0),
				 0);
		buf_reset(&sealed);
		assert_int_equal(state_seal(&sealer, &id, b.data, b.len, &sealed), 0);
		assert_int_equal(try_open(&id, PERMANENT_MAX), len > PERMANENT_MAX ? ERR_AUTH : 0);
	}
}

static void test_largest(void **state)
{
	(void)state;
	assert_int_equal(permanent_seal(&sealer, &id, secret, blob, PERMANENT_MAX, &sealed), 0);
	assert_true(sealed.len <= SEALED_STATE_MAX);
	assert_int_equal(try_open(&id, PERMANENT_MAX), 0);
	buf_reset(&sealed);
	assert_int_equal(permanent_seal(&sealer, &id, secret, blob, PERMANENT_MAX + 1, &sealed), ERR_FULL);
	assert_int_equal(permanent_seal(&sealer, &id, secret, blob, SIZE_MAX, &sealed), ERR_FULL);
	assert_int_equal(sealed.len, 0);
}

static int try_payload(const uint8_t *p, size_t n)
{
	buf_reset(&sealed);
	assert_int_equal(state_seal(&sealer, &id, p, n, &sealed), 0);
	return try_open(&id, n);
}

/* They verify, and are none all the same. */
static void test_other_forms(void **state)
{
	uint8_t payload[1 + KEY_LEN + N];

	(void)state;
	memset(payload, 0x33, sizeof(payload));
	for (unsigned format = 0; format < 256; format++) {
		payload[0] = (uint8_t)format;
		if (format != 1)
			assert_int_equal(try_payload(payload, sizeof(payload)), format > 1 ? ERR_VERSION : ERR_AUTH);
	}
	payload[0] = 1;
	assert_int_equal(try_payload(payload, sizeof(payload)), ERR_AUTH); /* no packed one: a table of 0x33 runs */
	payload[1 + KEY_LEN] = 0;
	for (size_t n = 1; n <= 1 + KEY_LEN + 1; n++)
		assert_int_equal(try_payload(payload, n), ERR_AUTH);
	buf_reset(&sealed);
	assert_int_equal(try_open(&id, 0), ERR_AUTH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bomb, setup, teardown),
		cmocka_unit_test_setup_teardown(test_largest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_forms, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/buf.h"

static void numbers_have_the_declared_order(void **state)
{
	static const uint8_t want[] = { 0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 8, 7, 6, 5, 4, 3, 2, 1,
					0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t mem[sizeof(want)];
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u8(&b, 1), 0);
	assert_int_equal(buf_put_u16le(&b, 0x0203), 0);
	assert_int_equal(buf_put_u32le(&b, 0x04050607), 0);
	assert_int_equal(buf_put_u64le(&b, 0x0102030405060708), 0);
	assert_int_equal(buf_put_u16be(&b, 0x0203), 0);
	assert_int_equal(buf_put_u32be(&b, 0x04050607), 0);
	assert_int_equal(buf_put_u64be(&b, 0x0102030405060708), 0);
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(mem, want, sizeof(want));
}

static void numbers_come_back(void **state)
{
	uint8_t mem[64];
	struct buf b;
	uint8_t v8;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u8(&b, 0xff) | buf_put_u16le(&b, 0xfffe) | buf_put_u32le(&b, 0xfffffffd), 0);
	assert_int_equal(buf_put_u64le(&b, UINT64_MAX - 3) | buf_put_u16be(&b, 0x8001), 0);
	assert_int_equal(buf_put_u32be(&b, 0x80000002) | buf_put_u64be(&b, 0x8000000000000003), 0);
	assert_int_equal(buf_get_u8(&b, &v8), 0);
	assert_int_equal(v8, 0xff);
	assert_int_equal(buf_get_u16le(&b, &v16), 0);
	assert_int_equal(v16, 0xfffe);
	assert_int_equal(buf_get_u32le(&b, &v32), 0);
	assert_int_equal(v32, 0xfffffffd);
	assert_int_equal(buf_get_u64le(&b, &v64), 0);
	assert_true(v64 == UINT64_MAX - 3);
	assert_int_equal(buf_get_u16be(&b, &v16), 0);
	assert_int_equal(v16, 0x8001);
	assert_int_equal(buf_get_u32be(&b, &v32), 0);
	assert_int_equal(v32, 0x80000002);
	assert_int_equal(buf_get_u64be(&b, &v64), 0);
	assert_true(v64 == 0x8000000000000003);
	assert_int_equal(buf_left(&b), 0);
}

static void getters_do_not_advance_when_they_fail(void **state)
{
	static const uint8_t mem[7] = { 1, 2, 3, 4, 5, 6, 7 };
	uint8_t out[8] = { 0 };
	const uint8_t *p = NULL;
	uint16_t v16 = 0xaaaa;
	uint32_t v32 = 0xaaaaaaaa;
	uint64_t v64 = 0xaaaa;
	uint8_t v8 = 0xaa;
	struct buf b;

	(void)state;
	buf_wrap(&b, mem, sizeof(mem));
	assert_int_equal(buf_get_u64le(&b, &v64), ERR_RANGE);
	assert_int_equal(buf_get_u64be(&b, &v64), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	assert_int_equal(buf_skip(&b, 4), 0);
	assert_int_equal(buf_get_u32le(&b, &v32), ERR_RANGE);
	assert_int_equal(buf_get_u32be(&b, &v32), ERR_RANGE);
	assert_int_equal(buf_get_bytes(&b, out, 4), ERR_RANGE);
	assert_int_equal(buf_get_view(&b, 4, &p), ERR_RANGE);
	assert_int_equal(buf_skip(&b, 4), ERR_RANGE);
	assert_int_equal(b.pos, 4);
	assert_int_equal(buf_skip(&b, 2), 0);
	assert_int_equal(buf_get_u16le(&b, &v16), ERR_RANGE);
	assert_int_equal(buf_get_u16be(&b, &v16), ERR_RANGE);
	assert_int_equal(b.pos, 6);
	assert_int_equal(buf_skip(&b, 1), 0);
	assert_int_equal(buf_get_u8(&b, &v8), ERR_RANGE);
	assert_int_equal(b.pos, 7);
	assert_true(v8 == 0xaa && v16 == 0xaaaa && v32 == 0xaaaaaaaa && v64 == 0xaaaa && p == NULL && out[0] == 0);
}

static void putters_write_nothing_when_they_fail(void **state)
{
	uint8_t mem[8];
	struct buf b;

	(void)state;
	memset(mem, 0xee, sizeof(mem));
	buf_init(&b, mem, 7);
	assert_int_equal(buf_put_u64le(&b, 0), ERR_RANGE);
	assert_int_equal(buf_put_u64be(&b, 0), ERR_RANGE);
	assert_int_equal(buf_put_var(&b, "abcd", 4), ERR_RANGE);
	assert_int_equal(buf_put_str(&b, "abcd"), ERR_RANGE);
	assert_int_equal(buf_put_2b(&b, "abcdef", 6), ERR_RANGE);
	assert_int_equal(buf_put_bytes(&b, "abcdefgh", 8), ERR_RANGE);
	assert_int_equal(b.len, 0);
	for (size_t i = 0; i < sizeof(mem); i++)
		assert_int_equal(mem[i], 0xee);
	assert_int_equal(buf_put_var(&b, "abc", 3), 0);
	assert_int_equal(buf_put_u8(&b, 0), ERR_RANGE);
	assert_int_equal(mem[7], 0xee);
}

static void sizes_near_the_end_of_size_t_do_not_wrap(void **state)
{
	uint8_t mem[16] = { 0 };
	const uint8_t *p;
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u64le(&b, 7), 0);
	for (size_t d = 0; d < 16; d++) {
		assert_int_equal(buf_put_bytes(&b, mem, SIZE_MAX - d), ERR_RANGE);
		assert_int_equal(buf_put_var(&b, mem, SIZE_MAX - d), ERR_RANGE);
		assert_int_equal(buf_put_var(&b, mem, UINT32_MAX - d), ERR_RANGE);
		assert_int_equal(buf_put_2b(&b, mem, SIZE_MAX - d), ERR_RANGE);
		assert_int_equal(buf_put_2b(&b, mem, UINT16_MAX - d), ERR_RANGE);
		assert_int_equal(buf_set_u32be(&b, SIZE_MAX - d, 1), ERR_RANGE);
		assert_int_equal(buf_skip(&b, SIZE_MAX - d), ERR_RANGE);
		assert_int_equal(buf_get_bytes(&b, mem, SIZE_MAX - d), ERR_RANGE);
		assert_int_equal(buf_get_view(&b, SIZE_MAX - d, &p), ERR_RANGE);
	}
	assert_true(b.len == 8 && b.pos == 0);
}

static void a_var_that_lies_is_refused(void **state)
{
	static const uint8_t lies[][4] = { { 5, 0, 0, 0 }, { 0xff, 0xff, 0xff, 0xff }, { 0xfc, 0xff, 0xff, 0xff } };
	uint8_t mem[8] = { 0 };
	const uint8_t *p = NULL;
	size_t n = 99;
	char s[8];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		memcpy(mem, lies[i], 4);
		buf_wrap(&b, mem, sizeof(mem));
		assert_int_equal(buf_get_var(&b, SIZE_MAX, &p, &n), ERR_RANGE);
		assert_int_equal(buf_get_str(&b, s, sizeof(s)), ERR_RANGE);
		assert_true(b.pos == 0 && n == 99 && p == NULL);
	}
	memcpy(mem, (uint8_t[]){ 4, 0, 0, 0 }, 4);
	buf_wrap(&b, mem, sizeof(mem));
	assert_int_equal(buf_get_var(&b, 3, &p, &n), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	assert_int_equal(buf_get_var(&b, 4, &p, &n), 0);
	assert_true(n == 4 && p == mem + 4 && buf_left(&b) == 0);
}

static void a_2b_that_lies_is_refused(void **state)
{
	static const uint8_t mem[] = { 0, 3, 'a', 'b' };
	static const uint8_t good[] = { 0, 2, 'a', 'b' };
	const uint8_t *p;
	size_t n;
	struct buf b;

	(void)state;
	buf_wrap(&b, mem, sizeof(mem));
	assert_int_equal(buf_get_2b(&b, 10, &p, &n), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	buf_wrap(&b, good, sizeof(good));
	assert_int_equal(buf_get_2b(&b, 1, &p, &n), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	assert_int_equal(buf_get_2b(&b, 2, &p, &n), 0);
	assert_true(n == 2 && p == good + 2);
	buf_wrap(&b, good, 1);
	assert_int_equal(buf_get_2b(&b, 10, &p, &n), ERR_RANGE);
	assert_int_equal(b.pos, 0);
}

static void strings_hold_no_nul_and_fit(void **state)
{
	uint8_t mem[32];
	char s[4] = "zzz";
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_var(&b, "a\0b", 3), 0);
	assert_int_equal(buf_get_str(&b, s, sizeof(s)), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	buf_reset(&b);
	assert_int_equal(buf_put_str(&b, "abcd"), 0);
	assert_int_equal(buf_get_str(&b, s, sizeof(s)), ERR_RANGE);
	assert_int_equal(buf_get_str(&b, s, 0), ERR_RANGE);
	assert_int_equal(b.pos, 0);
	assert_string_equal(s, "zzz");
	buf_reset(&b);
	assert_int_equal(buf_put_str(&b, "abc") | buf_put_str(&b, ""), 0);
	assert_int_equal(buf_get_str(&b, s, sizeof(s)), 0);
	assert_string_equal(s, "abc");
	assert_int_equal(buf_get_str(&b, s, 1), 0);
	assert_string_equal(s, "");
	assert_int_equal(buf_left(&b), 0);
}

static void empty_fields_and_no_storage_work(void **state)
{
	uint8_t mem[8];
	const uint8_t *p;
	size_t n = 9;
	struct buf b;

	(void)state;
	buf_wrap(&b, NULL, 0);
	assert_int_equal(buf_left(&b), 0);
	assert_int_equal(buf_get_view(&b, 0, &p), 0);
	assert_int_equal(buf_get_bytes(&b, NULL, 0), 0);
	assert_int_equal(buf_put_bytes(&b, NULL, 0), 0);
	assert_int_equal(buf_put_u8(&b, 1), ERR_RANGE);
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_var(&b, NULL, 0) | buf_put_2b(&b, NULL, 0), 0);
	assert_int_equal(b.len, 6);
	assert_int_equal(buf_get_var(&b, 0, &p, &n), 0);
	assert_int_equal(n, 0);
	n = 9;
	assert_int_equal(buf_get_2b(&b, 0, &p, &n), 0);
	assert_int_equal(n, 0);
}

static void wrapped_memory_is_never_written(void **state)
{
	static const uint8_t mem[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }; /* in read-only pages: a write would be a crash */
	struct buf b;

	(void)state;
	buf_wrap(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u8(&b, 0), ERR_RANGE);
	assert_int_equal(buf_set_u32be(&b, 0, 0), ERR_RANGE);
	assert_int_equal(buf_put_bytes(&b, "x", 1), ERR_RANGE);
	buf_reset(&b);
	assert_int_equal(buf_put_u8(&b, 0), ERR_RANGE);
	assert_int_equal(buf_set_u32be(&b, 0, 0), ERR_RANGE);
}

static void set_writes_only_inside_what_was_written(void **state)
{
	uint8_t mem[8] = { 0 };
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(buf_put_u16le(&b, 0), 0);
	assert_int_equal(buf_set_u32be(&b, 0, 1), ERR_RANGE);
	assert_int_equal(buf_put_u32le(&b, 0), 0);
	assert_int_equal(buf_set_u32be(&b, 3, 1), ERR_RANGE);
	assert_int_equal(buf_set_u32be(&b, 2, 0x01020304), 0);
	assert_memory_equal(mem, ((uint8_t[]){ 0, 0, 1, 2, 3, 4, 0, 0 }), 8);
}

static void every_code_has_a_text(void **state)
{
	(void)state;
	for (int e = 0; e >= ERR_LAST; e--) {
		assert_non_null(err_text(e));
		assert_string_not_equal(err_text(e), "unknown error");
	}
	assert_string_equal(err_text(1), "unknown error");
	assert_string_equal(err_text(ERR_LAST - 1), "unknown error");
}

static void errno_values_map_to_codes(void **state)
{
	(void)state;
	assert_int_equal(err_from_errno(EAGAIN), ERR_AGAIN);
	assert_int_equal(err_from_errno(EPIPE), ERR_CLOSED);
	assert_int_equal(err_from_errno(ENOSPC), ERR_FULL);
	assert_int_equal(err_from_errno(EPERM), ERR_DENIED);
	assert_int_equal(err_from_errno(0), ERR_SYS);
	assert_int_equal(err_from_errno(ENOTTY), ERR_SYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_the_declared_order),
		cmocka_unit_test(numbers_come_back),
		cmocka_unit_test(getters_do_not_advance_when_they_fail),
		cmocka_unit_test(putters_write_nothing_when_they_fail),
		cmocka_unit_test(sizes_near_the_end_of_size_t_do_not_wrap),
		cmocka_unit_test(a_var_that_lies_is_refused),
		cmocka_unit_test(a_2b_that_lies_is_refused),
		cmocka_unit_test(strings_hold_no_nul_and_fit),
		cmocka_unit_test(empty_fields_and_no_storage_work),
		cmocka_unit_test(wrapped_memory_is_never_written),
		cmocka_unit_test(set_writes_only_inside_what_was_written),
		cmocka_unit_test(every_code_has_a_text),
		cmocka_unit_test(errno_values_map_to_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

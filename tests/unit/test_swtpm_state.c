/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of swtpm's: what is taken, what is not, and that nothing but the right key opens them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/util.h"
#include "tests/unit/swtpm_file.h"
#include "vtpm-backend/swtpm_state.h"

static const uint8_t key[32] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 };
static uint8_t mem[4096], state_bytes[333], plain[4096];
static struct buf file;

static int setup(void **state)
{
	(void)state;
	buf_init(&file, mem, sizeof(mem));
	for (size_t i = 0; i < sizeof(state_bytes); i++)
		state_bytes[i] = (uint8_t)(i * 7);
	return 0;
}

/* In memory of its own size, so that a sanitizer sees who reads on. */
static int parse(const uint8_t *p, size_t n, struct swtpm_state *s)
{
	uint8_t *exact = malloc(n);
	int err;

	assert_true(n == 0 || exact != NULL);
	if (n > 0)
		memcpy(exact, p, n);
	err = swtpm_state_parse(exact, n, s);
	free(exact);
	return err;
}

static int parse_file(void)
{
	struct swtpm_state s;

	return parse(file.data, file.len, &s);
}

static int open_file(const uint8_t *with, size_t *n)
{
	struct swtpm_state s;
	int err = swtpm_state_parse(file.data, file.len, &s);

	return err != 0 ? err : swtpm_state_open(&s, with, plain, n);
}

static void test_plain(void **state)
{
	struct swtpm_state s;

	(void)state;
	file_plain(&file, state_bytes, sizeof(state_bytes));
	assert_int_equal(swtpm_state_parse(file.data, file.len, &s), 0);
	assert_int_equal(s.key_len, 0);
	assert_int_equal(s.data_len, sizeof(state_bytes));
	assert_memory_equal(s.data, state_bytes, s.data_len);
	assert_int_equal(swtpm_state_open(&s, key, plain, &(size_t){ 0 }), ERR_INVAL);
}

/* Every length, so that every padding. */
static void test_encrypted(void **state)
{
	(void)state;
	for (size_t key_len = 16; key_len <= 32; key_len += 16) {
		for (size_t n = 1; n <= 70; n++) {
			size_t got = 0;

			file_encrypted(&file, state_bytes, n, key, key_len, NULL);
			assert_int_equal(open_file(key, &got), 0);
			assert_int_equal(got, n);
			assert_memory_equal(plain, state_bytes, n);
		}
	}
}

static void test_wrong_key(void **state)
{
	static const uint8_t zeros[64];
	uint8_t other[32];
	size_t n;

	(void)state;
	for (size_t key_len = 16; key_len <= 32; key_len += 16) {
		file_encrypted(&file, state_bytes, 64, key, key_len, NULL);
		for (size_t i = 0; i < 8 * key_len; i++) {
			memcpy(other, key, sizeof(other));
			other[i / 8] ^= (uint8_t)(1u << i % 8);
			memset(plain, 0x55, sizeof(zeros));
			assert_int_equal(open_file(other, &n), ERR_AUTH);
			assert_memory_equal(plain, zeros, sizeof(zeros)); /* nothing is left of a try */
		}
	}
}

static void test_truncated(void **state)
{
	struct swtpm_state s;

	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		if (kind == 0)
			file_plain(&file, state_bytes, 100);
		else
			file_encrypted(&file, state_bytes, 100, key, 16 * kind, NULL);
		for (size_t n = 0; n < file.len; n++) {
			assert_int_equal(parse(file.data, n, &s), ERR_PROTO);
			if (n < FILE_HEADER_SIZE)
				continue;
			/* and with a header that says so: the fields must fill the file */
			const size_t whole = file.len;
			file.len = n;
			file_end(&file);
			assert_int_equal(parse(file.data, n, &s), ERR_PROTO);
			file.len = whole;
			file_end(&file);
		}
	}
}

/* In an encrypted file every bit counts. */
static void test_bit_flips(void **state)
{
	size_t n;

	(void)state;
	for (size_t key_len = 16; key_len <= 32; key_len += 16) {
		file_encrypted(&file, state_bytes, 100, key, key_len, NULL);
		for (size_t i = 0; i < 8 * file.len; i++) {
			if (i / 8 == 1 && i % 8 < 2)
				continue; /* the least version: 0 and 3 are tried below */
			file.data[i / 8] ^= (uint8_t)(1u << i % 8);
			assert_int_not_equal(open_file(key, &n), 0);
			file.data[i / 8] ^= (uint8_t)(1u << i % 8);
		}
		assert_int_equal(open_file(key, &n), 0);
	}
}

static void test_versions(void **state)
{
	static const struct {
		uint8_t version, least;
		int err;
	} tries[] = { { 2, 1, 0 }, { 2, 2, 0 }, { 1, 1, ERR_VERSION }, { 3, 1, ERR_VERSION }, { 2, 3, ERR_VERSION }, { 0, 0, ERR_VERSION } };

	(void)state;
	file_plain(&file, state_bytes, 10);
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		file.data[0] = tries[i].version;
		file.data[1] = tries[i].least;
		assert_int_equal(parse_file(), tries[i].err);
	}
}

static void test_header(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 0x10000; flags++) {
		file_begin(&file, (uint16_t)flags);
		file_field(&file, FILE_DATA, state_bytes, 10);
		file_end(&file);
		assert_int_equal(parse_file(), flags == 0 ? 0 : ERR_PROTO);
	}
	file_plain(&file, state_bytes, 10);
	for (uint8_t size = 0; size < 20; size++) {
		file.data[3] = size;
		assert_int_equal(parse_file(), size == FILE_HEADER_SIZE ? 0 : ERR_PROTO);
	}
	file_plain(&file, state_bytes, 10);
	for (uint64_t total = 0; total <= UINT32_MAX; total = total * 2 + 1) {
		assert_int_equal(buf_set_u32be(&file, 6, (uint32_t)total), 0);
		assert_int_equal(parse_file(), total == file.len ? 0 : ERR_PROTO);
	}
}

/* A length that points anywhere. */
static void test_field_lengths(void **state)
{
	(void)state;
	for (size_t off = 12; off < 16; off++) {
		for (unsigned v = 0; v < 256; v++) {
			file_plain(&file, state_bytes, 100);
			if (file.data[off] == v)
				continue;
			file.data[off] = (uint8_t)v;
			assert_int_equal(parse_file(), ERR_PROTO);
		}
	}
	file_begin(&file, 0);
	file_field(&file, FILE_DATA, state_bytes, 0);
	file_end(&file);
	assert_int_equal(parse_file(), ERR_PROTO);
}

static void put_fields(uint16_t flags, const uint16_t *tags, const size_t *sizes, unsigned n)
{
	file_begin(&file, flags);
	for (unsigned i = 0; i < n; i++)
		file_field(&file, tags[i], state_bytes, sizes[i]);
	file_end(&file);
}

static void test_fields(void **state)
{
	static const struct {
		uint16_t flags, tags[4];
		size_t sizes[4];
		unsigned n;
		int err;
	} tries[] = {
		{ 0, { 0 }, { 0 }, 0, ERR_PROTO },
		{ 0, { 1, 1 }, { 9, 9 }, 2, ERR_PROTO },
		{ 0, { 1, 3 }, { 9, 32 }, 2, ERR_PROTO },
		{ 0, { 4 }, { 9 }, 1, ERR_PROTO },
		{ 0, { 1, 7 }, { 9, 9 }, 2, ERR_PROTO },
		{ 0, { 0xffff, 1 }, { 9, 9 }, 2, ERR_PROTO },
		{ 0, { 2, 3, 6 }, { 32, 32, 16 }, 3, ERR_PROTO },
		{ 1, { 1 }, { 9 }, 1, ERR_PROTO },
		{ 1, { 2, 3, 6 }, { 32, 32, 16 }, 3, 0 },
		{ 1, { 6, 2, 3 }, { 16, 32, 32 }, 3, 0 },
		{ 1, { 2, 3, 6, 1 }, { 32, 32, 16, 9 }, 4, ERR_PROTO },
		{ 1, { 2, 3, 6, 2 }, { 32, 32, 16, 32 }, 4, ERR_PROTO },
		{ 1, { 2, 3 }, { 32, 32 }, 2, ERR_PROTO },
		{ 1, { 2, 6 }, { 32, 16 }, 2, ERR_PROTO },
		{ 1, { 2, 3, 6 }, { 31, 32, 16 }, 3, ERR_PROTO },
		{ 1, { 2, 3, 6 }, { 32, 31, 16 }, 3, ERR_PROTO },
		{ 1, { 2, 3, 6 }, { 32, 33, 16 }, 3, ERR_PROTO },
		{ 1, { 2, 3, 6 }, { 32, 32, 32 }, 3, ERR_PROTO },
		{ 9, { 2, 3, 6 }, { 32, 32, 16 }, 3, ERR_PROTO },
		{ 9, { 2, 3, 6 }, { 16, 32, 32 }, 3, ERR_PROTO },
		{ 9, { 2, 3, 6 }, { 64, 32, 32 }, 3, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		put_fields(tries[i].flags, tries[i].tags, tries[i].sizes, tries[i].n);
		if (parse_file() != tries[i].err)
			fail_msg("try %zu: %d", i, parse_file());
	}
}

/* Whoever has the key can still write nonsense. */
static void test_padding(void **state)
{
	uint8_t pad[32];
	size_t n;

	(void)state;
	memset(pad, 4, sizeof(pad));
	file_encrypted(&file, state_bytes, 28, key, 32, pad);
	assert_int_equal(open_file(key, &n), 0);
	for (unsigned last = 0; last < 256; last++) {
		if (last == 4)
			continue;
		pad[3] = (uint8_t)last;
		file_encrypted(&file, state_bytes, 28, key, 32, pad);
		assert_int_equal(open_file(key, &n), last == 1 ? 0 : ERR_AUTH);
	}
	pad[3] = 4;
	pad[0] = 5;
	file_encrypted(&file, state_bytes, 28, key, 32, pad);
	assert_int_equal(open_file(key, &n), ERR_AUTH);
	/* nothing but padding */
	memset(pad, 16, sizeof(pad));
	file_encrypted(&file, pad, 0, key, 16, NULL);
	assert_int_equal(open_file(key, &n), ERR_AUTH);
}

static int make(enum import_secret kind, const char *text, size_t n, size_t key_len, uint8_t *out)
{
	return swtpm_key_make(kind, (const uint8_t *)text, n, key_len, out);
}

static void test_keys(void **state)
{
	static const char digits[] = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
	uint8_t out[SWTPM_KEY_MAX], want[32];
	char line[80];

	(void)state;
	assert_int_equal(hex_decode("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", want, 32), 0);
	for (size_t n = 0; n <= 64; n++) {
		assert_int_equal(make(SECRET_KEY_HEX, digits, n, 16, out), n == 32 ? 0 : ERR_INVAL);
		assert_int_equal(make(SECRET_KEY_HEX, digits, n, 32, out), n == 64 ? 0 : ERR_INVAL);
		assert_int_equal(make(SECRET_KEY_BINARY, digits, n, 16, out), n == 16 ? 0 : ERR_INVAL);
		assert_int_equal(make(SECRET_KEY_BINARY, digits, n, 32, out), n == 32 ? 0 : ERR_INVAL);
	}
	assert_int_equal(make(SECRET_KEY_BINARY, digits, 32, 32, out), 0);
	assert_memory_equal(out, digits, 32);
	snprintf(line, sizeof(line), "0x%s\nrest", digits);
	assert_int_equal(make(SECRET_KEY_HEX, line, strlen(line), 32, out), 0);
	assert_memory_equal(out, want, 32);
	line[5] = 'g';
	assert_int_equal(make(SECRET_KEY_HEX, line, strlen(line), 32, out), ERR_INVAL);
	assert_int_equal(make(SECRET_KEY_HEX, digits, 64, 24, out), ERR_INVAL);
	assert_int_equal(make(SECRET_NONE, digits, 64, 32, out), ERR_INVAL);
	assert_int_equal(make(SECRET_PASS_PBKDF2, digits, SWTPM_SECRET_MAX + 1, 32, out), ERR_INVAL);
}

/* Made with Python's hashlib. */
static void test_passphrases(void **state)
{
	uint8_t out[SWTPM_KEY_MAX], want[32];

	(void)state;
	assert_int_equal(hex_decode("92bb9ef4ea654697a65e1689d0a0185b4e7f7e2b3173633277e1408c93d83826", want, 32), 0);
	assert_int_equal(make(SECRET_PASS_PBKDF2, "secret\n", 7, 32, out), 0);
	assert_memory_equal(out, want, 32);
	assert_int_equal(make(SECRET_PASS_PBKDF2, "secret\n", 7, 16, out), 0);
	assert_memory_equal(out, want, 16);
	assert_int_equal(hex_decode("eaa16b9ced0b5c6ece7aae07cb47c671e8c8f03bfe807f941809477a847337af", want, 32), 0);
	assert_int_equal(make(SECRET_PASS_SHA512, "secret\n", 7, 32, out), 0);
	assert_memory_equal(out, want, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),	      cmocka_unit_test(test_encrypted),
		cmocka_unit_test(test_wrong_key),     cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_bit_flips),     cmocka_unit_test(test_versions),
		cmocka_unit_test(test_header),	      cmocka_unit_test(test_field_lengths),
		cmocka_unit_test(test_fields),	      cmocka_unit_test(test_padding),
		cmocka_unit_test(test_keys),	      cmocka_unit_test(test_passphrases),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer: the input is {u8 how} and a file of swtpm's, or a secret. The size in the file's header is made right, and, as
 * how says, the HMAC, too: otherwise no input would ever come behind either. Whatever comes, the state that is found lies in
 * the file, and what is opened is no longer than it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/swtpm_file.h"
#include "vtpm-backend/swtpm_state.h"

#define HOW_HMAC    0x10u
#define HOW_KEY_256 0x20u
#define HOW_MASK    0x07u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int truth)
{
	if (!truth)
		abort();
}

static void demand_inside(const uint8_t *p, size_t n, const uint8_t *in, size_t size)
{
	demand(p >= in && n <= size && (size_t)(p - in) <= size - n);
}

static void open_state(const struct swtpm_state *s)
{
	static const uint8_t key[SWTPM_KEY_MAX] = { 0x42 };
	uint8_t *plain = malloc(s->data_len);
	size_t n = 0;

	demand(plain != NULL);
	if (swtpm_state_open(s, key, plain, &n) == 0)
		demand(n > 0 && n < s->data_len);
	free(plain);
}

static void try_file(uint8_t *file, size_t n, unsigned how)
{
	static const uint8_t key[SWTPM_KEY_MAX] = { 0x42 };
	struct swtpm_state s;

	if (n >= FILE_HEADER_SIZE) {
		file[6] = (uint8_t)(n >> 24);
		file[7] = (uint8_t)(n >> 16);
		file[8] = (uint8_t)(n >> 8);
		file[9] = (uint8_t)n;
	}
	if (swtpm_state_parse(file, n, &s) != 0)
		return;
	demand_inside(s.data, s.data_len, file, n);
	if (s.key_len == 0)
		return;
	demand_inside(s.hmac, 32, file, n);
	demand_inside(s.iv, s.key_len, file, n);
	if (how & HOW_HMAC)
		file_hmac(key, s.key_len, s.data, s.data_len, s.iv, file + (s.hmac - file));
	open_state(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t key[SWTPM_KEY_MAX], *copy;
	unsigned how;

	if (size < 2)
		return 0;
	how = data[0];
	copy = malloc(size - 1);
	demand(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if ((how & HOW_MASK) == SECRET_NONE)
		try_file(copy, size - 1, how);
	else
		(void)!swtpm_key_make((enum import_secret)(how & HOW_MASK), copy, size - 1, how & HOW_KEY_256 ? 32 : 16, key);
	free(copy);
	return 0;
}

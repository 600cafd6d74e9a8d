/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer: the input is taken for a packed state, and packed. What unpacks is the one form of what it gives; what is packed comes back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-backend/pack.h"

#define MAX STATE_PLAIN_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int truth)
{
	if (!truth)
		abort();
}

/* The packed form of n bytes, for the caller to free. */
static uint8_t *join(const uint8_t *p, size_t n, size_t *len)
{
	struct state_part parts[PACK_PARTS_MAX];
	uint8_t head[PACK_HEAD_MAX], *mem = malloc(n + PACK_OVERHEAD);
	const unsigned used = pack(p, n, head, parts);
	struct buf b;

	demand(mem != NULL && used <= PACK_PARTS_MAX);
	buf_init(&b, mem, n + PACK_OVERHEAD);
	for (unsigned i = 0; i < used; i++)
		demand(parts[i].len == 0 || buf_put_bytes(&b, parts[i].data, parts[i].len) == 0);
	*len = b.len;
	return mem;
}

static void take_for_packed(const uint8_t *data, size_t size)
{
	uint8_t *out, *again;
	size_t n, len;
	struct buf b;

	buf_wrap(&b, data, size);
	if (unpack(&b, MAX, &out, &n) != 0) {
		demand(out == NULL);
		return;
	}
	demand(n > 0 && n <= MAX);
	again = join(out, n, &len);
	demand(len == size && memcmp(again, data, size) == 0);
	free(again);
	free(out);
}

static void take_for_plain(const uint8_t *data, size_t size)
{
	uint8_t *packed, *out;
	size_t n, len;
	struct buf b;

	packed = join(data, size, &len);
	buf_wrap(&b, packed, len);
	demand(unpack(&b, size, &out, &n) == 0 && n == size && memcmp(out, data, size) == 0);
	free(packed);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	take_for_packed(data, size);
	if (size > 0)
		take_for_plain(data, size);
	return 0;
}

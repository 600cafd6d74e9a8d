/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The header of a backup's file, which is looked at before anything vouches for it; and what offline keys hold of a root, as the store and that header
 * have it. The first byte says which, and whether a header is given a beginning that is good, as long as it is: otherwise few inputs would come behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/backup_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read, written again, is the same bytes. */
static void fuzz_header(const uint8_t *data, size_t size)
{
	static uint8_t mem[BACKUP_HEADER_MAX];
	static struct backup_header h;
	struct recovery_keys keys;
	struct buf b, again;
	size_t len;

	buf_wrap(&b, data, size);
	if (!backup_prefix_decode(&b, &len) && (len < BACKUP_HEADER_MIN || len > BACKUP_HEADER_MAX))
		abort();
	buf_wrap(&b, data, size);
	if (backup_header_decode(&b, &h))
		return;
	buf_init(&again, mem, sizeof(mem));
	if (backup_header_encode(&again, &h) || again.len != size || memcmp(mem, data, size) != 0)
		abort();
	backup_header_keys(&h, &keys);
	if (keys.n > RECOVERY_KEYS_MAX || (keys.n == 0) != (h.nkept == 0) || backup_parts(h.size) < 1 || backup_part_len(h.size, 0) < 1)
		abort();
}

static void fuzz_begun(const uint8_t *data, size_t size)
{
	struct backup_header h = {.size = 1};
	uint8_t *file = malloc(BACKUP_HEADER_MIN + size);
	struct buf b;

	if (!file)
		abort();
	buf_init(&b, file, BACKUP_HEADER_MIN + size);
	if (backup_header_encode(&b, &h))
		abort();
	b.len = BACKUP_HEADER_MIN - 13; /* up to the lengths of name, root and sets, and the number of groups */
	if (buf_put_bytes(&b, data, size))
		abort();
	file[12] = (uint8_t)b.len;
	file[13] = (uint8_t)(b.len >> 8);
	file[14] = (uint8_t)(b.len >> 16);
	fuzz_header(file, b.len);
	free(file);
}

static void fuzz_set(const uint8_t *data, size_t size)
{
	struct escrow_set set;
	size_t all = ESCROW_SET_MIN;

	if (escrow_set_decode(data, size, &set))
		return;
	for (unsigned i = 0; i < set.n; i++) {
		if (set.envelopes[i] < data || set.lens[i] < ENVELOPE_MIN || set.envelopes[i] + set.lens[i] > data + size ||
		    escrow_recipient(&set, i) + DIGEST_LEN > data + size)
			abort();
		all += 4 + set.lens[i];
	}
	if (all != size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] % 3 == 0)
		fuzz_set(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		fuzz_begun(data + 1, size - 1);
	else
		fuzz_header(data + 1, size - 1);
	return 0;
}

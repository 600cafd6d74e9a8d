/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/permanent.h"

#include <stdlib.h>

#include "lib/secmem.h"

#define PERMANENT_FORMAT 1u

int permanent_seal(struct sealer *s, const struct state_id *id, const uint8_t secret[static KEY_LEN], const uint8_t *blob, size_t n,
		   struct buf *out)
{
	const uint8_t format = PERMANENT_FORMAT;
	struct state_part parts[2 + PACK_PARTS_MAX] = { { &format, 1 }, { secret, KEY_LEN } };
	uint8_t head[PACK_HEAD_MAX];
	unsigned packed;
	int err;

	if (n > PERMANENT_MAX)
		return ERR_FULL;
	packed = pack(blob, n, head, parts + 2);
	err = state_seal_parts(s, id, parts, 2 + packed, out);
	secmem_wipe(head, sizeof(head));
	secmem_wipe(parts, sizeof(parts));
	return err;
}

static int decode(struct buf *b, uint8_t secret[static KEY_LEN], uint8_t **blob, size_t *len)
{
	uint8_t format;
	int err;

	if (buf_get_u8(b, &format))
		return ERR_AUTH;
	if (format > PERMANENT_FORMAT)
		return ERR_VERSION;
	if (format != PERMANENT_FORMAT || buf_get_bytes(b, secret, KEY_LEN))
		return ERR_AUTH;
	err = unpack(b, PERMANENT_MAX, blob, len);
	return err == ERR_PROTO || err == ERR_FULL ? ERR_AUTH : err;
}

int permanent_open(const uint8_t key[static KEY_LEN], const struct state_id *id, const uint8_t *sealed, size_t n,
		   uint8_t secret[static KEY_LEN], uint8_t **blob, size_t *len)
{
	uint8_t *plain;
	size_t plain_len;
	struct buf b;
	int err;

	*blob = NULL;
	*len = 0;
	if (n <= STATE_OVERHEAD || n > SEALED_STATE_MAX)
		return ERR_AUTH;
	plain = malloc(n - STATE_OVERHEAD);
	if (plain == NULL)
		return ERR_NOMEM;
	err = state_open(key, id, sealed, n, plain, &plain_len);
	if (err == 0) {
		buf_wrap(&b, plain, plain_len);
		err = decode(&b, secret, blob, len);
		secmem_wipe(plain, plain_len);
	}
	free(plain);
	if (err != 0)
		secmem_wipe(secret, KEY_LEN);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/permanent.h"

#include <stdlib.h>
#include <string.h>

#include "lib/secmem.h"

#define PERMANENT_FORMAT 1u

int permanent_seal(struct sealer *s, const struct state_id *id, const uint8_t secret[static KEY_LEN], const uint8_t *blob, size_t n,
		   struct buf *out)
{
	const uint8_t format = PERMANENT_FORMAT;
	const struct state_part parts[] = { { &format, 1 }, { secret, KEY_LEN }, { blob, n } };

	return n > PERMANENT_MAX ? ERR_FULL : state_seal_parts(s, id, parts, ARRAY_LEN(parts), out);
}

static int decode(struct buf *b, uint8_t secret[static KEY_LEN], uint8_t **blob, size_t *len)
{
	const size_t n = buf_left(b) > 1 + KEY_LEN ? buf_left(b) - 1 - KEY_LEN : 0;
	const uint8_t *p;
	uint8_t format;

	if (buf_get_u8(b, &format))
		return ERR_AUTH;
	if (format > PERMANENT_FORMAT)
		return ERR_VERSION;
	if (format != PERMANENT_FORMAT || n == 0 || buf_get_bytes(b, secret, KEY_LEN) || buf_get_view(b, n, &p))
		return ERR_AUTH;
	*blob = malloc(n);
	if (*blob == NULL)
		return ERR_NOMEM;
	memcpy(*blob, p, n);
	*len = n;
	return 0;
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

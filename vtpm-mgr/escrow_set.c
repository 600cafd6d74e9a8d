/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/escrow_set.h"

int escrow_set_decode(const uint8_t *p, size_t len, struct escrow_set *set)
{
	struct buf b;
	uint8_t n;

	buf_wrap(&b, p, len);
	if (buf_get_bytes(&b, set->root_id, ROOT_ID_LEN) || buf_get_u8(&b, &n) || n > RECOVERY_KEYS_MAX)
		return ERR_AUTH;
	set->n = n;
	for (unsigned i = 0; i < n; i++)
		if (buf_get_var(&b, ENVELOPE_MAX, &set->envelopes[i], &set->lens[i]) || set->lens[i] < ENVELOPE_MIN)
			return ERR_AUTH;
	set->bytes = p;
	set->len = len;
	return buf_left(&b) ? ERR_AUTH : 0;
}

const uint8_t *escrow_recipient(const struct escrow_set *set, unsigned i)
{
	return set->envelopes[i] + 1; /* envelope.h */
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/backup.h"

int backup_part_encode(struct buf *b, const struct backup_part *p)
{
	if (buf_put_bytes(b, p->file, DIGEST_LEN) || buf_put_u64le(b, p->n) || buf_put_u8(b, p->last) ||
	    buf_put_var(b, p->data, p->len))
		return ERR_RANGE;
	return 0;
}

int backup_part_decode(struct buf *b, struct backup_part *p)
{
	uint8_t last;

	if (buf_get_bytes(b, p->file, DIGEST_LEN) || buf_get_u64le(b, &p->n) || buf_get_u8(b, &last) || last > 1 ||
	    buf_get_var(b, BACKUP_PART + BACKUP_TAG, &p->data, &p->len))
		return ERR_PROTO;
	p->last = last;
	return 0;
}

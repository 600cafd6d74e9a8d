/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/hold.h"

int hold_item_encode(struct buf *b, const struct hold_item *i)
{
	if (i->tag_len > HOLD_TAG_MAX || i->blob_len > HOLD_BLOB_MAX)
		return ERR_RANGE;
	if (buf_put_var(b, i->tag, i->tag_len) || buf_put_var(b, i->blob, i->blob_len))
		return ERR_RANGE;
	return 0;
}

int hold_item_decode(struct buf *b, struct hold_item *i)
{
	i->leash = false;
	if (buf_get_var(b, HOLD_TAG_MAX, &i->tag, &i->tag_len) || buf_get_var(b, HOLD_BLOB_MAX, &i->blob, &i->blob_len))
		return ERR_PROTO;
	return i->tag_len == 0 ? ERR_PROTO : 0;
}

int hold_keep_encode(struct buf *b, const struct hold_item *i)
{
	return buf_put_u8(b, i->leash) ? ERR_RANGE : hold_item_encode(b, i);
}

int hold_keep_decode(struct buf *b, struct hold_item *i)
{
	uint8_t leash;
	int err;

	if (buf_get_u8(b, &leash) || leash > 1)
		return ERR_PROTO;
	err = hold_item_decode(b, i);
	i->leash = leash;
	return err;
}

int hold_drop_encode(struct buf *b, const struct hold_item *i)
{
	return i->tag_len > HOLD_TAG_MAX || buf_put_var(b, i->tag, i->tag_len) ? ERR_RANGE : 0;
}

int hold_drop_decode(struct buf *b, struct hold_item *i)
{
	*i = (struct hold_item){ 0 };
	return buf_get_var(b, HOLD_TAG_MAX, &i->tag, &i->tag_len) || i->tag_len == 0 ? ERR_PROTO : 0;
}

int hold_end_encode(struct buf *b, uint32_t generation)
{
	return buf_put_u32le(b, generation) ? ERR_RANGE : 0;
}

int hold_end_decode(struct buf *b, uint32_t *generation)
{
	return buf_get_u32le(b, generation) ? ERR_PROTO : 0;
}

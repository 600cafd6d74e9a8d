/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/anchor.h"

int journal_row_encode(struct buf *b, const struct journal_row *r)
{
	if (buf_put_u64le(b, r->n) || buf_put_u8(b, r->kind) || buf_put_u32le(b, r->reset_count) ||
	    buf_put_bytes(b, r->root, DIGEST_LEN) || buf_put_bytes(b, r->prev, DIGEST_LEN) ||
	    buf_put_bytes(b, r->a_prev, DIGEST_LEN) || buf_put_bytes(b, r->v_prev, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int journal_row_decode(struct buf *b, struct journal_row *r)
{
	if (buf_get_u64le(b, &r->n) || buf_get_u8(b, &r->kind) || buf_get_u32le(b, &r->reset_count) ||
	    buf_get_bytes(b, r->root, DIGEST_LEN) || buf_get_bytes(b, r->prev, DIGEST_LEN) ||
	    buf_get_bytes(b, r->a_prev, DIGEST_LEN) || buf_get_bytes(b, r->v_prev, DIGEST_LEN))
		return ERR_PROTO;
	return r->kind < ROW_GENESIS || r->kind > ROW_PLAIN || r->n > INT64_MAX ? ERR_PROTO : 0;
}

int anchor_new_encode(struct buf *b, const struct anchor_new *m)
{
	return buf_put_u32le(b, m->a) || buf_put_u32le(b, m->v) || buf_put_u32le(b, m->flags) ? ERR_RANGE : 0;
}

/* TPM 2.0 Part 2, 7.2: the top byte of an NV index's handle is 1. */
static bool handles_valid(uint32_t a, uint32_t v)
{
	return a >> 24 == 1 && v >> 24 == 1 && a != v;
}

int anchor_new_decode(struct buf *b, struct anchor_new *m)
{
	if (buf_get_u32le(b, &m->a) || buf_get_u32le(b, &m->v) || buf_get_u32le(b, &m->flags))
		return ERR_PROTO;
	return !handles_valid(m->a, m->v) || (m->flags & ~ANCHOR_SHARED) ? ERR_PROTO : 0;
}

int anchor_record_encode(struct buf *b, const struct anchor_record *r)
{
	if (buf_put_u32le(b, r->a) || buf_put_u32le(b, r->v) || buf_put_u32le(b, r->flags) ||
	    buf_put_u32le(b, r->a_attributes) || buf_put_u32le(b, r->v_attributes) ||
	    buf_put_bytes(b, r->a_auth, WRAPPED_KEY_LEN) || buf_put_bytes(b, r->v_auth, WRAPPED_KEY_LEN) ||
	    buf_put_bytes(b, r->owner_auth, WRAPPED_KEY_LEN))
		return ERR_RANGE;
	return 0;
}

int anchor_record_decode(struct buf *b, struct anchor_record *r)
{
	if (buf_get_u32le(b, &r->a) || buf_get_u32le(b, &r->v) || buf_get_u32le(b, &r->flags) ||
	    buf_get_u32le(b, &r->a_attributes) || buf_get_u32le(b, &r->v_attributes) ||
	    buf_get_bytes(b, r->a_auth, WRAPPED_KEY_LEN) || buf_get_bytes(b, r->v_auth, WRAPPED_KEY_LEN) ||
	    buf_get_bytes(b, r->owner_auth, WRAPPED_KEY_LEN))
		return ERR_PROTO;
	return !handles_valid(r->a, r->v) || (r->flags & ~(ANCHOR_SHARED | ANCHOR_STRICT_ONLY)) ? ERR_PROTO : 0;
}

int anchor_view_encode(struct buf *b, const struct anchor_view *v)
{
	if (buf_put_u32le(b, v->reset_count) || buf_put_u8(b, v->a_state) || buf_put_bytes(b, v->a, DIGEST_LEN) ||
	    buf_put_u8(b, v->v_state) || buf_put_bytes(b, v->v, DIGEST_LEN) || buf_put_u8(b, v->owner))
		return ERR_RANGE;
	return 0;
}

int anchor_view_decode(struct buf *b, struct anchor_view *v)
{
	if (buf_get_u32le(b, &v->reset_count) || buf_get_u8(b, &v->a_state) || buf_get_bytes(b, v->a, DIGEST_LEN) ||
	    buf_get_u8(b, &v->v_state) || buf_get_bytes(b, v->v, DIGEST_LEN) || buf_get_u8(b, &v->owner))
		return ERR_PROTO;
	return v->a_state >= ANCHOR_STATES || v->v_state >= ANCHOR_STATES || v->owner >= OWNER_STATES ? ERR_PROTO : 0;
}

int row_view_encode(struct buf *b, const struct row_view *v)
{
	if (buf_put_u8(b, v->ok) || buf_put_bytes(b, v->a_after, DIGEST_LEN) ||
	    buf_put_bytes(b, v->v_after, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int row_view_decode(struct buf *b, struct row_view *v)
{
	uint8_t ok;

	if (buf_get_u8(b, &ok) || buf_get_bytes(b, v->a_after, DIGEST_LEN) || buf_get_bytes(b, v->v_after, DIGEST_LEN))
		return ERR_PROTO;
	v->ok = ok;
	return ok > 1 ? ERR_PROTO : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/share.h"

int share_record_encode(struct buf *b, const struct share_record *r)
{
	if (buf_put_u8(b, r->kind) || buf_put_bytes(b, r->salt, SHARE_SALT_LEN) || buf_put_bytes(b, r->root_id, ROOT_ID_LEN))
		return ERR_RANGE;
	return 0;
}

int share_record_decode(struct buf *b, struct share_record *r)
{
	if (buf_get_u8(b, &r->kind) || buf_get_bytes(b, r->salt, SHARE_SALT_LEN) || buf_get_bytes(b, r->root_id, ROOT_ID_LEN))
		return ERR_PROTO;
	return r->kind == SHARE_PASSPHRASE || r->kind == SHARE_KEYFILE ? 0 : ERR_PROTO;
}

int share_signed(struct buf *b, const uint8_t nonce[static CHALLENGE_NONCE_LEN], const uint8_t *key, size_t len)
{
	if (buf_put_str(b, "vtpm share key v1") || buf_put_bytes(b, nonce, CHALLENGE_NONCE_LEN) || buf_put_var(b, key, len))
		return ERR_RANGE;
	return 0;
}

int share_context(struct buf *b, const uint8_t nonce[static CHALLENGE_NONCE_LEN], const char *group)
{
	if (buf_put_str(b, "vtpm share v1") || buf_put_bytes(b, nonce, CHALLENGE_NONCE_LEN) || buf_put_str(b, group))
		return ERR_RANGE;
	return 0;
}

int group_new_shared_encode(struct buf *b, const struct group_new_shared *m)
{
	return keeper_group_new_encode(b, &m->group) || buf_put_var(b, m->envelope, m->envelope_len) ? ERR_RANGE : 0;
}

int group_new_shared_decode(struct buf *b, struct group_new_shared *m)
{
	if (keeper_group_new_decode(b, &m->group) || buf_get_var(b, ENVELOPE_MAX, &m->envelope, &m->envelope_len))
		return ERR_PROTO;
	return m->group.flags & SEAL_SHARE ? 0 : ERR_PROTO;
}

int group_unlock_encode(struct buf *b, const struct group_unlock *m)
{
	if (keeper_group_open_encode(b, &m->group) || buf_put_bytes(b, m->root_id, ROOT_ID_LEN) ||
	    buf_put_var(b, m->envelope, m->envelope_len))
		return ERR_RANGE;
	return 0;
}

int group_unlock_decode(struct buf *b, struct group_unlock *m)
{
	if (keeper_group_open_decode(b, &m->group) || buf_get_bytes(b, m->root_id, ROOT_ID_LEN) ||
	    buf_get_var(b, ENVELOPE_MAX, &m->envelope, &m->envelope_len))
		return ERR_PROTO;
	return 0;
}

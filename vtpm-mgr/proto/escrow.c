/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/escrow.h"

static const char label_kept[] = "vtpm escrow v1";
static const char label_answer[] = "vtpm recovery answer v2";
static const char label_nonce[] = "vtpm recovery nonce v1";

int escrow_tag_encode(struct buf *b, const struct escrow_tag *t)
{
	if (buf_put_u8(b, t->what) || buf_put_str(b, t->group) || buf_put_bytes(b, t->root_id, ROOT_ID_LEN))
		return ERR_RANGE;
	return 0;
}

int escrow_tag_decode(struct buf *b, struct escrow_tag *t)
{
	if (buf_get_u8(b, &t->what) || buf_get_str(b, t->group, sizeof(t->group)) ||
	    buf_get_bytes(b, t->root_id, ROOT_ID_LEN))
		return ERR_PROTO;
	return (t->what == ESCROW_ROOT || t->what == ESCROW_OWNER) && name_valid(t->group) ? 0 : ERR_PROTO;
}

int escrow_context(struct buf *b, const struct escrow_tag *t, const uint8_t *nonce)
{
	if (buf_put_str(b, nonce ? label_answer : label_kept) || (nonce && buf_put_bytes(b, nonce, CHALLENGE_NONCE_LEN)))
		return ERR_RANGE;
	return escrow_tag_encode(b, t);
}

int nonce_context(struct buf *b)
{
	return buf_put_str(b, label_nonce);
}

int escrow_wrap_encode(struct buf *b, const struct escrow_wrap *m)
{
	if (buf_put_u8(b, m->what) || buf_put_bytes(b, m->fingerprint, DIGEST_LEN))
		return ERR_RANGE;
	return keeper_group_open_encode(b, &m->group);
}

int escrow_wrap_decode(struct buf *b, struct escrow_wrap *m)
{
	if (buf_get_u8(b, &m->what) || buf_get_bytes(b, m->fingerprint, DIGEST_LEN) || keeper_group_open_decode(b, &m->group))
		return ERR_PROTO;
	return m->what == ESCROW_ROOT || m->what == ESCROW_OWNER ? 0 : ERR_PROTO;
}

int root_restore_encode(struct buf *b, const struct root_restore *m)
{
	if (escrow_tag_encode(b, &m->tag) || buf_put_u32le(b, m->mask) || buf_put_u32le(b, m->flags))
		return ERR_RANGE;
	return buf_put_var(b, m->envelope, m->envelope_len);
}

int root_restore_decode(struct buf *b, struct root_restore *m)
{
	if (escrow_tag_decode(b, &m->tag) || buf_get_u32le(b, &m->mask) || buf_get_u32le(b, &m->flags) ||
	    buf_get_var(b, ENVELOPE_MAX, &m->envelope, &m->envelope_len))
		return ERR_PROTO;
	return m->tag.what != ESCROW_ROOT || m->mask >> PCR_COUNT || (m->flags & ~SEAL_FLAGS) ? ERR_PROTO : 0;
}

int key_reseal_encode(struct buf *b, const struct key_reseal *m)
{
	return key_binding_encode(b, &m->binding) || buf_put_var(b, m->wrapped, m->wrapped_len) ||
			       buf_put_bytes(b, m->config, DIGEST_LEN)
		       ? ERR_RANGE
		       : 0;
}

int key_reseal_decode(struct buf *b, struct key_reseal *m)
{
	if (key_binding_decode(b, &m->binding) || buf_get_var(b, WRAPPED_KEY_LEN, &m->wrapped, &m->wrapped_len) ||
	    buf_get_bytes(b, m->config, DIGEST_LEN))
		return ERR_PROTO;
	return 0;
}

int group_name_encode(struct buf *b, const char *group)
{
	return buf_put_str(b, group);
}

int group_name_decode(struct buf *b, char group[static NAME_MAX_LEN + 1])
{
	return buf_get_str(b, group, NAME_MAX_LEN + 1) || !name_valid(group) ? ERR_PROTO : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/spawn.h"

int spawn_backend_encode(struct buf *b, const struct spawn_backend *m)
{
	if (buf_put_u64le(b, m->token) || buf_put_u32le(b, m->slot))
		return ERR_RANGE;
	return 0;
}

int spawn_backend_decode(struct buf *b, struct spawn_backend *m)
{
	if (buf_get_u64le(b, &m->token) || buf_get_u32le(b, &m->slot))
		return ERR_PROTO;
	return m->token == 0 || m->slot > SPAWN_SLOT_MAX ? ERR_PROTO : 0;
}

int spawn_token_encode(struct buf *b, uint64_t token)
{
	return buf_put_u64le(b, token);
}

int spawn_token_decode(struct buf *b, uint64_t *token)
{
	return buf_get_u64le(b, token) ? ERR_PROTO : 0;
}

int spawn_exited_encode(struct buf *b, const struct spawn_exited *m)
{
	if (buf_put_u64le(b, m->token) || buf_put_u32le(b, m->status))
		return ERR_RANGE;
	return 0;
}

int spawn_exited_decode(struct buf *b, struct spawn_exited *m)
{
	if (buf_get_u64le(b, &m->token) || buf_get_u32le(b, &m->status))
		return ERR_PROTO;
	return 0;
}

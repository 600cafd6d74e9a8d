/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/spawn.h"

int spawn_backend_encode(struct buf *b, const struct spawn_backend *m)
{
	if (buf_put_u64le(b, m->token) || buf_put_u32le(b, m->slot) || buf_put_u8(b, m->kind) ||
	    buf_put_u64le(b, m->replaces))
		return ERR_RANGE;
	return 0;
}

int spawn_backend_decode(struct buf *b, struct spawn_backend *m)
{
	if (buf_get_u64le(b, &m->token) || buf_get_u32le(b, &m->slot) || buf_get_u8(b, &m->kind) ||
	    buf_get_u64le(b, &m->replaces))
		return ERR_PROTO;
	return m->token == 0 || m->slot > SPAWN_SLOT_MAX || m->kind >= SERVE_KINDS ? ERR_PROTO : 0;
}

unsigned spawn_backend_fds(uint8_t kind)
{
	static const unsigned fds[SERVE_KINDS] = {
		[SERVE_NOBODY] = 2, [SERVE_RING] = 5, [SERVE_QEMU] = 3, [SERVE_XEN] = 3 };

	return kind < SERVE_KINDS ? fds[kind] : 0;
}

int spawn_attach_encode(struct buf *b, const struct spawn_attach *m)
{
	if (buf_put_u32le(b, m->domid) || buf_put_u32le(b, m->ref) || buf_put_u32le(b, m->port) || buf_put_u8(b, m->again))
		return ERR_RANGE;
	return 0;
}

int spawn_attach_decode(struct buf *b, struct spawn_attach *m)
{
	uint8_t again;

	if (buf_get_u32le(b, &m->domid) || buf_get_u32le(b, &m->ref) || buf_get_u32le(b, &m->port) || buf_get_u8(b, &again))
		return ERR_PROTO;
	m->again = again == 1;
	return again > 1 ? ERR_PROTO : 0;
}

int attach_ring_encode(struct buf *b, const struct attach_ring *m)
{
	if (buf_put_u32le(b, (uint32_t)m->code) || buf_put_u64le(b, m->index) || buf_put_u32le(b, m->port) ||
	    buf_put_u8(b, m->again))
		return ERR_RANGE;
	return 0;
}

int attach_ring_decode(struct buf *b, struct attach_ring *m)
{
	uint32_t code;
	uint8_t again;

	if (buf_get_u32le(b, &code) || buf_get_u64le(b, &m->index) || buf_get_u32le(b, &m->port) || buf_get_u8(b, &again))
		return ERR_PROTO;
	m->code = (int32_t)code;
	m->again = again == 1;
	return m->code <= 0 && m->code >= ERR_LAST && again <= 1 ? 0 : ERR_PROTO;
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

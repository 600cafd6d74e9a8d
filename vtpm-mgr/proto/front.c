/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/front.h"

int front_setup_encode(struct buf *b, const struct front_setup *m)
{
	return buf_put_bytes(b, m->machine, UUID_LEN) || buf_put_str(b, m->name) ? ERR_RANGE : 0;
}

int front_setup_decode(struct buf *b, struct front_setup *m)
{
	if (buf_get_bytes(b, m->machine, UUID_LEN) || buf_get_str(b, m->name, sizeof(m->name)))
		return ERR_PROTO;
	return 0;
}

int front_claim_encode(struct buf *b, const struct front_claim *m)
{
	return buf_put_bytes(b, m->uuid, UUID_LEN) || buf_put_bytes(b, m->token, FRONT_TOKEN_LEN) ? ERR_RANGE : 0;
}

int front_claim_decode(struct buf *b, struct front_claim *m)
{
	m->name[0] = '\0';
	return buf_get_bytes(b, m->uuid, UUID_LEN) || buf_get_bytes(b, m->token, FRONT_TOKEN_LEN) ? ERR_PROTO : 0;
}

int front_made_encode(struct buf *b, const struct front_claim *m)
{
	return front_claim_encode(b, m) || buf_put_str(b, m->name) ? ERR_RANGE : 0;
}

int front_made_decode(struct buf *b, struct front_claim *m)
{
	return front_claim_decode(b, m) || front_ready_decode(b, m->name) ? ERR_PROTO : 0;
}

int front_ready_encode(struct buf *b, const char *name)
{
	return buf_put_str(b, name);
}

int front_ready_decode(struct buf *b, char name[static NAME_MAX_LEN + 1])
{
	return buf_get_str(b, name, NAME_MAX_LEN + 1) || !name_valid(name) ? ERR_PROTO : 0;
}

int front_result_encode(struct buf *b, const struct front_result *m)
{
	return buf_put_u32le(b, (uint32_t)m->code) || buf_put_str(b, m->text) ? ERR_RANGE : 0;
}

int front_result_decode(struct buf *b, struct front_result *m)
{
	uint32_t code;

	if (buf_get_u32le(b, &code) || buf_get_str(b, m->text, sizeof(m->text)))
		return ERR_PROTO;
	m->code = (int32_t)code;
	return 0;
}

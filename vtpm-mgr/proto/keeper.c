/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/keeper.h"

#include "vtpm-mgr/proto/backend.h"

int keeper_status_encode(struct buf *b, const struct keeper_status *s)
{
	if (buf_put_u8(b, s->kind) || buf_put_str(b, s->manufacturer) || buf_put_str(b, s->vendor) ||
	    buf_put_u64le(b, s->firmware) || buf_put_str(b, s->tcti))
		return ERR_RANGE;
	return 0;
}

int keeper_status_decode(struct buf *b, struct keeper_status *s)
{
	if (buf_get_u8(b, &s->kind) || buf_get_str(b, s->manufacturer, sizeof(s->manufacturer)) ||
	    buf_get_str(b, s->vendor, sizeof(s->vendor)) || buf_get_u64le(b, &s->firmware) ||
	    buf_get_str(b, s->tcti, sizeof(s->tcti)))
		return ERR_PROTO;
	return s->kind > TPM_VIRTUAL ? ERR_PROTO : 0;
}

int sealed_root_encode(struct buf *b, const struct sealed_root *s)
{
	if (policy_encode(b, &s->policy) || buf_put_bytes(b, s->root_id, ROOT_ID_LEN) || buf_put_var(b, s->pub, s->pub_len) ||
	    buf_put_var(b, s->priv, s->priv_len))
		return ERR_RANGE;
	return 0;
}

int sealed_root_decode(struct buf *b, struct sealed_root *s)
{
	if (policy_decode(b, &s->policy) || buf_get_bytes(b, s->root_id, ROOT_ID_LEN) ||
	    buf_get_var(b, SEALED_BLOB_MAX, &s->pub, &s->pub_len) || buf_get_var(b, SEALED_BLOB_MAX, &s->priv, &s->priv_len))
		return ERR_PROTO;
	return 0;
}

int policy_look_encode(struct buf *b, const struct policy_look *l)
{
	if (buf_put_u32le(b, l->minimum) || buf_put_u8(b, l->opens) || buf_put_str(b, l->reason) ||
	    buf_put_bytes(b, l->pcr, sizeof(l->pcr)) || buf_put_u32le(b, l->n))
		return ERR_RANGE;
	for (unsigned i = 0; i < l->n; i++)
		if (buf_put_u8(b, l->sets[i].verdict) || buf_put_str(b, l->sets[i].text))
			return ERR_RANGE;
	return 0;
}

int policy_look_decode(struct buf *b, struct policy_look *l)
{
	uint8_t opens;

	if (buf_get_u32le(b, &l->minimum) || buf_get_u8(b, &opens) || opens > 1 ||
	    buf_get_str(b, l->reason, sizeof(l->reason)) || buf_get_bytes(b, l->pcr, sizeof(l->pcr)) ||
	    buf_get_u32le(b, &l->n) || l->n > ARRAY_LEN(l->sets))
		return ERR_PROTO;
	l->opens = opens;
	for (unsigned i = 0; i < l->n; i++)
		if (buf_get_u8(b, &l->sets[i].verdict) || l->sets[i].verdict >= SET_VERDICTS ||
		    buf_get_str(b, l->sets[i].text, sizeof(l->sets[i].text)))
			return ERR_PROTO;
	return 0;
}

int ca_key_encode(struct buf *b, const struct ca_key *k)
{
	if (buf_put_var(b, k->pub, k->pub_len) || buf_put_var(b, k->priv, k->priv_len) ||
	    buf_put_var(b, k->auth, k->auth_len) || buf_put_var(b, k->cert, k->cert_len) ||
	    buf_put_var(b, k->creation, k->creation_len))
		return ERR_RANGE;
	return 0;
}

int ca_key_decode(struct buf *b, struct ca_key *k)
{
	if (buf_get_var(b, SEALED_BLOB_MAX, &k->pub, &k->pub_len) ||
	    buf_get_var(b, SEALED_BLOB_MAX, &k->priv, &k->priv_len) ||
	    buf_get_var(b, WRAPPED_KEY_LEN, &k->auth, &k->auth_len) ||
	    buf_get_var(b, CERT_MAX, &k->cert, &k->cert_len) ||
	    buf_get_var(b, CREATION_MAX, &k->creation, &k->creation_len) || !k->creation_len)
		return ERR_PROTO;
	return 0;
}

int key_binding_encode(struct buf *b, const struct key_binding *k)
{
	if (buf_put_str(b, k->group) || buf_put_bytes(b, k->uuid, UUID_LEN) || buf_put_u64le(b, k->epoch) ||
	    buf_put_bytes(b, k->config, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int key_binding_decode(struct buf *b, struct key_binding *k)
{
	if (buf_get_str(b, k->group, sizeof(k->group)) || buf_get_bytes(b, k->uuid, UUID_LEN) ||
	    buf_get_u64le(b, &k->epoch) || buf_get_bytes(b, k->config, DIGEST_LEN))
		return ERR_PROTO;
	return name_valid(k->group) ? 0 : ERR_PROTO;
}

int keeper_open_encode(struct buf *b, const struct keeper_open *m)
{
	if (buf_put_var(b, m->name, m->name_len) || buf_put_var(b, m->ek, m->ek_len) ||
	    buf_put_u32le(b, m->flags) || buf_put_u32le(b, m->reset_count))
		return ERR_RANGE;
	return 0;
}

int keeper_open_decode(struct buf *b, struct keeper_open *m)
{
	if (buf_get_var(b, TPM_NAME_MAX, &m->name, &m->name_len) || buf_get_var(b, TPM_NAME_MAX, &m->ek, &m->ek_len) ||
	    buf_get_u32le(b, &m->flags) || buf_get_u32le(b, &m->reset_count))
		return ERR_PROTO;
	return m->flags & ~(OPEN_ACCEPT_RESETS | OPEN_RESET_KNOWN) ? ERR_PROTO : 0;
}

int keeper_adopted_encode(struct buf *b, const struct keeper_adopted *m)
{
	return buf_put_var(b, m->name, m->name_len) || buf_put_var(b, m->ek, m->ek_len) ? ERR_RANGE : 0;
}

int keeper_adopted_decode(struct buf *b, struct keeper_adopted *m)
{
	if (buf_get_var(b, TPM_NAME_MAX, &m->name, &m->name_len) || buf_get_var(b, TPM_NAME_MAX, &m->ek, &m->ek_len))
		return ERR_PROTO;
	return m->name_len ? 0 : ERR_PROTO;
}

int keeper_group_new_encode(struct buf *b, const struct keeper_group_new *m)
{
	if (buf_put_str(b, m->group) || buf_put_u32le(b, m->mask) || buf_put_u32le(b, m->flags))
		return ERR_RANGE;
	return 0;
}

int keeper_group_new_decode(struct buf *b, struct keeper_group_new *m)
{
	if (buf_get_str(b, m->group, sizeof(m->group)) || buf_get_u32le(b, &m->mask) || buf_get_u32le(b, &m->flags))
		return ERR_PROTO;
	return !name_valid(m->group) || (m->flags & ~SEAL_FLAGS) || m->mask >> PCR_COUNT ? ERR_PROTO : 0;
}

int keeper_group_open_encode(struct buf *b, const struct keeper_group_open *m)
{
	if (buf_put_str(b, m->group) || sealed_root_encode(b, &m->root) || buf_put_var(b, m->sets, m->sets_len))
		return ERR_RANGE;
	return 0;
}

int keeper_group_open_decode(struct buf *b, struct keeper_group_open *m)
{
	if (buf_get_str(b, m->group, sizeof(m->group)) || sealed_root_decode(b, &m->root) ||
	    buf_get_var(b, PCR_SETS_ENCODED_MAX + PCR_SET_ENCODED_MAX, &m->sets, &m->sets_len))
		return ERR_PROTO;
	return name_valid(m->group) ? 0 : ERR_PROTO;
}

int keeper_policy_seal_encode(struct buf *b, const struct keeper_policy_seal *m)
{
	return policy_encode(b, &m->policy) || buf_put_var(b, m->sets, m->sets_len) ? ERR_RANGE : 0;
}

int keeper_policy_seal_decode(struct buf *b, struct keeper_policy_seal *m)
{
	return policy_decode(b, &m->policy) || buf_get_var(b, PCR_SETS_ENCODED_MAX, &m->sets, &m->sets_len) ? ERR_PROTO : 0;
}

int keeper_recover_encode(struct buf *b, const struct keeper_recover *m)
{
	if (buf_put_u32le(b, m->seconds) || buf_put_u8(b, m->scheme) || buf_put_var(b, m->signature, m->signature_len))
		return ERR_RANGE;
	return 0;
}

int keeper_recover_decode(struct buf *b, struct keeper_recover *m)
{
	if (buf_get_u32le(b, &m->seconds) || buf_get_u8(b, &m->scheme) ||
	    buf_get_var(b, SIGNATURE_MAX, &m->signature, &m->signature_len))
		return ERR_PROTO;
	return signature_valid(m->scheme, m->signature_len) ? 0 : ERR_PROTO;
}

int keeper_key_rebind_encode(struct buf *b, const struct keeper_key_rebind *m)
{
	if (key_binding_encode(b, &m->from) || buf_put_var(b, m->wrapped, m->wrapped_len) ||
	    key_binding_encode(b, &m->to))
		return ERR_RANGE;
	return 0;
}

int keeper_key_rebind_decode(struct buf *b, struct keeper_key_rebind *m)
{
	if (key_binding_decode(b, &m->from) || buf_get_var(b, WRAPPED_KEY_LEN, &m->wrapped, &m->wrapped_len) ||
	    key_binding_decode(b, &m->to))
		return ERR_PROTO;
	return 0;
}

int keeper_key_hand_encode(struct buf *b, const struct keeper_key_hand *m)
{
	if (key_binding_encode(b, &m->binding) || buf_put_var(b, m->wrapped, m->wrapped_len) ||
	    buf_put_u64le(b, m->token) || buf_put_u8(b, m->certify) || buf_put_u8(b, m->renew) ||
	    buf_put_bytes(b, m->config, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int keeper_key_hand_decode(struct buf *b, struct keeper_key_hand *m)
{
	uint8_t renew;

	if (key_binding_decode(b, &m->binding) || buf_get_var(b, WRAPPED_KEY_LEN, &m->wrapped, &m->wrapped_len) ||
	    buf_get_u64le(b, &m->token) || buf_get_u8(b, &m->certify) || buf_get_u8(b, &renew) ||
	    buf_get_bytes(b, m->config, DIGEST_LEN))
		return ERR_PROTO;
	m->renew = renew;
	return (m->certify & ~ALL_KINDS) || renew > 1 || (renew && m->certify) || !m->token ? ERR_PROTO : 0;
}

int keeper_key_drop_encode(struct buf *b, uint64_t token)
{
	return buf_put_u64le(b, token);
}

int keeper_key_drop_decode(struct buf *b, uint64_t *token)
{
	return buf_get_u64le(b, token) || !*token ? ERR_PROTO : 0;
}

int keeper_reply_encode(struct buf *b, const struct keeper_reply *r)
{
	if (buf_put_u64le(b, r->id) || buf_put_u32le(b, (uint32_t)r->code) || buf_put_str(b, r->text) ||
	    buf_put_var(b, r->result, r->result_len))
		return ERR_RANGE;
	return 0;
}

int keeper_reply_decode(struct buf *b, struct keeper_reply *r)
{
	uint32_t code;

	if (buf_get_u64le(b, &r->id) || buf_get_u32le(b, &code) || buf_get_str(b, r->text, sizeof(r->text)) ||
	    buf_get_var(b, KEEPER_RESULT_MAX, &r->result, &r->result_len))
		return ERR_PROTO;
	r->code = (int32_t)code;
	return r->code > 0 || r->code < ERR_LAST ? ERR_PROTO : 0;
}

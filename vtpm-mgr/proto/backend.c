/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/backend.h"

int backend_start_encode(struct buf *b, const struct backend_start *m)
{
	if (buf_put_u32le(b, m->flags) || buf_put_bytes(b, m->uuid, UUID_LEN) ||
	    buf_put_bytes(b, m->from_uuid, UUID_LEN) || buf_put_u64le(b, m->version) || buf_put_u64le(b, m->line) ||
	    buf_put_u32le(b, m->state_max) || buf_put_u8(b, m->locality_max) ||
	    buf_put_var(b, m->sealed, m->sealed_len) || buf_put_var(b, m->launch, m->launch_len))
		return ERR_RANGE;
	return 0;
}

/* Serving needs a state, at once or later, and excludes provisioning; a new TPM has none; one of swtpm's comes by another way. */
static int start_flags_check(const struct backend_start *m)
{
	const uint32_t all = RUN_SERVE | RUN_STARTUP | RUN_MANUFACTURE | RUN_CERTIFY | RUN_STANDBY | RUN_RESUME |
			     RUN_CRASHED | RUN_ADOPTED | RUN_IMPORT | RUN_CERTIFY_AK | RUN_SECRET(7);
	const uint32_t resumed = RUN_RESUME | RUN_CRASHED | RUN_ADOPTED;
	uint32_t job = m->flags & (RUN_SERVE | RUN_MANUFACTURE | RUN_CERTIFY | RUN_CERTIFY_AK | RUN_IMPORT);
	bool has_state = m->version != 0 && m->sealed_len != 0;

	if ((m->flags & ~all) || !job)
		return ERR_PROTO;
	if ((m->flags & RUN_SERVE) && job != RUN_SERVE)
		return ERR_PROTO;
	if ((m->flags & RUN_STARTUP) && !(m->flags & RUN_SERVE))
		return ERR_PROTO;
	if ((m->flags & RUN_RESUME) && (m->flags & ~(resumed | RUN_STANDBY | (m->launch_len ? RUN_STARTUP : 0u))) != RUN_SERVE)
		return ERR_PROTO;
	if (m->launch_len != 0 && (!(m->flags & RUN_SERVE) || (m->flags & RUN_STANDBY)))
		return ERR_PROTO;
	if ((m->flags & resumed) && !(m->flags & RUN_RESUME))
		return ERR_PROTO;
	if ((m->flags & RUN_STANDBY) && (m->flags & ~resumed) != (RUN_SERVE | RUN_STANDBY))
		return ERR_PROTO;
	if ((m->flags & RUN_CERTIFY_AK) && (m->flags & (RUN_MANUFACTURE | RUN_CERTIFY)))
		return ERR_PROTO;
	if ((m->flags & RUN_IMPORT) ? (job & ~(uint32_t)RUN_CERTIFY_AK) != RUN_IMPORT : RUN_SECRET_OF(m->flags) != SECRET_NONE)
		return ERR_PROTO;
	if (RUN_SECRET_OF(m->flags) > SECRET_PASS_SHA512)
		return ERR_PROTO;
	return has_state == !(m->flags & (RUN_MANUFACTURE | RUN_STANDBY | RUN_IMPORT)) ? 0 : ERR_PROTO;
}

int backend_start_decode(struct buf *b, struct backend_start *m)
{
	if (buf_get_u32le(b, &m->flags) || buf_get_bytes(b, m->uuid, UUID_LEN) ||
	    buf_get_bytes(b, m->from_uuid, UUID_LEN) || buf_get_u64le(b, &m->version) || buf_get_u64le(b, &m->line) ||
	    buf_get_u32le(b, &m->state_max) || buf_get_u8(b, &m->locality_max) ||
	    buf_get_var(b, SEALED_STATE_MAX, &m->sealed, &m->sealed_len) ||
	    buf_get_var(b, LAUNCH_LOG_MAX, &m->launch, &m->launch_len))
		return ERR_PROTO;
	if (m->locality_max > 4)
		return ERR_PROTO;
	if (m->launch_len != 0 && launch_log_check(m->launch, m->launch_len, m->flags & RUN_STARTUP))
		return ERR_PROTO;
	return start_flags_check(m);
}

int backend_provisioned_encode(struct buf *b, const struct backend_provisioned *m)
{
	if (buf_put_u64le(b, m->version) || buf_put_u8(b, m->rows) || buf_put_var(b, m->sealed, m->sealed_len))
		return ERR_RANGE;
	for (unsigned i = 0; i < KEY_KINDS; i++)
		if (buf_put_var(b, m->key_public[i], m->key_public_len[i]) || buf_put_var(b, m->cert[i], m->cert_len[i]))
			return ERR_RANGE;
	return 0;
}

int backend_provisioned_decode(struct buf *b, struct backend_provisioned *m)
{
	uint8_t rows;

	if (buf_get_u64le(b, &m->version) || buf_get_u8(b, &rows) || rows > 1 || buf_get_var(b, SEALED_STATE_MAX, &m->sealed, &m->sealed_len))
		return ERR_PROTO;
	m->rows = rows;
	for (unsigned i = 0; i < KEY_KINDS; i++)
		if (buf_get_var(b, PUBLIC_MAX, &m->key_public[i], &m->key_public_len[i]) ||
		    buf_get_var(b, CERT_MAX, &m->cert[i], &m->cert_len[i]))
			return ERR_PROTO;
	return m->version == 0 || m->sealed_len == 0 ? ERR_PROTO : 0;
}

int backend_failed_encode(struct buf *b, const struct backend_failed *m)
{
	if (buf_put_u32le(b, (uint32_t)m->code) || buf_put_str(b, m->text))
		return ERR_RANGE;
	return 0;
}

int backend_failed_decode(struct buf *b, struct backend_failed *m)
{
	uint32_t code;

	if (buf_get_u32le(b, &code) || buf_get_str(b, m->text, sizeof(m->text)))
		return ERR_PROTO;
	m->code = (int32_t)code;
	return m->code >= 0 || m->code < ERR_LAST ? ERR_PROTO : 0;
}

int backend_refused_encode(struct buf *b, int32_t code)
{
	return buf_put_u32le(b, (uint32_t)code);
}

int backend_refused_decode(struct buf *b, int32_t *code)
{
	uint32_t v;

	if (buf_get_u32le(b, &v))
		return ERR_PROTO;
	*code = (int32_t)v;
	return *code >= 0 || *code < ERR_LAST ? ERR_PROTO : 0;
}

int backend_attached_encode(struct buf *b, int32_t code)
{
	return buf_put_u32le(b, (uint32_t)code);
}

int backend_attached_decode(struct buf *b, int32_t *code)
{
	uint32_t v;

	if (buf_get_u32le(b, &v))
		return ERR_PROTO;
	*code = (int32_t)v;
	return *code > 0 || *code < ERR_LAST ? ERR_PROTO : 0;
}

int backend_quote_encode(struct buf *b, const uint8_t qualifying[static DIGEST_LEN])
{
	return buf_put_bytes(b, qualifying, DIGEST_LEN);
}

int backend_quote_decode(struct buf *b, uint8_t qualifying[static DIGEST_LEN])
{
	return buf_get_bytes(b, qualifying, DIGEST_LEN) ? ERR_PROTO : 0;
}

int backend_quoted_encode(struct buf *b, const struct backend_quoted *m)
{
	const bool made = m->code == 0;

	return buf_put_u32le(b, (uint32_t)m->code) || buf_put_var(b, m->attest, made ? m->attest_len : 0) ||
			       buf_put_var(b, m->sig, made ? m->sig_len : 0) || buf_put_var(b, m->pcrs, made ? QUOTE_PCRS_LEN : 0)
		       ? ERR_RANGE
		       : 0;
}

int backend_quoted_decode(struct buf *b, struct backend_quoted *m)
{
	uint32_t code;
	size_t pcrs;

	if (buf_get_u32le(b, &code) || buf_get_var(b, ATTEST_MAX, &m->attest, &m->attest_len) ||
	    buf_get_var(b, ATTEST_SIG_MAX, &m->sig, &m->sig_len) || buf_get_var(b, QUOTE_PCRS_LEN, &m->pcrs, &pcrs))
		return ERR_PROTO;
	m->code = (int32_t)code;
	if (m->code > 0 || m->code < ERR_LAST)
		return ERR_PROTO;
	if (m->code != 0)
		return m->attest_len != 0 || m->sig_len != 0 || pcrs != 0 ? ERR_PROTO : 0;
	return m->attest_len == 0 || m->sig_len == 0 || pcrs != QUOTE_PCRS_LEN ? ERR_PROTO : 0;
}

int backend_ask_encode(struct buf *b, const struct backend_ask *m)
{
	return buf_put_u32le(b, m->id) || buf_put_var(b, m->nonce, m->nonce_len) ? ERR_RANGE : 0;
}

int backend_ask_decode(struct buf *b, struct backend_ask *m)
{
	if (buf_get_u32le(b, &m->id) || buf_get_var(b, GUEST_NONCE_MAX, &m->nonce, &m->nonce_len))
		return ERR_PROTO;
	return m->nonce_len < GUEST_NONCE_MIN ? ERR_PROTO : 0;
}

int backend_evidence_encode(struct buf *b, const struct backend_evidence *m)
{
	return buf_put_u32le(b, m->id) || buf_put_str(b, m->text) || buf_put_var(b, m->evidence, m->evidence_len) ? ERR_RANGE : 0;
}

int backend_evidence_decode(struct buf *b, struct backend_evidence *m)
{
	if (buf_get_u32le(b, &m->id) || buf_get_str(b, m->text, sizeof(m->text)) ||
	    buf_get_var(b, GUEST_EVIDENCE_MAX, &m->evidence, &m->evidence_len))
		return ERR_PROTO;
	return (m->text[0] == '\0') == (m->evidence_len == 0) ? ERR_PROTO : 0;
}

int store_commit_encode(struct buf *b, const struct store_commit *m)
{
	if (buf_put_u64le(b, m->version) || buf_put_u8(b, m->flags) || buf_put_var(b, m->sealed, m->sealed_len))
		return ERR_RANGE;
	return 0;
}

int store_commit_decode(struct buf *b, struct store_commit *m)
{
	if (buf_get_u64le(b, &m->version) || buf_get_u8(b, &m->flags) ||
	    buf_get_var(b, SEALED_STATE_MAX, &m->sealed, &m->sealed_len))
		return ERR_PROTO;
	return (m->flags & ~(COMMIT_STARTUP | COMMIT_AUTH_FAILED | COMMIT_ANCHOR | COMMIT_RENEWED)) || m->sealed_len == 0 ? ERR_PROTO : 0;
}

int store_done_encode(struct buf *b, const struct store_done *m)
{
	if (buf_put_u64le(b, m->version) || buf_put_u32le(b, (uint32_t)m->code))
		return ERR_RANGE;
	return 0;
}

int store_done_decode(struct buf *b, struct store_done *m)
{
	uint32_t code;

	if (buf_get_u64le(b, &m->version) || buf_get_u32le(b, &code))
		return ERR_PROTO;
	m->code = (int32_t)code;
	return m->code > 0 || m->code < ERR_LAST ? ERR_PROTO : 0;
}

int store_take_encode(struct buf *b, const struct store_take *m)
{
	return buf_put_u64le(b, m->version);
}

int store_take_decode(struct buf *b, struct store_take *m)
{
	return buf_get_u64le(b, &m->version) ? ERR_PROTO : 0;
}

int store_taken_encode(struct buf *b, const struct store_taken *m)
{
	if (buf_put_u64le(b, m->version) || buf_put_u32le(b, (uint32_t)m->code) || buf_put_var(b, m->sealed, m->sealed_len))
		return ERR_RANGE;
	return 0;
}

int store_taken_decode(struct buf *b, struct store_taken *m)
{
	uint32_t code;

	if (buf_get_u64le(b, &m->version) || buf_get_u32le(b, &code) ||
	    buf_get_var(b, SEALED_STATE_MAX, &m->sealed, &m->sealed_len))
		return ERR_PROTO;
	m->code = (int32_t)code;
	if (m->code > 0 || m->code < ERR_LAST)
		return ERR_PROTO;
	return m->code == 0 && m->version == 0 ? ERR_PROTO : 0;
}

int key_give_encode(struct buf *b, const struct key_give *m)
{
	if (buf_put_bytes(b, m->uuid, UUID_LEN) || buf_put_u64le(b, m->epoch) || buf_put_bytes(b, m->key, KEY_LEN) ||
	    buf_put_u8(b, m->renew) || buf_put_bytes(b, m->next, KEY_LEN))
		return ERR_RANGE;
	return 0;
}

int key_give_decode(struct buf *b, struct key_give *m)
{
	uint8_t renew;

	if (buf_get_bytes(b, m->uuid, UUID_LEN) || buf_get_u64le(b, &m->epoch) || buf_get_bytes(b, m->key, KEY_LEN) ||
	    buf_get_u8(b, &renew) || buf_get_bytes(b, m->next, KEY_LEN))
		return ERR_PROTO;
	m->renew = renew;
	return renew > 1 ? ERR_PROTO : 0;
}

int cert_request_encode(struct buf *b, const struct cert_request *m)
{
	if (buf_put_u8(b, m->kind) || buf_put_var(b, m->key_public, m->key_public_len))
		return ERR_RANGE;
	return 0;
}

int cert_request_decode(struct buf *b, struct cert_request *m)
{
	if (buf_get_u8(b, &m->kind) || buf_get_var(b, PUBLIC_MAX, &m->key_public, &m->key_public_len))
		return ERR_PROTO;
	return m->kind >= KEY_KINDS ? ERR_PROTO : 0;
}

int cert_issued_encode(struct buf *b, const struct cert_issued *m)
{
	if (buf_put_u8(b, m->kind) || buf_put_u32le(b, (uint32_t)m->code) || buf_put_var(b, m->der, m->der_len))
		return ERR_RANGE;
	return 0;
}

int cert_issued_decode(struct buf *b, struct cert_issued *m)
{
	uint32_t code;

	if (buf_get_u8(b, &m->kind) || buf_get_u32le(b, &code) || buf_get_var(b, CERT_MAX, &m->der, &m->der_len))
		return ERR_PROTO;
	m->code = (int32_t)code;
	return m->kind >= KEY_KINDS || m->code > 0 || m->code < ERR_LAST ? ERR_PROTO : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/tpmcmd.h"

#include <string.h>

#include "lib/util.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-mgr/proto/limits.h"

#define PCR_SELECT_LEN 3u /* 24 PCRs */
#define SHA256_LEN     32u
#define NONCE_MIN      16u /* that a session takes: Part 1, 19.6.6 */

#define TPMA_SESSION_CONTINUE 1u

int tpm_header_get(struct buf *b, struct tpm_header *h)
{
	if (buf_get_u16be(b, &h->tag) || buf_get_u32be(b, &h->size) || buf_get_u32be(b, &h->code))
		return ERR_RANGE;
	return 0;
}

/* The header with a size that cmd_end fills in. */
static int cmd_begin(struct buf *c, uint16_t tag, uint32_t code)
{
	buf_reset(c);
	if (buf_put_u16be(c, tag) || buf_put_u32be(c, 0) || buf_put_u32be(c, code))
		return ERR_RANGE;
	return 0;
}

static int cmd_end(struct buf *c)
{
	return buf_set_u32be(c, 2, (uint32_t)c->len);
}

/* An authorisation area with one session and no nonce (Part 1, 18.4). */
static int put_session(struct buf *c, uint32_t session, uint8_t attributes, const uint8_t *auth, size_t n)
{
	if (buf_put_u32be(c, (uint32_t)(9 + n)) || buf_put_u32be(c, session) || buf_put_u16be(c, 0) || buf_put_u8(c, attributes) ||
	    buf_put_2b(c, auth, n))
		return ERR_RANGE;
	return 0;
}

/* A password (Part 1, 19.4). */
static int put_auth(struct buf *c, const uint8_t *auth, size_t n)
{
	return put_session(c, TPM_RS_PW, 0, auth, n);
}

/* Header, one or two handles (second 0: none), authorisation of the first. */
static int auth_begin(struct buf *c, uint32_t code, uint32_t first, uint32_t second)
{
	if (cmd_begin(c, TPM_ST_SESSIONS, code) || buf_put_u32be(c, first))
		return ERR_RANGE;
	if (second != 0 && buf_put_u32be(c, second))
		return ERR_RANGE;
	return put_auth(c, NULL, 0);
}

int tpmcmd_startup(struct buf *c, uint16_t type)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_Startup) || buf_put_u16be(c, type))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_shutdown(struct buf *c, uint16_t type)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_Shutdown) || buf_put_u16be(c, type))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_get_random(struct buf *c, uint16_t n)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_GetRandom) || buf_put_u16be(c, n))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_stir_random(struct buf *c, const uint8_t *data, size_t n)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_StirRandom) || buf_put_2b(c, data, n))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_hierarchy_change_auth(struct buf *c, uint32_t hierarchy, const uint8_t *auth, size_t n)
{
	if (auth_begin(c, TPM_CC_HierarchyChangeAuth, hierarchy, 0) || buf_put_2b(c, auth, n))
		return ERR_RANGE;
	return cmd_end(c);
}

static int put_bank(struct buf *c, uint16_t alg, uint8_t bits)
{
	if (buf_put_u16be(c, alg) || buf_put_u8(c, PCR_SELECT_LEN))
		return ERR_RANGE;
	for (unsigned i = 0; i < PCR_SELECT_LEN; i++)
		if (buf_put_u8(c, bits))
			return ERR_RANGE;
	return 0;
}

static uint8_t bank_bits(uint16_t alg, const uint16_t *algs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (algs[i] == alg)
			return 0xff;
	return 0;
}

int tpmcmd_pcr_allocate(struct buf *c, const uint16_t *algs, unsigned n)
{
	static const uint16_t banks[] = { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 };

	if (auth_begin(c, TPM_CC_PCR_Allocate, TPM_RH_PLATFORM, 0) || buf_put_u32be(c, ARRAY_LEN(banks)))
		return ERR_RANGE;
	for (unsigned i = 0; i < ARRAY_LEN(banks); i++)
		if (put_bank(c, banks[i], bank_bits(banks[i], algs, n)))
			return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_pcr_extend(struct buf *c, uint32_t pcr, const struct tpm_digest *digests, unsigned n)
{
	if (auth_begin(c, TPM_CC_PCR_Extend, pcr, 0) || buf_put_u32be(c, n))
		return ERR_RANGE;
	for (unsigned i = 0; i < n; i++)
		if (buf_put_u16be(c, digests[i].alg) || buf_put_bytes(c, digests[i].data, digests[i].len))
			return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_create_primary(struct buf *c, uint32_t hierarchy, const uint8_t *auth, size_t auth_n, const uint8_t *pub, size_t n)
{
	/* TPM2B_SENSITIVE_CREATE: the object's auth, and no data */
	if (auth_begin(c, TPM_CC_CreatePrimary, hierarchy, 0) || buf_put_u16be(c, (uint16_t)(4 + auth_n)) ||
	    buf_put_2b(c, auth, auth_n) || buf_put_u16be(c, 0) || buf_put_2b(c, pub, n) || buf_put_u16be(c, 0) ||
	    buf_put_u32be(c, 0))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_evict_control(struct buf *c, uint32_t hierarchy, uint32_t object, uint32_t persistent)
{
	if (auth_begin(c, TPM_CC_EvictControl, hierarchy, object) || buf_put_u32be(c, persistent))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_flush_context(struct buf *c, uint32_t handle)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_FlushContext) || buf_put_u32be(c, handle))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_read_public(struct buf *c, uint32_t handle)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_ReadPublic) || buf_put_u32be(c, handle))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_get_capability(struct buf *c, uint32_t capability, uint32_t property, uint32_t count)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_GetCapability) || buf_put_u32be(c, capability) || buf_put_u32be(c, property) ||
	    buf_put_u32be(c, count))
		return ERR_RANGE;
	return cmd_end(c);
}

/* The first 16 PCRs of the SHA-256 bank, or those of mask. */
static int put_selection(struct buf *c, uint16_t mask)
{
	if (buf_put_u32be(c, 1) || buf_put_u16be(c, TPM_ALG_SHA256) || buf_put_u8(c, PCR_SELECT_LEN) || buf_put_u16le(c, mask) ||
	    buf_put_u8(c, 0))
		return ERR_RANGE;
	return 0;
}

int tpmcmd_quote(struct buf *c, uint32_t key, const uint8_t *auth, size_t auth_n, const uint8_t *over, size_t n)
{
	if (cmd_begin(c, TPM_ST_SESSIONS, TPM_CC_Quote) || buf_put_u32be(c, key) || put_auth(c, auth, auth_n) || buf_put_2b(c, over, n) ||
	    buf_put_u16be(c, TPM_ALG_NULL) || put_selection(c, 0xffff))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_pcr_read(struct buf *c, uint16_t mask)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_PCR_Read) || put_selection(c, mask))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_public(struct buf *out, const struct tpm_nv *nv)
{
	if (buf_put_u32be(out, nv->index) || buf_put_u16be(out, TPM_ALG_SHA256) || buf_put_u32be(out, nv->attributes) ||
	    buf_put_2b(out, nv->policy, nv->policy_len) || buf_put_u16be(out, nv->size))
		return ERR_RANGE;
	return 0;
}

int tpmcmd_nv_define_space(struct buf *c, const struct tpm_nv *nv)
{
	if (auth_begin(c, TPM_CC_NV_DefineSpace, TPM_RH_PLATFORM, 0) || buf_put_2b(c, nv->auth, nv->auth_len) ||
	    buf_put_u16be(c, (uint16_t)(NV_PUBLIC_LEN + nv->policy_len)) || tpmcmd_nv_public(c, nv))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_undefine_space(struct buf *c, uint32_t index)
{
	return auth_begin(c, TPM_CC_NV_UndefineSpace, TPM_RH_PLATFORM, index) ? ERR_RANGE : cmd_end(c);
}

int tpmcmd_nv_write(struct buf *c, uint32_t index, const uint8_t *data, size_t n, uint16_t offset)
{
	if (n > TPMCMD_NV_CHUNK || auth_begin(c, TPM_CC_NV_Write, TPM_RH_PLATFORM, index) || buf_put_2b(c, data, n) ||
	    buf_put_u16be(c, offset))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_write_lock(struct buf *c, uint32_t index)
{
	if (auth_begin(c, TPM_CC_NV_WriteLock, TPM_RH_PLATFORM, index))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_read_public(struct buf *c, uint32_t index)
{
	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_NV_ReadPublic) || buf_put_u32be(c, index))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_read(struct buf *c, uint32_t by, uint32_t index, uint16_t size, uint16_t offset)
{
	if (size > TPMCMD_NV_CHUNK || auth_begin(c, TPM_CC_NV_Read, by, index) || buf_put_u16be(c, size) ||
	    buf_put_u16be(c, offset))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_start_policy(struct buf *c)
{
	static const uint8_t nonce[NONCE_MIN]; /* of the caller: nothing depends on it */

	if (cmd_begin(c, TPM_ST_NO_SESSIONS, TPM_CC_StartAuthSession) || buf_put_u32be(c, TPM_RH_NULL) || buf_put_u32be(c, TPM_RH_NULL) ||
	    buf_put_2b(c, nonce, sizeof(nonce)) || buf_put_u16be(c, 0) || buf_put_u8(c, TPM_SE_POLICY) || buf_put_u16be(c, TPM_ALG_NULL) ||
	    buf_put_u16be(c, TPM_ALG_SHA256))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_policy_secret(struct buf *c, uint32_t entity, const uint8_t *auth, size_t n, uint32_t session)
{
	/* nonceTPM, cpHash, policyRef: empty; no expiration */
	if (cmd_begin(c, TPM_ST_SESSIONS, TPM_CC_PolicySecret) || buf_put_u32be(c, entity) || buf_put_u32be(c, session) ||
	    put_auth(c, auth, n) || buf_put_u16be(c, 0) || buf_put_u16be(c, 0) || buf_put_u16be(c, 0) || buf_put_u32be(c, 0))
		return ERR_RANGE;
	return cmd_end(c);
}

int tpmcmd_nv_write_policy(struct buf *c, uint32_t session, uint32_t index, const uint8_t *data, size_t n, uint16_t offset)
{
	if (n > TPMCMD_NV_CHUNK || cmd_begin(c, TPM_ST_SESSIONS, TPM_CC_NV_Write) || buf_put_u32be(c, index) || buf_put_u32be(c, index) ||
	    put_session(c, session, TPMA_SESSION_CONTINUE, NULL, 0) || buf_put_2b(c, data, n) || buf_put_u16be(c, offset))
		return ERR_RANGE;
	return cmd_end(c);
}

/*
 * nonceTPM, attributes and HMAC: 00 00 01 00 00 of a password (Part 1, 19.4); a policy that has no auth value in it has a nonce, and no HMAC
 * either.
 */
static int parse_ack(struct buf *b)
{
	const uint8_t *nonce;
	size_t n;
	uint16_t hmac;
	uint8_t attributes;

	if (buf_get_2b(b, SHA256_LEN, &nonce, &n) || buf_get_u8(b, &attributes) || buf_get_u16be(b, &hmac))
		return ERR_ENGINE;
	return attributes == TPMA_SESSION_CONTINUE && hmac == 0 && buf_left(b) == 0 ? 0 : ERR_ENGINE;
}

static int parse_params(struct tpmrsp *r, struct buf *b, bool sessions)
{
	uint32_t size = (uint32_t)buf_left(b);
	const uint8_t *p;

	if (sessions && buf_get_u32be(b, &size))
		return ERR_ENGINE;
	if (buf_get_view(b, size, &p))
		return ERR_ENGINE;
	buf_wrap(&r->params, p, size);
	return sessions ? parse_ack(b) : 0;
}

int tpmrsp_parse(struct tpmrsp *r, const uint8_t *rsp, size_t n, bool sessions, unsigned handles)
{
	struct tpm_header h;
	struct buf b;

	buf_wrap(&b, rsp, n);
	buf_wrap(&r->params, rsp, 0);
	r->handle = 0;
	if (tpm_header_get(&b, &h) || h.size != n)
		return ERR_ENGINE;
	r->rc = h.code;
	if (r->rc != TPM_RC_SUCCESS)
		return h.tag == TPM_ST_NO_SESSIONS && buf_left(&b) == 0 ? 0 : ERR_ENGINE;
	if (h.tag != (sessions ? TPM_ST_SESSIONS : TPM_ST_NO_SESSIONS))
		return ERR_ENGINE;
	if (handles != 0 && buf_get_u32be(&b, &r->handle))
		return ERR_ENGINE;
	return parse_params(r, &b, sessions);
}

int tpmrsp_pcr_allocated(struct tpmrsp *r)
{
	uint32_t max, needed, available;
	uint8_t yes;

	if (buf_get_u8(&r->params, &yes) || buf_get_u32be(&r->params, &max) || buf_get_u32be(&r->params, &needed) ||
	    buf_get_u32be(&r->params, &available) || buf_left(&r->params) != 0)
		return ERR_ENGINE;
	return yes == 1 ? 0 : ERR_ENGINE;
}

/* TPMS_CAPABILITY_DATA with a TPML_PCR_SELECTION: Part 2, 10.10.1. */
int tpmrsp_bank_active(const struct tpmrsp *r, uint16_t alg, bool *active)
{
	struct buf b = r->params;
	uint32_t capability, n;
	uint16_t hash;
	uint8_t more, size, bits;

	*active = false;
	if (buf_get_u8(&b, &more) || buf_get_u32be(&b, &capability) || capability != TPM_CAP_PCRS || buf_get_u32be(&b, &n))
		return ERR_ENGINE;
	for (; n > 0; n--) {
		if (buf_get_u16be(&b, &hash) || buf_get_u8(&b, &size))
			return ERR_ENGINE;
		for (; size > 0; size--) {
			if (buf_get_u8(&b, &bits))
				return ERR_ENGINE;
			*active = *active || (hash == alg && bits != 0);
		}
	}
	return 0;
}

int tpmrsp_public(struct tpmrsp *r, const uint8_t **pub, size_t *n)
{
	struct buf whole = r->params;
	uint16_t size;

	if (buf_get_u16be(&r->params, &size) || size == 0 || buf_skip(&r->params, size))
		return ERR_ENGINE;
	*n = sizeof(size) + size;
	return buf_get_view(&whole, *n, pub) ? ERR_ENGINE : 0;
}

int tpmrsp_quote(struct tpmrsp *r, const uint8_t **attest, size_t *attest_n, const uint8_t **sig, size_t *sig_n)
{
	if (buf_get_2b(&r->params, buf_left(&r->params), attest, attest_n) || *attest_n == 0)
		return ERR_ENGINE;
	*sig_n = buf_left(&r->params);
	return *sig_n == 0 || buf_get_view(&r->params, *sig_n, sig) ? ERR_ENGINE : 0;
}

/* moreData, the capability, TPML_CC. */
int tpmrsp_audited(struct tpmrsp *r, uint32_t *first, uint32_t *second)
{
	uint32_t capability, count;
	uint8_t more;

	*first = *second = 0;
	if (buf_get_u8(&r->params, &more) || buf_get_u32be(&r->params, &capability) || capability != TPM_CAP_AUDIT_COMMANDS ||
	    buf_get_u32be(&r->params, &count) || count > 2)
		return ERR_ENGINE;
	if ((count > 0 && buf_get_u32be(&r->params, first)) || (count > 1 && buf_get_u32be(&r->params, second)))
		return ERR_ENGINE;
	return buf_left(&r->params) == 0 ? 0 : ERR_ENGINE;
}

/* pcrUpdateCounter, one selection, and a digest for each PCR in it. */
int tpmrsp_pcrs(struct tpmrsp *r, uint16_t mask, uint8_t *out, unsigned n)
{
	uint32_t counter, count;
	const uint8_t *digest;
	uint16_t alg, got;
	uint8_t len, high;
	size_t size;

	if (buf_get_u32be(&r->params, &counter) || buf_get_u32be(&r->params, &count) || count != 1 || buf_get_u16be(&r->params, &alg) ||
	    alg != TPM_ALG_SHA256 || buf_get_u8(&r->params, &len) || len != PCR_SELECT_LEN || buf_get_u16le(&r->params, &got) ||
	    got != mask || buf_get_u8(&r->params, &high) || high != 0 || buf_get_u32be(&r->params, &count) || count != n)
		return ERR_ENGINE;
	for (unsigned i = 0; i < n; i++) {
		if (buf_get_2b(&r->params, SHA256_LEN, &digest, &size) || size != SHA256_LEN)
			return ERR_ENGINE;
		memcpy(out + (size_t)i * SHA256_LEN, digest, SHA256_LEN);
	}
	return buf_left(&r->params) == 0 ? 0 : ERR_ENGINE;
}

/* TPMS_NV_PUBLIC: Part 2, 13.5. */
int tpmrsp_nv_public(struct tpmrsp *r, uint32_t *attributes, uint16_t *size)
{
	uint16_t whole, alg, policy;
	uint32_t index;

	if (buf_get_u16be(&r->params, &whole) || buf_get_u32be(&r->params, &index) || buf_get_u16be(&r->params, &alg) ||
	    buf_get_u32be(&r->params, attributes) || buf_get_u16be(&r->params, &policy) || buf_skip(&r->params, policy) ||
	    buf_get_u16be(&r->params, size))
		return ERR_ENGINE;
	return 0;
}

int tpmrsp_nv_data(struct tpmrsp *r, uint8_t *out, size_t n)
{
	uint16_t size;

	if (buf_get_u16be(&r->params, &size) || size != n || buf_get_bytes(&r->params, out, n) || buf_left(&r->params) != 0)
		return ERR_ENGINE;
	return 0;
}

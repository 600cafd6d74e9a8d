/* SPDX-License-Identifier: BSD-2-Clause */
/* How policies and PCR sets are stored and sent. */
#include <string.h>

#include "vtpm-mgr/proto/policy.h"

int pcr_set_encode(struct buf *b, const struct pcr_set *s)
{
	if (buf_put_u32le(b, s->version) || buf_put_u32le(b, s->mask))
		return ERR_RANGE;
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (s->mask >> i & 1 && buf_put_bytes(b, s->pcr[i], DIGEST_LEN))
			return ERR_RANGE;
	if (buf_put_str(b, s->text) || buf_put_u8(b, s->scheme) || buf_put_var(b, s->signature, s->signature_len))
		return ERR_RANGE;
	return 0;
}

bool signature_valid(uint8_t scheme, size_t len)
{
	return scheme == SCHEME_ECDSA ? len == 2 * DIGEST_LEN : scheme == SCHEME_RSASSA && len >= 256 && len <= SIGNATURE_MAX;
}

static bool set_valid(const struct pcr_set *s)
{
	for (const char *c = s->text; *c; c++)
		if (*c < ' ' || *c > '~')
			return false;
	return s->version && s->mask && signature_valid(s->scheme, s->signature_len);
}

int pcr_set_decode(struct buf *b, struct pcr_set *s)
{
	const uint8_t *signature;

	memset(s, 0, sizeof(*s));
	if (buf_get_u32le(b, &s->version) || buf_get_u32le(b, &s->mask) || s->mask >> PCR_COUNT)
		return ERR_PROTO;
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (s->mask >> i & 1 && buf_get_bytes(b, s->pcr[i], DIGEST_LEN))
			return ERR_PROTO;
	if (buf_get_str(b, s->text, sizeof(s->text)) || buf_get_u8(b, &s->scheme) ||
	    buf_get_var(b, SIGNATURE_MAX, &signature, &s->signature_len))
		return ERR_PROTO;
	memcpy(s->signature, signature, s->signature_len);
	return set_valid(s) ? 0 : ERR_PROTO;
}

int policy_encode(struct buf *b, const struct policy *p)
{
	if (buf_put_u8(b, p->kind) || buf_put_u32le(b, p->mask) || buf_put_u32le(b, p->flags) || buf_put_u32le(b, p->counter) ||
	    buf_put_bytes(b, p->pcr, sizeof(p->pcr)) || buf_put_var(b, p->signer.pub, p->signer.len) ||
	    buf_put_var(b, p->recovery.pub, p->recovery.len))
		return ERR_RANGE;
	return 0;
}

static bool policy_valid(const struct policy *p)
{
	if (p->kind >= POLICY_KINDS || p->mask >> PCR_COUNT || p->flags & ~SEAL_FLAGS ||
	    (p->recovery.len && !policy_key_valid(&p->recovery)))
		return false;
	if (p->kind == POLICY_FIXED)
		return !p->counter && !p->signer.len;
	return p->counter >> 24 == 1 && policy_key_valid(&p->signer); /* an NV handle (Part 2, 7.2) */
}

int policy_decode(struct buf *b, struct policy *p)
{
	if (buf_get_u8(b, &p->kind) || buf_get_u32le(b, &p->mask) || buf_get_u32le(b, &p->flags) || buf_get_u32le(b, &p->counter) ||
	    buf_get_bytes(b, p->pcr, sizeof(p->pcr)) || buf_get_var(b, POLICY_KEY_MAX, &p->signer.pub, &p->signer.len) ||
	    buf_get_var(b, POLICY_KEY_MAX, &p->recovery.pub, &p->recovery.len))
		return ERR_PROTO;
	return policy_valid(p) ? 0 : ERR_PROTO;
}

/* ---- keys ---- */

#define ALG_RSA	       0x0001u
#define ALG_SHA256     0x000bu
#define ALG_NULL       0x0010u
#define ALG_ECC	       0x0023u
#define CURVE_P256     0x0003u
#define KEY_ATTRIBUTES 0x00040040u /* TPMA_OBJECT: userWithAuth, sign */

static int get_constant(struct buf *b, uint16_t want)
{
	uint16_t v;

	return buf_get_u16be(b, &v) || v != want ? ERR_PROTO : 0;
}

static int get_rsa(struct buf *b)
{
	const uint8_t *n;
	uint32_t exponent;
	uint16_t bits;
	size_t len;

	if (buf_get_u16be(b, &bits) || buf_get_u32be(b, &exponent) || buf_get_2b(b, SIGNATURE_MAX, &n, &len))
		return ERR_PROTO;
	return exponent || len != bits / 8u || (bits != 2048 && bits != 3072 && bits != 4096) ? ERR_PROTO : 0;
}

static int get_ecc(struct buf *b)
{
	const uint8_t *x, *y;
	size_t nx, ny;

	if (get_constant(b, CURVE_P256) || get_constant(b, ALG_NULL) || buf_get_2b(b, DIGEST_LEN, &x, &nx) ||
	    buf_get_2b(b, DIGEST_LEN, &y, &ny))
		return ERR_PROTO;
	return nx != DIGEST_LEN || ny != DIGEST_LEN ? ERR_PROTO : 0;
}

/* TPMT_PUBLIC (TPM 2.0 Part 2, 12.2.4): one way to write a key, so that one key has one Name. */
bool policy_key_valid(const struct policy_key *k)
{
	uint32_t attributes;
	uint16_t type;
	struct buf b;

	buf_wrap(&b, k->pub, k->len);
	if (buf_get_u16be(&b, &type) || get_constant(&b, ALG_SHA256) || buf_get_u32be(&b, &attributes) ||
	    attributes != KEY_ATTRIBUTES || get_constant(&b, 0) || get_constant(&b, ALG_NULL) || get_constant(&b, ALG_NULL))
		return false;
	if (type == ALG_RSA ? get_rsa(&b) : type == ALG_ECC ? get_ecc(&b) : ERR_PROTO)
		return false;
	return !buf_left(&b);
}

int policy_key_put_ecc(struct buf *b, const uint8_t x[static DIGEST_LEN], const uint8_t y[static DIGEST_LEN])
{
	if (buf_put_u16be(b, ALG_ECC) || buf_put_u16be(b, ALG_SHA256) || buf_put_u32be(b, KEY_ATTRIBUTES) ||
	    buf_put_u16be(b, 0) || buf_put_u16be(b, ALG_NULL) || buf_put_u16be(b, ALG_NULL) || buf_put_u16be(b, CURVE_P256) ||
	    buf_put_u16be(b, ALG_NULL) || buf_put_2b(b, x, DIGEST_LEN) || buf_put_2b(b, y, DIGEST_LEN))
		return ERR_RANGE;
	return 0;
}

int policy_key_put_rsa(struct buf *b, const uint8_t *n, size_t len)
{
	if (buf_put_u16be(b, ALG_RSA) || buf_put_u16be(b, ALG_SHA256) || buf_put_u32be(b, KEY_ATTRIBUTES) ||
	    buf_put_u16be(b, 0) || buf_put_u16be(b, ALG_NULL) || buf_put_u16be(b, ALG_NULL) ||
	    buf_put_u16be(b, (uint16_t)(8 * len)) || buf_put_u32be(b, 0) || buf_put_2b(b, n, len))
		return ERR_RANGE;
	return 0;
}

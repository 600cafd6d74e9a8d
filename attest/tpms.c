/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/tpms.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#define TPM_GENERATED 0xff544347u
#define ALG_RSA	      0x0001u
#define ALG_AES	      0x0006u
#define ALG_SHA256    0x000bu
#define ALG_NULL      0x0010u
#define ALG_RSASSA    0x0014u
#define ALG_RSAPSS    0x0016u
#define ALG_ECDSA     0x0018u
#define ALG_ECC	      0x0023u
#define CURVE_P256    0x0003u
#define P256_LEN      32u
#define RSA_MAX	      512u /* bytes */
#define RSA_MIN	      256u
#define RSA_EXPONENT  65537u
#define NAME_MAX_2B   66u
#define EXTRA_MAX     64u
#define PCR_SELECT_MAX 4u

int tpms_sha256(const struct evidence_view *v, uint8_t out[static EVIDENCE_DIGEST])
{
	return EVP_Digest(v->p, v->n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

bool tpms_equal(const struct evidence_view *v, const void *p, size_t n)
{
	return v->n == n && !memcmp(v->p, p, n);
}

static int get_2b(struct buf *b, size_t max, struct evidence_view *v)
{
	return buf_get_2b(b, max, &v->p, &v->n);
}

/* ---- attestations ---- */

/* TPMS_QUOTE_INFO: one selection, of the SHA-256 bank. */
static int quote_parse(struct buf *b, struct tpms_attest *a)
{
	uint32_t count;
	uint16_t alg;
	uint8_t size, bits;

	if (buf_get_u32be(b, &count) || count != 1 || buf_get_u16be(b, &alg) || alg != ALG_SHA256 || buf_get_u8(b, &size) ||
	    size > PCR_SELECT_MAX)
		return ERR_PROTO;
	a->pcrs = 0;
	for (unsigned i = 0; i < size; i++) {
		if (buf_get_u8(b, &bits))
			return ERR_PROTO;
		a->pcrs |= (uint32_t)bits << (8 * i);
	}
	if (a->pcrs >> EVIDENCE_PCRS || get_2b(b, EVIDENCE_DIGEST, &a->digest))
		return ERR_PROTO;
	return a->digest.n == EVIDENCE_DIGEST ? 0 : ERR_PROTO;
}

static int certify_parse(struct buf *b, struct tpms_attest *a)
{
	struct evidence_view qualified;

	return get_2b(b, NAME_MAX_2B, &a->name) || get_2b(b, NAME_MAX_2B, &qualified) ? ERR_PROTO : 0;
}

static int creation_parse(struct buf *b, struct tpms_attest *a)
{
	return get_2b(b, NAME_MAX_2B, &a->name) || get_2b(b, EVIDENCE_DIGEST, &a->digest) ? ERR_PROTO : 0;
}

static int nv_parse(struct buf *b, struct tpms_attest *a)
{
	return get_2b(b, NAME_MAX_2B, &a->name) || buf_get_u16be(b, &a->offset) || get_2b(b, EVIDENCE_ATTEST_MAX, &a->contents) ? ERR_PROTO
																 : 0;
}

static const struct {
	uint16_t type;
	int (*parse)(struct buf *b, struct tpms_attest *a);
} kinds[] = {
	{TPM_ST_ATTEST_QUOTE, quote_parse},
	{TPM_ST_ATTEST_CERTIFY, certify_parse},
	{TPM_ST_ATTEST_CREATION, creation_parse},
	{TPM_ST_ATTEST_NV, nv_parse},
};

int tpms_attest_parse(const struct evidence_view *v, struct tpms_attest *a)
{
	struct evidence_view signer;
	uint32_t magic;
	struct buf b;
	uint8_t safe;

	memset(a, 0, sizeof(*a));
	buf_wrap(&b, v->p, v->n);
	if (buf_get_u32be(&b, &magic) || magic != TPM_GENERATED || buf_get_u16be(&b, &a->type) || get_2b(&b, NAME_MAX_2B, &signer) ||
	    get_2b(&b, EXTRA_MAX, &a->extra) || buf_get_u64be(&b, &a->clock) || buf_get_u32be(&b, &a->reset_count) ||
	    buf_get_u32be(&b, &a->restart_count) || buf_get_u8(&b, &safe) || safe > 1 || buf_get_u64be(&b, &a->firmware))
		return ERR_PROTO;
	a->safe = safe == 1;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].type == a->type)
			return kinds[i].parse(&b, a) || buf_left(&b) ? ERR_PROTO : 0;
	return ERR_PROTO;
}

/* ---- public areas ---- */

static EVP_PKEY *key_make(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = bld ? OSSL_PARAM_BLD_to_param(bld) : NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	return key;
}

static EVP_PKEY *ecc_key(const struct evidence_view *x, const struct evidence_view *y)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	uint8_t point[1 + 2 * P256_LEN] = {4};

	memcpy(point + 1, x->p, P256_LEN);
	memcpy(point + 1 + P256_LEN, y->p, P256_LEN);
	if (bld && (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
		    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) != 1)) {
		OSSL_PARAM_BLD_free(bld);
		return NULL;
	}
	return key_make("EC", bld);
}

static EVP_PKEY *rsa_key(const struct evidence_view *modulus)
{
	BIGNUM *n = BN_bin2bn(modulus->p, (int)modulus->n, NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	if (n && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_uint(bld, OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT) == 1)
		key = key_make("RSA", bld);
	else
		OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	return key;
}

/* TPMT_SYM_DEF_OBJECT, and TPMT_ASYM_SCHEME of a key that signs. Others have none. */
static int schemes_parse(struct buf *b, struct tpms_public *p)
{
	uint16_t alg, bits, mode, scheme, hash = 0;

	if (buf_get_u16be(b, &alg) || (alg != ALG_NULL && alg != ALG_AES))
		return ERR_PROTO;
	if (alg == ALG_AES && (buf_get_u16be(b, &bits) || buf_get_u16be(b, &mode)))
		return ERR_PROTO;
	if (buf_get_u16be(b, &scheme))
		return ERR_PROTO;
	if (scheme == ALG_NULL)
		return 0;
	if ((scheme != ALG_ECDSA && scheme != ALG_RSASSA && scheme != ALG_RSAPSS) || buf_get_u16be(b, &hash))
		return ERR_PROTO;
	p->signs_sha256 = hash == ALG_SHA256;
	return 0;
}

static int ecc_parse(struct buf *b, struct tpms_public *p)
{
	struct evidence_view x, y;
	uint16_t curve, kdf;

	if (schemes_parse(b, p) || buf_get_u16be(b, &curve) || curve != CURVE_P256 || buf_get_u16be(b, &kdf) || kdf != ALG_NULL ||
	    get_2b(b, P256_LEN, &x) || get_2b(b, P256_LEN, &y) || x.n != P256_LEN || y.n != P256_LEN)
		return ERR_PROTO;
	p->key = ecc_key(&x, &y);
	return p->key ? 0 : ERR_PROTO;
}

static int rsa_parse(struct buf *b, struct tpms_public *p)
{
	struct evidence_view n;
	uint32_t exponent;
	uint16_t bits;

	if (schemes_parse(b, p) || buf_get_u16be(b, &bits) || buf_get_u32be(b, &exponent) || (exponent && exponent != RSA_EXPONENT) ||
	    get_2b(b, RSA_MAX, &n) || n.n < RSA_MIN || n.n * 8 != bits)
		return ERR_PROTO;
	p->key = rsa_key(&n);
	return p->key ? 0 : ERR_PROTO;
}

static int name_of(const struct evidence_view *v, uint8_t name[static EVIDENCE_NAME])
{
	name[0] = ALG_SHA256 >> 8;
	name[1] = ALG_SHA256 & 0xff;
	return tpms_sha256(v, name + 2);
}

int tpms_public_parse(const struct evidence_view *v, struct tpms_public *p)
{
	struct evidence_view policy;
	uint16_t type, name_alg;
	struct buf b;
	int r = ERR_PROTO;

	memset(p, 0, sizeof(*p));
	buf_wrap(&b, v->p, v->n);
	if (buf_get_u16be(&b, &type) || buf_get_u16be(&b, &name_alg) || name_alg != ALG_SHA256 || buf_get_u32be(&b, &p->attributes) ||
	    get_2b(&b, EVIDENCE_DIGEST, &policy))
		return ERR_PROTO;
	if (type == ALG_ECC)
		r = ecc_parse(&b, p);
	else if (type == ALG_RSA)
		r = rsa_parse(&b, p);
	if (!r && buf_left(&b))
		r = ERR_PROTO;
	if (!r)
		r = name_of(v, p->name);
	if (r)
		tpms_public_free(p);
	return r;
}

bool tpms_public_attests(const struct tpms_public *p)
{
	const uint32_t want = OBJECT_OF_THIS_TPM | OBJECT_RESTRICTED | OBJECT_SIGN;

	return (p->attributes & (want | OBJECT_DECRYPT)) == want && p->signs_sha256;
}

void tpms_public_free(struct tpms_public *p)
{
	EVP_PKEY_free(p->key);
	p->key = NULL;
}

int tpms_nv_parse(const struct evidence_view *v, struct tpms_nv *nv)
{
	struct evidence_view policy;
	uint16_t name_alg;
	struct buf b;

	buf_wrap(&b, v->p, v->n);
	if (buf_get_u32be(&b, &nv->handle) || buf_get_u16be(&b, &name_alg) || name_alg != ALG_SHA256 ||
	    buf_get_u32be(&b, &nv->attributes) || get_2b(&b, EVIDENCE_DIGEST, &policy) || buf_get_u16be(&b, &nv->size) || buf_left(&b))
		return ERR_PROTO;
	return name_of(v, nv->name);
}

/* ---- signatures ---- */

/* ECDSA's as OpenSSL wants it. */
static int ecdsa_der(struct buf *b, uint8_t out[static 80], size_t *n)
{
	struct evidence_view r, s;
	ECDSA_SIG *sig = NULL;
	BIGNUM *br, *bs;
	uint8_t *at = out;
	int len = 0;

	if (get_2b(b, P256_LEN, &r) || get_2b(b, P256_LEN, &s))
		return ERR_PROTO;
	br = BN_bin2bn(r.p, (int)r.n, NULL);
	bs = BN_bin2bn(s.p, (int)s.n, NULL);
	sig = ECDSA_SIG_new();
	if (sig && br && bs && ECDSA_SIG_set0(sig, br, bs) == 1) {
		len = i2d_ECDSA_SIG(sig, NULL);
		len = len > 0 && len <= 80 ? i2d_ECDSA_SIG(sig, &at) : 0;
	} else {
		BN_free(br);
		BN_free(bs);
	}
	ECDSA_SIG_free(sig);
	*n = len > 0 ? (size_t)len : 0;
	return len > 0 ? 0 : ERR_CRYPTO;
}

static int check(EVP_PKEY *key, uint16_t alg, const struct evidence_view *sig, const struct evidence_view *over)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *ctx = NULL;
	bool ok = md && EVP_DigestVerifyInit(md, &ctx, EVP_sha256(), NULL, key) == 1;

	if (ok && alg == ALG_RSAPSS)
		ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1;
	ok = ok && EVP_DigestVerify(md, sig->p, sig->n, over->p, over->n) == 1;
	EVP_MD_CTX_free(md);
	return ok ? 0 : ERR_AUTH;
}

int tpms_signature_check(EVP_PKEY *key, const struct evidence_signed *s)
{
	const bool rsa = EVP_PKEY_is_a(key, "RSA");
	uint8_t der[80];
	struct evidence_view sig = {.p = der};
	uint16_t alg, hash;
	struct buf b;

	buf_wrap(&b, s->signature.p, s->signature.n);
	if (buf_get_u16be(&b, &alg) || buf_get_u16be(&b, &hash) || hash != ALG_SHA256)
		return ERR_PROTO;
	if (rsa != (alg == ALG_RSASSA || alg == ALG_RSAPSS) || (!rsa && alg != ALG_ECDSA))
		return ERR_PROTO;
	if (rsa ? get_2b(&b, RSA_MAX, &sig) : ecdsa_der(&b, der, &sig.n))
		return ERR_PROTO;
	return buf_left(&b) ? ERR_PROTO : check(key, alg, &sig, &s->attest);
}

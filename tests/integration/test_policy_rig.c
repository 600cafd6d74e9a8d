/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/test_policy_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

struct policy_look seen;

void op_key_ecc(struct op_key *k)
{
	uint8_t point[65];
	size_t len;
	struct buf b;

	k->key = EVP_EC_gen("P-256");
	assert_non_null(k->key);
	assert_int_equal(EVP_PKEY_get_octet_string_param(k->key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len), 1);
	buf_init(&b, k->pub, sizeof(k->pub));
	assert_int_equal(policy_key_put_ecc(&b, point + 1, point + 33), 0);
	k->policy = (struct policy_key){.pub = k->pub, .len = b.len};
}

void op_key_rsa(struct op_key *k)
{
	uint8_t n[256];
	BIGNUM *bn = NULL;
	struct buf b;

	k->key = EVP_RSA_gen(2048);
	assert_int_equal(EVP_PKEY_get_bn_param(k->key, OSSL_PKEY_PARAM_RSA_N, &bn), 1);
	assert_int_equal(BN_bn2binpad(bn, n, sizeof(n)), sizeof(n));
	BN_free(bn);
	buf_init(&b, k->pub, sizeof(k->pub));
	assert_int_equal(policy_key_put_rsa(&b, n, sizeof(n)), 0);
	k->policy = (struct policy_key){.pub = k->pub, .len = b.len};
}

void op_key_free(struct op_key *k)
{
	EVP_PKEY_free(k->key);
	k->key = NULL;
}

static void signature_raw(struct pcr_set *s)
{
	const unsigned char *p = s->signature;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)s->signature_len);

	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), s->signature, 32), 32);
	assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), s->signature + 32, 32), 32);
	s->signature_len = 64;
	ECDSA_SIG_free(sig);
}

void op_sign(const struct op_key *k, const uint8_t digest[static DIGEST_LEN], struct pcr_set *s)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->key, NULL);
	bool rsa = EVP_PKEY_is_a(k->key, "RSA");

	s->signature_len = sizeof(s->signature);
	assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
	if (rsa)
		assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
	assert_int_equal(EVP_PKEY_sign(ctx, s->signature, &s->signature_len, digest, DIGEST_LEN), 1);
	s->scheme = rsa ? SCHEME_RSASSA : SCHEME_ECDSA;
	if (!rsa)
		signature_raw(s);
	EVP_PKEY_CTX_free(ctx);
}

void op_set(const struct op_key *k, const char *group, uint32_t version, uint32_t mask, struct pcr_set *s,
	    void (*edit)(struct pcr_set *s))
{
	uint8_t hash[DIGEST_LEN];

	memset(s, 0, sizeof(*s));
	s->version = version;
	s->mask = mask;
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (mask >> i & 1)
			memcpy(s->pcr[i], seen.pcr[i], DIGEST_LEN);
	snprintf(s->text, sizeof(s->text), "boot %u", version);
	if (edit)
		edit(s);
	assert_int_equal(policy_set_hash(s, COUNTER, group, hash), 0);
	op_sign(k, hash, s);
}

void op_sets_add(struct op_sets *l, const struct pcr_set *s)
{
	struct buf b;

	buf_init(&b, l->mem + l->len, sizeof(l->mem) - l->len);
	assert_int_equal(pcr_set_encode(&b, s), 0);
	l->len += b.len;
}

static struct buf *put_open(struct request *q, const char *group, const struct op_sets *l)
{
	struct keeper_group_open m = {.root = store.s, .sets = l ? l->mem : NULL, .sets_len = l ? l->len : 0};
	struct buf *b = rig_request(&rig, q);

	snprintf(m.group, sizeof(m.group), "%s", group);
	assert_int_equal(keeper_group_open_encode(b, &m), 0);
	return b;
}

int ask_open_as(const char *group, const struct op_sets *l)
{
	struct request q;

	put_open(&q, group, l);
	return rig_ask(&rig, KEEPER_GROUP_OPEN, &q, &a);
}

int ask_open(const struct op_sets *l)
{
	return ask_open_as("default", l);
}

int ask_look(const struct op_sets *l, uint32_t least)
{
	struct request q;
	struct buf b;
	int code;

	assert_int_equal(buf_put_u32le(put_open(&q, "default", l), least), 0);
	code = rig_ask(&rig, KEEPER_POLICY_LOOK, &q, &a);
	buf_wrap(&b, a.r.result, a.r.result_len);
	if (!code)
		assert_int_equal(policy_look_decode(&b, &seen) || buf_left(&b), 0);
	return code;
}

int ask_seal(const struct op_sets *from, const struct policy *to, const struct op_sets *l)
{
	const struct keeper_policy_seal m = {.policy = *to, .sets = l ? l->mem : NULL, .sets_len = l ? l->len : 0};
	struct request q;
	int code;

	assert_int_equal(keeper_policy_seal_encode(put_open(&q, "default", from), &m), 0);
	code = rig_ask(&rig, KEEPER_POLICY_SEAL, &q, &a);
	if (!code)
		keep_root();
	return code;
}

int ask_raise(const struct op_sets *l, uint32_t version)
{
	struct request q;

	assert_int_equal(buf_put_u32le(put_open(&q, "default", l), version), 0);
	return rig_ask(&rig, KEEPER_POLICY_RAISE, &q, &a);
}

int ask_recover_begin(uint8_t nonce[static 64], size_t *len)
{
	struct request q;
	int code;

	put_open(&q, "default", NULL);
	code = rig_ask(&rig, KEEPER_RECOVER_BEGIN, &q, &a);
	if (code)
		return code;
	assert_true(a.r.result_len >= 16 && a.r.result_len <= 64);
	*len = a.r.result_len;
	memcpy(nonce, a.r.result, *len);
	return 0;
}

int ask_recover(const struct op_key *k, const char *group, const uint8_t *nonce, size_t len, uint32_t seconds)
{
	struct keeper_recover m = {.seconds = seconds};
	uint8_t hash[DIGEST_LEN];
	struct pcr_set s; /* for its signature */
	struct request q;
	int code;

	assert_int_equal(policy_recovery_hash(nonce, len, seconds, group, hash), 0);
	op_sign(k, hash, &s);
	m.scheme = s.scheme;
	m.signature = s.signature;
	m.signature_len = s.signature_len;
	assert_int_equal(keeper_recover_encode(put_open(&q, "default", NULL), &m), 0);
	code = rig_ask(&rig, KEEPER_RECOVER, &q, &a);
	if (!code && a.r.result_len)
		keep_root();
	return code;
}

void begin_signed(const struct op_key *signer, const struct op_key *recovery, uint32_t mask, struct op_sets *l)
{
	struct policy to = {.kind = POLICY_SIGNED, .counter = COUNTER, .flags = SEAL_INSECURE_PCRS, .signer = signer->policy};
	struct key_give give;
	struct pcr_set s;
	int fd;

	if (recovery)
		to.recovery = recovery->policy;
	begin(mask, SEAL_INSECURE_PCRS);
	fd = rig_link(&rig, 1);
	assert_int_equal(hand(&store.binding, store.wrapped, 1, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	memcpy(store.key, give.key, KEY_LEN);
	assert_int_equal(ask_look(NULL, 0), 0);
	l->len = 0;
	op_set(signer, "default", 1, mask, &s, NULL);
	op_sets_add(l, &s);
	assert_int_equal(ask_seal(NULL, &to, l), 0);
	assert_int_equal(store.s.policy.kind, POLICY_SIGNED);
	assert_int_equal(store.s.policy.mask, mask);
}

void expect_same_key(void)
{
	static uint64_t token = 1000;
	struct key_give give;
	int fd = rig_link(&rig, ++token);

	assert_int_equal(hand(&store.binding, store.wrapped, token, false), 0);
	expect_key(fd, &give);
	rig_expect_closed(fd);
	assert_memory_equal(give.key, store.key, KEY_LEN);
}

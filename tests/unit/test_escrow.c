/* SPDX-License-Identifier: BSD-2-Clause */
/* Envelopes, challenges and shares: what opens, what does not, and when it is too late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "vtpm-mgr/escrow/code.h"
#include "vtpm-mgr/keeper/escrow.h"
#include "vtpm-mgr/keeper/share.h"
#include "vtpm-mgr/keeper/wrap.h"

static const uint8_t secret[KEY_LEN] = "thirty-two bytes of a root key.";

static EVP_PKEY *key_of(const char *kind)
{
	EVP_PKEY *key = !strncmp(kind, "RSA-", 4) ? EVP_RSA_gen((unsigned)strtoul(kind + 4, NULL, 10)) : EVP_EC_gen(kind);

	assert_non_null(key);
	return key;
}

static void test_kinds_of_keys(void **state)
{
	static const struct {
		const char *kind;
		int want;
	} kinds[] = {{"RSA-1024", ERR_INVAL}, {"RSA-2048", 0}, {"RSA-4096", 0}, {"P-256", 0}, {"P-384", 0}, {"P-521", ERR_INVAL}, {"secp256k1", ERR_INVAL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		EVP_PKEY *key = key_of(kinds[i].kind), *back = NULL;
		uint8_t der[PUBKEY_MAX];
		size_t len = 0;

		assert_int_equal(envelope_check_key(key), kinds[i].want);
		if (!kinds[i].want) {
			assert_int_equal(envelope_key_encode(key, der, &len), 0);
			assert_int_equal(envelope_key_decode(der, len, &back), 0);
			EVP_PKEY_free(back);
			assert_int_equal(envelope_key_decode(der, len - 1, &back), ERR_INVAL);
			assert_null(back);
		}
		EVP_PKEY_free(key);
	}
}

/* Every bit of an envelope and of its context counts; so does each byte of its length. */
static void check_every_bit(EVP_PKEY *key)
{
	uint8_t mem[ENVELOPE_MAX], bent[ENVELOPE_MAX + 1], got[KEY_LEN], ctx[16] = "the context";
	struct buf out, context;

	buf_init(&out, mem, sizeof(mem));
	buf_wrap(&context, ctx, sizeof(ctx));
	assert_int_equal(envelope_seal(key, &context, secret, &out), 0);
	assert_int_equal(envelope_open(key, &context, mem, out.len, got), 0);
	assert_memory_equal(got, secret, KEY_LEN);
	for (size_t bit = 0; bit < 8 * out.len; bit += out.len > 300 ? 37 : 1) {
		memcpy(bent, mem, out.len);
		bent[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(got, 0, sizeof(got));
		assert_int_not_equal(envelope_open(key, &context, bent, out.len, got), 0);
		assert_memory_not_equal(got, secret, KEY_LEN);
	}
	for (size_t n = 0; n < out.len; n += out.len > 300 ? 29 : 1)
		assert_int_equal(envelope_open(key, &context, mem, n, got), ERR_AUTH);
	memcpy(bent, mem, out.len);
	bent[out.len] = 0;
	assert_int_equal(envelope_open(key, &context, bent, out.len + 1, got), ERR_AUTH);
	ctx[0] ^= 1;
	assert_int_equal(envelope_open(key, &context, mem, out.len, got), ERR_AUTH);
}

static void test_every_bit_counts(void **state)
{
	static const char *const kinds[] = {"RSA-2048", "P-256", "P-384"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		EVP_PKEY *key = key_of(kinds[i]);

		check_every_bit(key);
		EVP_PKEY_free(key);
	}
}

static void test_another_key(void **state)
{
	EVP_PKEY *mine = key_of("P-256"), *other = key_of("P-256"), *rsa = key_of("RSA-2048");
	uint8_t mem[ENVELOPE_MAX], got[KEY_LEN], ctx[1] = "";
	struct buf out, context;

	(void)state;
	buf_init(&out, mem, sizeof(mem));
	buf_wrap(&context, ctx, 0);
	assert_int_equal(envelope_seal(mine, &context, secret, &out), 0);
	assert_int_equal(envelope_open(other, &context, mem, out.len, got), ERR_NOTFOUND);
	assert_int_equal(envelope_open(rsa, &context, mem, out.len, got), ERR_NOTFOUND);
	EVP_PKEY_free(mine);
	EVP_PKEY_free(other);
	EVP_PKEY_free(rsa);
}

/* ---- challenges ---- */

static void answer(const struct challenge *c, const struct escrow_tag *tag, const uint8_t root[static KEY_LEN], uint8_t mem[static ENVELOPE_MAX],
		   struct root_restore *m)
{
	uint8_t ctx[ESCROW_CONTEXT_MAX];
	struct buf context, out;

	buf_init(&context, ctx, sizeof(ctx));
	buf_init(&out, mem, ENVELOPE_MAX);
	assert_int_equal(escrow_context(&context, tag, c->nonce), 0);
	assert_int_equal(envelope_seal(c->key, &context, root, &out), 0);
	*m = (struct root_restore){.tag = *tag, .envelope = mem, .envelope_len = out.len};
}

static void test_challenge(void **state)
{
	struct escrow_tag tag = {.what = ESCROW_ROOT, .group = "default"};
	struct challenge c = {0};
	uint8_t der[PUBKEY_MAX], mem[ENVELOPE_MAX], got[KEY_LEN];
	struct root_restore m;
	size_t len;

	(void)state;
	assert_int_equal(wrap_root_id(secret, tag.root_id), 0);
	memset(&m, 0, sizeof(m));
	assert_int_equal(challenge_open(&c, 0, &m, got), ERR_TIMEOUT); /* there is none */
	assert_int_equal(challenge_new(&c, 1000, der, &len), 0);
	answer(&c, &tag, secret, mem, &m);
	assert_int_equal(challenge_open(&c, 1000 + CHALLENGE_SECONDS - 1, &m, got), 0);
	assert_memory_equal(got, secret, KEY_LEN);
	assert_int_equal(challenge_open(&c, 1000, &m, got), ERR_TIMEOUT); /* each root once */
	m.tag.group[0] = 'D';
	assert_int_equal(challenge_open(&c, 1000, &m, got), ERR_AUTH); /* it is for another group */
	m.tag.group[0] = 'd';
	m.tag.root_id[0] ^= 1;
	assert_int_equal(challenge_open(&c, 1000, &m, got), ERR_AUTH);
	m.tag.root_id[0] ^= 1;
	assert_int_equal(challenge_open(&c, 1000 + CHALLENGE_SECONDS, &m, got), ERR_TIMEOUT);
	assert_int_equal(challenge_open(&c, 1000, &m, got), ERR_TIMEOUT); /* and stays so */
	assert_int_equal(challenge_new(&c, 1000, der, &len), 0);
	assert_int_equal(challenge_open(&c, 1000, &m, got), ERR_AUTH); /* the answer to the one before */
	challenge_end(&c);
}

/* A root that the tag does not name: anybody can encrypt to the keeper. */
static void test_another_root(void **state)
{
	struct escrow_tag tag = {.what = ESCROW_ROOT, .group = "default"};
	uint8_t other[KEY_LEN] = "another root", der[PUBKEY_MAX], mem[ENVELOPE_MAX], got[KEY_LEN], zero[KEY_LEN] = {0};
	struct challenge c = {0};
	struct root_restore m;
	size_t len;

	(void)state;
	assert_int_equal(wrap_root_id(secret, tag.root_id), 0);
	assert_int_equal(challenge_new(&c, 0, der, &len), 0);
	answer(&c, &tag, other, mem, &m);
	assert_int_equal(challenge_open(&c, 0, &m, got), ERR_AUTH);
	assert_memory_equal(got, zero, KEY_LEN); /* nothing of it is left */
	challenge_end(&c);
}

static void test_code(void **state)
{
	uint8_t nonce[CHALLENGE_NONCE_LEN] = {1}, der[PUBKEY_MAX] = {2};
	char one[CODE_STR_LEN + 1], two[CODE_STR_LEN + 1];

	(void)state;
	assert_int_equal(challenge_code(nonce, der, 91, one), 0);
	assert_int_equal(strlen(one), CODE_STR_LEN);
	der[90] ^= 1;
	assert_int_equal(challenge_code(nonce, der, 91, two), 0);
	assert_string_not_equal(one, two);
	der[90] ^= 1;
	nonce[31] ^= 1;
	assert_int_equal(challenge_code(nonce, der, 91, two), 0);
	assert_string_not_equal(one, two);
}

/* ---- shares ---- */

static void test_share(void **state)
{
	uint8_t nonce[CHALLENGE_NONCE_LEN] = {7}, der[PUBKEY_MAX], mem[ENVELOPE_MAX] = {0}, ctx[ESCROW_CONTEXT_MAX], got[KEY_LEN];
	struct share_exchange x = {0};
	struct buf context, out;
	EVP_PKEY *key;
	size_t len;

	(void)state;
	assert_int_equal(share_receive(&x, 0, "vault", mem, ENVELOPE_MIN, got), ERR_TIMEOUT);
	for (unsigned i = 0; i < 4; i++) {
		static const struct {
			const char *group;
			uint64_t when;
			int want;
		} tries[] = {{"vault", 0, 0}, {"other", 0, ERR_AUTH}, {"vault", SHARE_SECONDS, ERR_TIMEOUT}, {"vault", SHARE_SECONDS - 1, 0}};

		assert_int_equal(share_begin(&x, 0, nonce, der, &len), 0);
		assert_int_equal(envelope_key_decode(der, len, &key), 0);
		buf_init(&context, ctx, sizeof(ctx));
		buf_init(&out, mem, sizeof(mem));
		assert_int_equal(share_context(&context, nonce, "vault"), 0);
		assert_int_equal(envelope_seal(key, &context, secret, &out), 0);
		EVP_PKEY_free(key);
		assert_int_equal(share_receive(&x, tries[i].when, tries[i].group, mem, out.len, got), tries[i].want);
		assert_int_equal(share_receive(&x, 0, "vault", mem, out.len, got), ERR_TIMEOUT); /* used up, whatever came of it */
	}
}

static void test_wrong_shares_cost_time(void **state)
{
	const uint8_t vault[ROOT_ID_LEN] = "vault", other[ROOT_ID_LEN] = "other";
	static struct share_exchange x;
	uint64_t now = 100, want = SHARE_WAIT_MIN;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(share_must_wait(&x, vault, now), 0);
		share_tried(&x, vault, now, false);
		assert_int_equal(share_must_wait(&x, vault, now), want);
		assert_int_equal(share_must_wait(&x, vault, now + want - 1), 1);
		/* That of another root is nobody's who has this one's, and waits for nobody. */
		assert_int_equal(share_must_wait(&x, other, now), 0);
		share_tried(&x, other, now, true);
		assert_int_equal(share_must_wait(&x, vault, now), want);
		now += want;
		want = want * 2 > SHARE_WAIT_MAX ? SHARE_WAIT_MAX : want * 2;
	}
	share_tried(&x, vault, now, true);
	assert_int_equal(share_must_wait(&x, vault, now), 0);
	share_tried(&x, vault, now, false);
	assert_int_equal(share_must_wait(&x, vault, now), SHARE_WAIT_MIN);
}

/* However many roots are named: none is forgotten for another, and those that do not fit wait together. */
static void test_many_roots_are_tried(void **state)
{
	const uint8_t vault[ROOT_ID_LEN] = "vault";
	static struct share_exchange x;
	uint8_t id[ROOT_ID_LEN] = "many";

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		share_tried(&x, vault, 0, false);
	assert_int_equal(share_must_wait(&x, vault, 0), 256);
	for (unsigned i = 0; i < 200; i++) {
		id[8] = (uint8_t)i;
		share_tried(&x, id, 0, false);
		assert_true(share_must_wait(&x, id, 0) > 0);
	}
	assert_int_equal(share_must_wait(&x, vault, 0), 256);
	assert_int_equal(share_must_wait(&x, id, 0), SHARE_WAIT_MAX);
	id[8] = 201;
	assert_int_equal(share_must_wait(&x, id, 0), SHARE_WAIT_MAX);
	share_tried(&x, id, 0, true); /* of those that wait together a right one says nothing of the others */
	assert_int_equal(share_must_wait(&x, id, 0), SHARE_WAIT_MAX);
	share_tried(&x, vault, 0, true);
	assert_int_equal(share_must_wait(&x, vault, 0), 0);
}

static void test_two_shares(void **state)
{
	uint8_t a[KEY_LEN] = "the chip's", b[KEY_LEN] = "the person's", root[KEY_LEN], other[KEY_LEN];

	(void)state;
	assert_int_equal(wrap_combine(a, b, root), 0);
	assert_memory_not_equal(root, a, KEY_LEN);
	b[31] ^= 1;
	assert_int_equal(wrap_combine(a, b, other), 0);
	assert_memory_not_equal(root, other, KEY_LEN);
	b[31] ^= 1;
	assert_int_equal(wrap_combine(b, a, other), 0);
	assert_memory_not_equal(root, other, KEY_LEN);
	assert_int_equal(wrap_combine(a, b, a), 0); /* in place */
	assert_memory_equal(root, a, KEY_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds_of_keys), cmocka_unit_test(test_every_bit_counts), cmocka_unit_test(test_another_key),
		cmocka_unit_test(test_challenge),     cmocka_unit_test(test_another_root),     cmocka_unit_test(test_code),
		cmocka_unit_test(test_share),	      cmocka_unit_test(test_wrong_shares_cost_time), cmocka_unit_test(test_many_roots_are_tried), cmocka_unit_test(test_two_shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

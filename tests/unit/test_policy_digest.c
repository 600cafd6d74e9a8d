/* SPDX-License-Identifier: BSD-2-Clause */
/* Digests of policies, against what tpm2-tools had a TPM calculate; and how policies and sets are written down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "vtpm-mgr/proto/policy.h"

#define MASK (1u << 0 | 1u << 4)

static const char point[] = "ed6d602de6da30fe64b029af8be7ac265ccf36dd560b93b690456669f7a4d58e"
			    "a99a84b9cafcc9c65d78990b01ef9a7094c21142aaf28601170739948f9e9ec8";
static uint8_t pub[POLICY_KEY_MAX];
static struct policy p;
static struct pcr_set set;

static int group_setup(void **state)
{
	uint8_t xy[64];
	struct buf b;

	(void)state;
	assert_int_equal(hex_decode(point, xy, sizeof(xy)), 0);
	buf_init(&b, pub, sizeof(pub));
	assert_int_equal(policy_key_put_ecc(&b, xy, xy + 32), 0);
	p = (struct policy){.kind = POLICY_FIXED, .mask = MASK};
	memset(p.pcr[4], 1, DIGEST_LEN);
	p.recovery = p.signer = (struct policy_key){.pub = pub, .len = b.len};
	set = (struct pcr_set){.version = 3, .mask = MASK, .text = "a boot", .scheme = SCHEME_ECDSA, .signature = {5}, .signature_len = 64};
	memset(set.pcr[4], 1, DIGEST_LEN);
	return 0;
}

static void expect(const uint8_t *got, size_t n, const char *want)
{
	char hex[2 * POLICY_NAME_LEN + 1];

	assert_int_equal(hex_encode(got, n, hex, sizeof(hex)), 0);
	assert_string_equal(hex, want);
}

/* PCR 0 is zero and PCR 4 is 0x0101…: tpm2_policylocality zero, policypcr, policynv 3 ule, policyauthorize, policysigned, policyor. */
static void test_digests(void **state)
{
	uint8_t d[DIGEST_LEN], name[POLICY_NAME_LEN];
	struct policy q = p;

	(void)state;
	assert_int_equal(policy_key_name(&p.signer, name), 0);
	expect(name, sizeof(name), "000b703092e1de29dd5aa673b3bfbf903ce1dc64ebb203b5e38d6dc75005e33e7b1e");
	assert_int_equal(policy_counter_name(POLICY_COUNTER_DEFAULT, true, name), 0);
	expect(name, sizeof(name), "000b271fcc2cbefc7bf9029176a5cbc482cf7bced23be07f605a4132de7f6ebe8362");
	q.recovery.len = 0;
	assert_int_equal(policy_auth_digest(&q, "default", d), 0);
	expect(d, sizeof(d), "ef0d80bb3fd5aee694dc17f787b08819491404f50b82e753298216d835389aa6");
	assert_int_equal(policy_set_digest(&set, POLICY_COUNTER_DEFAULT, d), 0);
	expect(d, sizeof(d), "575735a9d7bde9f82ba380bedf86606f40f064d6dabb1c2b0fdee249b6d1dcd3");
	q.kind = POLICY_SIGNED;
	assert_int_equal(policy_auth_digest(&q, "default", d), 0);
	expect(d, sizeof(d), "a88522b4bcaa7e72ca31f9ac107da205f7cd9f1db6f3c707aa6f4b12173106bd");
	q.recovery = p.recovery;
	assert_int_equal(policy_recovery_branch(&q, "default", d), 0);
	expect(d, sizeof(d), "aa8b61379f2a91a70b67de63feb959528a79d5316ce444a80a5881a4cd52085c");
	assert_int_equal(policy_auth_digest(&q, "default", d), 0);
	expect(d, sizeof(d), "a25a431c0de1442f44f4a7e47793a6461d1fc96b6db1e5b8c83e84c07a27bb52");
}

/* What is signed for one group, counter, version or value is signed for no other. */
static void test_hashes_differ(void **state)
{
	uint8_t d[6][DIGEST_LEN];
	struct pcr_set s = set;

	(void)state;
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "default", d[0]), 0);
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "defaul", d[1]), 0);
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT + 1, "default", d[2]), 0);
	s.version++;
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "default", d[3]), 0);
	s = set, s.pcr[4][31] ^= 1;
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "default", d[4]), 0);
	s = set, s.mask |= 2;
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "default", d[5]), 0);
	for (size_t i = 0; i < ARRAY_LEN(d); i++)
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(d[i], d[j], DIGEST_LEN);
	s = set, strcpy(s.text, "called otherwise");
	assert_int_equal(policy_set_hash(&s, POLICY_COUNTER_DEFAULT, "default", d[1]), 0);
	assert_memory_equal(d[0], d[1], DIGEST_LEN);
	assert_int_equal(policy_recovery_hash(d[1], 32, 60, "default", d[0]), 0);
	assert_int_equal(policy_recovery_hash(d[1], 32, 61, "default", d[2]), 0);
	assert_int_equal(policy_recovery_hash(d[1], 31, 60, "default", d[3]), 0);
	assert_memory_not_equal(d[0], d[2], DIGEST_LEN);
	assert_memory_not_equal(d[0], d[3], DIGEST_LEN);
}

static void test_pcrs(void **state)
{
	uint8_t pcr[PCR_COUNT][DIGEST_LEN] = {{0}}, b[PCR_COUNT][DIGEST_LEN];

	(void)state;
	memset(pcr[4], 1, DIGEST_LEN);
	assert_int_equal(policy_default_mask(pcr), 0x95);
	pcr[11][3] = 1;
	assert_int_equal(policy_default_mask(pcr), 0x895);
	assert_int_equal(policy_empty_pcr(1u << 4 | 1u << 11, pcr), -1);
	assert_int_equal(policy_empty_pcr(1u << 4 | 1u << 5, pcr), 5);
	memset(pcr[17], 0xff, DIGEST_LEN);
	assert_int_equal(policy_empty_pcr(1u << 17, pcr), 17);
	memcpy(b, pcr, sizeof(b));
	b[11][0] = 9;
	assert_int_equal(policy_differing_pcr(0x895, pcr, b), 11);
	assert_int_equal(policy_differing_pcr(0x95, pcr, b), -1);
}

static void test_set_code(void **state)
{
	uint8_t mem[PCR_SET_ENCODED_MAX];
	struct pcr_set s;
	struct buf b, in;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(pcr_set_encode(&b, &set), 0);
	assert_int_equal(pcr_set_decode(&b, &s), 0);
	assert_int_equal(buf_left(&b), 0);
	assert_memory_equal(&s, &set, sizeof(s));
	for (size_t n = 0; n < b.len; n++) {
		buf_wrap(&in, mem, n);
		assert_int_equal(pcr_set_decode(&in, &s), ERR_PROTO);
	}
	mem[7] = 1; /* a PCR beyond the last */
	buf_wrap(&in, mem, b.len);
	assert_int_equal(pcr_set_decode(&in, &s), ERR_PROTO);
}

static void test_policy_code(void **state)
{
	uint8_t mem[POLICY_ENCODED_MAX];
	struct policy q = p, r;
	struct buf b, in;

	(void)state;
	q.kind = POLICY_SIGNED;
	q.counter = POLICY_COUNTER_DEFAULT;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(policy_encode(&b, &q), 0);
	assert_int_equal(policy_decode(&b, &r), 0);
	assert_int_equal(buf_left(&b), 0);
	assert_memory_equal(r.signer.pub, pub, r.signer.len);
	for (size_t n = 0; n < b.len; n++) {
		buf_wrap(&in, mem, n);
		assert_int_equal(policy_decode(&in, &r), ERR_PROTO);
	}
	for (size_t i = 0; i < 8 * 20; i++) { /* what stands before a key's numbers is the template */
		pub[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_false(policy_key_valid(&p.signer));
		pub[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	q.kind = POLICY_FIXED;
	b.len = b.pos = 0;
	assert_int_equal(policy_encode(&b, &q), 0);
	assert_int_equal(policy_decode(&b, &r), ERR_PROTO); /* a fixed one has no counter and no policy key */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digests),	 cmocka_unit_test(test_hashes_differ), cmocka_unit_test(test_pcrs),
		cmocka_unit_test(test_set_code), cmocka_unit_test(test_policy_code),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}

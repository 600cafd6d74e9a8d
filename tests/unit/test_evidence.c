/* SPDX-License-Identifier: BSD-2-Clause */
/* The format of evidence: what is encoded is decoded, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "attest/evidence.h"
#include "attest/item.h"

static uint8_t filler[EVIDENCE_HOST_LOG_MAX];

#define VIEW(len) ((struct evidence_view){filler, (len)})
#define SIGNED	  ((struct evidence_signed){VIEW(145), VIEW(72)})

static struct binding binding_of(void)
{
	struct binding b = {.nonce = filler,
			    .nonce_len = 32,
			    .epoch = 3,
			    .mode = EVIDENCE_BOUNDED,
			    .discontinuities = 70000,
			    .version = UINT64_MAX,
			    .nlaunch = 1};

	memset(b.uuid, 0x11, sizeof(b.uuid));
	memset(b.anchor, 0x22, sizeof(b.anchor));
	memset(b.launch, 0x33, sizeof(b.launch[0]));
	memset(b.attached, 0x44, sizeof(b.attached));
	return b;
}

static struct evidence evidence_of(void)
{
	return (struct evidence){
		.inner = {SIGNED, VIEW(16 * 32)},
		.ak = {VIEW(88), VIEW(600)},
		.ek = {VIEW(122), VIEW(0)},
		.binding = VIEW(250),
		.index = 5,
		.count = 7,
		.proof = VIEW(64),
		.outer = {SIGNED, VIEW(12 * 32)},
		.anchor = SIGNED,
		.anchor_pub = VIEW(14),
		.host_ak = VIEW(88),
		.ca = {VIEW(88), VIEW(400)},
		.ca_certify = SIGNED,
		.ca_creation = VIEW(100),
		.ca_created = SIGNED,
		.chain = {VIEW(900), VIEW(800)},
		.nchain = 2,
		.guest_log = VIEW(3000),
		.host_log = VIEW(40000),
	};
}

static size_t encode(const struct evidence *e, uint8_t *mem, size_t cap)
{
	struct buf b;

	buf_init(&b, mem, cap);
	assert_int_equal(evidence_encode(e, &b), 0);
	return b.len;
}

static void test_binding_round(void **state)
{
	struct binding in = binding_of(), out;
	uint8_t mem[EVIDENCE_BINDING_MAX + 1], again[EVIDENCE_BINDING_MAX];
	struct buf b, c;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(binding_encode(&in, &b), 0);
	assert_int_equal(binding_decode(mem, b.len, &out), 0);
	assert_int_equal(out.nonce_len, in.nonce_len);
	assert_true(out.version == in.version && out.discontinuities == in.discontinuities && out.epoch == in.epoch);
	assert_true(out.mode == in.mode && out.nlaunch == 1);
	assert_memory_equal(out.launch[0], in.launch[0], EVIDENCE_DIGEST);
	assert_memory_equal(out.attached, in.attached, EVIDENCE_DIGEST);
	buf_init(&c, again, sizeof(again));
	assert_int_equal(binding_encode(&out, &c), 0);
	assert_int_equal(c.len, b.len);
	assert_memory_equal(again, mem, c.len);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(binding_decode(mem, n, &out), ERR_PROTO);
	mem[b.len] = 0;
	assert_int_equal(binding_decode(mem, b.len + 1, &out), ERR_PROTO);
}

static void test_binding_bounds(void **state)
{
	uint8_t mem[EVIDENCE_BINDING_MAX];
	struct binding in = binding_of();
	struct buf b;

	(void)state;
	buf_init(&b, mem, sizeof(mem));
	in.nonce_len = EVIDENCE_NONCE_MIN - 1;
	assert_int_equal(binding_encode(&in, &b), ERR_RANGE);
	in.nonce_len = EVIDENCE_NONCE_MAX + 1;
	buf_reset(&b);
	assert_int_equal(binding_encode(&in, &b), ERR_RANGE);
	in = binding_of();
	in.mode = (enum evidence_mode)4;
	buf_reset(&b);
	assert_int_equal(binding_encode(&in, &b), ERR_RANGE);
}

static void test_evidence_round(void **state)
{
	uint8_t *mem = malloc(EVIDENCE_MAX), *again = malloc(EVIDENCE_MAX);
	struct evidence in = evidence_of(), out;
	size_t n;

	(void)state;
	n = encode(&in, mem, EVIDENCE_MAX);
	assert_int_equal(evidence_decode(mem, n, &out), 0);
	assert_int_equal(out.nchain, 2);
	assert_int_equal(out.host_log.n, in.host_log.n);
	assert_int_equal(out.proof.n, 64);
	assert_int_equal(encode(&out, again, EVIDENCE_MAX), n);
	assert_memory_equal(again, mem, n);
	for (size_t i = 0; i < n; i += i < 6000 ? 1 : 997) /* every truncation that lies in the core */
		assert_int_equal(evidence_decode(mem, i, &out), ERR_PROTO);
	mem[n] = 0;
	assert_int_equal(evidence_decode(mem, n + 1, &out), ERR_PROTO);
	in.guest_log.n = 0;
	n = encode(&in, mem, EVIDENCE_MAX);
	assert_int_equal(evidence_decode(mem, n, &out), 0);
	assert_true(!out.guest_log.n && out.host_log.n);
	free(mem);
	free(again);
}

static void test_evidence_bounds(void **state)
{
	uint8_t *mem = malloc(EVIDENCE_MAX);
	struct evidence in = evidence_of();
	struct buf b;

	(void)state;
	in.ca_creation.n = 0;
	buf_init(&b, mem, EVIDENCE_MAX);
	assert_int_equal(evidence_encode(&in, &b), ERR_RANGE);
	in = evidence_of();
	in.nchain = EVIDENCE_CHAIN_MAX;
	for (size_t i = 0; i < EVIDENCE_CHAIN_MAX; i++)
		in.chain[i] = VIEW(EVIDENCE_CERT_MAX); /* 16 KiB by themselves */
	buf_reset(&b);
	assert_int_equal(evidence_encode(&in, &b), ERR_RANGE);
	in = evidence_of();
	in.inner.pcrs.n = 33;
	buf_reset(&b);
	assert_int_equal(evidence_encode(&in, &b), ERR_RANGE);
	free(mem);
}

/* How the CA key was made: TPMS_CREATION_DATA, TPMS_ATTEST and signature, none of which may be empty, nor all of them. */
static void test_no_creation(void **state)
{
	static const uint8_t byte[] = {0xc4}, all[] = {0x41, 0xc4, 0x41, 0xc4, 0x41, 0xc4};
	const struct evidence_view one = {byte, 1};
	uint8_t *mem = malloc(EVIDENCE_MAX), *at;
	struct evidence in = evidence_of(), out;
	size_t n;

	(void)state;
	in.ca_creation = one;
	in.ca_created = (struct evidence_signed){one, one};
	for (unsigned gone = 0; gone < 8; gone++) {
		n = encode(&in, mem, EVIDENCE_MAX);
		at = memmem(mem, n, all, sizeof(all));
		assert_non_null(at);
		for (unsigned i = 0; i < 3; i++) {
			if (!(gone >> i & 1)) {
				at += 2;
				continue;
			}
			*at++ = 0x40;
			memmove(at, at + 1, (size_t)(mem + n - at - 1));
			n--;
		}
		assert_int_equal(evidence_decode(mem, n, &out), gone ? ERR_PROTO : 0);
	}
	free(mem);
}

/* Forms of CBOR that say the same and are not the one that is permitted. */
static void test_not_deterministic(void **state)
{
	static const struct {
		const char *what;
		uint8_t bytes[12];
		size_t n;
	} bad[] = {
		{"5 in two bytes", {0x18, 5}, 2},
		{"200 in three", {0x19, 0, 200}, 3},
		{"70000 in nine", {0x1b, 0, 0, 0, 0, 0, 1, 0x11, 0x70}, 9},
		{"negative", {0x20}, 1},
		{"float", {0xf9, 0x3c, 0}, 3},
		{"tagged", {0xc1, 5}, 2},
		{"null", {0xf6}, 1},
		{"reserved", {0x1c}, 1},
		{"cut", {0x19, 1}, 2},
	};
	struct buf b;
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_wrap(&b, bad[i].bytes, bad[i].n);
		if (item_get_uint(&b, UINT64_MAX, &v) != ERR_PROTO || b.pos != 0)
			fail_msg("%s was read as a number", bad[i].what);
	}
}

static void test_not_deterministic_bytes(void **state)
{
	static const struct {
		const char *what;
		uint8_t bytes[12];
		size_t n;
	} bad[] = {
		{"length in two bytes", {0x58, 2, 1, 1}, 4},
		{"indefinite", {0x5f, 0x41, 1, 0xff}, 4},
		{"text", {0x62, 'a', 'b'}, 3},
		{"longer than what is there", {0x43, 1, 1}, 3},
		{"length near the end of numbers", {0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 10},
		{"length near the end of numbers, again", {0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf7, 1}, 10},
	};
	const uint8_t *p;
	struct buf b;
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_wrap(&b, bad[i].bytes, bad[i].n);
		if (item_get_bytes(&b, 0, SIZE_MAX, &p, &n) != ERR_PROTO || b.pos != 0)
			fail_msg("%s was read as bytes", bad[i].what);
	}
	buf_wrap(&b, (const uint8_t[]){0x9f, 0xff}, 2);
	assert_int_equal(item_get_array(&b, 0, 9, &n), ERR_PROTO);
	buf_wrap(&b, (const uint8_t[]){0xbf, 0xff}, 2);
	assert_int_equal(item_get_map(&b, 0, 9, &n), ERR_PROTO);
}

/* Keys out of order, twice, or unknown. */
static void test_keys(void **state)
{
	uint8_t *mem = malloc(EVIDENCE_MAX);
	struct evidence in = evidence_of(), out;
	size_t n, at;

	(void)state;
	in.guest_log.n = in.host_log.n = 4;
	n = encode(&in, mem, EVIDENCE_MAX);
	at = n - 12; /* 0b 44 .. .. .. .. 0c 44 .. .. .. .. */
	assert_int_equal(mem[at], 11);
	mem[at] = 12;
	assert_int_equal(evidence_decode(mem, n, &out), ERR_PROTO); /* twice */
	mem[at + 6] = 11;
	assert_int_equal(evidence_decode(mem, n, &out), ERR_PROTO); /* the wrong way round */
	mem[at] = 11;
	assert_int_equal(evidence_decode(mem, n, &out), ERR_PROTO); /* twice */
	mem[at + 6] = 13;
	assert_int_equal(evidence_decode(mem, n, &out), ERR_PROTO); /* unknown */
	mem[at + 6] = 12;
	assert_int_equal(evidence_decode(mem, n, &out), 0);
	mem[2] = 2;
	assert_int_equal(evidence_decode(mem, n, &out), ERR_VERSION);
	free(mem);
}

#define LEAVES 40u

static void sha256(const void *p, size_t n, uint8_t *out)
{
	assert_int_equal(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL), 1);
}

/* RFC 6962, 2.1 and 2.1.1, as they are written: recursive. */
static void mth(const uint8_t (*leaf)[32], size_t n, uint8_t *out)
{
	uint8_t mem[65] = {1};
	size_t k = 1;

	if (n == 1) {
		memcpy(out, leaf[0], 32);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	mth(leaf, k, mem + 1);
	mth(leaf + k, n - k, mem + 33);
	sha256(mem, sizeof(mem), out);
}

static size_t path(const uint8_t (*leaf)[32], size_t n, size_t m, uint8_t *out)
{
	size_t k = 1, len;

	if (n == 1)
		return 0;
	while (k * 2 < n)
		k *= 2;
	len = m < k ? path(leaf, k, m, out) : path(leaf + k, n - k, m - k, out);
	if (m < k)
		mth(leaf + k, n - k, out + len);
	else
		mth(leaf, k, out + len);
	return len + 32;
}

static void test_proofs(void **state)
{
	uint8_t leaf[LEAVES][32], root[32], is[32], siblings[16 * 32];

	(void)state;
	for (uint8_t i = 0; i < LEAVES; i++)
		assert_int_equal(evidence_leaf(&i, 1, leaf[i]), 0);
	for (size_t n = 1; n <= LEAVES; n++) {
		mth(leaf, n, root);
		for (size_t m = 0; m < n; m++) {
			struct evidence_view v = {siblings, path(leaf, n, m, siblings)};

			assert_int_equal(evidence_root(leaf[m], m, n, &v, is), 0);
			assert_memory_equal(is, root, 32);
			assert_int_equal(evidence_root(leaf[m], n, n, &v, is), ERR_PROTO);
			v.n += 32;
			assert_int_equal(evidence_root(leaf[m], m, n, &v, is), ERR_PROTO); /* longer */
			v.n -= 32;
			if (!v.n)
				continue;
			siblings[0] ^= 1;
			assert_int_equal(evidence_root(leaf[m], m, n, &v, is), 0);
			assert_memory_not_equal(is, root, 32);
			v.n -= 32;
			assert_int_equal(evidence_root(leaf[m], m, n, &v, is), ERR_PROTO); /* shorter */
		}
	}
}

/* Computed elsewhere, with Python's hashlib. */
static void test_data(void **state)
{
	static const uint8_t inner[32] = {
		0x46, 0x08, 0xed, 0x13, 0xdc, 0x1e, 0x17, 0x81, 0xdb, 0xed, 0x95, 0x7b, 0xcc, 0xbc, 0x9f, 0x0f,
		0xf1, 0xa5, 0xbb, 0x3e, 0xce, 0x53, 0x79, 0x3c, 0xef, 0x63, 0x41, 0xe9, 0xb7, 0x2f, 0xd6, 0x15,
	};
	static const uint8_t outer[32] = {
		0x23, 0xb9, 0x59, 0x2b, 0x7a, 0x68, 0xaf, 0x1a, 0x42, 0xc5, 0x6b, 0x7a, 0xd7, 0x26, 0xaa, 0x9b,
		0x1f, 0xc1, 0x97, 0xb2, 0xac, 0x4b, 0x24, 0x20, 0x9e, 0x1e, 0x5c, 0xd9, 0x87, 0x9b, 0x3e, 0x1d,
	};
	static const uint8_t nonce[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct binding b = {.nonce = nonce, .nonce_len = sizeof(nonce), .epoch = 0x0102};
	uint8_t is[32], root[32], name[34];

	(void)state;
	memset(b.uuid, 0xaa, sizeof(b.uuid));
	memset(b.ek_name, 0xbb, sizeof(b.ek_name));
	memset(b.ak_name, 0xcc, sizeof(b.ak_name));
	assert_int_equal(evidence_inner_data(&b, is), 0);
	assert_memory_equal(is, inner, 32);
	memset(root, 0xdd, sizeof(root));
	memset(name, 0xee, sizeof(name));
	assert_int_equal(evidence_outer_data(root, 7, name, is), 0);
	assert_memory_equal(is, outer, 32);
}

static void test_attached(void **state)
{
	struct evidence e = evidence_of();
	uint8_t first[32], is[32], log[32];

	(void)state;
	e.ek.cert = VIEW(3);
	assert_int_equal(evidence_attached(&e, NULL, first), 0);
	sha256(e.host_log.p, e.host_log.n, log);
	assert_int_equal(evidence_attached(&e, log, is), 0);
	assert_memory_equal(is, first, 32);
	e.host_log.n--;
	assert_int_equal(evidence_attached(&e, NULL, is), 0);
	assert_memory_not_equal(is, first, 32);
	e = evidence_of();
	assert_int_equal(evidence_attached(&e, NULL, is), 0);
	assert_memory_not_equal(is, first, 32);
	e.ek.cert = VIEW(3);
	e.nchain = 1;
	assert_int_equal(evidence_attached(&e, NULL, is), 0);
	assert_memory_not_equal(is, first, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binding_round),	 cmocka_unit_test(test_binding_bounds),
		cmocka_unit_test(test_evidence_round),	 cmocka_unit_test(test_evidence_bounds),
		cmocka_unit_test(test_not_deterministic), cmocka_unit_test(test_not_deterministic_bytes),
		cmocka_unit_test(test_keys),		 cmocka_unit_test(test_proofs),
		cmocka_unit_test(test_data),		 cmocka_unit_test(test_attached),
		cmocka_unit_test(test_no_creation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

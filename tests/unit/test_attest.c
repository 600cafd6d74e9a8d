/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence as the manager makes it, of one vTPM among many: what a verifier decodes leads to the root that the host quotes over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vtpm-mgr/attest.h"

#define MANY 70u

static struct merkle tree;
static struct attest_identity id;
static struct host_quote host;
static uint8_t anchor[DIGEST_LEN] = { 0xaa };
static const uint8_t bytes[64] = "what a TPM has said";

/* A TPM2B_PUBLIC as far as a Name needs one: type, nameAlg, and something. */
static void put_public(uint8_t *out, size_t *len, size_t cap, uint8_t tag)
{
	struct buf b;

	buf_init(&b, out, cap);
	assert_int_equal(buf_put_u16be(&b, 6) | buf_put_u16be(&b, 0x23) | buf_put_u16be(&b, 0x0b) | buf_put_u8(&b, tag) | buf_put_u8(&b, 1), 0);
	*len = b.len;
}

static struct attest_request *request(unsigned n, struct store_vtpm *row)
{
	struct attest_request *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	memset(row, 0, sizeof(*row));
	row->uuid[0] = (uint8_t)(n + 1);
	put_public(row->ek_public[EK_RSA2048].data, &row->ek_public[EK_RSA2048].len, CERT_MAX, 1);
	put_public(row->ek_public[EK_ECC_P256].data, &row->ek_public[EK_ECC_P256].len, CERT_MAX, 2);
	row->cert[EK_ECC_P256].len = 3;
	memcpy(row->cert[EK_ECC_P256].data, "ek2", 3);
	put_public(r->certs.ak_public, &r->certs.ak_public_len, PUBLIC_MAX, (uint8_t)n);
	r->certs.ak_cert_len = 5;
	r->binding.nonce = r->nonce;
	r->binding.nonce_len = 8;
	r->nonce[0] = (uint8_t)n;
	r->binding.epoch = n;
	r->attest_len = r->sig_len = 20;
	memset(r->attest, (int)n, r->attest_len);
	return r;
}

static struct enrolment enrolled(void)
{
	return (struct enrolment){ .pub = bytes, .pub_len = 40, .priv = bytes, .priv_len = 1, .attest = bytes, .attest_len = 30, .sig = bytes,
				   .sig_len = 20, .creation = bytes, .creation_len = 10, .creation_attest = bytes, .creation_attest_len = 30,
				   .creation_sig = bytes, .creation_sig_len = 20 };
}

static struct ca_key ca_made(void)
{
	return (struct ca_key){ .pub = bytes, .pub_len = 30, .priv = bytes, .priv_len = 1, .auth = bytes, .auth_len = 1, .cert = bytes,
				.cert_len = 50, .creation = bytes, .creation_len = 10 };
}

static int setup(void **state)
{
	static uint8_t record[ENROLMENT_MAX];
	const struct enrolment e = enrolled();
	const struct ca_key ca = ca_made();
	struct buf b;

	(void)state;
	assert_int_equal(merkle_init(&tree), 0);
	buf_init(&b, record, sizeof(record));
	assert_int_equal(enrolment_encode(&b, &e), 0);
	memcpy(id.record, record, b.len);
	id.record_len = b.len;
	buf_init(&b, id.ca, sizeof(id.ca));
	assert_int_equal(ca_key_encode(&b, &ca), 0);
	id.ca_len = b.len;
	id.ek_cert_len = 4;
	memcpy(id.ek_cert, "chip", 4);
	host = (struct host_quote){ .attest = bytes, .attest_len = 40, .sig = bytes, .sig_len = 20, .pcrs = bytes, .pcrs_len = 32, .anchor = bytes,
				    .anchor_len = 40, .anchor_sig = bytes, .anchor_sig_len = 20, .anchor_public = bytes,
				    .anchor_public_len = NV_PUBLIC_LEN };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	merkle_free(&tree);
	return 0;
}

/* Of n vTPMs, the one at a place: what is decoded is bound to the root, and to nobody else's place. */
static void look(const struct attest_request *r, size_t at, size_t n, const uint8_t root[static DIGEST_LEN])
{
	static uint8_t mem[EVIDENCE_CORE_MAX];
	uint8_t leaf[DIGEST_LEN], got[DIGEST_LEN], attached[DIGEST_LEN];
	struct evidence e;
	struct binding b;
	struct buf out;

	buf_init(&out, mem, sizeof(mem));
	assert_int_equal(attest_make(r, &id, &tree, at, &host, &out), 0);
	assert_int_equal(evidence_decode(out.data, out.len, &e), 0);
	assert_int_equal(binding_decode(e.binding.p, e.binding.n, &b), 0);
	assert_int_equal(e.index, at);
	assert_int_equal(e.count, n);
	assert_int_equal(evidence_leaf(e.binding.p, e.binding.n, leaf), 0);
	assert_int_equal(evidence_root(leaf, e.index, e.count, &e.proof, got), 0);
	assert_memory_equal(got, root, DIGEST_LEN);
	if (n > 1 && !evidence_root(leaf, at ? at - 1 : at + 1, e.count, &e.proof, got))
		assert_memory_not_equal(got, root, DIGEST_LEN);
	assert_int_equal(evidence_attached(&e, NULL, attached), 0);
	assert_memory_equal(attached, b.attached, DIGEST_LEN);
	assert_memory_equal(b.anchor, anchor, DIGEST_LEN);
	assert_int_equal(b.nonce[0], at);
	assert_int_equal(b.epoch, at);
	assert_int_equal(b.uuid[0], at + 1);
	assert_int_equal(b.version, 7);
	assert_int_equal(b.discontinuities, 3);
	assert_int_equal(b.mode, at % 2 ? EVIDENCE_STRICT : EVIDENCE_BOUNDED);
	assert_int_equal(e.ek.cert.n, 3); /* ECC is preferred */
}

static void test_each_of_many(void **state)
{
	uint8_t hashes[MANY][DIGEST_LEN], root[DIGEST_LEN];
	struct attest_request *r[MANY];
	struct store_vtpm *row = calloc(1, sizeof(*row));

	(void)state;
	assert_non_null(row);
	for (unsigned i = 0; i < MANY; i++) {
		const struct store_leaf leaf = { .version = 7, .discontinuities = 3, .mode = i % 2 ? MODE_STRICT : MODE_BOUNDED };

		r[i] = request(i, row);
		assert_int_equal(attest_identify(r[i], row), 0);
		assert_int_equal(attest_binding(r[i], &id, &leaf, anchor, &tree, hashes[i]), 0);
	}
	for (unsigned n = 1; n <= MANY; n++) {
		assert_int_equal(merkle_build(&tree, n, (const uint8_t(*)[DIGEST_LEN])hashes), 0);
		assert_int_equal(merkle_root(&tree, root), 0);
		for (unsigned i = 0; i < n; i++)
			look(r[i], i, n, root);
	}
	for (unsigned i = 0; i < MANY; i++)
		free(r[i]);
	free(row);
}

static const uint8_t launch_log[] = "what was measured";

/* The only piece of evidence under its root, of a vTPM that was launched by that log; views of memory that is there until the next. */
static void make_launched(bool by_guest, const struct attest_identity *host_id, struct evidence *e, struct binding *b)
{
	static uint8_t mem[EVIDENCE_CORE_MAX];
	struct store_vtpm *row = calloc(1, sizeof(*row));
	struct attest_request *r = request(1, row);
	uint8_t hash[1][DIGEST_LEN], digest[DIGEST_LEN];
	struct buf out;

	r->by_guest = by_guest;
	assert_int_equal(leaf_hash(launch_log, sizeof(launch_log), digest), 0);
	assert_int_equal(attest_identify(r, row), 0);
	assert_int_equal(attest_launched(r, digest, launch_log, sizeof(launch_log)), 0);
	assert_int_equal(attest_binding(r, host_id, &(struct store_leaf){ .version = 1 }, anchor, &tree, hash[0]), 0);
	assert_int_equal(merkle_build(&tree, 1, (const uint8_t(*)[DIGEST_LEN])hash), 0);
	buf_init(&out, mem, sizeof(mem));
	assert_int_equal(attest_make(r, host_id, &tree, 0, &host, &out), 0);
	assert_int_equal(evidence_decode(out.data, out.len, e), 0);
	assert_int_equal(binding_decode(e->binding.p, e->binding.n, b), 0);
	assert_int_equal(b->nlaunch, 1);
	assert_memory_equal(b->launch[0], digest, DIGEST_LEN);
	free(r->log);
	free(r);
	free(row);
}

/* Its log is what the digest in the binding is of. */
static void test_launched(void **state)
{
	struct evidence e;
	struct binding b;

	(void)state;
	make_launched(false, &id, &e, &b);
	assert_int_equal(e.guest_log.n, sizeof(launch_log));
	assert_memory_equal(e.guest_log.p, launch_log, sizeof(launch_log));
}

/* Its guest asks: neither log goes along, the launch is named all the same, and what the binding has of attachments is without them. */
static void test_by_its_guest(void **state)
{
	struct attest_identity logged = id;
	uint8_t digest[DIGEST_LEN];
	struct evidence e;
	struct binding b;

	(void)state;
	logged.log = launch_log;
	logged.log_len = sizeof(launch_log);
	assert_int_equal(leaf_hash(logged.log, logged.log_len, logged.log_hash), 0);
	make_launched(true, &logged, &e, &b);
	assert_int_equal(e.guest_log.n + e.host_log.n, 0);
	assert_int_equal(evidence_attached(&e, NULL, digest), 0);
	assert_memory_equal(b.attached, digest, DIGEST_LEN);
}

static void test_what_is_missing(void **state)
{
	struct store_vtpm *row = calloc(1, sizeof(*row));
	struct attest_request *r = request(1, row);

	(void)state;
	assert_int_equal(attest_identify(r, row), 0);
	r->certs.ak_cert_len = 0;
	assert_int_equal(attest_identify(r, row), ERR_NOTFOUND);
	r->certs.ak_cert_len = 5;
	row->ek_public[EK_ECC_P256].len = 0;
	assert_int_equal(attest_identify(r, row), 0); /* the RSA one */
	row->ek_public[EK_RSA2048].data[0] = 1; /* not its size */
	assert_int_equal(attest_identify(r, row), ERR_AUTH);
	row->ek_public[EK_RSA2048].len = 0;
	assert_int_equal(attest_identify(r, row), ERR_NOTFOUND);
	free(r);
	free(row);
}

static void test_damaged_identity(void **state)
{
	struct attest_request *r;
	struct store_vtpm *row = calloc(1, sizeof(*row));
	struct attest_identity bad = id;
	uint8_t hash[1][DIGEST_LEN], mem[EVIDENCE_CORE_MAX];
	struct buf out;

	(void)state;
	r = request(1, row);
	assert_int_equal(attest_identify(r, row), 0);
	assert_int_equal(attest_binding(r, &id, &(struct store_leaf){ .version = 1 }, anchor, &tree, hash[0]), 0);
	assert_int_equal(merkle_build(&tree, 1, (const uint8_t(*)[DIGEST_LEN])hash), 0);
	bad.record_len--;
	buf_init(&out, mem, sizeof(mem));
	assert_int_equal(attest_make(r, &bad, &tree, 0, &host, &out), ERR_AUTH);
	bad = id;
	bad.ca_len = 3;
	assert_int_equal(attest_make(r, &bad, &tree, 0, &host, &out), ERR_AUTH);
	assert_int_equal(attest_make(r, &id, &tree, 1, &host, &out), ERR_RANGE);
	free(r);
	free(row);
}

/* How the CA key came to be is part of both records. */
static void test_creation(void **state)
{
	struct enrolment e;
	size_t *const parts[] = { &e.creation_len, &e.creation_attest_len, &e.creation_sig_len };
	struct ca_key ca = ca_made();
	uint8_t mem[CA_KEY_MAX + ENROLMENT_MAX];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		e = enrolled();
		*parts[i] = 0;
		buf_init(&b, mem, sizeof(mem));
		assert_int_equal(enrolment_encode(&b, &e), 0);
		assert_int_equal(enrolment_decode(&b, &e), ERR_PROTO);
	}
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(ca_key_encode(&b, &ca), 0);
	assert_int_equal(ca_key_decode(&b, &ca), 0);
	ca.creation_len = 0;
	buf_init(&b, mem, sizeof(mem));
	assert_int_equal(ca_key_encode(&b, &ca), 0);
	assert_int_equal(ca_key_decode(&b, &ca), ERR_PROTO);
	buf_wrap(&b, mem, b.len - 4); /* and with nothing in its place */
	assert_int_equal(ca_key_decode(&b, &ca), ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_of_many),
		cmocka_unit_test(test_launched),
		cmocka_unit_test(test_by_its_guest),
		cmocka_unit_test(test_what_is_missing),
		cmocka_unit_test(test_damaged_identity),
		cmocka_unit_test(test_creation),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

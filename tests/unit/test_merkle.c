/* SPDX-License-Identifier: BSD-2-Clause */
/* The Merkle tree against RFC 6962's definition, and the leaves on top of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/store_fixture.h"
#include "vtpm-mgr/leaves.h"

#define MANY 300u

static uint8_t hashes[MANY + 1][DIGEST_LEN];

/* RFC 6962, 2.1, as it is written there. */
static void mth(size_t n, const uint8_t d[][DIGEST_LEN], uint8_t out[static DIGEST_LEN])
{
	uint8_t both[1 + 2 * DIGEST_LEN] = {1};
	size_t k = 1;

	if (n == 0) {
		assert_int_equal(EVP_Digest("", 0, out, NULL, EVP_sha256(), NULL), 1);
		return;
	}
	if (n == 1) {
		memcpy(out, d[0], DIGEST_LEN);
		return;
	}
	while (k * 2 < n)
		k *= 2;
	mth(k, d, both + 1);
	mth(n - k, d + k, both + 1 + DIGEST_LEN);
	assert_int_equal(EVP_Digest(both, sizeof(both), out, NULL, EVP_sha256(), NULL), 1);
}

static void assert_right(struct merkle *t, size_t n)
{
	uint8_t want[DIGEST_LEN], got[DIGEST_LEN];

	assert_int_equal(t->n, n);
	mth(n, (const uint8_t(*)[DIGEST_LEN])hashes, want);
	assert_int_equal(merkle_root(t, got), 0);
	assert_memory_equal(got, want, DIGEST_LEN);
}

static void fill(void)
{
	for (size_t i = 0; i < sizeof(hashes); i++)
		((uint8_t *)hashes)[i] = (uint8_t)random();
}

static void test_every_size(void **state)
{
	struct merkle t;

	(void)state;
	fill();
	assert_int_equal(merkle_init(&t), 0);
	for (size_t n = 0; n < MANY; n++) {
		assert_int_equal(merkle_build(&t, n, (const uint8_t(*)[DIGEST_LEN])hashes), 0);
		assert_right(&t, n);
	}
	merkle_free(&t);
}

static void test_changes(void **state)
{
	struct merkle t;
	size_t n = 0;

	(void)state;
	fill();
	srandom(7);
	assert_int_equal(merkle_init(&t), 0);
	for (unsigned i = 0; i < 3000; i++) {
		size_t at = n ? (size_t)random() % n : 0;
		long what = random() % 3;

		if (what == 0 && n < MANY) {
			memmove(hashes[at + 1], hashes[at], (n - at) * DIGEST_LEN);
			memset(hashes[at], (int)i, DIGEST_LEN);
			assert_int_equal(merkle_insert(&t, at, hashes[at]), 0);
			n++;
		} else if (what == 1 && n) {
			memmove(hashes[at], hashes[at + 1], (n - at - 1) * DIGEST_LEN);
			assert_int_equal(merkle_remove(&t, at), 0);
			n--;
		} else if (n) {
			memset(hashes[at], (int)i + 1, DIGEST_LEN);
			assert_int_equal(merkle_set(&t, at, hashes[at]), 0);
		}
		assert_right(&t, n);
	}
	assert_int_equal(merkle_set(&t, n, hashes[0]), ERR_RANGE);
	assert_int_equal(merkle_remove(&t, n), ERR_RANGE);
	assert_int_equal(merkle_insert(&t, n + 1, hashes[0]), ERR_RANGE);
	merkle_free(&t);
}

/* A leaf cannot be taken for a node, nor a list for another. */
static void test_domains(void **state)
{
	uint8_t leaf[DIGEST_LEN], root[DIGEST_LEN];
	struct merkle t;

	(void)state;
	fill();
	assert_int_equal(merkle_init(&t), 0);
	assert_int_equal(merkle_build(&t, 2, (const uint8_t(*)[DIGEST_LEN])hashes), 0);
	assert_int_equal(merkle_root(&t, root), 0);
	assert_int_equal(merkle_leaf(&t, hashes, (size_t)2 * DIGEST_LEN, leaf), 0);
	assert_memory_not_equal(leaf, root, DIGEST_LEN);
	merkle_free(&t);
}

static struct store_leaf make_leaf(unsigned n)
{
	struct store_leaf l = {.epoch = 1, .version = n};

	fixture_make_uuid(l.uuid, n);
	return l;
}

/* Whatever the way there, the same leaves have the same root, and each field counts. */
static void test_leaves(void **state)
{
	uint8_t before[DIGEST_LEN], after[DIGEST_LEN];
	struct leaves s;
	struct store_leaf l;

	(void)state;
	assert_int_equal(leaves_init(&s), 0);
	for (unsigned i = 0; i < 100; i++) {
		l = make_leaf((i * 37) % 100);
		assert_int_equal(leaves_put(&s, &l), 0);
	}
	assert_int_equal(s.n, 100);
	assert_int_equal(leaves_root(&s, before), 0);
	for (unsigned field = 0; field < 9; field++) {
		l = make_leaf(41);
		l.epoch += field == 0;
		l.version += field == 1;
		l.mode = field == 2;
		l.discontinuities = field == 3;
		l.hash[31] = field == 4;
		l.uuid[15] ^= field == 5;
		l.certs.kinds = field == 6;
		l.certs.serial[15] = field == 7;
		l.certs.hash[0] = field == 8;
		assert_int_equal(leaves_put(&s, &l), 0);
		assert_int_equal(leaves_root(&s, after), 0);
		assert_memory_not_equal(after, before, DIGEST_LEN);
		if (field == 5)
			assert_int_equal(leaves_remove(&s, l.uuid), 0);
		l = make_leaf(41);
		assert_int_equal(leaves_put(&s, &l), 0);
		assert_int_equal(leaves_root(&s, after), 0);
		assert_memory_equal(after, before, DIGEST_LEN);
	}
	l = make_leaf(17);
	assert_int_equal(leaves_remove(&s, l.uuid), 0);
	assert_null(leaves_find(&s, l.uuid));
	assert_int_equal(leaves_remove(&s, l.uuid), 0);
	assert_int_equal(s.n, 99);
	assert_int_equal(leaves_put(&s, &l), 0);
	assert_int_equal(leaves_root(&s, after), 0);
	assert_memory_equal(after, before, DIGEST_LEN);
	leaves_free(&s);
}

/* What is in memory is what the table says, and a row of it that is out of bounds is damage. */
static void test_load(void **state)
{
	const struct store_leaf *put[40];
	struct store_leaf l[40], other;
	struct store_row row = {.n = 1};
	uint8_t a[DIGEST_LEN], b[DIGEST_LEN];
	struct store *store = fixture_open_store(true);
	struct leaves in_memory, loaded;

	(void)state;
	assert_int_equal(leaves_init(&in_memory), 0);
	assert_int_equal(leaves_init(&loaded), 0);
	for (unsigned i = 0; i < 40; i++) {
		l[i] = make_leaf(i + 1);
		l[i].mode = i % 2 ? MODE_STRICT : MODE_BOUNDED;
		l[i].certs.kinds = i % 8;
		l[i].certs.serial[15] = l[i].certs.hash[31] = (uint8_t)i;
		put[i] = &l[i];
		assert_int_equal(leaves_put(&in_memory, &l[i]), 0);
	}
	assert_int_equal(store_commit(store, NULL, 0, &(struct store_tail){.leaves = put, .nleaves = 40, .row = &row}), 0);
	assert_int_equal(leaves_load(&loaded, store), 0);
	loaded.v[5].tokens_ms = 9;
	/* Another certificate was not seen in the store, whatever was; nor what was read of the disk again. */
	loaded.v[5].seen = true;
	other = loaded.v[5].l;
	other.version++;
	assert_int_equal(leaves_put(&loaded, &other), 0);
	assert_true(loaded.v[5].seen);
	other.certs.hash[0]++;
	assert_int_equal(leaves_put(&loaded, &other), 0);
	assert_false(loaded.v[5].seen);
	loaded.v[6].seen = true;
	assert_int_equal(leaves_load(&loaded, store), 0);
	assert_false(loaded.v[6].seen);
	assert_int_equal(loaded.v[5].tokens_ms, 9); /* what is not on the disk stays */
	assert_int_equal(leaves_root(&in_memory, a), 0);
	assert_int_equal(leaves_root(&loaded, b), 0);
	assert_memory_equal(a, b, DIGEST_LEN);
	leaves_free(&in_memory);
	leaves_free(&loaded);
	store_close(store);
}

/* How long it takes to know that all of very many are the newest; printed, since no machine is like another. */
static void test_ten_thousand(void **state)
{
	enum { N = 10000 };
	const struct store_leaf **put = calloc(N, sizeof(*put));
	struct store_leaf *l = calloc(N, sizeof(*l));
	struct store_row row = {.n = 1};
	struct store *store = fixture_open_store(true);
	struct timespec from, to;
	uint8_t a[DIGEST_LEN];
	struct leaves s;

	(void)state;
	assert_non_null(put);
	assert_non_null(l);
	for (unsigned i = 0; i < N; i++) {
		l[i] = make_leaf(i + 1);
		put[i] = &l[i];
	}
	assert_int_equal(store_commit(store, NULL, 0, &(struct store_tail){.leaves = put, .nleaves = N, .row = &row}), 0);
	store_close(store);
	store = fixture_open_store(false);
	assert_int_equal(leaves_init(&s), 0);
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(leaves_load(&s, store), 0);
	assert_int_equal(leaves_root(&s, a), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_int_equal(s.n, N);
	print_message("%d leaves read and hashed in %.1f ms\n", N,
		      (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	clock_gettime(CLOCK_MONOTONIC, &from);
	l[4711].version = 4;
	assert_int_equal(leaves_put(&s, &l[4711]), 0);
	assert_int_equal(leaves_root(&s, a), 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("one of them changed in %.1f us\n",
		      (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3);
	leaves_free(&s);
	store_close(store);
	free(put);
	free(l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_size), cmocka_unit_test(test_changes), cmocka_unit_test(test_domains),
		cmocka_unit_test(test_leaves),	   TEST(test_load),
		TEST(test_ten_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

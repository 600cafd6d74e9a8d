/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/merkle.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_PREFIX 0u
#define NODE_PREFIX 1u

int merkle_init(struct merkle *t)
{
	memset(t, 0, sizeof(*t));
	t->ctx = EVP_MD_CTX_new();
	return t->ctx ? 0 : ERR_NOMEM;
}

void merkle_free(struct merkle *t)
{
	for (unsigned i = 0; i < MERKLE_LEVELS; i++)
		free(t->level[i]);
	EVP_MD_CTX_free(t->ctx);
	memset(t, 0, sizeof(*t));
}

/* Nodes on a level of a tree of n leaves. */
static size_t width(size_t n, unsigned level)
{
	return (n + ((size_t)1 << level) - 1) >> level;
}

int merkle_reserve(struct merkle *t, size_t n)
{
	size_t cap = t->cap ? t->cap : 64;

	if (n <= t->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	for (unsigned i = 0; i < MERKLE_LEVELS && (i == 0 || width(cap, i - 1) > 1); i++) {
		void *p = reallocarray(t->level[i], width(cap, i), DIGEST_LEN);

		if (!p)
			return ERR_NOMEM;
		t->level[i] = p;
	}
	t->cap = cap;
	return 0;
}

static int hash_begin(struct merkle *t, uint8_t prefix)
{
	return EVP_DigestInit_ex(t->ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(t->ctx, &prefix, 1) == 1
		       ? 0
		       : ERR_CRYPTO;
}

static int hash_end(struct merkle *t, const void *p, size_t n, uint8_t out[static DIGEST_LEN])
{
	return EVP_DigestUpdate(t->ctx, p, n) == 1 && EVP_DigestFinal_ex(t->ctx, out, NULL) == 1 ? 0 : ERR_CRYPTO;
}

int merkle_leaf(struct merkle *t, const void *data, size_t len, uint8_t hash[static DIGEST_LEN])
{
	int err = hash_begin(t, LEAF_PREFIX);

	return err ? err : hash_end(t, data, len, hash);
}

/* A node from its two children; one without a right one is the left one (RFC 6962's split at powers of two). */
static int node(struct merkle *t, unsigned level, size_t at)
{
	uint8_t(*below)[DIGEST_LEN] = t->level[level - 1];
	int err;

	if (2 * at + 1 >= width(t->n, level - 1)) {
		memcpy(t->level[level][at], below[2 * at], DIGEST_LEN);
		return 0;
	}
	err = hash_begin(t, NODE_PREFIX);
	/* The children lie side by side. */
	return err ? err : hash_end(t, below[2 * at], (size_t)2 * DIGEST_LEN, t->level[level][at]);
}

/* All nodes above the leaves from at on. */
static int rise(struct merkle *t, size_t at)
{
	int err = 0;

	for (unsigned level = 1; !err && width(t->n, level - 1) > 1; level++) {
		for (size_t i = at >> level; !err && i < width(t->n, level); i++)
			err = node(t, level, i);
	}
	return err;
}

int merkle_build(struct merkle *t, size_t n, const uint8_t hashes[][DIGEST_LEN])
{
	int err = merkle_reserve(t, n);

	if (err)
		return err;
	if (n)
		memcpy(t->level[0], hashes, n * DIGEST_LEN);
	t->n = n;
	return rise(t, 0);
}

int merkle_set(struct merkle *t, size_t at, const uint8_t hash[static DIGEST_LEN])
{
	int err = 0;

	if (at >= t->n)
		return ERR_RANGE;
	memcpy(t->level[0][at], hash, DIGEST_LEN);
	for (unsigned level = 1; !err && width(t->n, level - 1) > 1; level++)
		err = node(t, level, at >> level);
	return err;
}

int merkle_insert(struct merkle *t, size_t at, const uint8_t hash[static DIGEST_LEN])
{
	int err = at > t->n ? ERR_RANGE : merkle_reserve(t, t->n + 1);

	if (err)
		return err;
	memmove(t->level[0] + at + 1, t->level[0] + at, (t->n - at) * DIGEST_LEN);
	memcpy(t->level[0][at], hash, DIGEST_LEN);
	t->n++;
	return rise(t, at);
}

int merkle_remove(struct merkle *t, size_t at)
{
	if (at >= t->n)
		return ERR_RANGE;
	t->n--;
	memmove(t->level[0] + at, t->level[0] + at + 1, (t->n - at) * DIGEST_LEN);
	return rise(t, at ? at - 1 : 0); /* the last leaf may have lost its sister */
}

int merkle_proof(const struct merkle *t, size_t at, uint8_t proof[][DIGEST_LEN], size_t *n)
{
	*n = 0;
	if (at >= t->n)
		return ERR_RANGE;
	for (unsigned level = 0; width(t->n, level) > 1; level++, at >>= 1)
		if ((at ^ 1) < width(t->n, level))
			memcpy(proof[(*n)++], t->level[level][at ^ 1], DIGEST_LEN);
	return 0;
}

int merkle_root(struct merkle *t, uint8_t root[static DIGEST_LEN])
{
	unsigned level = 0;

	if (t->n == 0)
		return EVP_Digest("", 0, root, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
	while (width(t->n, level) > 1)
		level++;
	memcpy(root, t->level[level][0], DIGEST_LEN);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/leaves.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

#define LEAF_SIZE (UUID_LEN + 8u + 8u + 1u + 8u + DIGEST_LEN + 1u + SERIAL_LEN + DIGEST_LEN)

static const char label_group[] = "vtpm group v1", label_launch[] = "vtpm group launch v1";

int leaf_hash(const void *p, size_t n, uint8_t hash[static DIGEST_LEN])
{
	return EVP_Digest(p, n, hash, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

static int uuid_of(const char *label, const char *name, uint8_t uuid[static UUID_LEN])
{
	uint8_t mem[sizeof(label_launch) + NAME_MAX_LEN + 8], hash[DIGEST_LEN];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_str(&b, label) || buf_put_str(&b, name))
		return ERR_RANGE;
	err = leaf_hash(mem, b.len, hash);
	memcpy(uuid, hash, UUID_LEN);
	return err;
}

int leaf_group_uuid(const char *name, uint8_t uuid[static UUID_LEN])
{
	return uuid_of(label_group, name, uuid);
}

int leaf_of_launch(const char *name, const void *policy, size_t len, struct store_leaf *out)
{
	int err;

	*out = (struct store_leaf){.mode = MODE_STRICT, .version = 1};
	err = uuid_of(label_launch, name, out->uuid);
	return err ? err : leaf_hash(policy, len, out->hash);
}

int leaf_of_group(const char *name, const void *root, size_t len, uint8_t mode, struct store_leaf *out)
{
	int err;

	*out = (struct store_leaf){.mode = mode, .version = 1};
	err = leaf_group_uuid(name, out->uuid);
	return err ? err : leaf_hash(root, len, out->hash);
}

int leaves_init(struct leaves *s)
{
	memset(s, 0, sizeof(*s));
	return merkle_init(&s->tree);
}

void leaves_free(struct leaves *s)
{
	free(s->v);
	s->v = NULL;
	s->n = s->cap = 0;
	merkle_free(&s->tree);
}

/* Where it is, or where it would have to be. */
static size_t place(const struct leaves *s, const uint8_t *uuid)
{
	size_t from = 0, to = s->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (memcmp(s->v[mid].l.uuid, uuid, UUID_LEN) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static bool is_at(const struct leaves *s, size_t at, const uint8_t *uuid)
{
	return at < s->n && !memcmp(s->v[at].l.uuid, uuid, UUID_LEN);
}

struct leaf *leaves_find(const struct leaves *s, const uint8_t uuid[static UUID_LEN])
{
	size_t at = place(s, uuid);

	return is_at(s, at, uuid) ? &s->v[at] : NULL;
}

bool leaf_is(const struct leaf *l, const uint8_t hash[static DIGEST_LEN])
{
	static const uint8_t none[DIGEST_LEN];

	return !memcmp(l ? l->l.hash : none, hash, DIGEST_LEN);
}

int leaves_reserve(struct leaves *s, size_t n)
{
	size_t cap = s->cap ? s->cap : 64;
	struct leaf *v;

	while (cap < s->n + n)
		cap *= 2;
	if (cap > s->cap) {
		v = reallocarray(s->v, cap, sizeof(*v));
		if (!v)
			return ERR_NOMEM;
		s->v = v;
		s->cap = cap;
	}
	return merkle_reserve(&s->tree, s->n + n);
}

static int hash_leaf(struct leaves *s, const struct store_leaf *l, uint8_t hash[static DIGEST_LEN])
{
	uint8_t mem[LEAF_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_bytes(&b, l->uuid, UUID_LEN) || buf_put_u64le(&b, l->epoch) || buf_put_u64le(&b, l->version) ||
	    buf_put_u8(&b, l->mode) || buf_put_u64le(&b, l->discontinuities) || buf_put_bytes(&b, l->hash, DIGEST_LEN) ||
	    buf_put_u8(&b, l->certs.kinds) || buf_put_bytes(&b, l->certs.serial, SERIAL_LEN) ||
	    buf_put_bytes(&b, l->certs.hash, DIGEST_LEN))
		return ERR_RANGE;
	return merkle_leaf(&s->tree, mem, b.len, hash);
}

int leaves_put(struct leaves *s, const struct store_leaf *l)
{
	size_t at = place(s, l->uuid);
	uint8_t hash[DIGEST_LEN];
	int err = hash_leaf(s, l, hash);

	if (err)
		return err;
	if (is_at(s, at, l->uuid)) {
		s->v[at].seen &= !memcmp(&s->v[at].l.certs, &l->certs, sizeof(l->certs));
		s->v[at].l = *l;
		return merkle_set(&s->tree, at, hash);
	}
	err = leaves_reserve(s, 1);
	if (err)
		return err;
	memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof(*s->v));
	s->v[at] = (struct leaf){.l = *l};
	s->n++;
	return merkle_insert(&s->tree, at, hash);
}

int leaves_remove(struct leaves *s, const uint8_t uuid[static UUID_LEN])
{
	size_t at = place(s, uuid);

	if (!is_at(s, at, uuid))
		return 0;
	s->n--;
	memmove(s->v + at, s->v + at + 1, (s->n - at) * sizeof(*s->v));
	return merkle_remove(&s->tree, at);
}

int leaves_count_all(struct leaves *s)
{
	int err = 0;

	for (size_t i = 0; i < s->n && !err; i++) {
		struct store_leaf l = s->v[i].l;

		if (l.epoch == 0)
			continue;
		l.discontinuities++;
		err = leaves_put(s, &l);
	}
	return err;
}

int leaves_root(struct leaves *s, uint8_t root[static DIGEST_LEN])
{
	return merkle_root(&s->tree, root);
}

/* In the order of the table, which is that of the uuids; anything else is damage. */
static int load_one(void *arg, const struct store_leaf *l)
{
	struct leaves *s = arg;
	int err = leaves_reserve(s, 1);

	if (err)
		return err;
	if (s->n && memcmp(s->v[s->n - 1].l.uuid, l->uuid, UUID_LEN) >= 0)
		return ERR_AUTH;
	s->v[s->n++] = (struct leaf){.l = *l};
	return 0;
}

int leaves_load(struct leaves *s, struct store *store)
{
	uint8_t(*hashes)[DIGEST_LEN];
	struct leaves old = *s;
	int err;

	err = leaves_init(s);
	if (!err)
		err = store_leaf_each(store, load_one, s);
	hashes = err ? NULL : calloc(s->n ? s->n : 1, sizeof(*hashes));
	if (!err && !hashes)
		err = ERR_NOMEM;
	for (size_t i = 0; i < s->n && !err; i++)
		err = hash_leaf(s, &s->v[i].l, hashes[i]);
	if (!err)
		err = merkle_build(&s->tree, s->n, (const uint8_t(*)[DIGEST_LEN])hashes);
	free(hashes);
	/* What a guest has used up of its quota is not given back by looking at the disk again. */
	for (size_t i = 0; i < s->n && !err; i++) {
		const struct leaf *was = leaves_find(&old, s->v[i].l.uuid);

		if (was) {
			s->v[i].tokens = was->tokens;
			s->v[i].tokens_ms = was->tokens_ms;
		}
	}
	leaves_free(&old);
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/certs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/enroll.h"

#define PREFIX	      "revoked:"
#define REVOKED_VALUE 17u
#define RECORD_MAX    (8u + PUBLIC_MAX + CERT_MAX)

static void record_key(const uint8_t uuid[static UUID_LEN], char key[static NAME_MAX_LEN + 16])
{
	char text[UUID_STR_LEN + 1];

	uuid_format(uuid, text);
	snprintf(key, NAME_MAX_LEN + 16, "certs:%s", text);
}

/* Nothing, if there is no AK. */
static int record_encode_ak(struct buf *b, const struct certs *c)
{
	if (!c->ak_public_len && !c->ak_cert_len)
		return 0;
	return buf_put_var(b, c->ak_public, c->ak_public_len) || buf_put_var(b, c->ak_cert, c->ak_cert_len) ? ERR_RANGE : 0;
}

static int record_decode_ak(struct buf *b, struct certs *c)
{
	const uint8_t *pub, *cert;

	if (!buf_left(b))
		return 0;
	if (buf_get_var(b, PUBLIC_MAX, &pub, &c->ak_public_len) || buf_get_var(b, CERT_MAX, &cert, &c->ak_cert_len) || buf_left(b))
		return ERR_AUTH;
	memcpy(c->ak_public, pub, c->ak_public_len);
	memcpy(c->ak_cert, cert, c->ak_cert_len);
	return 0;
}

static int certs_hash(const struct store_vtpm *row, const uint8_t *record, size_t len, uint8_t hash[static DIGEST_LEN])
{
	uint8_t mem[EK_KINDS * 2u * (4u + CERT_MAX) + 4u + RECORD_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	for (unsigned i = 0; i < EK_KINDS; i++)
		if (buf_put_var(&b, row->ek_public[i].data, row->ek_public[i].len) || buf_put_var(&b, row->cert[i].data, row->cert[i].len))
			return ERR_RANGE;
	return buf_put_var(&b, record, len) ? ERR_RANGE : leaf_hash(mem, b.len, hash);
}

int certs_load(struct store *s, const struct store_leaf *l, const struct store_vtpm *row, struct certs *c)
{
	char key[NAME_MAX_LEN + 16];
	uint8_t mem[RECORD_MAX], hash[DIGEST_LEN];
	size_t len = sizeof(mem);
	struct buf b;
	int err;

	memset(c, 0, sizeof(*c));
	record_key(row->uuid, key);
	err = store_meta_get(s, key, mem, &len);
	if (err == ERR_NOTFOUND) {
		err = 0;
		len = 0;
	}
	if (!err)
		err = certs_hash(row, mem, len, hash);
	if (!err && memcmp(hash, l->certs.hash, DIGEST_LEN) != 0)
		err = ERR_AUTH;
	buf_wrap(&b, mem, err ? 0 : len);
	if (!err)
		err = record_decode_ak(&b, c);
	if (err) {
		memset(c, 0, sizeof(*c));
		return err == ERR_RANGE ? ERR_AUTH : err;
	}
	c->kinds = l->certs.kinds;
	memcpy(c->serial, l->certs.serial, SERIAL_LEN);
	return 0;
}

bool certs_issued(const struct store_certs *c)
{
	static const uint8_t none[SERIAL_LEN];

	return memcmp(c->serial, none, SERIAL_LEN) != 0;
}

/* ---- what a worker has made ---- */

static int blob_set(struct store_blob *blob, const uint8_t *p, size_t n)
{
	if (n > sizeof(blob->data))
		return ERR_PROTO;
	memcpy(blob->data, p, n);
	blob->len = n;
	return 0;
}

int certs_take(struct certs *c, struct store_vtpm *row, const struct backend_provisioned *b, bool all)
{
	const size_t pub = b->key_public_len[AK_ECC_P256], cert = b->cert_len[AK_ECC_P256];

	for (unsigned i = 0; i < KEY_KINDS; i++)
		if (all ? !b->cert_len[i] : b->cert_len[i] && !b->key_public_len[i])
			return ERR_PROTO;
	if (pub > sizeof(c->ak_public) || cert > sizeof(c->ak_cert))
		return ERR_PROTO;
	memcpy(c->ak_public, b->key_public[AK_ECC_P256], pub);
	memcpy(c->ak_cert, b->cert[AK_ECC_P256], cert);
	c->ak_public_len = pub;
	c->ak_cert_len = cert;
	for (unsigned i = 0; i < EK_KINDS; i++) {
		if (!b->key_public_len[i] && c->kinds >> i & 1) /* it cannot be made again: what it had is revoked, and there is no other */
			row->cert[i].len = 0;
		else if (b->key_public_len[i] && (blob_set(&row->ek_public[i], b->key_public[i], b->key_public_len[i]) ||
						  blob_set(&row->cert[i], b->cert[i], b->cert_len[i])))
			return ERR_PROTO;
	}
	return 0;
}

/* ---- what goes along with a change ---- */

int certs_put(struct metas *list, struct store_leaf *l, const struct store_vtpm *row, const struct certs *c)
{
	char key[NAME_MAX_LEN + 16];
	uint8_t mem[RECORD_MAX];
	struct buf b;
	int err;

	record_key(row->uuid, key);
	buf_init(&b, mem, sizeof(mem));
	err = record_encode_ak(&b, c);
	if (!err)
		err = certs_hash(row, mem, b.len, l->certs.hash);
	l->certs.kinds = c->kinds;
	memcpy(l->certs.serial, c->serial, SERIAL_LEN);
	return err ? err : metas_add(list, key, b.len ? mem : NULL, b.len);
}

int certs_forget(struct metas *list, const uint8_t uuid[static UUID_LEN])
{
	char key[NAME_MAX_LEN + 16];

	record_key(uuid, key);
	return metas_add(list, key, NULL, 0);
}

/* Once revoked, it stays so since then. */
static int revoke_one(struct mgr *m, struct metas *list, const uint8_t serial[static SERIAL_LEN], uint8_t reason)
{
	char key[NAME_MAX_LEN + 16], hex[2 * SERIAL_LEN + 1];
	uint8_t mem[REVOKED_VALUE];
	size_t len = sizeof(mem);
	struct buf b;

	if (hex_encode(serial, SERIAL_LEN, hex, sizeof(hex)))
		return ERR_RANGE;
	snprintf(key, sizeof(key), PREFIX "%s", hex);
	if (!store_meta_get(m->store, key, mem, &len) || metas_has(list, key))
		return 0;
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u64le(&b, 0) || buf_put_u64le(&b, (uint64_t)time(NULL)) || buf_put_u8(&b, reason))
		return ERR_RANGE;
	return metas_add(list, key, b.data, b.len);
}

int certs_revoke(struct mgr *m, struct metas *list, const struct store_certs *c, uint8_t reason)
{
	uint8_t serial[SERIAL_LEN];
	int err = 0;

	memcpy(serial, c->serial, SERIAL_LEN);
	for (unsigned kind = 0; kind < KEY_KINDS && !err && certs_issued(c); kind++) {
		serial[SERIAL_LEN - 1] = (uint8_t)kind;
		if (c->kinds >> kind & 1)
			err = revoke_one(m, list, serial, reason);
	}
	return err;
}

/* ---- the list, and its leaf ---- */

#define LEAF_NAME "revoked certificates" /* no group can have it */

static int chain(struct store_leaf *l, const char *key, const uint8_t value[static REVOKED_VALUE])
{
	uint8_t mem[DIGEST_LEN + sizeof(PREFIX) + 2 * SERIAL_LEN + REVOKED_VALUE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_bytes(&b, l->hash, DIGEST_LEN) || buf_put_bytes(&b, key, strlen(key)) || buf_put_bytes(&b, value, REVOKED_VALUE))
		return ERR_RANGE;
	return leaf_hash(mem, b.len, l->hash);
}

static int leaf_begin(struct store_leaf *l)
{
	*l = (struct store_leaf){ .mode = MODE_STRICT };
	return leaf_group_uuid(LEAF_NAME, l->uuid);
}

bool revocations_extend(const struct leaves *leaves, struct metas *list, struct store_leaf *l)
{
	const struct leaf *now;
	bool any = false;

	for (size_t i = 0; i < list->n; i++) {
		uint8_t *value = (uint8_t *)(uintptr_t)list->v[i].value; /* our own copy */
		struct buf b;

		if (strncmp(list->v[i].key, PREFIX, strlen(PREFIX)) != 0)
			continue;
		if (!any && leaf_begin(l))
			return false;
		now = any ? NULL : leaves_find(leaves, l->uuid);
		if (now)
			*l = now->l;
		any = true;
		l->version++;
		buf_init(&b, value, sizeof(uint64_t));
		if (buf_put_u64le(&b, l->version) || chain(l, list->v[i].key, value))
			return false;
	}
	return any;
}

struct loading {
	struct entry {
		uint64_t n;
		char key[sizeof(PREFIX) + 2 * SERIAL_LEN];
		uint8_t value[REVOKED_VALUE];
	} *v;
	size_t n, room, max;
};

static int load_one(void *arg, const char *key, const uint8_t *p, size_t len)
{
	struct loading *l = arg;
	struct entry *e;
	struct buf b;

	if (len != REVOKED_VALUE || strlen(key) + 1 != sizeof(e->key))
		return ERR_QUARANTINE;
	if (l->n == l->max)
		return ERR_FULL;
	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 64;
		e = realloc(l->v, l->room * sizeof(*e));
		if (!e)
			return ERR_NOMEM;
		l->v = e;
	}
	e = &l->v[l->n++];
	memcpy(e->key, key, sizeof(e->key));
	memcpy(e->value, p, len);
	buf_wrap(&b, p, len);
	return buf_get_u64le(&b, &e->n);
}

static int by_number(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->n < y->n ? -1 : x->n > y->n;
}

static int entry_decode(const struct entry *e, struct revoked *r)
{
	uint64_t n;
	struct buf b;

	buf_wrap(&b, e->value, sizeof(e->value));
	if (hex_decode(e->key + strlen(PREFIX), r->serial, SERIAL_LEN) || buf_get_u64le(&b, &n) || buf_get_u64le(&b, &r->when) ||
	    buf_get_u8(&b, &r->reason))
		return ERR_QUARANTINE;
	return 0;
}

/* In the order in which they came they lead to the leaf, and to no other. */
static int check(struct mgr *m, const struct loading *l, struct revoked *out)
{
	struct store_leaf want;
	const struct leaf *leaf;
	int err = leaf_begin(&want);

	for (size_t i = 0; i < l->n && !err; i++) {
		want.version++;
		err = l->v[i].n != want.version ? ERR_QUARANTINE : chain(&want, l->v[i].key, l->v[i].value);
		if (!err)
			err = entry_decode(&l->v[i], &out[i]);
	}
	leaf = leaves_find(&m->continuity.leaves, want.uuid);
	if (err || (!leaf && !l->n))
		return err;
	return leaf && leaf->l.version == want.version && !memcmp(leaf->l.hash, want.hash, DIGEST_LEN) ? 0 : ERR_QUARANTINE;
}

int revocations_load(struct mgr *m, size_t max, struct revoked **out, size_t *n)
{
	struct loading l = { .max = max };
	int err = store_meta_each(m->store, PREFIX, load_one, &l);

	*out = NULL;
	*n = l.n;
	if (!err && l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_number);
	if (!err)
		*out = calloc(l.n + 1, sizeof(**out));
	if (!err)
		err = *out ? check(m, &l, *out) : ERR_NOMEM;
	free(l.v);
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err == ERR_AUTH ? ERR_QUARANTINE : err;
}

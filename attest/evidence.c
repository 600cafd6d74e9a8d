/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/evidence.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/evp.h>

#include "attest/item.h"

/* Keys of the maps, in the order in which they stand. */
enum {
	KEY_VERSION,
	KEY_INNER,
	KEY_AK,
	KEY_EK,
	KEY_BINDING,
	KEY_PROOF,
	KEY_OUTER,
	KEY_ANCHOR,
	KEY_HOST_AK,
	KEY_CA,
	KEY_CHAIN,
	KEY_GUEST_LOG,
	KEY_HOST_LOG,
};
#define KEYS_ALWAYS 11u

enum {
	BIND_NONCE,
	BIND_UUID,
	BIND_EK,
	BIND_AK,
	BIND_QUOTE,
	BIND_EPOCH,
	BIND_MODE,
	BIND_DISCONTINUITIES,
	BIND_VERSION,
	BIND_ANCHOR,
	BIND_LAUNCH,
	BIND_ATTACHED,
};
#define BIND_KEYS 12u

static int put_key(struct buf *b, uint64_t key)
{
	return item_put_uint(b, key);
}

static int get_key(struct buf *b, uint64_t key)
{
	uint64_t is;

	return item_get_uint(b, UINT64_MAX, &is) || is != key ? ERR_PROTO : 0;
}

static int put_view(struct buf *b, const struct evidence_view *v, size_t min, size_t max)
{
	return v->n < min || v->n > max || item_put_bytes(b, v->p, v->n) ? ERR_RANGE : 0;
}

static int get_view(struct buf *b, struct evidence_view *v, size_t min, size_t max)
{
	return item_get_bytes(b, min, max, &v->p, &v->n);
}

/* Arrays have as many elements as what they stand for. */
static int get_array(struct buf *b, size_t n)
{
	return item_get_array(b, n, n, &n);
}

static int get_fixed(struct buf *b, uint8_t *out, size_t len)
{
	const uint8_t *p;
	size_t n;

	if (item_get_bytes(b, len, len, &p, &n))
		return ERR_PROTO;
	memcpy(out, p, len);
	return 0;
}

/* ---- the binding ---- */

int binding_encode(const struct binding *v, struct buf *b)
{
	const struct evidence_view nonce = {v->nonce, v->nonce_len};

	if (v->nlaunch > EVIDENCE_LAUNCH_MAX || v->mode < EVIDENCE_STRICT || v->mode > EVIDENCE_NONE)
		return ERR_RANGE;
	if (item_put_map(b, BIND_KEYS) || put_key(b, BIND_NONCE) || put_view(b, &nonce, EVIDENCE_NONCE_MIN, EVIDENCE_NONCE_MAX) ||
	    put_key(b, BIND_UUID) || item_put_bytes(b, v->uuid, sizeof(v->uuid)) || put_key(b, BIND_EK) ||
	    item_put_bytes(b, v->ek_name, sizeof(v->ek_name)) || put_key(b, BIND_AK) ||
	    item_put_bytes(b, v->ak_name, sizeof(v->ak_name)) || put_key(b, BIND_QUOTE) ||
	    item_put_bytes(b, v->quote, sizeof(v->quote)) || put_key(b, BIND_EPOCH) || item_put_uint(b, v->epoch) ||
	    put_key(b, BIND_MODE) || item_put_uint(b, v->mode) || put_key(b, BIND_DISCONTINUITIES) ||
	    item_put_uint(b, v->discontinuities) || put_key(b, BIND_VERSION) || item_put_uint(b, v->version) ||
	    put_key(b, BIND_ANCHOR) || item_put_bytes(b, v->anchor, sizeof(v->anchor)) || put_key(b, BIND_LAUNCH) ||
	    item_put_array(b, v->nlaunch))
		return ERR_RANGE;
	for (size_t i = 0; i < v->nlaunch; i++)
		if (item_put_bytes(b, v->launch[i], EVIDENCE_DIGEST))
			return ERR_RANGE;
	return put_key(b, BIND_ATTACHED) ? ERR_RANGE : item_put_bytes(b, v->attached, sizeof(v->attached));
}

int binding_decode(const void *p, size_t n, struct binding *v)
{
	uint64_t mode;
	struct buf b;
	size_t keys;

	memset(v, 0, sizeof(*v));
	buf_wrap(&b, p, n);
	if (n > EVIDENCE_BINDING_MAX || item_get_map(&b, BIND_KEYS, BIND_KEYS, &keys) || get_key(&b, BIND_NONCE) ||
	    item_get_bytes(&b, EVIDENCE_NONCE_MIN, EVIDENCE_NONCE_MAX, &v->nonce, &v->nonce_len) || get_key(&b, BIND_UUID) ||
	    get_fixed(&b, v->uuid, sizeof(v->uuid)) || get_key(&b, BIND_EK) || get_fixed(&b, v->ek_name, sizeof(v->ek_name)) ||
	    get_key(&b, BIND_AK) || get_fixed(&b, v->ak_name, sizeof(v->ak_name)) || get_key(&b, BIND_QUOTE) ||
	    get_fixed(&b, v->quote, sizeof(v->quote)) || get_key(&b, BIND_EPOCH) || item_get_uint(&b, UINT64_MAX, &v->epoch) ||
	    get_key(&b, BIND_MODE) || item_get_uint(&b, EVIDENCE_NONE, &mode) || mode < EVIDENCE_STRICT ||
	    get_key(&b, BIND_DISCONTINUITIES) || item_get_uint(&b, UINT64_MAX, &v->discontinuities) || get_key(&b, BIND_VERSION) ||
	    item_get_uint(&b, UINT64_MAX, &v->version) || get_key(&b, BIND_ANCHOR) ||
	    get_fixed(&b, v->anchor, sizeof(v->anchor)) || get_key(&b, BIND_LAUNCH) ||
	    item_get_array(&b, 0, EVIDENCE_LAUNCH_MAX, &v->nlaunch))
		return ERR_PROTO;
	v->mode = (enum evidence_mode)mode;
	for (size_t i = 0; i < v->nlaunch; i++)
		if (get_fixed(&b, v->launch[i], EVIDENCE_DIGEST))
			return ERR_PROTO;
	if (get_key(&b, BIND_ATTACHED) || get_fixed(&b, v->attached, sizeof(v->attached)))
		return ERR_PROTO;
	return buf_left(&b) ? ERR_PROTO : 0;
}

/* ---- parts of evidence ---- */

static int put_signed(struct buf *b, const struct evidence_signed *s, size_t min)
{
	return put_view(b, &s->attest, min, EVIDENCE_ATTEST_MAX) || put_view(b, &s->signature, min, EVIDENCE_SIG_MAX) ? ERR_RANGE : 0;
}

static int get_signed(struct buf *b, struct evidence_signed *s, size_t min)
{
	return get_view(b, &s->attest, min, EVIDENCE_ATTEST_MAX) || get_view(b, &s->signature, min, EVIDENCE_SIG_MAX) ? ERR_PROTO : 0;
}

static int put_quote(struct buf *b, const struct evidence_quote *q)
{
	if (q->pcrs.n % EVIDENCE_DIGEST || item_put_array(b, 3) || put_signed(b, &q->by, 1))
		return ERR_RANGE;
	return put_view(b, &q->pcrs, 0, EVIDENCE_PCRS * EVIDENCE_DIGEST);
}

static int get_quote(struct buf *b, struct evidence_quote *q)
{
	if (get_array(b, 3) || get_signed(b, &q->by, 1) || get_view(b, &q->pcrs, 0, EVIDENCE_PCRS * EVIDENCE_DIGEST))
		return ERR_PROTO;
	return q->pcrs.n % EVIDENCE_DIGEST ? ERR_PROTO : 0;
}

static int put_keypair(struct buf *b, const struct evidence_key *k, size_t cert_min)
{
	if (item_put_array(b, 2) || put_view(b, &k->pub, 1, EVIDENCE_PUBLIC_MAX))
		return ERR_RANGE;
	return put_view(b, &k->cert, cert_min, EVIDENCE_CERT_MAX);
}

static int get_keypair(struct buf *b, struct evidence_key *k, size_t cert_min)
{
	if (get_array(b, 2) || get_view(b, &k->pub, 1, EVIDENCE_PUBLIC_MAX))
		return ERR_PROTO;
	return get_view(b, &k->cert, cert_min, EVIDENCE_CERT_MAX);
}

static int put_proof(struct buf *b, const struct evidence *e)
{
	if (e->proof.n % EVIDENCE_DIGEST || e->count > EVIDENCE_LEAVES_MAX || item_put_array(b, 3) || item_put_uint(b, e->index) ||
	    item_put_uint(b, e->count))
		return ERR_RANGE;
	return put_view(b, &e->proof, 0, EVIDENCE_PROOF_MAX * EVIDENCE_DIGEST);
}

static int get_proof(struct buf *b, struct evidence *e)
{
	if (get_array(b, 3) || item_get_uint(b, EVIDENCE_LEAVES_MAX, &e->index) || item_get_uint(b, EVIDENCE_LEAVES_MAX, &e->count) ||
	    get_view(b, &e->proof, 0, EVIDENCE_PROOF_MAX * EVIDENCE_DIGEST))
		return ERR_PROTO;
	return e->proof.n % EVIDENCE_DIGEST ? ERR_PROTO : 0;
}

static int put_anchor(struct buf *b, const struct evidence *e)
{
	if (item_put_array(b, 3) || put_signed(b, &e->anchor, 1))
		return ERR_RANGE;
	return put_view(b, &e->anchor_pub, 1, EVIDENCE_NV_PUBLIC_MAX);
}

static int get_anchor(struct buf *b, struct evidence *e)
{
	if (get_array(b, 3) || get_signed(b, &e->anchor, 1))
		return ERR_PROTO;
	return get_view(b, &e->anchor_pub, 1, EVIDENCE_NV_PUBLIC_MAX);
}

static int put_ca(struct buf *b, const struct evidence *e)
{
	if (item_put_array(b, 7) || put_view(b, &e->ca.pub, 1, EVIDENCE_PUBLIC_MAX) ||
	    put_view(b, &e->ca.cert, 1, EVIDENCE_CERT_MAX) || put_signed(b, &e->ca_certify, 1) ||
	    put_view(b, &e->ca_creation, 1, EVIDENCE_CREATION_MAX))
		return ERR_RANGE;
	return put_signed(b, &e->ca_created, 1);
}

static int get_ca(struct buf *b, struct evidence *e)
{
	if (get_array(b, 7) || get_view(b, &e->ca.pub, 1, EVIDENCE_PUBLIC_MAX) || get_view(b, &e->ca.cert, 1, EVIDENCE_CERT_MAX) ||
	    get_signed(b, &e->ca_certify, 1) || get_view(b, &e->ca_creation, 1, EVIDENCE_CREATION_MAX))
		return ERR_PROTO;
	return get_signed(b, &e->ca_created, 1);
}

static int put_chain(struct buf *b, const struct evidence *e)
{
	if (e->nchain > EVIDENCE_CHAIN_MAX || item_put_array(b, e->nchain))
		return ERR_RANGE;
	for (size_t i = 0; i < e->nchain; i++)
		if (put_view(b, &e->chain[i], 1, EVIDENCE_CERT_MAX))
			return ERR_RANGE;
	return 0;
}

static int get_chain(struct buf *b, struct evidence *e)
{
	if (item_get_array(b, 0, EVIDENCE_CHAIN_MAX, &e->nchain))
		return ERR_PROTO;
	for (size_t i = 0; i < e->nchain; i++)
		if (get_view(b, &e->chain[i], 1, EVIDENCE_CERT_MAX))
			return ERR_PROTO;
	return 0;
}

static size_t logs_of(const struct evidence *e)
{
	return (e->guest_log.n ? 1u : 0u) + (e->host_log.n ? 1u : 0u);
}

int evidence_encode(const struct evidence *e, struct buf *b)
{
	const size_t start = b->len;

	if (item_put_map(b, KEYS_ALWAYS + logs_of(e)) || put_key(b, KEY_VERSION) || item_put_uint(b, EVIDENCE_VERSION) ||
	    put_key(b, KEY_INNER) || put_quote(b, &e->inner) || put_key(b, KEY_AK) || put_keypair(b, &e->ak, 1) || put_key(b, KEY_EK) ||
	    put_keypair(b, &e->ek, 0) || put_key(b, KEY_BINDING) || put_view(b, &e->binding, 1, EVIDENCE_BINDING_MAX) ||
	    put_key(b, KEY_PROOF) || put_proof(b, e) || put_key(b, KEY_OUTER) || put_quote(b, &e->outer) || put_key(b, KEY_ANCHOR) ||
	    put_anchor(b, e) || put_key(b, KEY_HOST_AK) || put_view(b, &e->host_ak, 1, EVIDENCE_PUBLIC_MAX) || put_key(b, KEY_CA) ||
	    put_ca(b, e) || put_key(b, KEY_CHAIN) || put_chain(b, e) || b->len - start > EVIDENCE_CORE_MAX)
		return ERR_RANGE;
	if (e->guest_log.n && (put_key(b, KEY_GUEST_LOG) || put_view(b, &e->guest_log, 1, EVIDENCE_GUEST_LOG_MAX)))
		return ERR_RANGE;
	if (e->host_log.n && (put_key(b, KEY_HOST_LOG) || put_view(b, &e->host_log, 1, EVIDENCE_HOST_LOG_MAX)))
		return ERR_RANGE;
	return 0;
}

/* The keys that need not be there, in their order: each is larger than the last, so none comes twice. */
static int get_logs(struct buf *b, struct evidence *e, size_t keys)
{
	uint64_t key, last = KEY_CHAIN;

	for (; keys; keys--, last = key) {
		if (item_get_uint(b, KEY_HOST_LOG, &key) || key <= last)
			return ERR_PROTO;
		if (key == KEY_GUEST_LOG && get_view(b, &e->guest_log, 1, EVIDENCE_GUEST_LOG_MAX))
			return ERR_PROTO;
		if (key == KEY_HOST_LOG && get_view(b, &e->host_log, 1, EVIDENCE_HOST_LOG_MAX))
			return ERR_PROTO;
	}
	return 0;
}

int evidence_decode(const void *p, size_t n, struct evidence *e)
{
	uint64_t version;
	struct buf b;
	size_t keys;

	memset(e, 0, sizeof(*e));
	buf_wrap(&b, p, n);
	if (n > EVIDENCE_MAX || item_get_map(&b, KEYS_ALWAYS, KEYS_ALWAYS + 2, &keys) || get_key(&b, KEY_VERSION) ||
	    item_get_uint(&b, UINT64_MAX, &version))
		return ERR_PROTO;
	if (version != EVIDENCE_VERSION)
		return ERR_VERSION;
	if (get_key(&b, KEY_INNER) || get_quote(&b, &e->inner) || get_key(&b, KEY_AK) || get_keypair(&b, &e->ak, 1) ||
	    get_key(&b, KEY_EK) || get_keypair(&b, &e->ek, 0) || get_key(&b, KEY_BINDING) ||
	    get_view(&b, &e->binding, 1, EVIDENCE_BINDING_MAX) || get_key(&b, KEY_PROOF) || get_proof(&b, e) || get_key(&b, KEY_OUTER) ||
	    get_quote(&b, &e->outer) || get_key(&b, KEY_ANCHOR) || get_anchor(&b, e) || get_key(&b, KEY_HOST_AK) ||
	    get_view(&b, &e->host_ak, 1, EVIDENCE_PUBLIC_MAX) || get_key(&b, KEY_CA) || get_ca(&b, e) || get_key(&b, KEY_CHAIN) ||
	    get_chain(&b, e) || b.pos > EVIDENCE_CORE_MAX || get_logs(&b, e, keys - KEYS_ALWAYS))
		return ERR_PROTO;
	return buf_left(&b) ? ERR_PROTO : 0;
}

/* ---- what is hashed ---- */

static int sha256(const void *p, size_t n, uint8_t out[static EVIDENCE_DIGEST])
{
	return EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

int evidence_inner_data(const struct binding *v, uint8_t out[static EVIDENCE_DIGEST])
{
	static const char label[] = "vtpm inner v1";
	uint8_t mem[256];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (v->nonce_len < EVIDENCE_NONCE_MIN || v->nonce_len > EVIDENCE_NONCE_MAX)
		return ERR_RANGE;
	if (buf_put_bytes(&b, label, sizeof(label) - 1) || buf_put_u8(&b, (uint8_t)v->nonce_len) ||
	    buf_put_bytes(&b, v->nonce, v->nonce_len) || buf_put_bytes(&b, v->uuid, sizeof(v->uuid)) ||
	    buf_put_bytes(&b, v->ek_name, sizeof(v->ek_name)) || buf_put_bytes(&b, v->ak_name, sizeof(v->ak_name)) ||
	    buf_put_u64be(&b, v->epoch))
		return ERR_RANGE;
	return sha256(mem, b.len, out);
}

int evidence_attached(const struct evidence *e, const uint8_t *host_log, uint8_t out[static EVIDENCE_DIGEST])
{
	uint8_t mem[(2 + EVIDENCE_CHAIN_MAX) * EVIDENCE_DIGEST];
	size_t n = 0;
	int r;

	if (e->nchain > EVIDENCE_CHAIN_MAX)
		return ERR_RANGE;
	if (host_log)
		memcpy(mem, host_log, EVIDENCE_DIGEST);
	r = host_log ? 0 : sha256(e->host_log.p, e->host_log.n, mem);
	n += EVIDENCE_DIGEST;
	if (!r)
		r = sha256(e->ek.cert.p, e->ek.cert.n, mem + n);
	n += EVIDENCE_DIGEST;
	for (size_t i = 0; !r && i < e->nchain; i++, n += EVIDENCE_DIGEST)
		r = sha256(e->chain[i].p, e->chain[i].n, mem + n);
	return r ? r : sha256(mem, n, out);
}

int evidence_outer_data(const uint8_t root[static EVIDENCE_DIGEST], uint64_t count, const uint8_t host_ak[static EVIDENCE_NAME],
			uint8_t out[static EVIDENCE_DIGEST])
{
	static const char label[] = "vtpm outer v1";
	uint8_t mem[128];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_bytes(&b, label, sizeof(label) - 1) || buf_put_bytes(&b, root, EVIDENCE_DIGEST) || buf_put_u64be(&b, count) ||
	    buf_put_bytes(&b, host_ak, EVIDENCE_NAME))
		return ERR_RANGE;
	return sha256(mem, b.len, out);
}

int evidence_leaf(const void *binding, size_t n, uint8_t out[static EVIDENCE_DIGEST])
{
	uint8_t mem[1 + EVIDENCE_BINDING_MAX] = {0};

	if (n > EVIDENCE_BINDING_MAX)
		return ERR_RANGE;
	memcpy(mem + 1, binding, n);
	return sha256(mem, 1 + n, out);
}

static int node(const uint8_t left[static EVIDENCE_DIGEST], const uint8_t right[static EVIDENCE_DIGEST], uint8_t out[static EVIDENCE_DIGEST])
{
	uint8_t mem[1 + 2 * EVIDENCE_DIGEST] = {1};

	memcpy(mem + 1, left, EVIDENCE_DIGEST);
	memcpy(mem + 1 + EVIDENCE_DIGEST, right, EVIDENCE_DIGEST);
	return sha256(mem, sizeof(mem), out);
}

/* Level by level: a node without a sibling, which only the last of a level can be, goes up as it is. */
int evidence_root(const uint8_t leaf[static EVIDENCE_DIGEST], uint64_t index, uint64_t count, const struct evidence_view *proof,
		  uint8_t root[static EVIDENCE_DIGEST])
{
	const uint8_t *sibling;
	uint8_t at[EVIDENCE_DIGEST];
	struct buf b;
	int r = 0;

	if (index >= count || count > EVIDENCE_LEAVES_MAX)
		return ERR_PROTO;
	memcpy(at, leaf, sizeof(at));
	buf_wrap(&b, proof->p, proof->n);
	for (; !r && count > 1; index /= 2, count = (count + 1) / 2) {
		if (index % 2 == 0 && index == count - 1)
			continue;
		if (buf_get_view(&b, EVIDENCE_DIGEST, &sibling))
			return ERR_PROTO;
		r = index % 2 ? node(sibling, at, at) : node(at, sibling, at);
	}
	if (!r && buf_left(&b))
		return ERR_PROTO;
	memcpy(root, at, sizeof(at));
	return r;
}

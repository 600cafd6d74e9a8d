/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence about one vTPM, of bytes that others have made: nothing here asks or waits. */
#include <stdlib.h>
#include <string.h>

#include "vtpm-mgr/attest.h"

#define SIZE_LEN 2u /* of a TPM2B's size field */
#define ALG_SHA256 0x000bu

static struct evidence_view view(const uint8_t *p, size_t n)
{
	return (struct evidence_view){ p, n };
}

/* A TPM2B_PUBLIC without its size. */
static struct evidence_view area(const uint8_t *pub, size_t n)
{
	return n > SIZE_LEN ? view(pub + SIZE_LEN, n - SIZE_LEN) : view(NULL, 0);
}

/* The Name of an object whose nameAlg is SHA-256 (Part 1, 16). */
static int name_of(const uint8_t *pub, size_t n, uint8_t name[static EVIDENCE_NAME])
{
	uint16_t size, type, alg;
	struct buf b;

	buf_wrap(&b, pub, n);
	if (buf_get_u16be(&b, &size) || size != buf_left(&b) || buf_get_u16be(&b, &type) || buf_get_u16be(&b, &alg) || alg != ALG_SHA256)
		return ERR_AUTH;
	name[0] = 0;
	name[1] = ALG_SHA256;
	return leaf_hash(pub + SIZE_LEN, n - SIZE_LEN, name + 2);
}

int attest_identify(struct attest_request *r, const struct store_vtpm *row)
{
	const unsigned kind = row->ek_public[EK_ECC_P256].len ? EK_ECC_P256 : EK_RSA2048;
	int err;

	if (!row->ek_public[kind].len || !r->certs.ak_public_len || !r->certs.ak_cert_len)
		return ERR_NOTFOUND;
	r->ek_public = row->ek_public[kind];
	r->ek_cert = row->cert[kind];
	memcpy(r->binding.uuid, row->uuid, UUID_LEN);
	err = name_of(r->ek_public.data, r->ek_public.len, r->binding.ek_name);
	return err ? err : name_of(r->certs.ak_public, r->certs.ak_public_len, r->binding.ak_name);
}

int attest_launched(struct attest_request *r, const uint8_t digest[static DIGEST_LEN], const uint8_t *log, size_t len)
{
	r->log = malloc(len ? len : 1);
	if (!r->log)
		return ERR_NOMEM;
	memcpy(r->log, log, len);
	r->log_len = len;
	memcpy(r->binding.launch[0], digest, DIGEST_LEN);
	r->binding.nlaunch = 1;
	return 0;
}

static void put_chain(struct evidence *e, const struct attest_identity *id)
{
	e->nchain = id->ek_cert_len ? 1 : 0;
	e->chain[0] = view(id->ek_cert, id->ek_cert_len);
}

static enum evidence_mode mode_of(uint8_t mode)
{
	return mode == MODE_STRICT ? EVIDENCE_STRICT : EVIDENCE_BOUNDED;
}

int attest_binding(struct attest_request *r, const struct attest_identity *id, const struct store_leaf *leaf,
		   const uint8_t anchor[static DIGEST_LEN], struct merkle *t, uint8_t hash[static DIGEST_LEN])
{
	struct evidence e = { .ek.cert = view(r->ek_cert.data, r->ek_cert.len) };
	struct binding *b = &r->binding;
	struct buf out;
	int err;

	put_chain(&e, id);
	b->mode = mode_of(leaf->mode);
	b->discontinuities = leaf->discontinuities;
	b->version = leaf->version;
	memcpy(b->anchor, anchor, DIGEST_LEN);
	err = leaf_hash(r->attest, r->attest_len, b->quote);
	if (!err)
		err = evidence_attached(&e, id->log && !r->by_guest ? id->log_hash : NULL, b->attached);
	buf_init(&out, r->bound, sizeof(r->bound));
	if (!err)
		err = binding_encode(b, &out);
	r->bound_len = out.len;
	return err ? err : merkle_leaf(t, r->bound, r->bound_len, hash);
}

static struct evidence_signed signed_by(const uint8_t *attest, size_t attest_len, const uint8_t *sig, size_t sig_len)
{
	return (struct evidence_signed){ .attest = view(attest, attest_len), .signature = view(sig, sig_len) };
}

static void put_vtpm(struct evidence *e, const struct attest_request *r)
{
	e->inner.by = signed_by(r->attest, r->attest_len, r->sig, r->sig_len);
	e->inner.pcrs = view(r->pcrs, sizeof(r->pcrs));
	e->ak.pub = area(r->certs.ak_public, r->certs.ak_public_len);
	e->ak.cert = view(r->certs.ak_cert, r->certs.ak_cert_len);
	e->ek.pub = area(r->ek_public.data, r->ek_public.len);
	e->ek.cert = view(r->ek_cert.data, r->ek_cert.len);
	e->binding = view(r->bound, r->bound_len);
	e->guest_log = view(r->log, r->by_guest ? 0 : r->log_len);
}

static int put_host(struct evidence *e, const struct attest_request *r, const struct attest_identity *id, const struct host_quote *q)
{
	struct enrolment en;
	struct ca_key ca;
	struct buf b;

	buf_wrap(&b, id->record, id->record_len);
	if (enrolment_decode(&b, &en))
		return ERR_AUTH;
	buf_wrap(&b, id->ca, id->ca_len);
	if (ca_key_decode(&b, &ca))
		return ERR_AUTH;
	e->outer.by = signed_by(q->attest, q->attest_len, q->sig, q->sig_len);
	e->outer.pcrs = view(q->pcrs, q->pcrs_len);
	e->anchor = signed_by(q->anchor, q->anchor_len, q->anchor_sig, q->anchor_sig_len);
	e->anchor_pub = view(q->anchor_public, q->anchor_public_len);
	e->host_ak = area(en.pub, en.pub_len);
	e->ca.pub = area(ca.pub, ca.pub_len);
	e->ca.cert = view(ca.cert, ca.cert_len);
	e->ca_certify = signed_by(en.attest, en.attest_len, en.sig, en.sig_len);
	e->ca_creation = view(en.creation, en.creation_len);
	e->ca_created = signed_by(en.creation_attest, en.creation_attest_len, en.creation_sig, en.creation_sig_len);
	e->host_log = view(id->log, id->log && !r->by_guest ? id->log_len : 0);
	return 0;
}

int attest_make(const struct attest_request *r, const struct attest_identity *id, const struct merkle *t, size_t at,
		const struct host_quote *q, struct buf *out)
{
	uint8_t proof[MERKLE_LEVELS][DIGEST_LEN];
	struct evidence e = { .index = at, .count = t->n };
	size_t n = 0;
	int err = merkle_proof(t, at, proof, &n);

	e.proof = view(proof[0], n * DIGEST_LEN);
	put_vtpm(&e, r);
	put_chain(&e, id);
	if (!err)
		err = put_host(&e, r, id, q);
	return err ? err : evidence_encode(&e, out);
}

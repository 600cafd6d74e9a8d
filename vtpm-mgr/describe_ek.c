/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Endorsement keys, and the attestation key, for a reader: the public key is taken out of the TPM2B_PUBLIC, so that no certificate, which for
 * an imported TPM is anybody's bytes, is ever parsed here.
 */
#include <string.h>

#include "lib/buf.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/enroll.h"

#define TPM_ALG_RSA  0x0001u
#define TPM_ALG_NULL 0x0010u
#define TPM_ALG_ECC  0x0023u
#define RSA_2048_LEN 256u
#define P256_LEN     32u

/* SubjectPublicKeyInfo around a key of 2048 bits with the exponent 65537, RFC 8017 A.1.1 */
static const uint8_t rsa_head[] = { 0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48,
				    0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01,
				    0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00 };
static const uint8_t rsa_tail[] = { 0x02, 0x03, 0x01, 0x00, 0x01 };
/* The same around an uncompressed point of P-256, RFC 5480 2 */
static const uint8_t ecc_head[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
				    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };

/* Symmetric algorithm and scheme: AES and none, as both templates of EKs have them; or none and one with its hash. */
static int skip_algorithms(struct buf *b)
{
	uint16_t alg, bits, mode, scheme, hash;

	if (buf_get_u16be(b, &alg) || (alg != TPM_ALG_NULL && (buf_get_u16be(b, &bits) || buf_get_u16be(b, &mode))) ||
	    buf_get_u16be(b, &scheme) || (scheme != TPM_ALG_NULL && buf_get_u16be(b, &hash)))
		return ERR_AUTH;
	return 0;
}

/* TPMT_PUBLIC up to what depends on its type: Part 2, 12.2.4. */
static int read_common(struct buf *b, uint16_t *type)
{
	const uint8_t *policy;
	uint16_t size, name_alg;
	uint32_t attributes;
	size_t n;

	if (buf_get_u16be(b, &size) || size != buf_left(b) || buf_get_u16be(b, type) || buf_get_u16be(b, &name_alg) ||
	    buf_get_u32be(b, &attributes) || buf_get_2b(b, DIGEST_LEN, &policy, &n))
		return ERR_AUTH;
	return skip_algorithms(b);
}

static int put_rsa(struct buf *b, struct buf *out)
{
	uint32_t exponent;
	const uint8_t *n;
	uint16_t bits;
	size_t len;

	if (buf_get_u16be(b, &bits) || buf_get_u32be(b, &exponent) || exponent != 0 ||
	    buf_get_2b(b, RSA_2048_LEN, &n, &len) || len != RSA_2048_LEN)
		return ERR_AUTH;
	return buf_put_bytes(out, rsa_head, sizeof(rsa_head)) || buf_put_bytes(out, n, len) ||
			       buf_put_bytes(out, rsa_tail, sizeof(rsa_tail))
		       ? ERR_RANGE
		       : 0;
}

static int put_ecc(struct buf *b, struct buf *out)
{
	const uint8_t *x, *y;
	uint16_t curve, kdf;
	size_t nx, ny;

	if (buf_get_u16be(b, &curve) || buf_get_u16be(b, &kdf) || buf_get_2b(b, P256_LEN, &x, &nx) ||
	    buf_get_2b(b, P256_LEN, &y, &ny) || nx != P256_LEN || ny != P256_LEN)
		return ERR_AUTH;
	return buf_put_bytes(out, ecc_head, sizeof(ecc_head)) || buf_put_bytes(out, x, nx) || buf_put_bytes(out, y, ny)
		       ? ERR_RANGE
		       : 0;
}

/* The public key as SubjectPublicKeyInfo. The row may be damaged: then there is none. */
json_t *describe_spki(const uint8_t *pub, size_t len)
{
	uint8_t mem[sizeof(rsa_head) + RSA_2048_LEN + sizeof(rsa_tail)];
	struct buf b, out;
	uint16_t type;
	int err;

	buf_wrap(&b, pub, len);
	buf_init(&out, mem, sizeof(mem));
	err = read_common(&b, &type);
	if (!err)
		err = type == TPM_ALG_RSA ? put_rsa(&b, &out) : type == TPM_ALG_ECC ? put_ecc(&b, &out) : ERR_AUTH;
	if (err || buf_left(&b))
		return json_string("");
	return describe_pem("PUBLIC KEY", out.data, out.len);
}

static json_t *describe_hex(const uint8_t *p, size_t n)
{
	char hex[2 * PUBLIC_MAX + 1];

	return json_string(hex_encode(p, n, hex, sizeof(hex)) ? "" : hex);
}

json_t *describe_key(const char *kind, const uint8_t *pub, size_t pub_len, const uint8_t *cert, size_t cert_len)
{
	json_t *key = json_pack("{s:s, s:o, s:o}", "kind", kind, "public", describe_hex(pub, pub_len), "public_pem", describe_spki(pub, pub_len));

	if (cert_len)
		json_object_set_new(key, "certificate", describe_pem("CERTIFICATE", cert, cert_len));
	return key;
}

const char *const ek_words[] = { "rsa2048", "ecc-p256" };

static void describe_eks(const struct store_vtpm *row, json_t *list)
{
	for (unsigned i = 0; i < EK_KINDS; i++)
		if (row->ek_public[i].len || row->cert[i].len)
			json_array_append_new(list, describe_key(ek_words[i], row->ek_public[i].data, row->ek_public[i].len, row->cert[i].data,
								 row->cert[i].len));
}

static void describe_serial(const struct store_certs *c, json_t *j)
{
	char hex[2 * SERIAL_LEN + 1];

	json_object_set_new(j, "certificates", json_string(certs_issued(c) ? "issued" : "revoked"));
	if (certs_issued(c) && !hex_encode(c->serial, SERIAL_LEN, hex, sizeof(hex)))
		json_object_set_new(j, "serial", json_string(hex));
}

/* No key that the journal does not vouch for; as long as there is no journal, those of the store. */
void describe_keys(struct mgr *m, const struct store_vtpm *row, json_t *j)
{
	const struct leaf *leaf = leaves_find(&m->continuity.leaves, row->uuid);
	struct certs c = { 0 };
	int err = leaf ? certs_load(m->store, &leaf->l, row, &c) : 0;

	if (leaf)
		describe_serial(&leaf->l.certs, j);
	if (!err)
		describe_eks(row, json_object_get(j, "ek"));
	if (c.ak_public_len)
		json_object_set_new(j, "ak", describe_key("ecc-p256", c.ak_public, c.ak_public_len, c.ak_cert, c.ak_cert_len));
}

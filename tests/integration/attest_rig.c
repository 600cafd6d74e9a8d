/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/integration/attest_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include "lib/util.h"
#include "tests/integration/software_tpm.h"
#include "vtpm-mgr/keeper/ek.h"

#define CA_ATTRIBUTES                                                                                                        \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | \
	 TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_NODA)
#define SRK_ATTRIBUTES                                                                                                       \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | \
	 TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)
#define NV_A	   0x01800100u
#define HOST_PCRS  0x3ffu
#define GUEST_PCRS 0xffffu
#define NONE	   ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define BY_AUTH	   ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE
#define BY_TWO	   ESYS_TR_PASSWORD, ESYS_TR_PASSWORD, ESYS_TR_NONE

static const TPMT_SIG_SCHEME own_scheme = {.scheme = TPM2_ALG_NULL};
static const TPM2B_SENSITIVE_CREATE no_auth;
static const TPM2B_DATA no_data;
static const TPML_PCR_SELECTION no_pcrs;

#define ok(rc) assert_int_equal((rc), TSS2_RC_SUCCESS)

/* ---- TPMs ---- */

static void connect_esys(struct chip *c)
{
	char tcti[128];

	snprintf(tcti, sizeof(tcti), "swtpm:path=%s/tpm", c->dir);
	ok(Tss2_TctiLdr_Initialize(tcti, &c->tcti));
	ok(Esys_Initialize(&c->esys, c->tcti, NULL));
}

static void chip_start(struct chip *c)
{
	strcpy(c->dir, "/tmp/test_verify.XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	c->pid = software_tpm_start(c->dir);
	connect_esys(c);
}

static void chip_stop(struct chip *c)
{
	if (!c->pid)
		return;
	Esys_Finalize(&c->esys);
	Tss2_TctiLdr_Finalize(&c->tcti);
	software_tpm_kill(c->dir, c->pid);
	shell("rm -rf %s", c->dir);
	c->pid = 0;
}

static void extend(struct chip *c, unsigned pcr, const uint8_t digest[static EVIDENCE_DIGEST])
{
	TPML_DIGEST_VALUES v = {.count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256};

	memcpy(v.digests[0].digest.sha256, digest, EVIDENCE_DIGEST);
	ok(Esys_PCR_Extend(c->esys, ESYS_TR_PCR0 + pcr, BY_AUTH, &v));
}

static void take_public(const TPM2B_PUBLIC *pub, struct blob *out)
{
	out->n = 0;
	ok(Tss2_MU_TPMT_PUBLIC_Marshal(&pub->publicArea, out->bytes, sizeof(out->bytes), &out->n));
}

/* Frees both. */
static void take_attest(TPM2B_ATTEST *attest, TPMT_SIGNATURE *sig, struct blob *a, struct blob *s)
{
	memcpy(a->bytes, attest->attestationData, attest->size);
	a->n = attest->size;
	s->n = 0;
	ok(Tss2_MU_TPMT_SIGNATURE_Marshal(sig, s->bytes, sizeof(s->bytes), &s->n));
	Esys_Free(attest);
	Esys_Free(sig);
}

static struct evidence_view view(const struct blob *b)
{
	return (struct evidence_view){b->bytes, b->n};
}

static struct evidence_view view_cert(const struct cert_der *c)
{
	return (struct evidence_view){c->bytes, c->len};
}

static void sha256(const void *p, size_t n, uint8_t out[static EVIDENCE_DIGEST])
{
	assert_int_equal(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL), 1);
}

static EVP_PKEY *ecc_key(const TPM2B_PUBLIC *pub)
{
	const TPMS_ECC_POINT *p = &pub->publicArea.unique.ecc;
	EVP_PKEY *key;

	assert_int_equal(p->x.size, 32);
	assert_int_equal(ek_ecc_key(p->x.buffer, p->y.buffer, &key), 0);
	return key;
}

static TPML_PCR_SELECTION selection(uint32_t mask)
{
	return (TPML_PCR_SELECTION){.count = 1,
				    .pcrSelections[0] = {.hash = TPM2_ALG_SHA256,
							 .sizeofSelect = 3,
							 .pcrSelect = {(BYTE)mask, (BYTE)(mask >> 8), (BYTE)(mask >> 16)}}};
}

static void quote(struct chip *c, ESYS_TR ak, uint32_t mask, const uint8_t data[static EVIDENCE_DIGEST], struct blob *a, struct blob *s,
		  struct blob *values)
{
	const TPML_PCR_SELECTION pcrs = selection(mask);
	TPM2B_DATA extra = {.size = EVIDENCE_DIGEST};
	TPM2B_ATTEST *attest;
	TPMT_SIGNATURE *sig;

	memcpy(extra.buffer, data, EVIDENCE_DIGEST);
	ok(Esys_Quote(c->esys, ak, BY_AUTH, &extra, &own_scheme, &pcrs, &attest, &sig));
	take_attest(attest, sig, a, s);
	values->n = 0;
	while (mask) {
		TPML_PCR_SELECTION want = selection(mask), *got;
		TPML_DIGEST *v;
		UINT32 counter;

		ok(Esys_PCR_Read(c->esys, NONE, &want, &counter, &got, &v));
		for (unsigned i = 0; i < v->count; i++, values->n += EVIDENCE_DIGEST)
			memcpy(values->bytes + values->n, v->digests[i].buffer, EVIDENCE_DIGEST);
		for (unsigned i = 0; i < 3; i++)
			mask &= ~((uint32_t)got->pcrSelections[0].pcrSelect[i] << (8 * i));
		Esys_Free(got);
		Esys_Free(v);
	}
}

/* ---- a host ---- */

static void make_srk(struct host *h)
{
	TPM2B_PUBLIC in = {0}, *pub;

	ek_template(EK_ECC_P256, &in.publicArea);
	in.publicArea.objectAttributes = SRK_ATTRIBUTES;
	in.publicArea.authPolicy.size = 0;
	ok(Esys_CreatePrimary(h->chip.esys, ESYS_TR_RH_OWNER, BY_AUTH, &no_auth, &in, &no_data, &no_pcrs, &h->srk, &pub, NULL, NULL, NULL));
	Esys_Free(pub);
}

/* The parent is only there while something is loaded: TPMs have room for three. */
static void load_keys(struct host *h)
{
	make_srk(h);
	ok(Esys_Load(h->chip.esys, h->srk, BY_AUTH, h->ak_priv, h->ak_pub, &h->ak));
	ok(Esys_Load(h->chip.esys, h->srk, BY_AUTH, h->ca_priv, h->ca_pub, &h->ca));
	ok(Esys_FlushContext(h->chip.esys, h->srk));
}

static void make_keys(struct host *h)
{
	TPM2B_PUBLIC ak = {0}, ca = {0};

	make_srk(h);
	ak_template(&ak.publicArea);
	ok(Esys_Create(h->chip.esys, h->srk, BY_AUTH, &no_auth, &ak, &no_data, &no_pcrs, &h->ak_priv, &h->ak_pub, NULL, NULL, NULL));
	ak_template(&ca.publicArea);
	ca.publicArea.objectAttributes = CA_ATTRIBUTES;
	ok(Esys_Create(h->chip.esys, h->srk, BY_AUTH, &no_auth, &ca, &no_data, &no_pcrs, &h->ca_priv, &h->ca_pub, &h->creation, NULL,
		       &h->ticket));
	ok(Esys_FlushContext(h->chip.esys, h->srk));
	load_keys(h);
	take_public(h->ak_pub, &h->ak_area);
	take_public(h->ca_pub, &h->ca_area);
	h->ak_name[1] = TPM2_ALG_SHA256;
	sha256(h->ak_area.bytes, h->ak_area.n, h->ak_name + 2);
}

static int ca_sign(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32])
{
	const TPMT_TK_HASHCHECK no_ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
	TPM2B_DIGEST d = {.size = DIGEST_LEN};
	struct host *h = arg;
	TPMT_SIGNATURE *sig;

	memcpy(d.buffer, digest, DIGEST_LEN);
	ok(Esys_Sign(h->chip.esys, h->ca, BY_AUTH, &d, &own_scheme, &no_ticket, &sig));
	memcpy(r, sig->signature.ecdsa.signatureR.buffer, 32);
	memcpy(s, sig->signature.ecdsa.signatureS.buffer, 32);
	Esys_Free(sig);
	return 0;
}

static void make_ca(struct host *h)
{
	const struct cert_signer signer = {ca_sign, h};
	TPM2B_DATA extra = {.size = EVIDENCE_DIGEST};
	TPM2B_DIGEST hash = {.size = EVIDENCE_DIGEST};
	EVP_PKEY *key = ecc_key(h->ca_pub);
	TPM2B_ATTEST *attest;
	TPMT_SIGNATURE *sig;

	assert_int_equal(cert_make_ca(key, &signer, &h->cert), 0);
	assert_int_equal(cert_open_ca(h->cert.bytes, h->cert.len, key, &h->ca_cert), 0);
	EVP_PKEY_free(key);
	sha256(h->cert.bytes, h->cert.len, extra.buffer);
	ok(Esys_Certify(h->chip.esys, h->ca, h->ak, BY_TWO, &extra, &own_scheme, &attest, &sig));
	take_attest(attest, sig, &h->certify, &h->certify_sig);
	h->creation_data.n = 0;
	ok(Tss2_MU_TPMS_CREATION_DATA_Marshal(&h->creation->creationData, h->creation_data.bytes, sizeof(h->creation_data.bytes),
					      &h->creation_data.n));
	sha256(h->creation_data.bytes, h->creation_data.n, hash.buffer);
	ok(Esys_CertifyCreation(h->chip.esys, h->ak, h->ca, BY_AUTH, &extra, &hash, &own_scheme, h->ticket, &attest, &sig));
	take_attest(attest, sig, &h->created, &h->created_sig);
}

static void make_anchor(struct host *h)
{
	TPM2B_NV_PUBLIC in = {.nvPublic = {.nvIndex = NV_A,
					   .nameAlg = TPM2_ALG_SHA256,
					   .attributes = (TPM2_NT_EXTEND << TPMA_NV_TPM2_NT_SHIFT) | TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA,
					   .dataSize = EVIDENCE_DIGEST}},
			*pub;
	const TPM2B_AUTH empty = {0};
	TPM2B_NAME *name;

	ok(Esys_NV_DefineSpace(h->chip.esys, ESYS_TR_RH_OWNER, BY_AUTH, &empty, &in, &h->nv));
	host_anchor_extend(h);
	ok(Esys_NV_ReadPublic(h->chip.esys, h->nv, NONE, &pub, &name));
	h->nv_area.n = 0;
	ok(Tss2_MU_TPMS_NV_PUBLIC_Marshal(&pub->nvPublic, h->nv_area.bytes, sizeof(h->nv_area.bytes), &h->nv_area.n));
	Esys_Free(pub);
	Esys_Free(name);
}

void host_anchor_extend(struct host *h)
{
	TPM2B_MAX_NV_BUFFER data = {.size = EVIDENCE_DIGEST};
	uint8_t both[2 * EVIDENCE_DIGEST];

	assert_int_equal(random_bytes(data.buffer, EVIDENCE_DIGEST), 0);
	ok(Esys_NV_Extend(h->chip.esys, h->nv, h->nv, BY_AUTH, &data));
	memcpy(both, h->anchor, EVIDENCE_DIGEST);
	memcpy(both + EVIDENCE_DIGEST, data.buffer, EVIDENCE_DIGEST);
	sha256(both, sizeof(both), h->anchor);
}

static TPM2B_PUBLIC *make_ek(struct chip *c)
{
	TPM2B_PUBLIC in = {0}, *pub;
	ESYS_TR handle;

	ek_template(EK_ECC_P256, &in.publicArea);
	ok(Esys_CreatePrimary(c->esys, ESYS_TR_RH_ENDORSEMENT, BY_AUTH, &no_auth, &in, &no_data, &no_pcrs, &handle, &pub, NULL, NULL, NULL));
	ok(Esys_FlushContext(c->esys, handle));
	return pub;
}

void host_start(struct host *h)
{
	memset(h, 0, sizeof(*h));
	chip_start(&h->chip);
	h->ek_pub = make_ek(&h->chip);
	make_keys(h);
	make_ca(h);
	make_anchor(h);
}

void host_stop(struct host *h)
{
	chip_stop(&h->chip);
	Esys_Free(h->ak_pub);
	Esys_Free(h->ca_pub);
	Esys_Free(h->ek_pub);
	Esys_Free(h->ak_priv);
	Esys_Free(h->ca_priv);
	Esys_Free(h->creation);
	Esys_Free(h->ticket);
	X509_free(h->ca_cert);
	memset(h, 0, sizeof(*h));
}

static void add_ext(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *ext = value ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;

	assert_true(!value || (ext && X509_add_ext(x, ext, -1)));
	X509_EXTENSION_free(ext);
}

void host_ek_certify(struct host *h, X509 *maker, EVP_PKEY *key, const char *usage, const char *extended)
{
	EVP_PKEY *ek = ecc_key(h->ek_pub);
	unsigned char *at = h->ek_cert.bytes;
	X509 *x = X509_new();
	int n;

	add_ext(x, NID_key_usage, usage);
	add_ext(x, NID_ext_key_usage, extended);
	assert_true(X509_set_version(x, X509_VERSION_3) && ASN1_INTEGER_set(X509_get_serialNumber(x), 7) && X509_set_pubkey(x, ek) &&
		    X509_gmtime_adj(X509_getm_notBefore(x), -100) && X509_gmtime_adj(X509_getm_notAfter(x), 100000) &&
		    X509_set_issuer_name(x, X509_get_subject_name(maker)) && X509_sign(x, key, EVP_sha256()));
	n = i2d_X509(x, NULL);
	assert_in_range(n, 1, sizeof(h->ek_cert.bytes));
	h->ek_cert.n = (size_t)i2d_X509(x, &at);
	X509_free(x);
	EVP_PKEY_free(ek);
}

/* What is loaded is lost. The connection is a new one: ESYS does not know of resets. */
void host_reset(struct host *h)
{
	ok(Esys_Shutdown(h->chip.esys, NONE, TPM2_SU_CLEAR));
	Esys_Finalize(&h->chip.esys);
	Tss2_TctiLdr_Finalize(&h->chip.tcti);
	shell("swtpm_ioctl --unix %s/tpm.ctrl -i", h->chip.dir);
	connect_esys(&h->chip);
	ok(Esys_Startup(h->chip.esys, TPM2_SU_CLEAR));
	load_keys(h);
	ok(Esys_TR_FromTPMPublic(h->chip.esys, NV_A, NONE, &h->nv));
}

void host_pcr_extend(struct host *h, unsigned pcr, const uint8_t digest[static EVIDENCE_DIGEST])
{
	extend(&h->chip, pcr, digest);
}

X509_CRL *host_crl(struct host *h, const uint8_t *serial, time_t from, time_t until)
{
	EVP_PKEY *throwaway = EVP_EC_gen("P-256");
	ASN1_TIME *t0 = ASN1_TIME_set(NULL, from), *t1 = ASN1_TIME_set(NULL, until);
	const ASN1_BIT_STRING *field;
	const X509_ALGOR *alg;
	X509_CRL *crl = X509_CRL_new();
	uint8_t digest[32], r[32], s[32], der[80], *at = der;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	unsigned char *tbs = NULL;
	int n;

	assert_true(X509_CRL_set_version(crl, X509_CRL_VERSION_2) && X509_CRL_set_issuer_name(crl, X509_get_subject_name(h->ca_cert)) &&
		    X509_CRL_set1_lastUpdate(crl, t0) && X509_CRL_set1_nextUpdate(crl, t1));
	if (serial) {
		X509_REVOKED *entry = X509_REVOKED_new();
		BIGNUM *number = BN_bin2bn(serial, SERIAL_LEN, NULL);
		ASN1_INTEGER *i = BN_to_ASN1_INTEGER(number, NULL);

		assert_true(X509_REVOKED_set_serialNumber(entry, i) && X509_REVOKED_set_revocationDate(entry, t0) && X509_CRL_add0_revoked(crl, entry));
		BN_free(number);
		ASN1_INTEGER_free(i);
	}
	assert_true(X509_CRL_sign(crl, throwaway, EVP_sha256()) > 0); /* for the algorithms; the signature is replaced */
	n = i2d_re_X509_CRL_tbs(crl, &tbs);
	assert_true(n > 0);
	sha256(tbs, (size_t)n, digest);
	ca_sign(h, digest, r, s);
	assert_int_equal(ECDSA_SIG_set0(sig, BN_bin2bn(r, 32, NULL), BN_bin2bn(s, 32, NULL)), 1);
	n = i2d_ECDSA_SIG(sig, &at);
	X509_CRL_get0_signature(crl, &field, &alg);
	assert_int_equal(ASN1_STRING_set((ASN1_BIT_STRING *)(uintptr_t)field, der, n), 1);
	OPENSSL_free(tbs);
	ECDSA_SIG_free(sig);
	ASN1_TIME_free(t0);
	ASN1_TIME_free(t1);
	EVP_PKEY_free(throwaway);
	return crl;
}

/* ---- a guest ---- */

static void make_ak(struct guest *g, bool planted)
{
	TPM2B_PUBLIC in = {0};

	ak_template(&in.publicArea);
	if (planted) {
		in.publicArea.unique.ecc.x.size = 32;
		assert_int_equal(random_bytes(in.publicArea.unique.ecc.x.buffer, 32), 0);
	}
	ok(Esys_CreatePrimary(g->chip.esys, ESYS_TR_RH_PLATFORM, BY_AUTH, &no_auth, &in, &no_data, &no_pcrs, &g->ak, &g->ak_pub, NULL, NULL,
			      NULL));
	take_public(g->ak_pub, &g->ak_area);
}

void guest_start(struct guest *g, uint8_t number)
{
	memset(g, 0, sizeof(*g));
	memset(g->uuid, number, sizeof(g->uuid));
	g->epoch = 1;
	g->version = 100;
	chip_start(&g->chip);
	g->ek_pub = make_ek(&g->chip);
	take_public(g->ek_pub, &g->ek_area);
	make_ak(g, false);
}

void guest_stop(struct guest *g)
{
	chip_stop(&g->chip);
	Esys_Free(g->ak_pub);
	Esys_Free(g->ek_pub);
	memset(g, 0, sizeof(*g));
}

void guest_certify(struct guest *g, struct host *by)
{
	const struct cert_signer signer = {ca_sign, by};
	EVP_PKEY *ak = ecc_key(g->ak_pub), *ek = ecc_key(g->ek_pub);
	struct cert_subject of;

	memcpy(of.uuid, g->uuid, sizeof(of.uuid));
	assert_int_equal(cert_serial_new(of.serial), 0);
	assert_int_equal(cert_make_key(by->ca_cert, AK_ECC_P256, ak, &of, &signer, &g->ak_cert), 0);
	assert_int_equal(cert_make_key(by->ca_cert, EK_ECC_P256, ek, &of, &signer, &g->ek_cert), 0);
	memcpy(g->serial, of.serial, SERIAL_LEN);
	g->serial[SERIAL_LEN - 1] = AK_ECC_P256;
	EVP_PKEY_free(ak);
	EVP_PKEY_free(ek);
}

void guest_pcr_extend(struct guest *g, unsigned pcr, const uint8_t digest[static EVIDENCE_DIGEST])
{
	extend(&g->chip, pcr, digest);
}

void guest_plant(struct guest *g)
{
	ok(Esys_FlushContext(g->chip.esys, g->ak));
	Esys_Free(g->ak_pub);
	make_ak(g, true);
}

/* ---- evidence ---- */

static void name_of(const struct blob *area, uint8_t name[static EVIDENCE_NAME])
{
	name[0] = 0;
	name[1] = TPM2_ALG_SHA256;
	sha256(area->bytes, area->n, name + 2);
}

void piece_begin(struct piece *p, const struct host *h, const struct guest *g)
{
	memset(p, 0, sizeof(*p));
	assert_int_equal(random_bytes(p->nonce, sizeof(p->nonce)), 0);
	p->b = (struct binding){.nonce = p->nonce, .nonce_len = sizeof(p->nonce), .epoch = g->epoch, .version = g->version, .mode = EVIDENCE_STRICT};
	memcpy(p->b.uuid, g->uuid, sizeof(p->b.uuid));
	name_of(&g->ek_area, p->b.ek_name);
	name_of(&g->ak_area, p->b.ak_name);
	memcpy(p->b.anchor, h->anchor, sizeof(p->b.anchor));
	if (g->log.n) {
		p->b.nlaunch = 1;
		sha256(g->log.bytes, g->log.n, p->b.launch[0]);
	}
	p->e.ak = (struct evidence_key){view(&g->ak_area), view_cert(&g->ak_cert)};
	p->e.ek = (struct evidence_key){view(&g->ek_area), view_cert(&g->ek_cert)};
	p->e.host_ak = view(&h->ak_area);
	p->e.ca = (struct evidence_key){view(&h->ca_area), view_cert(&h->cert)};
	p->e.ca_certify = (struct evidence_signed){view(&h->certify), view(&h->certify_sig)};
	p->e.ca_creation = view(&h->creation_data);
	p->e.ca_created = (struct evidence_signed){view(&h->created), view(&h->created_sig)};
	p->e.anchor_pub = view(&h->nv_area);
	p->e.chain[0] = view(&h->ek_cert);
	p->e.nchain = h->ek_cert.n ? 1 : 0;
	p->e.guest_log = view(&g->log);
	p->e.host_log = view(&h->log);
}

void piece_inner(struct piece *p, struct guest *g)
{
	uint8_t data[EVIDENCE_DIGEST];

	assert_int_equal(evidence_inner_data(&p->b, data), 0);
	quote(&g->chip, g->ak, GUEST_PCRS, data, &p->inner, &p->inner_sig, &p->inner_pcrs);
	p->e.inner = (struct evidence_quote){{view(&p->inner), view(&p->inner_sig)}, view(&p->inner_pcrs)};
	sha256(p->inner.bytes, p->inner.n, p->b.quote);
}

void piece_bind(struct piece *p, uint64_t index, uint64_t count)
{
	uint8_t leaf[EVIDENCE_DIGEST];
	uint64_t i = index, n = count;
	struct buf b;

	assert_int_equal(evidence_attached(&p->e, NULL, p->b.attached), 0);
	buf_init(&b, p->binding.bytes, sizeof(p->binding.bytes));
	assert_int_equal(binding_encode(&p->b, &b), 0);
	p->binding.n = b.len;
	p->e.binding = view(&p->binding);
	p->e.index = index;
	p->e.count = count;
	p->e.proof = (struct evidence_view){p->siblings, 0};
	for (; n > 1; i /= 2, n = (n + 1) / 2)
		if (i % 2 || i != n - 1)
			p->e.proof.n += EVIDENCE_DIGEST;
	assert_int_equal(random_bytes(p->siblings, sizeof(p->siblings)), 0); /* what else there is, nobody has to know */
	assert_int_equal(evidence_leaf(p->binding.bytes, p->binding.n, leaf), 0);
	assert_int_equal(evidence_root(leaf, index, count, &p->e.proof, p->root), 0);
}

void piece_quote(struct piece *p, struct host *h)
{
	uint8_t data[EVIDENCE_DIGEST];

	assert_int_equal(evidence_outer_data(p->root, p->e.count, h->ak_name, data), 0);
	quote(&h->chip, h->ak, (HOST_PCRS | h->more_pcrs) & ~h->fewer_pcrs, data, &p->outer, &p->outer_sig, &p->outer_pcrs);
	p->e.outer = (struct evidence_quote){{view(&p->outer), view(&p->outer_sig)}, view(&p->outer_pcrs)};
}

void piece_anchor(struct piece *p, struct host *h)
{
	TPM2B_DATA extra = {.size = EVIDENCE_DIGEST};
	TPM2B_ATTEST *attest;
	TPMT_SIGNATURE *sig;

	assert_int_equal(evidence_outer_data(p->root, p->e.count, h->ak_name, extra.buffer), 0);
	ok(Esys_NV_Certify(h->chip.esys, h->ak, h->nv, h->nv, BY_TWO, &extra, &own_scheme, EVIDENCE_DIGEST, 0, &attest, &sig));
	take_attest(attest, sig, &p->anchor, &p->anchor_sig);
	p->e.anchor = (struct evidence_signed){view(&p->anchor), view(&p->anchor_sig)};
}

void piece_make(struct piece *p, struct host *h, struct guest *g)
{
	piece_begin(p, h, g);
	piece_inner(p, g);
	piece_bind(p, 2, 5);
	piece_quote(p, h);
	piece_anchor(p, h);
}

size_t piece_encode(const struct piece *p, uint8_t *mem, size_t cap)
{
	struct buf b;

	buf_init(&b, mem, cap);
	assert_int_equal(evidence_encode(&p->e, &b), 0);
	return b.len;
}

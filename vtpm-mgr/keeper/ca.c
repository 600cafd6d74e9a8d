/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/ca.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#include "lib/secmem.h"
#include "vtpm-mgr/keeper/ek.h"
#include "vtpm-mgr/keeper/wrap.h"

#define CA_ATTRIBUTES                                                                                                  \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | \
	 TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_NODA)

#define CREATION_PCRS 0xffffu /* all that a boot measures into */

struct sign_job {
	const struct ca *ca;
	TPM2B_DIGEST digest;
	uint8_t *r, *s; /* 32 bytes each */
};

int ca_init(struct ca *ca, struct tpm *t)
{
	memset(ca, 0, sizeof(*ca));
	ca->tpm = t;
	ca->auth = secmem_alloc(KEY_LEN);
	return ca->auth ? 0 : ERR_NOMEM;
}

void ca_free(struct ca *ca)
{
	secmem_free(ca->auth, KEY_LEN);
	ca->auth = NULL;
	X509_free(ca->cert);
	ca->cert = NULL;
}

static void ca_template(TPM2B_PUBLIC *pub)
{
	TPMT_PUBLIC *p = &pub->publicArea;

	memset(pub, 0, sizeof(*pub));
	p->type = TPM2_ALG_ECC;
	p->nameAlg = TPM2_ALG_SHA256;
	p->objectAttributes = CA_ATTRIBUTES;
	p->parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
	p->parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
	p->parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
	p->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	p->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
}

/* A TPM2B of a coordinate may lack leading zeros. */
static int copy_32(const TPM2B_ECC_PARAMETER *in, uint8_t out[static 32])
{
	if (in->size > 32)
		return ERR_INVAL;
	memset(out, 0, 32);
	memcpy(out + 32 - in->size, in->buffer, in->size);
	return 0;
}

static int ca_public_key(const TPM2B_PUBLIC *pub, EVP_PKEY **key)
{
	const TPMT_PUBLIC *p = &pub->publicArea;
	uint8_t x[32], y[32];

	*key = NULL;
	if (p->type != TPM2_ALG_ECC || p->objectAttributes != CA_ATTRIBUTES || copy_32(&p->unique.ecc.x, x) ||
	    copy_32(&p->unique.ecc.y, y))
		return ERR_AUTH;
	return ek_ecc_key(x, y, key) ? ERR_AUTH : 0;
}

int ca_load(struct tpm *t, const struct ca *ca, ESYS_TR *handle)
{
	TPM2B_AUTH auth = {.size = KEY_LEN};
	int r;

	r = tpm_load(t, &ca->pub, &ca->priv, "the certificate key", handle);
	if (r)
		return r;
	memcpy(auth.buffer, ca->auth, KEY_LEN);
	r = tpm_check(t, Esys_TR_SetAuth(t->esys, *handle, &auth), "auth of the certificate key");
	secmem_wipe(&auth, sizeof(auth));
	return r;
}

static int sign_op(struct tpm *t, void *arg)
{
	const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_ECDSA, .details.ecdsa.hashAlg = TPM2_ALG_SHA256};
	const TPMT_TK_HASHCHECK no_ticket = {.tag = TPM2_ST_HASHCHECK, .hierarchy = TPM2_RH_NULL};
	struct sign_job *job = arg;
	ESYS_TR handle = ESYS_TR_NONE;
	TPMT_SIGNATURE *sig = NULL;
	int r;

	r = ca_load(t, job->ca, &handle);
	if (!r)
		r = tpm_check(t,
			      Esys_Sign(t->esys, handle, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &job->digest, &scheme,
					&no_ticket, &sig),
			      "TPM2_Sign with the certificate key");
	if (!r && (sig->sigAlg != TPM2_ALG_ECDSA || copy_32(&sig->signature.ecdsa.signatureR, job->r) ||
		   copy_32(&sig->signature.ecdsa.signatureS, job->s)))
		r = tpm_fail(t, ERR_TPM, "TPM2_Sign: the TPM made a signature of another kind");
	Esys_Free(sig);
	tpm_flush(t, &handle);
	return r;
}

int ca_sign(void *arg, const uint8_t digest[static DIGEST_LEN], uint8_t r[static 32], uint8_t s[static 32])
{
	struct ca *ca = arg;
	struct sign_job job = {.ca = ca, .digest.size = DIGEST_LEN, .r = r, .s = s};

	memcpy(job.digest.buffer, digest, DIGEST_LEN);
	return tpm_run(ca->tpm, sign_op, &job);
}

/* The TPM's word on how the key came to be, for the attestation key to repeat. */
static int keep_creation(struct ca *ca, const TPM2B_CREATION_DATA *data, const TPMT_TK_CREATION *ticket)
{
	ca->creation_len = 0;
	if (Tss2_MU_TPM2B_CREATION_DATA_Marshal(data, ca->creation, sizeof(ca->creation), &ca->creation_len) ||
	    Tss2_MU_TPMT_TK_CREATION_Marshal(ticket, ca->creation, sizeof(ca->creation), &ca->creation_len))
		return tpm_fail(ca->tpm, ERR_TPM, "TPM2_Create of the certificate key: its creation data are too large");
	return 0;
}

static int create(struct tpm *t, struct ca *ca, const TPM2B_SENSITIVE_CREATE *sensitive)
{
	const TPML_PCR_SELECTION pcrs = tpm_pcr_selection(CREATION_PCRS);
	const TPM2B_DATA outside = {0};
	TPM2B_CREATION_DATA *data = NULL;
	TPMT_TK_CREATION *ticket = NULL;
	TPM2B_PUBLIC in, *pub = NULL;
	TPM2B_PRIVATE *priv = NULL;
	int r;

	ca_template(&in);
	r = tpm_check(t,
		      Esys_Create(t->esys, t->srk, t->session, ESYS_TR_NONE, ESYS_TR_NONE, sensitive, &in, &outside, &pcrs, &priv, &pub,
				  &data, NULL, &ticket),
		      "TPM2_Create of the certificate key");
	if (!r)
		r = keep_creation(ca, data, ticket);
	if (!r) {
		ca->pub = *pub;
		ca->priv = *priv;
	}
	Esys_Free(pub);
	Esys_Free(priv);
	Esys_Free(data);
	Esys_Free(ticket);
	return r;
}

static int create_op(struct tpm *t, void *arg)
{
	TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.userAuth.size = KEY_LEN};
	struct ca *ca = arg;
	int r;

	r = random_bytes(ca->auth, KEY_LEN);
	if (r)
		return tpm_fail(t, r, "no random bytes: %s", err_text(r));
	/* A TPM drops trailing zeros of an auth value (TPM 2.0 Part 1, 19.6.4.3): there shall be none. */
	ca->auth[KEY_LEN - 1] |= 1;
	memcpy(sensitive.sensitive.userAuth.buffer, ca->auth, KEY_LEN);
	r = create(t, ca, &sensitive);
	secmem_wipe(&sensitive, sizeof(sensitive));
	return r;
}

/* The certificate of the key just made, in *out and as ca->cert. */
static int ca_self_sign(struct ca *ca, struct cert_der *out)
{
	const struct cert_signer signer = {.sign = ca_sign, .arg = ca};
	EVP_PKEY *key = NULL;
	int r;

	ca->tpm->text[0] = '\0';
	r = ca_public_key(&ca->pub, &key);
	if (!r)
		r = cert_make_ca(key, &signer, out);
	if (!r)
		r = cert_open_ca(out->bytes, out->len, key, &ca->cert);
	EVP_PKEY_free(key);
	if (r && !ca->tpm->text[0])
		return tpm_fail(ca->tpm, r, "the CA certificate cannot be made: %s", err_text(r));
	return r;
}

int ca_new(struct ca *ca, const uint8_t key[static KEY_LEN], struct ca_blob *blob, struct ca_key *k)
{
	int r;

	if (ca->cert)
		return tpm_fail(ca->tpm, ERR_EXISTS, "there is a CA already");
	r = tpm_run(ca->tpm, create_op, ca);
	if (!r)
		r = tpm_blob_encode(ca->tpm, &ca->pub, &ca->priv, blob->pub, &k->pub_len, blob->priv, &k->priv_len);
	if (r)
		return r;
	r = wrap_ca_auth(key, blob->pub, k->pub_len, ca->auth, blob->auth);
	if (r)
		return tpm_fail(ca->tpm, r, "the auth of the certificate key cannot be wrapped: %s", err_text(r));
	r = ca_self_sign(ca, &blob->cert);
	k->pub = blob->pub;
	k->priv = blob->priv;
	k->auth = blob->auth;
	k->auth_len = sizeof(blob->auth);
	k->cert = blob->cert.bytes;
	k->cert_len = blob->cert.len;
	k->creation = ca->creation;
	k->creation_len = ca->creation_len;
	return r;
}

static int load_op(struct tpm *t, void *arg)
{
	ESYS_TR handle = ESYS_TR_NONE;
	int r = ca_load(t, arg, &handle);

	tpm_flush(t, &handle);
	return r;
}

/* Reads a stored CA and proves that its parts belong together, and that this TPM takes its key. */
static int ca_read(struct ca *ca, const uint8_t key[static KEY_LEN], const struct ca_key *k)
{
	EVP_PKEY *pkey = NULL;
	int r;

	r = tpm_blob_decode(ca->tpm, k->pub, k->pub_len, k->priv, k->priv_len, &ca->pub, &ca->priv);
	if (r)
		return r;
	r = unwrap_ca_auth(key, k->pub, k->pub_len, k->auth, k->auth_len, ca->auth);
	if (!r)
		r = ca_public_key(&ca->pub, &pkey);
	if (!r)
		r = cert_open_ca(k->cert, k->cert_len, pkey, &ca->cert);
	EVP_PKEY_free(pkey);
	ca->creation_len = k->creation_len;
	memcpy(ca->creation, k->creation, k->creation_len);
	if (r)
		return tpm_fail(ca->tpm, r,
				"the stored CA is damaged: auth, key and certificate do not belong together");
	return tpm_run(ca->tpm, load_op, ca);
}

int ca_open(struct ca *ca, const uint8_t key[static KEY_LEN], const struct ca_key *k)
{
	struct ca old, new;
	int r;

	if (ca_init(&new, ca->tpm))
		return tpm_fail(ca->tpm, ERR_NOMEM, "no locked memory for the certificate key's auth");
	r = ca_read(&new, key, k);
	if (!r && ca->cert && X509_cmp(ca->cert, new.cert))
		r = tpm_fail(ca->tpm, ERR_EXISTS, "another CA is open");
	if (!r) {
		old = *ca;
		*ca = new;
		new = old;
	}
	ca_free(&new);
	return r;
}

int ca_certify(struct ca *ca, const struct cert_request *req, const struct cert_subject *of, struct cert_der *out)
{
	const struct cert_signer signer = {.sign = ca_sign, .arg = ca};
	EVP_PKEY *key = NULL;
	int r;

	if (!ca->cert)
		return tpm_fail(ca->tpm, ERR_WRONG_STATE, "there is no CA");
	r = ek_decode(req->kind, req->key_public, req->key_public_len, &key);
	if (r)
		return tpm_fail(ca->tpm, r, "not an endorsement key by the TCG's template, nor an attestation key by ours");
	ca->tpm->text[0] = '\0';
	r = cert_make_key(ca->cert, req->kind, key, of, &signer, out);
	EVP_PKEY_free(key);
	if (r && !ca->tpm->text[0])
		return tpm_fail(ca->tpm, r, "the certificate cannot be made: %s", err_text(r));
	return r;
}

int ca_reseal(struct ca *ca, const uint8_t key[static KEY_LEN], uint8_t wrapped[static WRAPPED_KEY_LEN])
{
	uint8_t pub[SEALED_BLOB_MAX], priv[SEALED_BLOB_MAX];
	size_t pub_len = 0, priv_len = 0;
	int r = ca->cert ? 0 : tpm_fail(ca->tpm, ERR_WRONG_STATE, "there is no CA");

	if (!r)
		r = tpm_blob_encode(ca->tpm, &ca->pub, &ca->priv, pub, &pub_len, priv, &priv_len);
	return r ? r : wrap_ca_auth(key, pub, pub_len, ca->auth, wrapped);
}

int ca_vouch(struct ca *ca, const uint8_t digest[static DIGEST_LEN], uint8_t signature[static 64])
{
	if (!ca->cert)
		return tpm_fail(ca->tpm, ERR_WRONG_STATE, "there is no CA");
	return ca_sign(ca, digest, signature, signature + 32);
}

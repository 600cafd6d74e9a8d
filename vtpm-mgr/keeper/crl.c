/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/crl.h"

#include <string.h>

void crl_free(struct crl *c)
{
	X509_CRL_free(c->list);
	OPENSSL_free(c->der);
	memset(c, 0, sizeof(*c));
}

static bool add_number(X509_CRL *list, uint64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	bool ok = n && ASN1_INTEGER_set_uint64(n, number) == 1 && X509_CRL_add1_ext_i2d(list, NID_crl_number, n, 0, X509V3_ADD_DEFAULT) == 1;

	ASN1_INTEGER_free(n);
	return ok;
}

static bool add_issuer(X509_CRL *list, X509 *ca)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, ca, NULL, NULL, list, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = ext && X509_CRL_add_ext(list, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_times(X509_CRL *list, uint64_t from, uint64_t until)
{
	ASN1_TIME *a = ASN1_TIME_set(NULL, (time_t)from), *b = ASN1_TIME_set(NULL, (time_t)until);
	bool ok = a && b && X509_CRL_set1_lastUpdate(list, a) == 1 && X509_CRL_set1_nextUpdate(list, b) == 1;

	ASN1_TIME_free(a);
	ASN1_TIME_free(b);
	return ok;
}

int crl_begin(struct crl *c, X509 *ca, uint64_t number, uint64_t from, uint64_t until)
{
	X509_CRL *list = X509_CRL_new();

	crl_free(c);
	if (!list || from > INT64_MAX || until > INT64_MAX || X509_CRL_set_version(list, X509_CRL_VERSION_2) != 1 ||
	    X509_CRL_set_issuer_name(list, X509_get_subject_name(ca)) != 1 || !set_times(list, from, until) || !add_number(list, number) ||
	    !add_issuer(list, ca)) {
		X509_CRL_free(list);
		return ERR_CRYPTO;
	}
	c->list = list;
	return 0;
}

static bool fill(X509_REVOKED *x, const struct revoked *r)
{
	BIGNUM *n = BN_bin2bn(r->serial, SERIAL_LEN, NULL);
	ASN1_INTEGER *serial = n ? BN_to_ASN1_INTEGER(n, NULL) : NULL;
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)r->when);
	ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
	bool ok = serial && when && reason && X509_REVOKED_set_serialNumber(x, serial) == 1 && X509_REVOKED_set_revocationDate(x, when) == 1 &&
		  ASN1_ENUMERATED_set(reason, r->reason) == 1 && X509_REVOKED_add1_ext_i2d(x, NID_crl_reason, reason, 0, X509V3_ADD_DEFAULT) == 1;

	ASN1_ENUMERATED_free(reason);
	ASN1_TIME_free(when);
	ASN1_INTEGER_free(serial);
	BN_free(n);
	return ok;
}

int crl_add(struct crl *c, const struct revoked *r)
{
	X509_REVOKED *x;

	if (!c->list || c->der)
		return ERR_WRONG_STATE;
	if (c->n == CRL_ENTRIES_MAX)
		return ERR_FULL;
	x = X509_REVOKED_new();
	if (!x || r->when > INT64_MAX || !fill(x, r) || X509_CRL_add0_revoked(c->list, x) != 1) {
		X509_REVOKED_free(x);
		return ERR_CRYPTO;
	}
	c->n++;
	return 0;
}

/* OpenSSL sets the algorithms of a list when it signs; so a key of the moment does, and the TPM's signature takes its place. */
static int set_algorithms(X509_CRL *list)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	int ok = key && X509_CRL_sign(list, key, EVP_sha256()) > 0;

	EVP_PKEY_free(key);
	return ok ? 0 : ERR_CRYPTO;
}

static int sign(X509_CRL *list, const struct cert_signer *signer)
{
	uint8_t digest[DIGEST_LEN], r[32], s[32];
	const ASN1_BIT_STRING *field;
	unsigned char *tbs = NULL;
	int len, err;

	err = set_algorithms(list);
	if (err)
		return err;
	len = i2d_re_X509_CRL_tbs(list, &tbs);
	if (len <= 0 || EVP_Digest(tbs, (size_t)len, digest, NULL, EVP_sha256(), NULL) != 1)
		err = ERR_CRYPTO;
	OPENSSL_free(tbs);
	if (!err)
		err = signer->sign(signer->arg, digest, r, s);
	X509_CRL_get0_signature(list, &field, NULL);
	/* As of certificates (cert.c): there is no setter but signing, and the list is ours. */
	return err ? err : cert_set_signature((ASN1_BIT_STRING *)(uintptr_t)field, r, s);
}

int crl_sign(struct crl *c, EVP_PKEY *ca_key, const struct cert_signer *signer)
{
	int err = c->list && !c->der ? 0 : ERR_WRONG_STATE, len;

	if (!err)
		err = X509_CRL_sort(c->list) == 1 ? sign(c->list, signer) : ERR_CRYPTO;
	if (!err && X509_CRL_verify(c->list, ca_key) != 1)
		err = ERR_AUTH;
	if (err)
		return err;
	len = i2d_X509_CRL(c->list, &c->der);
	if (len <= 0 || (size_t)len > CRL_SIZE_MAX) {
		OPENSSL_free(c->der);
		c->der = NULL;
		return ERR_RANGE;
	}
	c->len = (size_t)len;
	return 0;
}

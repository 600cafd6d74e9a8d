/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/cert.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "lib/util.h"

/* One certificate has one encoding: what would be written of it must be what was read. */
X509 *cert_parse(const struct evidence_view *der)
{
	const unsigned char *at = der->p;
	unsigned char *again = NULL;
	X509 *x = d2i_X509(NULL, &at, (long)der->n);
	int n = x ? i2d_X509(x, &again) : -1;
	bool ok = n >= 0 && (size_t)n == der->n && !memcmp(again, der->p, der->n);

	OPENSSL_free(again);
	ok = ok && !(X509_get_extension_flags(x) & (EXFLAG_INVALID | EXFLAG_CRITICAL));
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

bool cert_has_key(X509 *x, EVP_PKEY *key)
{
	EVP_PKEY *its = X509_get0_pubkey(x);

	return its && EVP_PKEY_eq(its, key) == 1;
}

int cert_key_digest(X509 *x, uint8_t out[static EVIDENCE_DIGEST])
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	int r = n > 0 && EVP_Digest(der, (size_t)n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;

	OPENSSL_free(der);
	return r;
}

static bool has_usage(X509 *x, const char *usage)
{
	EXTENDED_KEY_USAGE *eku = X509_get_ext_d2i(x, NID_ext_key_usage, NULL, NULL);
	ASN1_OBJECT *want = OBJ_txt2obj(usage, 1);
	bool found = false;

	for (int i = 0; i < sk_ASN1_OBJECT_num(eku); i++)
		found = found || (want && OBJ_cmp(sk_ASN1_OBJECT_value(eku, i), want) == 0);
	ASN1_OBJECT_free(want);
	EXTENDED_KEY_USAGE_free(eku);
	return found;
}

static bool is_named(X509 *x, const uint8_t uuid[static EVIDENCE_UUID])
{
	const X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *cn = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	char text[UUID_STR_LEN + 1];

	uuid_format(uuid, text);
	return cn && X509_NAME_get_index_by_NID(subject, NID_commonName, at) < 0 && ASN1_STRING_length(cn) == (int)UUID_STR_LEN &&
	       !memcmp(ASN1_STRING_get0_data(cn), text, UUID_STR_LEN);
}

bool cert_is_of(X509 *x, X509 *ca, EVP_PKEY *ca_key, const char *usage, const uint8_t uuid[static EVIDENCE_UUID])
{
	return !X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(ca)) && X509_verify(x, ca_key) == 1 && !X509_check_ca(x) &&
	       has_usage(x, usage) && is_named(x, uuid);
}

bool cert_is_valid_at(X509 *x, time_t at)
{
	return X509_cmp_time(X509_get0_notBefore(x), &at) < 0 && X509_cmp_time(X509_get0_notAfter(x), &at) > 0;
}

bool cert_revoked(X509_CRL *crl, X509 *x)
{
	X509_REVOKED *entry;

	return X509_CRL_get0_by_cert(crl, &entry, x) == 1;
}

/* Whether a list of who issued one of the verified chain has it. */
static bool chain_revoked(const struct vtpm_trust *t, const STACK_OF(X509) *chain)
{
	for (int i = 0; i + 1 < sk_X509_num(chain); i++) {
		X509 *issuer = sk_X509_value(chain, i + 1);
		X509_CRL *crl = trust_crl(t, X509_get_subject_name(issuer), X509_get0_pubkey(issuer));

		if (crl && cert_revoked(crl, sk_X509_value(chain, i)))
			return true;
	}
	return false;
}

static int chain_verify(const struct vtpm_trust *t, X509_STORE_CTX *ctx, X509 *leaf, STACK_OF(X509) *others, time_t at, char *why, size_t max)
{
	X509_VERIFY_PARAM *param;

	if (X509_STORE_CTX_init(ctx, t->roots, leaf, others) != 1) {
		snprintf(why, max, "out of memory");
		return ERR_NOMEM;
	}
	param = X509_STORE_CTX_get0_param(ctx);
	if (at)
		X509_VERIFY_PARAM_set_time(param, at);
	else
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_NO_CHECK_TIME);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	if (X509_verify_cert(ctx) != 1) {
		snprintf(why, max, "%s", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
		return ERR_AUTH;
	}
	if (chain_revoked(t, X509_STORE_CTX_get0_chain(ctx))) {
		snprintf(why, max, "it, or one that it rests on, is revoked");
		return ERR_AUTH;
	}
	return 0;
}

int cert_chain(const struct vtpm_trust *t, X509 *leaf, const struct evidence *e, time_t at, char *why, size_t max)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int r = others && ctx ? 0 : ERR_NOMEM;

	snprintf(why, max, "one of the certificates that it rests on is damaged");
	for (size_t i = 1; !r && i < e->nchain; i++) {
		X509 *x = cert_parse(&e->chain[i]);

		if (!x || sk_X509_push(others, x) <= 0) {
			X509_free(x);
			r = ERR_PROTO;
		}
	}
	if (!r)
		r = chain_verify(t, ctx, leaf, others, at, why, max);
	X509_STORE_CTX_free(ctx);
	sk_X509_pop_free(others, X509_free);
	return r;
}

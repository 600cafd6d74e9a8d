/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCG EK Credential Profile for TPM Family 2.0, 3: version 3, the TPM's manufacturer, model and
 * version as a directoryName in the subject alternative name, the specification's version as a
 * subject directory attribute, extended key usage tcg-kp-EKCertificate; of an attestation key tcg-kp-AIKCertificate. The subject is the VM's
 * uuid as common name; as it is not empty, the alternative name is not critical (RFC 5280, 4.2.1.6).
 */
#include "vtpm-mgr/keeper/cert.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NOT_AFTER  "99991231235959Z" /* RFC 5280, 4.1.2.5: no well-defined expiration date */
#define DAY	   86400L

#define OID_MANUFACTURER "2.23.133.2.1"
#define OID_MODEL	 "2.23.133.2.2"
#define OID_VERSION	 "2.23.133.2.3"

/* The engine that all our vTPMs run: libtpms, in the registry under IBM's vendor id. */
static const struct {
	const char *oid, *value;
} tpm_names[] = {
	{OID_MANUFACTURER, "id:00001014"},
	{OID_MODEL, "libtpms vTPM"},
	{OID_VERSION, "id:20191023"},
};

/*
 * SubjectDirectoryAttributes, DER: one attribute tPMSpecification (2.23.133.2.16) whose value is
 * {family "2.0", level 0, revision 164}.
 */
static const uint8_t tpm_specification[] = {
	0x30, 0x19, 0x30, 0x17, 0x06, 0x05, 0x67, 0x81, 0x05, 0x02, 0x10, 0x31, 0x0e, 0x30,
	0x0c, 0x0c, 0x03, '2',	'.',  '0',  0x02, 0x01, 0x00, 0x02, 0x02, 0x00, 0xa4,
};

static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool add_raw_ext(X509 *x, int nid, const uint8_t *der, size_t len)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	bool ok;

	if (value && ASN1_OCTET_STRING_set(value, der, (int)len) == 1)
		ext = X509_EXTENSION_create_by_NID(NULL, nid, 0, value);
	ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	return ok;
}

static bool add_name(X509_NAME *name, const char *oid, const char *value)
{
	ASN1_OBJECT *obj = OBJ_txt2obj(oid, 1);
	bool ok;

	ok = obj &&
	     X509_NAME_add_entry_by_OBJ(name, obj, V_ASN1_UTF8STRING, (const unsigned char *)value, -1, -1, 0) == 1;
	ASN1_OBJECT_free(obj);
	return ok;
}

/* The alternative name: a directoryName with what the TPM is. */
static bool add_tpm_names(X509 *x)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *entry = GENERAL_NAME_new();
	X509_NAME *dir = X509_NAME_new();
	bool ok = names && entry && dir;

	for (size_t i = 0; ok && i < ARRAY_LEN(tpm_names); i++)
		ok = add_name(dir, tpm_names[i].oid, tpm_names[i].value);
	if (ok) {
		GENERAL_NAME_set0_value(entry, GEN_DIRNAME, dir);
		dir = NULL;
		ok = sk_GENERAL_NAME_push(names, entry) > 0;
		if (ok)
			entry = NULL;
	}
	ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
	X509_NAME_free(dir);
	GENERAL_NAME_free(entry);
	GENERAL_NAMES_free(names);
	return ok;
}

int cert_serial_new(uint8_t serial[static SERIAL_LEN])
{
	int err = random_bytes(serial, SERIAL_LEN);

	serial[0] = (uint8_t)((serial[0] & 0x3f) | 0x40);
	serial[SERIAL_LEN - 1] = 0;
	return err;
}

static bool set_serial(X509 *x, const uint8_t serial[static SERIAL_LEN])
{
	BIGNUM *n = BN_bin2bn(serial, SERIAL_LEN, NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

	BN_free(n);
	return ok;
}

/* What all certificates have. A clock that is a day wrong must not make a TPM's first certificate invalid. */
static bool set_basics(X509 *x, EVP_PKEY *key, const char *common_name, X509 *issuer, const uint8_t serial[static SERIAL_LEN])
{
	time_t from = time(NULL) - DAY;

	return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x, serial) && X509_set_pubkey(x, key) == 1 &&
	       ASN1_TIME_set(X509_getm_notBefore(x), from) &&
	       ASN1_TIME_set_string_X509(X509_getm_notAfter(x), NOT_AFTER) == 1 &&
	       X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, V_ASN1_UTF8STRING,
					  (const unsigned char *)common_name, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1;
}

static bool set_algorithms(X509 *x)
{
	const ASN1_BIT_STRING *sig;
	const X509_ALGOR *outer, *inner = X509_get0_tbs_sigalg(x);

	X509_get0_signature(&sig, &outer, x);
	/* OpenSSL has no setter for these but signing, which needs the private key; they are x's own, and x is ours. */
	return X509_ALGOR_set0((X509_ALGOR *)(uintptr_t)inner, OBJ_nid2obj(NID_ecdsa_with_SHA256), V_ASN1_UNDEF,
			       NULL) &&
	       X509_ALGOR_set0((X509_ALGOR *)(uintptr_t)outer, OBJ_nid2obj(NID_ecdsa_with_SHA256), V_ASN1_UNDEF, NULL);
}

/* Ecdsa-Sig-Value as a BIT STRING without unused bits (RFC 3279, 2.2.3). */
int cert_set_signature(ASN1_BIT_STRING *out, const uint8_t r[static 32], const uint8_t s[static 32])
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *bn_r = BN_bin2bn(r, 32, NULL), *bn_s = BN_bin2bn(s, 32, NULL);
	unsigned char *der = NULL;
	int len = -1, err = ERR_CRYPTO;

	if (sig && bn_r && bn_s && ECDSA_SIG_set0(sig, bn_r, bn_s) == 1) {
		bn_r = bn_s = NULL;
		len = i2d_ECDSA_SIG(sig, &der);
	}
	if (len > 0 && ASN1_STRING_set(out, der, len) == 1) {
		out->flags = (out->flags & ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07L)) | ASN1_STRING_FLAG_BITS_LEFT;
		err = 0;
	}
	OPENSSL_free(der);
	BN_free(bn_r);
	BN_free(bn_s);
	ECDSA_SIG_free(sig);
	return err;
}

static int sign_cert(X509 *x, const struct cert_signer *signer, EVP_PKEY *ca_key, struct cert_der *out)
{
	uint8_t digest[DIGEST_LEN], r[32], s[32];
	unsigned char *tbs = NULL, *p = out->bytes;
	const ASN1_BIT_STRING *field;
	const X509_ALGOR *alg;
	int len, err;

	len = set_algorithms(x) ? i2d_re_X509_tbs(x, &tbs) : -1;
	if (len <= 0 || EVP_Digest(tbs, (size_t)len, digest, NULL, EVP_sha256(), NULL) != 1) {
		OPENSSL_free(tbs);
		return ERR_CRYPTO;
	}
	OPENSSL_free(tbs);
	err = signer->sign(signer->arg, digest, r, s);
	if (err)
		return err;
	X509_get0_signature(&field, &alg, x);
	err = cert_set_signature((ASN1_BIT_STRING *)(uintptr_t)field, r, s);
	if (err)
		return err;
	if (X509_verify(x, ca_key) != 1)
		return ERR_AUTH;
	len = i2d_X509(x, NULL);
	if (len <= 0 || (size_t)len > sizeof(out->bytes))
		return ERR_RANGE;
	out->len = (size_t)i2d_X509(x, &p);
	return 0;
}

/* Of the DER SubjectPublicKeyInfo. */
static int key_name(EVP_PKEY *key, char *out, size_t cap)
{
	uint8_t digest[DIGEST_LEN];
	char hex[17];
	unsigned char *der = NULL;
	int len = i2d_PUBKEY(key, &der), ok;

	ok = len > 0 && EVP_Digest(der, (size_t)len, digest, NULL, EVP_sha256(), NULL) == 1;
	OPENSSL_free(der);
	if (!ok || hex_encode(digest, 8, hex, sizeof(hex)))
		return ERR_CRYPTO;
	snprintf(out, cap, "vTPM CA %s", hex);
	return 0;
}

int cert_make_ca(EVP_PKEY *key, const struct cert_signer *signer, struct cert_der *out)
{
	uint8_t serial[SERIAL_LEN];
	X509 *x = X509_new();
	char name[32];
	int r = x ? key_name(key, name, sizeof(name)) : ERR_NOMEM;

	if (!r)
		r = cert_serial_new(serial);
	if (!r && !(set_basics(x, key, name, x, serial) && add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		    add_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
		    add_ext(x, x, NID_subject_key_identifier, "hash")))
		r = ERR_CRYPTO;
	if (!r)
		r = sign_cert(x, signer, key, out);
	X509_free(x);
	return r;
}

int cert_open_ca(const uint8_t *der, size_t len, EVP_PKEY *key, X509 **ca)
{
	const unsigned char *p = der;
	X509 *x = d2i_X509(NULL, &p, (long)len);

	*ca = NULL;
	/* cert_make_ek copies its subject and key identifier, so it must be whole and ours. */
	if (!x || p != der + len || EVP_PKEY_eq(X509_get0_pubkey(x), key) != 1 || X509_verify(x, key) != 1 ||
	    !X509_get0_subject_key_id(x)) {
		X509_free(x);
		return ERR_AUTH;
	}
	*ca = x;
	return 0;
}

/* What the TCG's profiles want of each kind. */
static const struct {
	const char *usage, *purpose; /* key usage; extended: tcg-kp-EKCertificate, tcg-kp-AIKCertificate */
} profiles[KEY_KINDS] = {
	[EK_RSA2048] = {"critical,keyEncipherment", "2.23.133.8.1"},
	[EK_ECC_P256] = {"critical,keyAgreement", "2.23.133.8.1"},
	[AK_ECC_P256] = {"critical,digitalSignature", "2.23.133.8.3"},
};

int cert_make_key(X509 *ca, enum ek_kind kind, EVP_PKEY *key, const struct cert_subject *of, const struct cert_signer *signer,
		  struct cert_der *out)
{
	uint8_t serial[SERIAL_LEN];
	char name[UUID_STR_LEN + 1];
	X509 *x = X509_new();
	int r = x ? 0 : ERR_NOMEM;

	uuid_format(of->uuid, name);
	memcpy(serial, of->serial, SERIAL_LEN);
	serial[SERIAL_LEN - 1] = (uint8_t)kind;
	if (!r && !(set_basics(x, key, name, ca, serial) && add_tpm_names(x) &&
		    add_raw_ext(x, NID_subject_directory_attributes, tpm_specification, sizeof(tpm_specification)) &&
		    add_ext(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
		    add_ext(x, ca, NID_key_usage, profiles[kind].usage) && add_ext(x, ca, NID_ext_key_usage, profiles[kind].purpose) &&
		    add_ext(x, ca, NID_authority_key_identifier, "keyid:always")))
		r = ERR_CRYPTO;
	if (!r)
		r = sign_cert(x, signer, X509_get0_pubkey(ca), out);
	X509_free(x);
	return r;
}

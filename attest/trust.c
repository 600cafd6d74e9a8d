/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/trust.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "attest/json.h"

#define HOSTS_MAX 65536u

struct vtpm_trust *vtpm_trust_new(void)
{
	struct vtpm_trust *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->roots = X509_STORE_new();
	t->crls = sk_X509_CRL_new_null();
	if (t->roots && t->crls)
		return t;
	vtpm_trust_free(t);
	return NULL;
}

void vtpm_trust_free(struct vtpm_trust *t)
{
	if (!t)
		return;
	X509_STORE_free(t->roots);
	sk_X509_CRL_pop_free(t->crls, X509_CRL_free);
	free(t->hosts);
	free(t);
}

/* ---- enrolled hosts ---- */

static void read_host(struct reader *r, json_t *o, struct trust_host *h)
{
	static const char *const members[] = {"name", "ak", "ek", NULL};

	if (!json_is_object(o)) {
		json_wrong(r, "each of hosts must be an object");
		return;
	}
	json_members(r, "a host", o, members);
	json_text(r, "host", o, "name", TRUST_HOST_NAME, h->name);
	json_hex(r, "host.ak", json_object_get(o, "ak"), h->ak, sizeof(h->ak));
	h->has_ek = json_object_get(o, "ek") != NULL;
	if (h->has_ek)
		json_hex(r, "host.ek", json_object_get(o, "ek"), h->ek, sizeof(h->ek));
}

static void read_hosts(struct reader *r, json_t *root, struct vtpm_trust *t)
{
	static const char *const members[] = {"hosts", NULL};
	json_t *hosts = json_member(r, "the file", root, "hosts", JSON_ARRAY);
	size_t n = json_array_size(hosts);
	struct trust_host *more;

	json_members(r, "the file", root, members);
	if (!hosts || n > HOSTS_MAX - t->nhosts)
		json_wrong(r, "it must have \"hosts\", and of all files together at most %u", HOSTS_MAX);
	if (r->bad || !n)
		return;
	more = realloc(t->hosts, (t->nhosts + n) * sizeof(*more));
	if (!more) {
		json_wrong(r, "out of memory");
		return;
	}
	t->hosts = more;
	memset(more + t->nhosts, 0, n * sizeof(*more));
	for (size_t i = 0; i < n && !r->bad; i++) {
		read_host(r, json_array_get(hosts, i), &more[t->nhosts]);
		t->nhosts += r->bad ? 0 : 1;
	}
}

const struct trust_host *trust_find(const struct vtpm_trust *t, const uint8_t ak[static EVIDENCE_NAME])
{
	for (size_t i = 0; i < t->nhosts; i++)
		if (!memcmp(t->hosts[i].ak, ak, EVIDENCE_NAME))
			return &t->hosts[i];
	return NULL;
}

/* ---- PEM ---- */

static bool add_root(struct vtpm_trust *t, const unsigned char *der, long len)
{
	X509 *x = d2i_X509(NULL, &der, len);
	bool ok = x && X509_STORE_add_cert(t->roots, x) == 1;

	X509_free(x);
	return ok;
}

static bool add_crl(struct vtpm_trust *t, const unsigned char *der, long len)
{
	X509_CRL *crl = d2i_X509_CRL(NULL, &der, len);

	if (crl && sk_X509_CRL_push(t->crls, crl) > 0)
		return true;
	X509_CRL_free(crl);
	return false;
}

/* One block, of any kind that is taken. */
static bool add_block(struct vtpm_trust *t, const char *name, const unsigned char *der, long n)
{
	if (!strcmp(name, PEM_STRING_X509))
		return add_root(t, der, n);
	return !strcmp(name, PEM_STRING_X509_CRL) && add_crl(t, der, n);
}

/* To the end of the file: a block that cannot be read must not hide those behind it. */
static void read_pem(struct reader *r, const void *file, size_t len, struct vtpm_trust *t)
{
	BIO *bio = len <= INT32_MAX ? BIO_new_mem_buf(file, (int)len) : NULL;
	unsigned char *der = NULL;
	char *name = NULL, *header = NULL;
	unsigned blocks = 0;
	long n;

	ERR_clear_error();
	for (; bio && !r->bad && PEM_read_bio(bio, &name, &header, &der, &n) == 1; blocks++) {
		if (!add_block(t, name, der, n))
			json_wrong(r, "block %u, \"%.40s\", is neither a certificate nor a revocation list", blocks + 1, name);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	if (!blocks)
		json_wrong(r, "it is neither JSON with hosts nor PEM with certificates or revocation lists");
	else if (!bio || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		json_wrong(r, "block %u is damaged", blocks + 1);
	ERR_clear_error();
	BIO_free(bio);
}

int vtpm_trust_add(struct vtpm_trust *t, const void *file, size_t len, char why[VTPM_VERIFY_TEXT])
{
	struct reader r = {.what = "trust", .why = why};
	const char *at = file;
	json_t *root;
	size_t i = 0;

	while (i < len && (at[i] == ' ' || at[i] == '\n' || at[i] == '\t' || at[i] == '\r'))
		i++;
	if (i == len || at[i] != '{') {
		read_pem(&r, file, len, t);
	} else {
		root = json_read(&r, file, len);
		if (root)
			read_hosts(&r, root, t);
		json_decref(root);
	}
	return r.bad ? ERR_INVAL : 0;
}

static bool is_by(X509_CRL *crl, const X509_NAME *issuer, EVP_PKEY *key)
{
	return !X509_NAME_cmp(X509_CRL_get_issuer(crl), issuer) && X509_CRL_verify(crl, key) == 1;
}

bool trust_revokes(const struct vtpm_trust *t, const X509_NAME *issuer, EVP_PKEY *key, X509 *x)
{
	X509_REVOKED *entry;

	for (int i = 0; i < sk_X509_CRL_num(t->crls); i++) {
		X509_CRL *crl = sk_X509_CRL_value(t->crls, i);

		if (is_by(crl, issuer, key) && X509_CRL_get0_by_cert(crl, &entry, x) == 1)
			return true;
	}
	return false;
}

X509_CRL *trust_crl(const struct vtpm_trust *t, const X509_NAME *issuer, EVP_PKEY *key)
{
	X509_CRL *newest = NULL, *crl;

	for (int i = 0; i < sk_X509_CRL_num(t->crls); i++) {
		crl = sk_X509_CRL_value(t->crls, i);
		if (!is_by(crl, issuer, key))
			continue;
		if (!newest || ASN1_TIME_compare(X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_lastUpdate(newest)) > 0)
			newest = crl;
	}
	return newest;
}

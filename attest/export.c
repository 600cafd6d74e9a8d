/* SPDX-License-Identifier: BSD-2-Clause */
/* Evidence as files for other tools: tpm2-tools, OpenSSL, Keylime. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "attest/cert.h"
#include "attest/tool.h"
#include "attest/tpms.h"
#include "lib/util.h"

/* tpm2_quote's file of PCR values: TPML_PCR_SELECTION, a number, and so many TPML_DIGEST, as they lie in memory on a little-endian machine. */
#define TOOL_SELECTIONS	   16u
#define TOOL_DIGESTS	   8u
#define TOOL_DIGEST_MAX	   64u
#define TOOL_SELECTION_LEN (4u + TOOL_SELECTIONS * 8u)
#define TOOL_LIST_LEN	   (4u + TOOL_DIGESTS * (2u + TOOL_DIGEST_MAX))
#define TOOL_PCRS_MAX	   (TOOL_SELECTION_LEN + 4u + 3u * TOOL_LIST_LEN)
#define ALG_SHA256	   0x000bu
#define PATH_LONGEST	   4096u
#define BASE64_MAX(n)	   (((n) + 2u) / 3u * 4u + 1u)

int file_write(const char *dir, const char *name, const void *p, size_t n)
{
	char path[PATH_LONGEST];
	bool bad;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return ERR_RANGE;
	f = fopen(path, "we");
	bad = !f || (n && fwrite(p, 1, n, f) != n);
	if (f && fclose(f))
		bad = true;
	if (bad)
		fprintf(stderr, "vtpm-verify: %s: %s\n", path, strerror(errno));
	return bad ? ERR_IO : 0;
}

static int put(const char *dir, const char *name, const struct evidence_view *v)
{
	return v->n ? file_write(dir, name, v->p, v->n) : 0;
}

/* A TPM2B_PUBLIC. */
static int put_public(const char *dir, const char *name, const struct evidence_view *v)
{
	uint8_t mem[2 + EVIDENCE_PUBLIC_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	return buf_put_2b(&b, v->p, v->n) ? ERR_RANGE : file_write(dir, name, mem, b.len);
}

static int put_pem(const char *dir, const char *name, const struct evidence_view *pub)
{
	BIO *bio = BIO_new(BIO_s_mem());
	struct tpms_public p;
	int r = tpms_public_parse(pub, &p);
	char *text;
	long n;

	if (!r && (!bio || PEM_write_bio_PUBKEY(bio, p.key) != 1))
		r = ERR_NOMEM;
	n = r ? 0 : BIO_get_mem_data(bio, &text);
	if (!r)
		r = file_write(dir, name, text, (size_t)n);
	if (r == ERR_PROTO)
		fprintf(stderr, "vtpm-verify: the public area for %s is damaged\n", name);
	BIO_free(bio);
	tpms_public_free(&p);
	return r;
}

static int put_certs(const char *dir, const char *name, const struct evidence_view *certs, size_t n)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int r = bio ? 0 : ERR_NOMEM;
	char *text;
	long len;

	for (size_t i = 0; !r && i < n; i++) {
		if (certs[i].n && !PEM_write_bio(bio, PEM_STRING_X509, "", certs[i].p, (long)certs[i].n))
			r = ERR_NOMEM;
	}
	len = r ? 0 : BIO_get_mem_data(bio, &text);
	if (!r && len > 0)
		r = file_write(dir, name, text, (size_t)len);
	BIO_free(bio);
	return r;
}

/* ---- quotes ---- */

static int pcrs_encode(const struct evidence_quote *q, uint32_t mask, struct buf *b)
{
	static const uint8_t nothing[TOOL_LIST_LEN];
	size_t count = q->pcrs.n / EVIDENCE_DIGEST;
	struct buf values;
	const uint8_t *p;

	buf_wrap(&values, q->pcrs.p, q->pcrs.n);
	if (buf_put_u32le(b, 1) || buf_put_u16le(b, ALG_SHA256) || buf_put_u8(b, 3) || buf_put_u8(b, (uint8_t)mask) ||
	    buf_put_u8(b, (uint8_t)(mask >> 8)) || buf_put_u8(b, (uint8_t)(mask >> 16)) ||
	    buf_put_bytes(b, nothing, TOOL_SELECTION_LEN - b->len) || buf_put_u32le(b, (uint32_t)((count + TOOL_DIGESTS - 1) / TOOL_DIGESTS)))
		return ERR_RANGE;
	while (count) {
		size_t n = count < TOOL_DIGESTS ? count : TOOL_DIGESTS;

		if (buf_put_u32le(b, (uint32_t)n))
			return ERR_RANGE;
		for (size_t i = 0; i < TOOL_DIGESTS; i++) {
			if (i >= n ? buf_put_bytes(b, nothing, 2 + TOOL_DIGEST_MAX)
				   : buf_get_view(&values, EVIDENCE_DIGEST, &p) || buf_put_u16le(b, EVIDENCE_DIGEST) ||
					     buf_put_bytes(b, p, EVIDENCE_DIGEST) ||
					     buf_put_bytes(b, nothing, TOOL_DIGEST_MAX - EVIDENCE_DIGEST))
				return ERR_RANGE;
		}
		count -= n;
	}
	return 0;
}

/* What a Keylime agent answers: "r", and quote, signature and PCR values in base64. */
static int put_keylime(const char *dir, const char *name, const struct evidence_signed *s, const struct buf *pcrs)
{
	char text[4 + BASE64_MAX(EVIDENCE_ATTEST_MAX) + BASE64_MAX(EVIDENCE_SIG_MAX) + BASE64_MAX(TOOL_PCRS_MAX)] = "r";
	size_t at = 1;

	at += (size_t)EVP_EncodeBlock((unsigned char *)text + at, s->attest.p, (int)s->attest.n);
	text[at++] = ':';
	at += (size_t)EVP_EncodeBlock((unsigned char *)text + at, s->signature.p, (int)s->signature.n);
	text[at++] = ':';
	at += (size_t)EVP_EncodeBlock((unsigned char *)text + at, pcrs->data, (int)pcrs->len);
	text[at++] = '\n';
	return file_write(dir, name, text, at);
}

static int put_signed(const char *dir, const char *stem, const struct evidence_signed *s)
{
	char name[64];
	int r;

	snprintf(name, sizeof(name), "%s.attest", stem);
	r = put(dir, name, &s->attest);
	snprintf(name, sizeof(name), "%s.sig", stem);
	return r ? r : put(dir, name, &s->signature);
}

static int put_quote(const char *dir, const char *stem, const struct evidence_quote *q)
{
	uint8_t mem[TOOL_PCRS_MAX];
	char name[64], hex[2 * EVIDENCE_NONCE_MAX + 2];
	struct tpms_attest a;
	struct buf pcrs;
	int r;

	buf_init(&pcrs, mem, sizeof(mem));
	if (tpms_attest_parse(&q->by.attest, &a) || a.type != TPM_ST_ATTEST_QUOTE || pcrs_encode(q, a.pcrs, &pcrs) ||
	    hex_encode(a.extra.p, a.extra.n, hex, sizeof(hex))) {
		fprintf(stderr, "vtpm-verify: the %s is no quote of SHA-256 PCRs\n", stem);
		return ERR_PROTO;
	}
	r = put_signed(dir, stem, &q->by);
	snprintf(name, sizeof(name), "%s.pcrs", stem);
	if (!r)
		r = file_write(dir, name, mem, pcrs.len);
	snprintf(name, sizeof(name), "%s.qualifying", stem);
	if (!r)
		r = file_write(dir, name, hex, strlen(hex));
	snprintf(name, sizeof(name), "%s.keylime", stem);
	return r ? r : put_keylime(dir, name, &q->by, &pcrs);
}

static int put_keys(const char *dir, const struct evidence *e)
{
	static const char *const names[][2] = {{"ak.pub", "ak.pem"}, {"ek.pub", "ek.pem"}, {"host-ak.pub", "host-ak.pem"}, {"ca.pub", "ca-key.pem"}};
	const struct evidence_view *keys[] = {&e->ak.pub, &e->ek.pub, &e->host_ak, &e->ca.pub};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_LEN(keys); i++) {
		r = put_public(dir, names[i][0], keys[i]);
		if (!r)
			r = put_pem(dir, names[i][1], keys[i]);
	}
	if (!r)
		r = put_certs(dir, "ak.crt", &e->ak.cert, 1);
	if (!r)
		r = put_certs(dir, "ek.crt", &e->ek.cert, 1);
	if (!r)
		r = put_certs(dir, "ca.crt", &e->ca.cert, 1);
	if (!r && e->nchain)
		r = put_certs(dir, "host-ek.crt", e->chain, 1);
	return r || e->nchain < 2 ? r : put_certs(dir, "host-ek.chain", e->chain + 1, e->nchain - 1);
}

static int put_all(const char *dir, const struct evidence *e)
{
	int r = put_quote(dir, "vtpm-quote", &e->inner);

	if (!r)
		r = put_quote(dir, "host-quote", &e->outer);
	if (!r)
		r = put_keys(dir, e);
	if (!r)
		r = put_signed(dir, "anchor", &e->anchor);
	if (!r)
		r = put(dir, "anchor.public", &e->anchor_pub);
	if (!r)
		r = put_signed(dir, "ca", &e->ca_certify);
	if (!r)
		r = put_signed(dir, "creation", &e->ca_created);
	if (!r)
		r = put(dir, "creation.data", &e->ca_creation);
	if (!r)
		r = put(dir, "binding.cbor", &e->binding);
	if (!r)
		r = put(dir, "launch.log", &e->guest_log);
	return r ? r : put(dir, "host.log", &e->host_log);
}

int export_files(const struct tool *t)
{
	struct evidence e;
	size_t len;
	void *file = file_read(t->evidence, EVIDENCE_MAX, &len);
	int status = EXIT_TROUBLE;

	if (!file)
		return status;
	if (evidence_decode(file, len, &e))
		fprintf(stderr, "vtpm-verify: %s: this is no evidence\n", t->evidence);
	else if (mkdir(t->export_dir, 0777) && errno != EEXIST)
		fprintf(stderr, "vtpm-verify: %s: %s\n", t->export_dir, strerror(errno));
	else if (!put_all(t->export_dir, &e))
		status = EXIT_VERIFIED;
	free(file);
	return status;
}

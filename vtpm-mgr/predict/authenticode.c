/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/predict/authenticode.h"

#include <stdbool.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "lib/buf.h"

#define DOS_LFANEW	  0x3cu
#define FILE_HEADER_LEN	  20u
#define CHECKSUM_AT	  64u  /* in the optional header, PE32 and PE32+ alike */
#define DIRECTORIES_PE32  96u  /* in the optional header: data directories */
#define DIRECTORIES_PE64  112u
#define DIRECTORY_LEN	  8u
#define CERTIFICATES	  4u   /* which of the directories */
#define SECTION_LEN	  40u
#define MAGIC_PE32	  0x10bu
#define MAGIC_PE64	  0x20bu
#define SECTIONS_MAX	  96u

struct section {
	uint32_t size, at; /* of its raw data in the file */
};

struct pe {
	const uint8_t *p;
	size_t n;
	size_t checksum, directory; /* offsets; directory: of the certificates' entry, 0 if there is none */
	uint32_t certificates;	    /* bytes of signatures, at the end of the file */
	uint32_t headers;	    /* bytes of all headers */
	struct section sections[SECTIONS_MAX];
	uint16_t nsections;
};

static int seek(struct buf *b, const struct pe *pe, size_t at)
{
	buf_wrap(b, pe->p, pe->n);
	return buf_skip(b, at);
}

static int optional_read(struct pe *pe, size_t at)
{
	size_t directories;
	uint32_t count, where;
	uint16_t magic;
	struct buf b;

	if (seek(&b, pe, at) || buf_get_u16le(&b, &magic) || (magic != MAGIC_PE32 && magic != MAGIC_PE64))
		return ERR_PROTO;
	directories = at + (magic == MAGIC_PE32 ? DIRECTORIES_PE32 : DIRECTORIES_PE64);
	pe->checksum = at + CHECKSUM_AT;
	if (seek(&b, pe, pe->checksum - 4) || buf_get_u32le(&b, &pe->headers) || seek(&b, pe, directories - 4) ||
	    buf_get_u32le(&b, &count))
		return ERR_PROTO;
	if (count <= CERTIFICATES)
		return 0;
	pe->directory = directories + CERTIFICATES * DIRECTORY_LEN;
	if (seek(&b, pe, pe->directory) || buf_get_u32le(&b, &where) || buf_get_u32le(&b, &pe->certificates))
		return ERR_PROTO;
	return 0;
}

static int sections_read(struct pe *pe, size_t at)
{
	struct buf b;

	if (pe->nsections > SECTIONS_MAX || seek(&b, pe, at))
		return ERR_PROTO;
	for (size_t i = 0; i < pe->nsections; i++)
		if (buf_skip(&b, 16) || buf_get_u32le(&b, &pe->sections[i].size) ||
		    buf_get_u32le(&b, &pe->sections[i].at) || buf_skip(&b, SECTION_LEN - 24))
			return ERR_PROTO;
	return 0;
}

static int pe_read(struct pe *pe)
{
	uint16_t optional;
	uint32_t lfanew;
	uint8_t magic[4];
	struct buf b;

	if (seek(&b, pe, DOS_LFANEW) || buf_get_u32le(&b, &lfanew) || seek(&b, pe, lfanew) ||
	    buf_get_bytes(&b, magic, 4) || magic[0] != 'P' || magic[1] != 'E' || magic[2] || magic[3])
		return ERR_PROTO;
	if (buf_skip(&b, 2) || buf_get_u16le(&b, &pe->nsections) || buf_skip(&b, 12) || buf_get_u16le(&b, &optional))
		return ERR_PROTO;
	if (optional_read(pe, lfanew + 4u + FILE_HEADER_LEN) ||
	    sections_read(pe, lfanew + 4u + FILE_HEADER_LEN + (size_t)optional))
		return ERR_PROTO;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct section *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

/* Hashes [from, to), if the file has it. */
static int feed(EVP_MD_CTX *h, const struct pe *pe, size_t from, size_t to)
{
	if (from > to || to > pe->n)
		return ERR_PROTO;
	return EVP_DigestUpdate(h, pe->p + from, to - from) == 1 ? 0 : ERR_CRYPTO;
}

static int feed_headers(EVP_MD_CTX *h, const struct pe *pe)
{
	size_t behind = pe->checksum + 4;
	int r = feed(h, pe, 0, pe->checksum);

	if (!r && pe->directory) {
		r = feed(h, pe, behind, pe->directory);
		behind = pe->directory + DIRECTORY_LEN;
	}
	return r ? r : feed(h, pe, behind, pe->headers);
}

/* The sections in the order of the file, then what lies behind them, but for the signatures. */
static int feed_rest(EVP_MD_CTX *h, struct pe *pe)
{
	uint64_t sum = pe->headers;
	int r = 0;

	qsort(pe->sections, pe->nsections, sizeof(pe->sections[0]), by_place);
	for (size_t i = 0; i < pe->nsections && !r; i++) {
		const struct section *s = &pe->sections[i];

		if (!s->size)
			continue;
		r = feed(h, pe, s->at, (size_t)s->at + s->size);
		sum += s->size;
	}
	if (r || sum >= pe->n)
		return r;
	if (pe->certificates > pe->n - sum)
		return ERR_PROTO;
	return feed(h, pe, sum, pe->n - pe->certificates);
}

int authenticode_hash(const uint8_t *image, size_t n, uint8_t out[static 32])
{
	struct pe pe = {.p = image, .n = n};
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	int r = h && EVP_DigestInit_ex(h, EVP_sha256(), NULL) == 1 ? pe_read(&pe) : ERR_CRYPTO;

	if (!r)
		r = feed_headers(h, &pe);
	if (!r)
		r = feed_rest(h, &pe);
	if (!r && EVP_DigestFinal_ex(h, out, NULL) != 1)
		r = ERR_CRYPTO;
	EVP_MD_CTX_free(h);
	return r;
}

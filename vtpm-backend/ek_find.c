/* SPDX-License-Identifier: BSD-2-Clause */
/* The EKs of a TPM that was made elsewhere, and their certificates, as its owner has left them. */
#include <stdbool.h>
#include <string.h>

#include "vtpm-backend/ek.h"
#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

#define SIZE_LEN       2u /* of a TPM2B's size field */
#define DER_HEADER_LEN 4u /* of a sequence of 256 to 65535 bytes: 30 82, u16 length */
#define DER_SEQUENCE   0x3082u

/* Bytes at the end of a public area that the template leaves open: the modulus; or both coordinates with their sizes. */
static size_t unique_len(enum ek_kind kind)
{
	return kind == EK_RSA2048 ? RSA_2048_LEN : 2 * (SIZE_LEN + P256_LEN);
}

/* Whether pub, a TPM2B_PUBLIC, is what the template makes, but for the key. */
static bool is_from_template(enum ek_kind kind, const uint8_t *pub, size_t n)
{
	uint8_t mem[PUBLIC_MAX];
	struct buf t;

	buf_init(&t, mem, sizeof(mem));
	if (ek_template(kind, &t) != 0 || n != SIZE_LEN + t.len)
		return false;
	return memcmp(pub + SIZE_LEN, t.data, t.len - unique_len(kind)) == 0;
}

/* ERR_NOTFOUND also for another key at that handle. */
static int read_persistent(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n)
{
	int err = ek_read_public(kind, out, n);

	if (err == ERR_ENGINE) /* TPM_RC_HANDLE: the owner has removed it */
		return ERR_NOTFOUND;
	return err != 0 ? err : is_from_template(kind, out, *n) ? 0 : ERR_NOTFOUND;
}

static int flush(struct tpmrun *t, uint32_t object)
{
	int err = tpmcmd_flush_context(&t->cmd, object);

	return err != 0 ? err : tpmrun(t, 0);
}

/* The seed makes the same key from the same template, whoever asks. */
int ek_make_again(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n)
{
	uint8_t mem[PUBLIC_MAX];
	const uint8_t *pub;
	struct tpmrun t;
	struct buf tmpl;
	int err;

	tpmrun_init(&t);
	buf_init(&tmpl, mem, sizeof(mem));
	err = ek_template(kind, &tmpl);
	if (err == 0)
		err = tpmcmd_create_primary(&t.cmd, TPM_RH_ENDORSEMENT, NULL, 0, tmpl.data, tmpl.len);
	if (err == 0)
		err = tpmrun(&t, 1);
	if (err == ERR_ENGINE && t.rsp.rc == TPM_RC_BAD_AUTH_1)
		err = ERR_NOTFOUND;
	if (err == 0)
		err = tpmrsp_public(&t.rsp, &pub, n);
	if (err == 0 && !is_from_template(kind, pub, *n))
		err = ERR_ENGINE;
	if (err == 0)
		memcpy(out, pub, *n);
	return err != 0 ? err : flush(&t, t.rsp.handle);
}

int ek_find_public(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n)
{
	int err = read_persistent(kind, out, n);

	if (err == ERR_NOTFOUND)
		err = ek_make_again(kind, out, n);
	if (err != 0)
		*n = 0;
	return err;
}

/* --- certificates --- */

/* Bytes in the index, if they can be read with the platform's authorisation; no try at another counts against the guest. */
static int nv_size(struct tpmrun *t, uint32_t index, size_t *n)
{
	uint32_t attributes;
	uint16_t size;
	int err;

	err = tpmcmd_nv_read_public(&t->cmd, index);
	if (err == 0)
		err = tpmrun(t, 0);
	if (err == ERR_ENGINE)
		return ERR_NOTFOUND;
	if (err == 0)
		err = tpmrsp_nv_public(&t->rsp, &attributes, &size);
	if (err != 0)
		return err;
	*n = size;
	return (attributes & TPMA_NV_PPREAD) && size <= CERT_MAX ? 0 : ERR_NOTFOUND;
}

static int nv_read(struct tpmrun *t, uint32_t index, uint8_t *out, size_t n)
{
	size_t at, part;
	int err = 0;

	for (at = 0; at < n && err == 0; at += part) {
		part = n - at < TPMCMD_NV_CHUNK ? n - at : TPMCMD_NV_CHUNK;
		err = tpmcmd_nv_read(&t->cmd, TPM_RH_PLATFORM, index, (uint16_t)part, (uint16_t)at);
		if (err == 0)
			err = tpmrun(t, 0);
		if (err == ERR_ENGINE) /* it was never written, or is locked */
			return ERR_NOTFOUND;
		if (err == 0)
			err = tpmrsp_nv_data(&t->rsp, out + at, part);
	}
	return err;
}

/* Some leave room behind it. */
static int trim(const uint8_t *der, size_t *n)
{
	uint16_t type, len;
	struct buf b;

	buf_wrap(&b, der, *n);
	if (buf_get_u16be(&b, &type) || type != DER_SEQUENCE || buf_get_u16be(&b, &len) || buf_skip(&b, len))
		return ERR_NOTFOUND;
	*n = DER_HEADER_LEN + len;
	return 0;
}

/* Modulus, or X: both stand in a certificate as they are. */
static bool speaks_of(enum ek_kind kind, const uint8_t *der, size_t n, const uint8_t *pub, size_t pub_len)
{
	const uint8_t *unique = pub + pub_len - unique_len(kind);

	if (kind == EK_RSA2048)
		return memmem(der, n, unique, RSA_2048_LEN) != NULL;
	return memmem(der, n, unique + SIZE_LEN, P256_LEN) != NULL;
}

int ek_find_cert(enum ek_kind kind, const uint8_t *pub, size_t pub_len, uint8_t out[static CERT_MAX], size_t *n)
{
	const uint32_t index = ek_nv_index(kind);
	struct tpmrun t;
	int err = ERR_NOTFOUND;

	tpmrun_init(&t);
	if (is_from_template(kind, pub, pub_len))
		err = nv_size(&t, index, n);
	if (err == 0)
		err = nv_read(&t, index, out, *n);
	if (err == 0)
		err = trim(out, n);
	if (err == 0 && !speaks_of(kind, out, *n, pub, pub_len))
		err = ERR_NOTFOUND;
	if (err != 0)
		*n = 0;
	return err;
}

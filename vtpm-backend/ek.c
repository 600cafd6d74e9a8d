/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/ek.h"

#include <string.h>

#include "vtpm-backend/tpm.h"
#include "vtpm-backend/tpmrun.h"

/* fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt */
#define EK_ATTRIBUTES 0x000300b2u

#define EK_CERT_ATTRIBUTES                                                                                             \
	(TPMA_NV_PLATFORMCREATE | TPMA_NV_NO_DA | TPMA_NV_PPREAD | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD |              \
	 TPMA_NV_PPWRITE | TPMA_NV_WRITEDEFINE)

static const struct {
	uint32_t persistent, nv_index;
} ek_places[EK_KINDS] = {
	[EK_RSA2048] = { 0x81010001, 0x01c00002 },
	[EK_ECC_P256] = { 0x81010002, 0x01c0000a },
};

/* PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT), profile B.3. */
static const uint8_t policy_a[] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

static int put_common(struct buf *b, uint16_t type)
{
	if (buf_put_u16be(b, type) || buf_put_u16be(b, TPM_ALG_SHA256) || buf_put_u32be(b, EK_ATTRIBUTES) ||
	    buf_put_2b(b, policy_a, sizeof(policy_a)))
		return ERR_RANGE;
	/* symmetric: AES-128-CFB; no scheme */
	if (buf_put_u16be(b, TPM_ALG_AES) || buf_put_u16be(b, 128) || buf_put_u16be(b, TPM_ALG_CFB) ||
	    buf_put_u16be(b, TPM_ALG_NULL))
		return ERR_RANGE;
	return 0;
}

static int template_rsa(struct buf *b)
{
	static const uint8_t unique[RSA_2048_LEN];

	if (put_common(b, TPM_ALG_RSA) || buf_put_u16be(b, 2048) || buf_put_u32be(b, 0) ||
	    buf_put_2b(b, unique, sizeof(unique)))
		return ERR_RANGE;
	return 0;
}

static int template_ecc(struct buf *b)
{
	static const uint8_t unique[P256_LEN];

	if (put_common(b, TPM_ALG_ECC) || buf_put_u16be(b, TPM_ECC_NIST_P256) || buf_put_u16be(b, TPM_ALG_NULL) ||
	    buf_put_2b(b, unique, sizeof(unique)) || buf_put_2b(b, unique, sizeof(unique)))
		return ERR_RANGE;
	return 0;
}

uint32_t ek_nv_index(enum ek_kind kind)
{
	return ek_places[kind].nv_index;
}

int ek_template(enum ek_kind kind, struct buf *out)
{
	return kind == EK_RSA2048 ? template_rsa(out) : template_ecc(out);
}

int ek_create(enum ek_kind kind)
{
	uint8_t mem[PUBLIC_MAX];
	struct tpmrun t;
	struct buf pub;
	uint32_t object;
	int err;

	tpmrun_init(&t);
	buf_init(&pub, mem, sizeof(mem));
	err = ek_template(kind, &pub);
	if (err == 0)
		err = tpmcmd_create_primary(&t.cmd, TPM_RH_ENDORSEMENT, NULL, 0, pub.data, pub.len);
	if (err == 0)
		err = tpmrun(&t, 1);
	if (err != 0)
		goto out;
	object = t.rsp.handle;
	err = tpmcmd_evict_control(&t.cmd, TPM_RH_OWNER, object, ek_places[kind].persistent);
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err != 0)
		goto out;
	err = tpmcmd_flush_context(&t.cmd, object);
	if (err == 0)
		err = tpmrun(&t, 0);
out:
	tpmrun_wipe(&t);
	return err;
}

int ek_read_public(enum ek_kind kind, uint8_t out[static PUBLIC_MAX], size_t *n)
{
	const uint8_t *pub;
	struct tpmrun t;
	int err;

	tpmrun_init(&t);
	err = tpmcmd_read_public(&t.cmd, ek_places[kind].persistent);
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err == 0)
		err = tpmrsp_public(&t.rsp, &pub, n);
	if (err != 0)
		return err;
	if (*n > PUBLIC_MAX)
		return ERR_ENGINE;
	memcpy(out, pub, *n);
	return 0;
}

/* Whoever has defined it: it is the place of that certificate. */
static int undefine(struct tpmrun *t, uint32_t index)
{
	int err = tpmcmd_nv_read_public(&t->cmd, index);

	if (err == 0)
		err = tpmrun(t, 0);
	if (err == ERR_ENGINE) /* TPM_RC_HANDLE: there is none */
		return 0;
	if (err == 0)
		err = tpmcmd_nv_undefine_space(&t->cmd, index);
	return err != 0 ? err : tpmrun(t, 0);
}

int ek_write_cert(enum ek_kind kind, const uint8_t *der, size_t n)
{
	const uint32_t index = ek_places[kind].nv_index;
	const struct tpm_nv nv = { .index = index, .attributes = EK_CERT_ATTRIBUTES, .size = (uint16_t)n };
	struct tpmrun t;
	int err;

	if (n == 0 || n > CERT_MAX)
		return ERR_RANGE;
	tpmrun_init(&t);
	err = undefine(&t, index);
	if (err == 0)
		err = tpmcmd_nv_define_space(&t.cmd, &nv);
	if (err == 0)
		err = tpmrun(&t, 0);
	if (err == 0)
		err = tpmrun_nv_write(&t, index, der, n);
	if (err == 0)
		err = tpmcmd_nv_write_lock(&t.cmd, index);
	if (err == 0)
		err = tpmrun(&t, 0);
	return err;
}

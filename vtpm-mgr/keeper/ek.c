/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/ek.h"

#include <string.h>

#include <tss2/tss2_mu.h>

#define RSA_BYTES 256u
#define ECC_BYTES 32u

#define EK_ATTRIBUTES                                                                                                  \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |                            \
	 TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

/* vtpm-backend/ak.h: what only signs what the TPM says, and whose auth the backend has. */
#define AK_ATTRIBUTES                                                                                                  \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | \
	 TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT)

/* PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT), TCG EK Credential Profile 2.0, B.6.2. */
static const uint8_t ek_policy[DIGEST_LEN] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
	0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

void ak_template(TPMT_PUBLIC *p)
{
	memset(p, 0, sizeof(*p));
	p->type = TPM2_ALG_ECC;
	p->nameAlg = TPM2_ALG_SHA256;
	p->objectAttributes = AK_ATTRIBUTES;
	p->parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
	p->parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
	p->parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
	p->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
	p->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
}

void ek_template(enum ek_kind kind, TPMT_PUBLIC *p)
{
	const TPMT_SYM_DEF_OBJECT aes = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};

	memset(p, 0, sizeof(*p));
	if (kind == AK_ECC_P256) {
		ak_template(p);
		return;
	}
	p->nameAlg = TPM2_ALG_SHA256;
	p->objectAttributes = EK_ATTRIBUTES;
	p->authPolicy.size = DIGEST_LEN;
	memcpy(p->authPolicy.buffer, ek_policy, DIGEST_LEN);
	if (kind == EK_RSA2048) {
		p->type = TPM2_ALG_RSA;
		p->parameters.rsaDetail.symmetric = aes;
		p->parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
		p->parameters.rsaDetail.keyBits = 2048; /* and exponent 0: 65537 */
	} else {
		p->type = TPM2_ALG_ECC;
		p->parameters.eccDetail.symmetric = aes;
		p->parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
		p->parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
		p->parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
	}
}

/* The whole structure but the key itself: the template with this key in it must give the same bytes. */
static bool ek_fits(enum ek_kind kind, const TPM2B_PUBLIC *got, const uint8_t *pub, size_t pub_len)
{
	TPM2B_PUBLIC want = {0};
	uint8_t mem[sizeof(TPM2B_PUBLIC)];
	size_t n = 0;

	ek_template(kind, &want.publicArea);
	if (got->publicArea.type != want.publicArea.type)
		return false;
	want.publicArea.unique = got->publicArea.unique;
	if (kind == EK_RSA2048 && got->publicArea.parameters.rsaDetail.exponent == 65537)
		want.publicArea.parameters.rsaDetail.exponent = 65537; /* another spelling of 0 */
	return !Tss2_MU_TPM2B_PUBLIC_Marshal(&want, mem, sizeof(mem), &n) && n == pub_len && !memcmp(mem, pub, n);
}

static int key_from_params(const char *type, OSSL_PARAM *params, EVP_PKEY **key)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	int r;

	*key = NULL;
	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1)
		r = ERR_CRYPTO;
	else
		r = EVP_PKEY_fromdata(ctx, key, EVP_PKEY_PUBLIC_KEY, params) == 1 ? 0 : ERR_INVAL;
	EVP_PKEY_CTX_free(ctx);
	return r;
}

int ek_ecc_key(const uint8_t x[static 32], const uint8_t y[static 32], EVP_PKEY **key)
{
	char group[] = SN_X9_62_prime256v1;
	uint8_t point[1 + 2 * ECC_BYTES];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
		OSSL_PARAM_construct_end(),
	};

	point[0] = 4; /* uncompressed (SEC 1, 2.3.3) */
	memcpy(point + 1, x, ECC_BYTES);
	memcpy(point + 1 + ECC_BYTES, y, ECC_BYTES);
	return key_from_params("EC", params, key);
}

static int ek_rsa_key(const uint8_t n[static RSA_BYTES], EVP_PKEY **key)
{
	BIGNUM *modulus = BN_bin2bn(n, RSA_BYTES, NULL);
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	int r = ERR_CRYPTO;

	*key = NULL;
	if (modulus && bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) &&
	    OSSL_PARAM_BLD_push_uint(bld, OSSL_PKEY_PARAM_RSA_E, 65537))
		params = OSSL_PARAM_BLD_to_param(bld);
	if (params)
		r = key_from_params("RSA", params, key);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(bld);
	BN_free(modulus);
	return r;
}

int ek_decode(enum ek_kind kind, const uint8_t *pub, size_t pub_len, EVP_PKEY **key)
{
	TPM2B_PUBLIC got = {0};
	const TPMU_PUBLIC_ID *id = &got.publicArea.unique;
	size_t at = 0;

	*key = NULL;
	if (kind >= KEY_KINDS || Tss2_MU_TPM2B_PUBLIC_Unmarshal(pub, pub_len, &at, &got) || at != pub_len ||
	    !ek_fits(kind, &got, pub, pub_len))
		return ERR_INVAL;
	if (kind == EK_RSA2048) {
		if (id->rsa.size != RSA_BYTES || !(id->rsa.buffer[0] & 0x80) || !(id->rsa.buffer[RSA_BYTES - 1] & 1))
			return ERR_INVAL;
		return ek_rsa_key(id->rsa.buffer, key);
	}
	if (id->ecc.x.size != ECC_BYTES || id->ecc.y.size != ECC_BYTES)
		return ERR_INVAL;
	return ek_ecc_key(id->ecc.x.buffer, id->ecc.y.buffer, key);
}

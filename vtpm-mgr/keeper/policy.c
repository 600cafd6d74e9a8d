/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/keeper/policy.h"

#include <stdbool.h>
#include <string.h>

#include <tss2/tss2_tpm2_types.h>

#include "vtpm-mgr/keeper/wrap.h"

static bool all_bytes(const uint8_t p[static DIGEST_LEN], uint8_t v)
{
	for (size_t i = 0; i < DIGEST_LEN; i++)
		if (p[i] != v)
			return false;
	return true;
}

uint32_t policy_default_mask(const uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	static const unsigned optional[] = {8, 9, 11};
	uint32_t mask = 1u << 0 | 1u << 2 | 1u << 4 | 1u << 7;

	for (size_t i = 0; i < ARRAY_LEN(optional); i++)
		if (!all_bytes(pcr[optional[i]], 0))
			mask |= 1u << optional[i];
	return mask;
}

int policy_empty_pcr(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	for (int i = 0; i < (int)PCR_COUNT; i++)
		if (mask >> i & 1 && (all_bytes(pcr[i], 0) || all_bytes(pcr[i], 0xff)))
			return i;
	return -1;
}

int policy_differing_pcr(uint32_t mask, const uint8_t a[static PCR_COUNT][DIGEST_LEN],
			 const uint8_t b[static PCR_COUNT][DIGEST_LEN])
{
	for (int i = 0; i < (int)PCR_COUNT; i++)
		if (mask >> i & 1 && memcmp(a[i], b[i], DIGEST_LEN) != 0)
			return i;
	return -1;
}

int policy_pcr_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint8_t out[static DIGEST_LEN])
{
	uint8_t mem[PCR_COUNT * DIGEST_LEN];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	for (unsigned i = 0; i < PCR_COUNT; i++)
		if (mask >> i & 1 && buf_put_bytes(&b, pcr[i], DIGEST_LEN))
			return ERR_RANGE;
	return wrap_sha256(mem, b.len, out);
}

/* policyDigest' = H(policyDigest ‖ TPM_CC_PolicyPCR ‖ pcrs ‖ pcrDigest), from a zero policyDigest. */
int policy_auth_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint8_t out[static DIGEST_LEN])
{
	static const uint8_t zero[DIGEST_LEN];
	uint8_t digest[DIGEST_LEN], mem[128];
	struct buf b;
	int r;

	r = policy_pcr_digest(mask, pcr, digest);
	if (r)
		return r;
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_bytes(&b, zero, sizeof(zero)) || buf_put_u32be(&b, TPM2_CC_PolicyPCR) || buf_put_u32be(&b, 1) ||
	    buf_put_u16be(&b, TPM2_ALG_SHA256) || buf_put_u8(&b, 3) || buf_put_u8(&b, (uint8_t)mask) ||
	    buf_put_u8(&b, (uint8_t)(mask >> 8)) || buf_put_u8(&b, (uint8_t)(mask >> 16)) ||
	    buf_put_bytes(&b, digest, sizeof(digest)))
		return ERR_RANGE;
	return wrap_sha256(mem, b.len, out);
}

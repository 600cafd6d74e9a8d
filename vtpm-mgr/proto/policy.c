/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/policy.h"

#include <openssl/evp.h>
#include <string.h>

/* TPM 2.0 Part 2, 6.3 and 6.5.2. */
#define ALG_SHA256	    0x000bu
#define CC_POLICY_NV	    0x0149u
#define CC_POLICY_SIGNED    0x0160u
#define CC_POLICY_AUTHORIZE 0x016au
#define CC_POLICY_LOCALITY  0x016fu
#define CC_POLICY_OR	    0x0171u
#define CC_POLICY_PCR	    0x017fu
#define NV_WRITTEN	    (1u << 29)
#define NV_COUNTER_SIZE	    8u
#define LOCALITY_ZERO	    0x01u /* TPMA_LOCALITY (Part 2, 8.5) */

static int sha256(const void *p, size_t n, uint8_t out[static DIGEST_LEN])
{
	return EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : ERR_CRYPTO;
}

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
	return sha256(mem, b.len, out);
}

/* Algorithm and SHA-256 of a public area. */
static int name_of(const uint8_t *area, size_t n, uint8_t name[static POLICY_NAME_LEN])
{
	name[0] = ALG_SHA256 >> 8;
	name[1] = ALG_SHA256 & 0xff;
	return sha256(area, n, name + 2);
}

int policy_key_name(const struct policy_key *k, uint8_t name[static POLICY_NAME_LEN])
{
	return k->len ? name_of(k->pub, k->len, name) : ERR_INVAL;
}

/* TPMS_NV_PUBLIC (Part 2, 13.5), with an empty policy. */
int policy_counter_name(uint32_t handle, bool written, uint8_t name[static POLICY_NAME_LEN])
{
	uint8_t mem[16];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u32be(&b, handle) || buf_put_u16be(&b, ALG_SHA256) ||
	    buf_put_u32be(&b, POLICY_COUNTER_ATTRIBUTES | (written ? NV_WRITTEN : 0)) || buf_put_u16be(&b, 0) ||
	    buf_put_u16be(&b, NV_COUNTER_SIZE))
		return ERR_RANGE;
	return name_of(mem, b.len, name);
}

int policy_ref(const char *group, bool recovery, uint8_t ref[static DIGEST_LEN])
{
	uint8_t mem[32 + NAME_MAX_LEN + 1];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_str(&b, recovery ? "vtpm recovery v1" : "vtpm policy v1") || buf_put_str(&b, group))
		return ERR_RANGE;
	return sha256(mem, b.len, ref);
}

/* ---- what each command makes of a policyDigest ---- */

/* H(policyDigest ‖ command ‖ what), in place. */
static int extend(uint8_t d[static DIGEST_LEN], uint32_t command, const void *what, size_t n)
{
	uint8_t mem[DIGEST_LEN + 4 + 128];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_bytes(&b, d, DIGEST_LEN) || buf_put_u32be(&b, command) || buf_put_bytes(&b, what, n))
		return ERR_RANGE;
	return sha256(mem, b.len, d);
}

/* Part 3, 23.8: locality 0 and no other. */
static int extend_locality(uint8_t d[static DIGEST_LEN])
{
	const uint8_t zero = LOCALITY_ZERO;

	return extend(d, CC_POLICY_LOCALITY, &zero, 1);
}

/* Part 3, 23.9, with the version as operandB at offset 0. */
static int extend_nv(uint8_t d[static DIGEST_LEN], uint32_t counter, uint32_t version)
{
	uint8_t mem[DIGEST_LEN + POLICY_NAME_LEN];
	struct buf b;
	int r;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u64be(&b, version) || buf_put_u16be(&b, 0) || buf_put_u16be(&b, POLICY_NV_LE))
		return ERR_RANGE;
	r = sha256(mem, b.len, mem);
	if (!r)
		r = policy_counter_name(counter, true, mem + DIGEST_LEN);
	return r ? r : extend(d, CC_POLICY_NV, mem, sizeof(mem));
}

/* Part 3, 23.7: selection and pcrDigest. */
static int extend_pcr(uint8_t d[static DIGEST_LEN], uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN])
{
	uint8_t mem[10 + DIGEST_LEN], digest[DIGEST_LEN];
	struct buf b;
	int r = policy_pcr_digest(mask, pcr, digest);

	buf_init(&b, mem, sizeof(mem));
	if (r || buf_put_u32be(&b, 1) || buf_put_u16be(&b, ALG_SHA256) || buf_put_u8(&b, 3) || buf_put_u8(&b, (uint8_t)mask) ||
	    buf_put_u8(&b, (uint8_t)(mask >> 8)) || buf_put_u8(&b, (uint8_t)(mask >> 16)) ||
	    buf_put_bytes(&b, digest, sizeof(digest)))
		return r ? r : ERR_RANGE;
	return extend(d, CC_POLICY_PCR, mem, b.len);
}

/* PolicyUpdate (Part 3, 23.2.3): the Name of a key, then the policyRef in a hash of its own. */
static int update(uint8_t d[static DIGEST_LEN], uint32_t command, const struct policy_key *k, const uint8_t ref[static DIGEST_LEN])
{
	uint8_t name[POLICY_NAME_LEN], mem[2 * DIGEST_LEN];
	int r = policy_key_name(k, name);

	if (!r)
		r = extend(d, command, name, sizeof(name));
	memcpy(mem, d, DIGEST_LEN);
	memcpy(mem + DIGEST_LEN, ref, DIGEST_LEN);
	return r ? r : sha256(mem, sizeof(mem), d);
}

/* ---- the policies ---- */

int policy_fixed_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint8_t out[static DIGEST_LEN])
{
	int r;

	memset(out, 0, DIGEST_LEN);
	r = extend_locality(out);
	return r ? r : extend_pcr(out, mask, pcr);
}

int policy_set_digest(const struct pcr_set *s, uint32_t counter, uint8_t out[static DIGEST_LEN])
{
	int r;

	memset(out, 0, DIGEST_LEN);
	r = extend_locality(out);
	if (!r)
		r = extend_nv(out, counter, s->version);
	return r ? r : extend_pcr(out, s->mask, s->pcr);
}

int policy_boot_branch(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN])
{
	uint8_t ref[DIGEST_LEN];
	int r;

	if (p->kind == POLICY_FIXED)
		return policy_fixed_digest(p->mask, p->pcr, out);
	memset(out, 0, DIGEST_LEN);
	r = policy_ref(group, false, ref);
	return r ? r : update(out, CC_POLICY_AUTHORIZE, &p->signer, ref);
}

int policy_recovery_branch(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN])
{
	uint8_t ref[DIGEST_LEN];
	int r = policy_ref(group, true, ref);

	memset(out, 0, DIGEST_LEN);
	return r ? r : update(out, CC_POLICY_SIGNED, &p->recovery, ref);
}

/* Part 3, 23.6: what was before the OR is forgotten. */
int policy_auth_digest(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN])
{
	uint8_t both[2 * DIGEST_LEN];
	int r = policy_boot_branch(p, group, both);

	if (!r && p->recovery.len)
		r = policy_recovery_branch(p, group, both + DIGEST_LEN);
	if (r)
		return r;
	if (!p->recovery.len) {
		memcpy(out, both, DIGEST_LEN);
		return 0;
	}
	memset(out, 0, DIGEST_LEN);
	return extend(out, CC_POLICY_OR, both, sizeof(both));
}

int policy_set_hash(const struct pcr_set *s, uint32_t counter, const char *group, uint8_t out[static DIGEST_LEN])
{
	uint8_t mem[2 * DIGEST_LEN];
	int r = policy_set_digest(s, counter, mem);

	if (!r)
		r = policy_ref(group, false, mem + DIGEST_LEN);
	return r ? r : sha256(mem, sizeof(mem), out);
}

int policy_recovery_hash(const uint8_t *nonce, size_t nonce_len, uint32_t seconds, const char *group,
			 uint8_t out[static DIGEST_LEN])
{
	uint8_t ref[DIGEST_LEN], mem[64 + 4 + DIGEST_LEN];
	struct buf b;
	int r = policy_ref(group, true, ref);

	buf_init(&b, mem, sizeof(mem));
	if (r || buf_put_bytes(&b, nonce, nonce_len) || buf_put_u32be(&b, seconds) || buf_put_bytes(&b, ref, sizeof(ref)))
		return r ? r : ERR_RANGE;
	return sha256(mem, b.len, out);
}

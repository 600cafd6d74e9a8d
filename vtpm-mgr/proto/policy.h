/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a root key is sealed to, and the digests that stand for it: calculated here, without a TPM (TPM 2.0 Part 1, 19.7; Part 3, 23).
 * The keeper has its TPM calculate them, too; vtpmctl signs them offline.
 *
 *	fixed	PolicyLocality(0), PolicyPCR(values)
 *	signed	PolicyAuthorize(policy key, group) of any set that this key has signed:
 *		PolicyLocality(0), PolicyNV(counter <= version), PolicyPCR(values of the set)
 *
 * with a recovery key either of them OR PolicySigned(recovery key, group).
 */
#ifndef VTPM_PROTO_POLICY_H
#define VTPM_PROTO_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/limits.h"

#define POLICY_DEFAULT_CANDIDATES 0x0b95u /* 0, 2, 4, 7, 8, 9, 11 */
#define POLICY_COUNTER_DEFAULT	  0x01805642u /* beside the anchors: continuity.h */
#define POLICY_COUNTER_ATTRIBUTES 0x02040012u /* TPMA_NV: counter, ownerwrite, authread, no DA (Part 2, 13.4) */
#define POLICY_NAME_LEN		  34u	/* a Name: algorithm and SHA-256 */
#define POLICY_NV_LE		  0x0009u /* TPM_EO_UNSIGNED_LE (Part 2, 6.8) */
#define POLICY_KEY_MAX		  544u	/* a TPMT_PUBLIC of RSA 4096 */
#define SIGNATURE_MAX		  512u
#define SET_TEXT_MAX		  128u
#define PCR_SETS_MAX		  4u /* installed for one group: the boot that is, the next one, and room to change one's mind */

#define SEAL_INSECURE_PCRS (1u << 0) /* PCRs that were never extended are accepted */
#define SEAL_SHARE	   (1u << 1) /* what is sealed is one share of two: proto/share.h */
#define SEAL_FLAGS	   (SEAL_INSECURE_PCRS | SEAL_SHARE)

enum policy_kind { POLICY_FIXED, POLICY_SIGNED, POLICY_KINDS };

/* A key that authorises, as the TPM has its public part: a marshalled TPMT_PUBLIC. A view. */
struct policy_key {
	const uint8_t *pub;
	size_t len; /* 0: none */
};

struct policy {
	uint8_t kind;	  /* enum policy_kind */
	uint32_t mask;	  /* PCRs of the SHA-256 bank; of a signed one those that every set must have */
	uint32_t flags;	  /* SEAL_… */
	uint32_t counter; /* NV handle; 0 of a fixed one */
	uint8_t pcr[PCR_COUNT][DIGEST_LEN]; /* of a fixed one the values, zero where not in mask */
	struct policy_key signer;   /* the policy key; of a signed one */
	struct policy_key recovery; /* len 0: there is no way but the PCRs */
};

enum policy_scheme { SCHEME_ECDSA = 1, SCHEME_RSASSA };

/* A boot that a policy key vouches for. Nothing of it is true before its signature was verified. */
struct pcr_set {
	uint32_t version;
	uint32_t mask;
	uint8_t pcr[PCR_COUNT][DIGEST_LEN]; /* zero where not in mask */
	char text[SET_TEXT_MAX + 1];	    /* not signed */
	uint8_t scheme;			    /* enum policy_scheme, both with SHA-256 */
	uint8_t signature[SIGNATURE_MAX];   /* r, s of 32 bytes each; or as RFC 8017, 8.2 */
	size_t signature_len;
};

/* How a list of sets is stored and sent. */
#define PCR_SET_ENCODED_MAX (4u + 4u + PCR_COUNT * DIGEST_LEN + 4u + SET_TEXT_MAX + 1u + 4u + SIGNATURE_MAX)
#define PCR_SETS_ENCODED_MAX (PCR_SETS_MAX * PCR_SET_ENCODED_MAX)
#define POLICY_ENCODED_MIN  (1u + 3u * 4u + PCR_COUNT * DIGEST_LEN + 2u * 4u)
#define POLICY_ENCODED_MAX  (POLICY_ENCODED_MIN + 2u * POLICY_KEY_MAX)
/* Whether a signature of that scheme has so many bytes. */
bool signature_valid(uint8_t scheme, size_t len);
CHECKED int pcr_set_encode(struct buf *b, const struct pcr_set *s);
CHECKED int pcr_set_decode(struct buf *b, struct pcr_set *s);
CHECKED int policy_encode(struct buf *b, const struct policy *p);
CHECKED int policy_decode(struct buf *b, struct policy *p);
/* Whether a marshalled TPMT_PUBLIC is a key that may authorise: ECC P-256 or RSA of 2048, 3072, 4096 bits, by the one template of policy_code.c. */
bool policy_key_valid(const struct policy_key *k);
/* That TPMT_PUBLIC, of a point's coordinates or a modulus of len bytes (with the exponent 65537). */
CHECKED int policy_key_put_ecc(struct buf *b, const uint8_t x[static DIGEST_LEN], const uint8_t y[static DIGEST_LEN]);
CHECKED int policy_key_put_rsa(struct buf *b, const uint8_t *n, size_t len);

/*
 * The default set: firmware and its configuration (0, 2), boot loader (4), Secure Boot (7), and
 * where they were extended the loader's commands and files (8, 9) and the unified kernel image (11).
 */
uint32_t policy_default_mask(const uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* The first PCR of the mask that is all zero or all one: nothing was ever measured into it. -1: none. */
int policy_empty_pcr(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* The first PCR of the mask whose values differ. -1: none. */
int policy_differing_pcr(uint32_t mask, const uint8_t a[static PCR_COUNT][DIGEST_LEN],
			 const uint8_t b[static PCR_COUNT][DIGEST_LEN]);

/* The pcrDigest: SHA-256 over the selected values in ascending order (TPM 2.0 Part 1, 17.6). */
CHECKED int policy_pcr_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN],
			      uint8_t out[static DIGEST_LEN]);
/* The Names (Part 1, 16) of a key, and of the counter once it was written. */
CHECKED int policy_key_name(const struct policy_key *k, uint8_t name[static POLICY_NAME_LEN]);
CHECKED int policy_counter_name(uint32_t handle, bool written, uint8_t name[static POLICY_NAME_LEN]);
/* The policyRef that ties what a key has signed to one group and one use. */
CHECKED int policy_ref(const char *group, bool recovery, uint8_t ref[static DIGEST_LEN]);
/* The policyDigest of values that are sealed to, and of a set: its approvedPolicy. */
CHECKED int policy_fixed_digest(uint32_t mask, const uint8_t pcr[static PCR_COUNT][DIGEST_LEN], uint8_t out[static DIGEST_LEN]);
CHECKED int policy_set_digest(const struct pcr_set *s, uint32_t counter, uint8_t out[static DIGEST_LEN]);
/* The branches of a policy, and the authPolicy that is made of them. */
CHECKED int policy_boot_branch(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN]);
CHECKED int policy_recovery_branch(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN]);
CHECKED int policy_auth_digest(const struct policy *p, const char *group, uint8_t out[static DIGEST_LEN]);
/* What the policy key signs of a set (aHash of Part 3, 23.16). */
CHECKED int policy_set_hash(const struct pcr_set *s, uint32_t counter, const char *group, uint8_t out[static DIGEST_LEN]);
/* What the recovery key signs (aHash of Part 3, 23.3): good for one session of the TPM, and for so many seconds since it began. */
CHECKED int policy_recovery_hash(const uint8_t *nonce, size_t nonce_len, uint32_t seconds, const char *group,
				 uint8_t out[static DIGEST_LEN]);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evidence: what a vTPM and the physical TPM (pTPM) under it say, and what a verifier needs to believe it. docs/evidence.cddl is the
 * format, docs/attestation.md says what each field means. Deterministic CBOR around the TPMs' own bytes, which are never encoded anew.
 *
 * A decoded evidence holds views into the bytes it was read from, which must outlive it. Decoding looks at the outer form alone: sizes and
 * counts are in bounds, nothing is left over. What the bytes say is for the verifier.
 */
#ifndef VTPM_ATTEST_EVIDENCE_H
#define VTPM_ATTEST_EVIDENCE_H

#include <stdint.h>

#include "lib/buf.h"

#define EVIDENCE_VERSION      1u
#define EVIDENCE_DIGEST	      32u /* SHA-256, of which everything is made */
#define EVIDENCE_NAME	      34u /* of a TPM object: algorithm, digest */
#define EVIDENCE_UUID	      16u
#define EVIDENCE_NONCE_MIN    8u
#define EVIDENCE_NONCE_MAX    64u
#define EVIDENCE_ATTEST_MAX   512u  /* TPMS_ATTEST */
#define EVIDENCE_SIG_MAX      600u  /* TPMT_SIGNATURE; RSA-4096 at most */
#define EVIDENCE_PUBLIC_MAX   640u  /* TPMT_PUBLIC */
#define EVIDENCE_NV_PUBLIC_MAX 128u /* TPMS_NV_PUBLIC */
#define EVIDENCE_CREATION_MAX 512u  /* TPMS_CREATION_DATA */
#define EVIDENCE_CERT_MAX     4096u /* X.509, DER */
#define EVIDENCE_CHAIN_MAX    4u    /* certificates of the pTPM's EK */
#define EVIDENCE_PCRS	      24u
#define EVIDENCE_LAUNCH_MAX   4u
#define EVIDENCE_PROOF_MAX    16u /* siblings */
#define EVIDENCE_LEAVES_MAX   (1u << EVIDENCE_PROOF_MAX)
#define EVIDENCE_BINDING_MAX  1024u
#define EVIDENCE_CORE_MAX     16384u /* without its logs */
#define EVIDENCE_GUEST_LOG_MAX 65536u
#define EVIDENCE_HOST_LOG_MAX (1u << 20)
#define EVIDENCE_MAX	      (EVIDENCE_CORE_MAX + EVIDENCE_GUEST_LOG_MAX + EVIDENCE_HOST_LOG_MAX)

/* How state continuity is kept: docs/continuity.md. */
enum evidence_mode { EVIDENCE_STRICT = 1, EVIDENCE_BOUNDED = 2, EVIDENCE_NONE = 3 };

struct evidence_view {
	const uint8_t *p;
	size_t n;
};
/* What a TPM has signed: TPMS_ATTEST and TPMT_SIGNATURE. */
struct evidence_signed {
	struct evidence_view attest, signature;
};
/* pcrs: the values that were quoted, 32 bytes each, in the order of the selection. */
struct evidence_quote {
	struct evidence_signed by;
	struct evidence_view pcrs;
};
/* A key: TPMT_PUBLIC, and its certificate; empty if it has none. */
struct evidence_key {
	struct evidence_view pub, cert;
};

struct evidence {
	struct evidence_quote inner;	   /* by the vTPM's attestation key (AK) */
	struct evidence_key ak, ek;	   /* of the vTPM; the AK has a certificate */
	struct evidence_view binding;	   /* an encoded struct binding: the bytes that are hashed */
	uint64_t index, count;		   /* of its leaf; of all leaves */
	struct evidence_view proof;	   /* siblings, 32 bytes each, from the leaf up */
	struct evidence_quote outer;	   /* by the pTPM's AK */
	struct evidence_signed anchor;	   /* TPM2_NV_Certify of anchor A, by the pTPM's AK */
	struct evidence_view anchor_pub;   /* TPMS_NV_PUBLIC of A */
	struct evidence_view host_ak;	   /* TPMT_PUBLIC of the pTPM's AK */
	struct evidence_key ca;		   /* that certifies the vTPM's keys; its key is in the pTPM */
	struct evidence_signed ca_certify; /* TPM2_Certify of that key, by the pTPM's AK; extraData: SHA-256 of the CA certificate */
	struct evidence_view ca_creation;  /* TPMS_CREATION_DATA of that key */
	struct evidence_signed ca_created; /* TPM2_CertifyCreation of it */
	struct evidence_view chain[EVIDENCE_CHAIN_MAX]; /* of the pTPM's EK, its own first */
	size_t nchain;
	struct evidence_view guest_log, host_log; /* TCG event logs; empty: none */
};

/* What the pTPM vouches for, by way of a Merkle root. */
struct binding {
	const uint8_t *nonce;
	size_t nonce_len;
	uint8_t uuid[EVIDENCE_UUID];
	uint8_t ek_name[EVIDENCE_NAME], ak_name[EVIDENCE_NAME];
	uint8_t quote[EVIDENCE_DIGEST]; /* SHA-256 of the inner quote's TPMS_ATTEST */
	uint64_t epoch;			/* owner epoch */
	enum evidence_mode mode;
	uint64_t discontinuities;
	uint64_t version;		 /* of the vTPM's state */
	uint8_t anchor[EVIDENCE_DIGEST]; /* what A holds by the host's journal */
	uint8_t launch[EVIDENCE_LAUNCH_MAX][EVIDENCE_DIGEST]; /* launch digests, the present one first; none: not a measured launch */
	size_t nlaunch;
	uint8_t attached[EVIDENCE_DIGEST]; /* evidence_attached: what no other signature covers */
};

/* ERR_RANGE: the buffer does not hold it, or a field is out of its bounds. */
CHECKED int binding_encode(const struct binding *v, struct buf *b);
/* ERR_PROTO: it is none, to the byte. nonce is a view. */
CHECKED int binding_decode(const void *p, size_t n, struct binding *v);
CHECKED int evidence_encode(const struct evidence *e, struct buf *b);
CHECKED int evidence_decode(const void *p, size_t n, struct evidence *e);

/* qualifyingData of the vTPM's quote: of nonce, uuid, both Names and epoch. */
CHECKED int evidence_inner_data(const struct binding *v, uint8_t out[static EVIDENCE_DIGEST]);
/*
 * Of the certificates of the vTPM's EK and of the pTPM's EK, and the host's log: so that no bit of them can be changed on the way.
 * host_log: the SHA-256 of that, which is the same for many; NULL: it is computed.
 */
CHECKED int evidence_attached(const struct evidence *e, const uint8_t *host_log, uint8_t out[static EVIDENCE_DIGEST]);
/* qualifyingData of the pTPM's quote and of the certification of A. count: of the leaves, which the root alone does not say. */
CHECKED int evidence_outer_data(const uint8_t root[static EVIDENCE_DIGEST], uint64_t count, const uint8_t host_ak[static EVIDENCE_NAME],
				uint8_t out[static EVIDENCE_DIGEST]);
/* The Merkle tree over bindings: RFC 6962, 2.1. */
CHECKED int evidence_leaf(const void *binding, size_t n, uint8_t out[static EVIDENCE_DIGEST]);
/* The root that a leaf and its proof lead to. ERR_PROTO: the proof is not that long for this index and count. */
CHECKED int evidence_root(const uint8_t leaf[static EVIDENCE_DIGEST], uint64_t index, uint64_t count, const struct evidence_view *proof,
			  uint8_t root[static EVIDENCE_DIGEST]);

#endif

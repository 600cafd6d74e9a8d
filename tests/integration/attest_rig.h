/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evidence made of real TPMs: swtpm as the chip of a host, and as a guest's TPM. What is attested, and how, is for a test to say: it does what
 * a manager does, and what somebody does who wants to be taken for one.
 */
#ifndef VTPM_TESTS_ATTEST_RIG_H
#define VTPM_TESTS_ATTEST_RIG_H

#include <openssl/x509.h>
#include <tss2/tss2_esys.h>

#include "attest/evidence.h"
#include "vtpm-mgr/keeper/cert.h"

struct blob {
	uint8_t bytes[2048];
	size_t n;
};

struct chip {
	char dir[64];
	int pid;
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
};

struct host {
	struct chip chip;
	ESYS_TR srk, ak, ca, nv;
	TPM2B_PUBLIC *ak_pub, *ca_pub, *ek_pub;
	TPM2B_PRIVATE *ak_priv, *ca_priv;
	TPM2B_CREATION_DATA *creation;
	TPMT_TK_CREATION *ticket;
	X509 *ca_cert;
	struct cert_der cert;
	uint8_t ak_name[EVIDENCE_NAME];
	struct blob ak_area, ca_area, nv_area, creation_data, certify, certify_sig, created, created_sig, ek_cert;
	uint8_t anchor[EVIDENCE_DIGEST]; /* what A holds, by the journal */
	struct blob log;		 /* event log, or nothing */
};

struct guest {
	struct chip chip;
	uint8_t uuid[EVIDENCE_UUID];
	ESYS_TR ak;
	TPM2B_PUBLIC *ak_pub, *ek_pub;
	struct blob ak_area, ek_area;
	struct cert_der ak_cert, ek_cert;
	uint8_t serial[SERIAL_LEN];
	uint64_t epoch, version;
	struct blob log;
};

/* A piece of evidence in the making, with the bytes that its views are into. */
struct piece {
	struct evidence e;
	struct binding b;
	uint8_t nonce[32];
	struct blob inner, inner_sig, inner_pcrs, binding, outer, outer_sig, outer_pcrs, anchor, anchor_sig;
	uint8_t siblings[EVIDENCE_PROOF_MAX * EVIDENCE_DIGEST];
	uint8_t root[EVIDENCE_DIGEST];
};

void host_start(struct host *h);
void host_stop(struct host *h);
/* Its certificate for the EK, by whoever has key. */
void host_ek_certify(struct host *h, X509 *maker, EVP_PKEY *key);
void host_reset(struct host *h); /* _TPM_Init, and its keys loaded again */
void host_pcr_extend(struct host *h, unsigned pcr, const uint8_t digest[static EVIDENCE_DIGEST]);
void host_anchor_extend(struct host *h);

void guest_start(struct guest *g, uint8_t number);
void guest_stop(struct guest *g);
void guest_certify(struct guest *g, struct host *by);
void guest_pcr_extend(struct guest *g, unsigned pcr, const uint8_t digest[static EVIDENCE_DIGEST]);
/* Another attestation key, by the same template but with a random unique, in place of its own; its certificate stays. */
void guest_plant(struct guest *g);

/* The steps of a whole one, for those who go their own way between them. */
void piece_begin(struct piece *p, const struct host *h, const struct guest *g);
void piece_inner(struct piece *p, struct guest *g);
/* The binding as it is, at index among count leaves. */
void piece_bind(struct piece *p, uint64_t index, uint64_t count);
void piece_quote(struct piece *p, struct host *h);  /* of the host */
void piece_anchor(struct piece *p, struct host *h); /* its certification */
void piece_make(struct piece *p, struct host *h, struct guest *g);
size_t piece_encode(const struct piece *p, uint8_t *mem, size_t cap);

/* A revocation list of the host's CA, with one serial number, or NULL. */
X509_CRL *host_crl(struct host *h, const uint8_t *serial, time_t from, time_t until);

#endif

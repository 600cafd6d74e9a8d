/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TPM commands that the backend itself sends (TPM 2.0 Part 3), built and parsed by hand.
 * Each builder resets c and writes a whole command. Authorisations are password sessions with
 * the empty auth that every hierarchy of a fresh TPM, and of one after TPM2_Startup(CLEAR), has.
 */
#ifndef VTPM_BACKEND_TPMCMD_H
#define VTPM_BACKEND_TPMCMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

#define TPMCMD_NV_CHUNK 1024u /* bytes in one NV_Write: MAX_NV_BUFFER_SIZE of libtpms */

/* The header of a command, for those who only look at it. Leaves the cursor behind it. */
struct tpm_header {
	uint16_t tag;
	uint32_t size, code;
};

CHECKED int tpm_header_get(struct buf *b, struct tpm_header *h);

CHECKED int tpmcmd_startup(struct buf *c, uint16_t type);
CHECKED int tpmcmd_shutdown(struct buf *c, uint16_t type);
CHECKED int tpmcmd_get_random(struct buf *c, uint16_t n);
/* n: 1 … 128 */
CHECKED int tpmcmd_stir_random(struct buf *c, const uint8_t *data, size_t n);
CHECKED int tpmcmd_hierarchy_change_auth(struct buf *c, uint32_t hierarchy, const uint8_t *auth, size_t n);
/*
 * Platform authorisation; sets every bank that libtpms has: all PCRs of those in algs, none of
 * the others. Takes effect at the next _TPM_Init.
 */
CHECKED int tpmcmd_pcr_allocate(struct buf *c, const uint16_t *algs, unsigned n);
/* n digests of one PCR, each with its TPM_ALG_ID and length. */
struct tpm_digest {
	uint16_t alg;
	const uint8_t *data;
	size_t len;
};
CHECKED int tpmcmd_pcr_extend(struct buf *c, uint32_t pcr, const struct tpm_digest *digests, unsigned n);
/* auth: the object's. pub: the template, a TPMT_PUBLIC. */
CHECKED int tpmcmd_create_primary(struct buf *c, uint32_t hierarchy, const uint8_t *auth, size_t auth_n, const uint8_t *pub, size_t n);
CHECKED int tpmcmd_evict_control(struct buf *c, uint32_t hierarchy, uint32_t object, uint32_t persistent);
CHECKED int tpmcmd_flush_context(struct buf *c, uint32_t handle);
CHECKED int tpmcmd_read_public(struct buf *c, uint32_t handle);
CHECKED int tpmcmd_get_capability(struct buf *c, uint32_t capability, uint32_t property, uint32_t count);
/* Of PCRs 0 to 15 of the SHA-256 bank, by the key's own scheme. */
CHECKED int tpmcmd_quote(struct buf *c, uint32_t key, const uint8_t *auth, size_t auth_n, const uint8_t *over, size_t n);
/* Of the SHA-256 bank: those of mask, 8 at most. */
CHECKED int tpmcmd_pcr_read(struct buf *c, uint16_t mask);
/* An index as it is defined, nameAlg SHA-256; auth and policy may be empty. */
struct tpm_nv {
	uint32_t index, attributes;
	uint16_t size;
	const uint8_t *auth, *policy;
	size_t auth_len, policy_len;
};
/* Appends its TPMS_NV_PUBLIC: Part 2, 13.5. */
CHECKED int tpmcmd_nv_public(struct buf *out, const struct tpm_nv *nv);
/* Platform authorisation. */
CHECKED int tpmcmd_nv_define_space(struct buf *c, const struct tpm_nv *nv);
CHECKED int tpmcmd_nv_undefine_space(struct buf *c, uint32_t index);
CHECKED int tpmcmd_nv_write(struct buf *c, uint32_t index, const uint8_t *data, size_t n, uint16_t offset);
CHECKED int tpmcmd_nv_write_lock(struct buf *c, uint32_t index);
CHECKED int tpmcmd_nv_read_public(struct buf *c, uint32_t index);
/* By the auth, which is empty, of a hierarchy or of the index itself. size: at most TPMCMD_NV_CHUNK. */
CHECKED int tpmcmd_nv_read(struct buf *c, uint32_t by, uint32_t index, uint16_t size, uint16_t offset);
/* A policy session, neither salted nor bound: nothing that it authorises has an HMAC (Part 1, 19.6.5). It is the handle of the response. */
CHECKED int tpmcmd_start_policy(struct buf *c);
/* The auth of an entity, by password, into that session; no reference, no expiration. */
CHECKED int tpmcmd_policy_secret(struct buf *c, uint32_t entity, const uint8_t *auth, size_t n, uint32_t session);
/* By the policy of the index, which the session satisfies, and no longer does afterwards. */
CHECKED int tpmcmd_nv_write_policy(struct buf *c, uint32_t session, uint32_t index, const uint8_t *data, size_t n, uint16_t offset);

/* What a response says: views into it. */
struct tpmrsp {
	uint32_t rc;
	uint32_t handle;    /* if the command returns one */
	struct buf params;  /* unread */
};

/*
 * Takes a response apart, strictly: the size field is n, a failure has nothing behind its
 * header, and with sessions parameterSize leaves exactly one acknowledgement without an HMAC: of a password, or of a policy.
 * sessions, handles: of the command that was sent; handles is 0 or 1. ERR_ENGINE: not a response to it.
 */
CHECKED int tpmrsp_parse(struct tpmrsp *r, const uint8_t *rsp, size_t n, bool sessions, unsigned handles);
/* TPM2_PCR_Allocate answers in a parameter of its own whether it did. */
CHECKED int tpmrsp_pcr_allocated(struct tpmrsp *r);
/* TPM2_GetCapability's, of TPM_CAP_PCRS: whether a bank has any PCR. */
CHECKED int tpmrsp_bank_active(const struct tpmrsp *r, uint16_t alg, bool *active);
/* The TPM2B_PUBLIC that parameters begin with, its size field included. */
CHECKED int tpmrsp_public(struct tpmrsp *r, const uint8_t **pub, size_t *n);
/* TPM2_Quote's: views of TPMS_ATTEST and TPMT_SIGNATURE. */
CHECKED int tpmrsp_quote(struct tpmrsp *r, const uint8_t **attest, size_t *attest_n, const uint8_t **sig, size_t *sig_n);
/* TPM2_PCR_Read's: n values of 32 bytes each, copied, and that it read those of mask. */
CHECKED int tpmrsp_pcrs(struct tpmrsp *r, uint16_t mask, uint8_t *out, unsigned n);
/* TPM2_GetCapability's, of TPM_CAP_AUDIT_COMMANDS: the first two command codes, 0 for none. */
CHECKED int tpmrsp_audited(struct tpmrsp *r, uint32_t *first, uint32_t *second);
/* TPM2_NV_ReadPublic's: TPMA_NV, and how many bytes the index holds. */
CHECKED int tpmrsp_nv_public(struct tpmrsp *r, uint32_t *attributes, uint16_t *size);
/* TPM2_NV_Read's: exactly n bytes, copied. */
CHECKED int tpmrsp_nv_data(struct tpmrsp *r, uint8_t *out, size_t n);

#endif

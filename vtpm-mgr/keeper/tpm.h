/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection to the physical TPM: ESYS context, storage root key (SRK), one salted session,
 * and what every command's outcome means.
 *
 * Work is done in operations, run by tpm_run: it has a context, the SRK of the pinned Name and a
 * session ready, and when an operation fails it throws all three away. So nothing is left loaded,
 * and the nonces of a session whose response was not accepted are never used again. Only an
 * operation that failed because the TPM was reset meanwhile is run a second time; a response that
 * does not verify never is.
 *
 * A function that fails has left a sentence for a person in tpm->text.
 */
#ifndef VTPM_KEEPER_TPM_H
#define VTPM_KEEPER_TPM_H

#include <stdbool.h>
#include <stdint.h>

#include <tss2/tss2_esys.h>

#include "vtpm-mgr/proto/keeper.h"

#define SRK_HANDLE 0x81000001u /* TCG TPM v2.0 Provisioning Guidance, 7.5.1 */

struct tpm {
	char tcti_name[256];
	TSS2_TCTI_CONTEXT *tcti;
	bool streams; /* the TCTI is of stream.h */
	ESYS_CONTEXT *esys;
	ESYS_TR srk, session;
	uint64_t context; /* counts the ESYS contexts: a handle of an earlier one is gone */
	TSS2_RC rc;	  /* of the last command that tpm_check judged a failure */
	uint8_t srk_name[TPM_NAME_MAX]; /* the pinned Name */
	size_t srk_name_len;		/* 0 before OPEN and ADOPT */
	bool pinned;			/* identity.h: a reset is not accepted */
	uint32_t reset_count;		/* when it was pinned */
	bool foreign;			/* it is not the TPM, or not the power-on of it, that it was */
	bool lost;			/* no answer: this process can only say so and exit */
	bool gone;			/* the failed command named something a TPM reset took away */
	char text[TEXT_MAX + 1];
};

/* Takes the name; nothing is opened. ERR_RANGE if it is too long for a status. */
CHECKED int tpm_init(struct tpm *t, const char *tcti);
/* Connects, starts the TPM up if nobody has, and flushes what a killed predecessor left loaded. */
CHECKED int tpm_open(struct tpm *t);
void tpm_close(struct tpm *t);

/* Writes t->text; returns code. */
int tpm_fail(struct tpm *t, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The outcome of one command as an error code; what: the command, for the text. */
CHECKED int tpm_check(struct tpm *t, TSS2_RC rc, const char *what);
/* rc without the number of the handle, session or parameter it blames (TPM 2.0 Part 2, 6.6.2). */
TSS2_RC tpm_rc_base(TSS2_RC rc);

/* Throws context, session and handles away: the next operation makes them anew. */
void tpm_forget(struct tpm *t);
/* One word of TPM2_CAP_TPM_PROPERTIES; 0 if the TPM does not have it. For operations. */
CHECKED int tpm_property(struct tpm *t, uint32_t property, uint32_t *value);
/* Runs op as described above. */
CHECKED int tpm_run(struct tpm *t, int (*op)(struct tpm *t, void *arg), void *arg);

CHECKED int tpm_status(struct tpm *t, struct keeper_status *s);

/* For operations. A new session of a type, salted to the SRK, encrypting both ways. */
CHECKED int tpm_session(struct tpm *t, TPM2_SE type, ESYS_TR *session);
/*
 * Whether t->session encrypts, as usual, or audits a command that has nothing to encrypt: for the HMAC over the response. Also
 * before an operation goes on after a command that failed, which ESYS leaves with the attributes that it had for that.
 */
CHECKED int tpm_session_audits(struct tpm *t, bool audits);
/* Flushes and forgets; does nothing for ESYS_TR_NONE. Errors are left to the next command. */
void tpm_flush(struct tpm *t, ESYS_TR *handle);
CHECKED int tpm_random(struct tpm *t, uint8_t *p, size_t n);
/* How often the TPM was reset (TPM 2.0 Part 1, 36.3), in an audited response. */
CHECKED int tpm_reset_count(struct tpm *t, uint32_t *count);
/* Reads the PCRs of the mask from the SHA-256 bank, all at one moment. */
CHECKED int tpm_pcr_read(struct tpm *t, uint32_t mask, uint8_t pcr[static PCR_COUNT][DIGEST_LEN]);
/* Loads an object under the SRK. ERR_AUTH: it is not what the TPM made. what: for the text. */
CHECKED int tpm_load(struct tpm *t, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv, const char *what,
		     ESYS_TR *handle);
/* Marshalled blobs as they are stored. ERR_AUTH: not one whole structure. */
CHECKED int tpm_blob_decode(struct tpm *t, const uint8_t *pub, size_t pub_len, const uint8_t *priv, size_t priv_len,
			    TPM2B_PUBLIC *out_pub, TPM2B_PRIVATE *out_priv);
CHECKED int tpm_blob_encode(struct tpm *t, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
			    uint8_t out_pub[static SEALED_BLOB_MAX], size_t *pub_len,
			    uint8_t out_priv[static SEALED_BLOB_MAX], size_t *priv_len);
/* 24 PCRs of the SHA-256 bank. */
TPML_PCR_SELECTION tpm_pcr_selection(uint32_t mask);

#endif

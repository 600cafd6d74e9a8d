/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The identity of the physical TPM and of the CA key in it, and the list of revoked certificates. By the rules of keeper.h; all need the
 * CA to be open.
 *
 *	ENROLL	     {var record}	-> {record}	the attestation key of the physical TPM, and its word on the CA key. An empty record,
 *							or one of another CA key: a new attestation key is made
 *	ENROLL_EK    {u8 kind}		-> {var TPM2B_PUBLIC, var certificate}	by the TCG's template; the certificate that its maker
 *							has left in NV, or nothing
 *	ACTIVATE     {var record, var blob} -> {credential}	TPM2_ActivateCredential; blob: as tpm2_makecredential writes it. ERR_DENIED: it
 *							is not for that EK and that attestation key
 *	CRL_BEGIN    {u64 number, u64 from, u64 until}	-> {}	a new list; seconds since 1970. ERR_RANGE: CRL_LIFE_S
 *	CRL_ADD	     {1 to 128 times {serial, u64 when, u8 reason}} -> {}	ERR_FULL: CRL_ENTRIES_MAX
 *	CRL_SIGN     {}			-> {u32 size}	signs it
 *	CRL_READ     {u32 offset}	-> {at most 4096 bytes of DER}
 */
#ifndef VTPM_PROTO_ENROLL_H
#define VTPM_PROTO_ENROLL_H

#include "vtpm-mgr/proto/keeper.h"

enum {
	KEEPER_ENROLL = 0x4b4500a1,
	KEEPER_ENROLL_EK,
	KEEPER_ACTIVATE,
	KEEPER_CRL_BEGIN,
	KEEPER_CRL_ADD,
	KEEPER_CRL_SIGN,
	KEEPER_CRL_READ,
};

#define CREDENTIAL_MAX 1024u /* TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, with the tool's header */
#define SECRET_MAX     64u   /* what is in it */

/* What the attestation key says of the CA key. */
struct enrolment {
	const uint8_t *pub, *priv; /* views: of the attestation key, TPM2B_PUBLIC and TPM2B_PRIVATE under the SRK */
	const uint8_t *attest, *sig; /* TPM2_Certify: TPMS_ATTEST, qualifying data SHA-256 of the CA certificate; TPMT_SIGNATURE */
	const uint8_t *creation; /* TPMS_CREATION_DATA of the CA key */
	const uint8_t *creation_attest, *creation_sig; /* TPM2_CertifyCreation of that */
	size_t pub_len, priv_len, attest_len, sig_len, creation_len, creation_attest_len, creation_sig_len;
};
struct revoked {
	uint8_t serial[SERIAL_LEN];
	uint64_t when;
	uint8_t reason; /* CRLReason: RFC 5280, 5.3.1 */
};

#define ENROLMENT_MIN	  28u
#define ENROLMENT_MAX	  (ENROLMENT_MIN + 2u * SEALED_BLOB_MAX + 2u * (ATTEST_MAX + ATTEST_SIG_MAX) + CREATION_MAX)
#define REVOKED_SIZE	  (SERIAL_LEN + 9u)
#define CRL_LIFE_S	  (7u * 24u * 3600u) /* of a list, which begins now or before */
#define CRL_ADD_N	  128u
#define CRL_PIECE	  4096u
#define CRL_ENTRIES_MAX	  65536u
#define CRL_SIZE_MAX	  (4u * 1024u * 1024u)
#define KEEPER_ENROLL_MIN (KEEPER_ID_SIZE + 4u)
#define KEEPER_ENROLL_MAX (KEEPER_ENROLL_MIN + ENROLMENT_MAX)
#define KEEPER_EK_SIZE	  (KEEPER_ID_SIZE + 1u)
#define KEEPER_ACTIVATE_MIN (KEEPER_ID_SIZE + 8u)
#define KEEPER_ACTIVATE_MAX (KEEPER_ACTIVATE_MIN + ENROLMENT_MAX + CREDENTIAL_MAX)
#define KEEPER_CRL_BEGIN_SIZE (KEEPER_ID_SIZE + 24u)
#define KEEPER_CRL_ADD_MIN (KEEPER_ID_SIZE + REVOKED_SIZE)
#define KEEPER_CRL_ADD_MAX (KEEPER_ID_SIZE + CRL_ADD_N * REVOKED_SIZE)
#define KEEPER_CRL_READ_SIZE (KEEPER_ID_SIZE + 4u)
_Static_assert(KEEPER_ACTIVATE_MAX <= KEEPER_REQUEST_MAX && KEEPER_CRL_ADD_MAX <= KEEPER_REQUEST_MAX, "the requests fit");
_Static_assert(ENROLMENT_MAX <= KEEPER_RESULT_MAX && PUBLIC_MAX + CERT_MAX + 8u <= KEEPER_RESULT_MAX && CRL_PIECE <= KEEPER_RESULT_MAX,
	       "the results fit");

CHECKED int enrolment_encode(struct buf *b, const struct enrolment *e);
CHECKED int enrolment_decode(struct buf *b, struct enrolment *e);
CHECKED int revoked_encode(struct buf *b, const struct revoked *r);
CHECKED int revoked_decode(struct buf *b, struct revoked *r);

#endif

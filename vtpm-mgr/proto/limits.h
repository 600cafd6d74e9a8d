/* SPDX-License-Identifier: BSD-2-Clause */
/* The limits that several processes must agree on, in one place. */
#ifndef VTPM_PROTO_LIMITS_H
#define VTPM_PROTO_LIMITS_H

#define KEY_LEN		  32u /* AES-256, HKDF-SHA256 output, host root key */
#define DIGEST_LEN	  32u /* SHA-256 */
#define WRAPPED_KEY_LEN	  60u /* nonce 12, ciphertext 32, tag 16 */
#define SEALED_STATE_MAX  (256u * 1024u)
#define SWTPM_FILE_MAX	  SEALED_STATE_MAX /* a file of swtpm that is taken over */
#define SEALED_BLOB_MAX	  1024u /* TPM2B_PUBLIC or TPM2B_PRIVATE of a sealed object or key */
#define CERT_MAX	  2048u /* one X.509 certificate, DER; also what one NV index of libtpms holds */
#define CREATION_MAX	  512u	/* TPM2B_CREATION_DATA and TPMT_TK_CREATION of the CA key */
#define PUBLIC_MAX	  512u	/* a TPM2B_PUBLIC of an EK or AK */
#define ATTEST_MAX	  512u	/* TPMS_ATTEST */
#define ATTEST_SIG_MAX	  128u	/* TPMT_SIGNATURE of ECDSA P-256 */
#define GUEST_NONCE_MIN	  8u   /* a guest's that asks for evidence */
#define GUEST_NONCE_MAX	  64u
#define GUEST_EVIDENCE_MAX 16384u /* as a guest reads it: without logs; eight NV indices of libtpms */
#define GUEST_TEXT_MAX	  128u	 /* why it gets none */
#define GUEST_EVIDENCE_STATE (20u * 1024u) /* what the indices for it take of a vTPM's state, whatever its quota */
#define NV_PUBLIC_LEN	  14u	/* TPMS_NV_PUBLIC of an index without a policy */
#define SERIAL_LEN	  16u	/* of a certificate; 01 in its highest bits, so that it is positive and always of this length */
#define PCR_COUNT	  24u
#define TEXT_MAX	  512u /* an explanation for a person, without the NUL */
#define TPM_NAME_MAX	  68u  /* a TPM2B_NAME's contents: algorithm and up to SHA-512 */

#endif

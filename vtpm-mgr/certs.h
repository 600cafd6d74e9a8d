/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The certificates of vTPMs, and which of them are revoked. The values of the table meta:
 *
 *	"certs:UUID"	 var TPM2B_PUBLIC of the AK | var its certificate; absent if there is none
 *	"revoked:SERIAL" u64 n | u64 seconds since 1970 | u8 CRLReason (RFC 5280, 5.3.1)
 *
 * The vTPM's leaf has the rest: kinds are those that we certify, a bit each; the certificates have the serial with the kind in the last byte, so
 * that nobody has to parse a certificate to revoke it. A serial of zeros: they were revoked. And a hash, so that nobody can put other keys or certificates
 * into the store: SHA-256(var EK | var its certificate, of each kind | var the value above, empty if it is absent). A vTPM for which that does not hold is
 * quarantined, and what is to be revoked of it is known all the same.
 *
 * What is revoked goes into the store in the transaction that makes it so; n counts it, and the journal vouches for the list by a leaf of its own:
 * hash = SHA-256(hash of before | key | value), one after the other.
 */
#ifndef VTPM_MGR_CERTS_H
#define VTPM_MGR_CERTS_H

#include "vtpm-mgr/continuity.h"
#include "vtpm-mgr/proto/backend.h"

#define REVOKED_SUPERSEDED 4u /* restored, or certified anew */
#define REVOKED_CESSATION  5u /* destroyed */

struct certs {
	uint8_t kinds;
	uint8_t serial[SERIAL_LEN];
	size_t ak_public_len, ak_cert_len; /* 0: there is none */
	uint8_t ak_public[PUBLIC_MAX], ak_cert[CERT_MAX];
};

#define CERTS_NOT_VOUCHED \
	"its endorsement keys or certificates are not those that the journal vouches for: others or older ones were put there, or some were removed"
#define AK_ONLY (1u << AK_ECC_P256) /* kinds of an imported vTPM */

/* What row and record have, if it is what the leaf vouches for. ERR_AUTH: it is not. */
CHECKED int certs_load(struct store *s, const struct store_leaf *l, const struct store_vtpm *row, struct certs *c);
/* Whether they are valid: issued, and not revoked since. */
bool certs_issued(const struct store_certs *c);
/*
 * What a worker has made: into c and, of EKs, into row; c's kinds and serial are set. all: every kind must have a certificate.
 * ERR_PROTO: that cannot be.
 */
CHECKED int certs_take(struct certs *c, struct store_vtpm *row, const struct backend_provisioned *b, bool all);

/* To go along with a change: the record, and what the new leaf says of it and of the EKs of row; what is revoked by it; the record's removal. */
CHECKED int certs_put(struct metas *list, struct store_leaf *l, const struct store_vtpm *row, const struct certs *c);
CHECKED int certs_revoke(struct mgr *m, struct metas *list, const struct store_certs *c, uint8_t reason);
CHECKED int certs_forget(struct metas *list, const uint8_t uuid[static UUID_LEN]);

/* What of these is revoked is numbered, and l becomes the leaf of the list with it. False: nothing of it is. */
bool revocations_extend(const struct leaves *leaves, struct metas *list, struct store_leaf *l);
/* All that is revoked, by number, for the caller to free. ERR_QUARANTINE: it is not what the journal vouches for. ERR_FULL: more than max. */
struct revoked;
CHECKED int revocations_load(struct mgr *m, size_t max, struct revoked **out, size_t *n);

/* certify.c: certifies a vTPM that is off anew, and ends the call. */
struct call;
void certify_vtpm(struct mgr *m, const struct store_vtpm *row, struct call *call);
/* What is being done with it, so that nothing else is: "is being …"; NULL: nothing. */
const char *vtpm_held_back(const struct mgr *m, const uint8_t uuid[static UUID_LEN]);
void certify_close(struct mgr *m);

#endif

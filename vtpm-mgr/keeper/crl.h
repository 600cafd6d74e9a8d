/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of revoked certificates of the CA (RFC 5280, 5), as it is put together, signed and read. */
#ifndef VTPM_KEEPER_CRL_H
#define VTPM_KEEPER_CRL_H

#include "vtpm-mgr/keeper/ca.h"
#include "vtpm-mgr/proto/enroll.h"

struct crl {
	X509_CRL *list; /* NULL: none was begun */
	size_t n;
	uint8_t *der; /* of one that was signed; NULL: it was not */
	size_t len;
};

void crl_free(struct crl *c);
/* A new and empty one; ends the one before. Seconds since 1970. */
CHECKED int crl_begin(struct crl *c, X509 *ca, uint64_t number, uint64_t from, uint64_t until);
/* ERR_WRONG_STATE: none was begun, or it is signed. ERR_FULL. */
CHECKED int crl_add(struct crl *c, const struct revoked *r);
CHECKED int crl_sign(struct crl *c, EVP_PKEY *ca_key, const struct cert_signer *signer);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The recovery keys: public keys of whoever may recover the roots without the chip. They are files NAME.pem in a directory
 * that only root, or who starts the keeper, writes, and are read before the sandbox and the first request: so nobody who speaks to the
 * keeper can have a root wrapped for a key of his own.
 */
#ifndef VTPM_KEEPER_OFFLINE_H
#define VTPM_KEEPER_OFFLINE_H

#include "vtpm-mgr/escrow/envelope.h"

struct offline {
	unsigned n;
	EVP_PKEY *keys[RECOVERY_KEYS_MAX];
	uint8_t fingerprints[RECOVERY_KEYS_MAX][DIGEST_LEN];
};

/* What cannot be used is left out, and the log says why. A directory that is not there has no keys. */
void offline_load(struct offline *o, const char *dir);
void offline_free(struct offline *o);
/* NULL: none of them. */
EVP_PKEY *offline_find(const struct offline *o, const uint8_t fingerprint[static DIGEST_LEN]);

#endif

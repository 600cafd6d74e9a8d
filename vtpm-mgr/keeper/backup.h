/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sealing the parts of a backup: AES-256-GCM under a key for each file, which is HMAC-SHA256 of the file's header under a
 * key derived from the root of group "default". The nonce is the part's number, and whether it is the last: so parts can be
 * neither exchanged, left out nor cut off, and the header is authenticated with each.
 */
#ifndef VTPM_KEEPER_BACKUP_H
#define VTPM_KEEPER_BACKUP_H

#include "vtpm-mgr/proto/backup.h"

/* By which a file says what it is sealed under. */
CHECKED int backup_key_id(const uint8_t key[static KEY_LEN], uint8_t id[static DIGEST_LEN]);
/* out: p->len + BACKUP_TAG bytes. */
CHECKED int backup_seal(const uint8_t key[static KEY_LEN], const struct backup_part *p,
			uint8_t out[static BACKUP_PART + BACKUP_TAG]);
/* out: p->len - BACKUP_TAG bytes; nothing on failure. */
CHECKED int backup_open(const uint8_t key[static KEY_LEN], const struct backup_part *p, uint8_t out[static BACKUP_PART]);

#endif

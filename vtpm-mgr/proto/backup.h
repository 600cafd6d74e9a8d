/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Copies of the store between manager and keeper (docs/PROTOCOL.md, "A backup"). The requests follow the rules of keeper.h;
 * group "default" must be open, because the key is derived from its root.
 *
 *	BACKUP_KEY	{}			-> {id of the key}	the same as long as the root is
 *	BACKUP_SEAL	{struct backup_part}	-> {ciphertext, tag}
 *	BACKUP_OPEN	{struct backup_part}	-> {plaintext}	ERR_AUTH: it was changed, or is of another place or file
 *
 * The key never leaves the keeper, and it parses nothing of what it seals.
 */
#ifndef VTPM_PROTO_BACKUP_H
#define VTPM_PROTO_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "vtpm-mgr/proto/limits.h"

enum {
	KEEPER_BACKUP_KEY = 0x4b450041,
	KEEPER_BACKUP_SEAL,
	KEEPER_BACKUP_OPEN,
};

#define BACKUP_PART 4096u /* bytes of plaintext; the last one of a file has 1 to that many */
#define BACKUP_TAG  16u

struct backup_part {
	uint8_t file[DIGEST_LEN]; /* SHA-256 of the file's header */
	uint64_t n;		  /* from 0 */
	bool last;
	const uint8_t *data; /* view */
	size_t len;
};
#define BACKUP_PART_MIN (DIGEST_LEN + 8u + 1u + 4u)
#define BACKUP_PART_MAX (BACKUP_PART_MIN + BACKUP_PART + BACKUP_TAG)

CHECKED int backup_part_encode(struct buf *b, const struct backup_part *p);
CHECKED int backup_part_decode(struct buf *b, struct backup_part *p);

#endif

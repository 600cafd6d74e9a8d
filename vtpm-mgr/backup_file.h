/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The header of a backup's file (docs/PROTOCOL.md, "A backup"). It is public, and authenticated by the parts that follow: what is
 * done with it before the first part was opened must be harmless if it is a lie.
 */
#ifndef VTPM_MGR_BACKUP_FILE_H
#define VTPM_MGR_BACKUP_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "vtpm-mgr/escrow_set.h"
#include "vtpm-mgr/store.h"

#define BACKUP_FORMAT	   1u
#define BACKUP_SALT_LEN	   32u
#define BACKUP_PREFIX_SIZE 16u /* as much of a header as says how long it is */
#define BACKUP_HEADER_MIN  (BACKUP_PREFIX_SIZE + DIGEST_LEN + BACKUP_SALT_LEN + 29u)
#define BACKUP_HEADER_MAX                                                                                              \
	(BACKUP_HEADER_MIN + TPM_NAME_MAX + 2u * STORE_META_MAX + KEEPER_GROUPS_MAX * (8u + NAME_MAX_LEN + ESCROW_SET_MAX))

struct backup_header {
	uint8_t key_id[DIGEST_LEN];
	uint8_t salt[BACKUP_SALT_LEN]; /* random: no two files have one key */
	int64_t created;	       /* seconds since 1970 */
	uint64_t size;		       /* bytes of the image, 1 to STORE_COPY_MAX */
	/* Views: the storage root key that the root is under, and the root of group "default", as the store had them: for a host whose store is lost. */
	const uint8_t *srk_name, *root, *sets;
	size_t srk_name_len, root_len, sets_len;
	/* What offline keys hold of the groups' roots: for a host that is lost. "default" first, whose root opens the file; none without it. */
	unsigned nkept;
	struct backup_kept {
		char group[NAME_MAX_LEN + 1];
		struct escrow_set set; /* of one envelope at least */
	} kept[KEEPER_GROUPS_MAX];
};

CHECKED int backup_header_encode(struct buf *b, const struct backup_header *h);
/* Of the first BACKUP_PREFIX_SIZE bytes, how long the header is. ERR_PROTO: this is no backup. ERR_VERSION: of a newer release. */
CHECKED int backup_prefix_decode(struct buf *b, size_t *len);
/* All of it, to the end of b. */
CHECKED int backup_header_decode(struct buf *b, struct backup_header *h);
/* The offline keys that open the file: those of "default". */
void backup_header_keys(const struct backup_header *h, struct recovery_keys *keys);
/* How many parts there are, and how long part n is in the image. */
uint64_t backup_parts(uint64_t size);
size_t backup_part_len(uint64_t size, uint64_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/backup_file.h"

#include <string.h>

#include "lib/util.h"

static const uint8_t magic[8] = {'V', 'T', 'P', 'M', 'B', 'K', 'U', 'P'};

/* ---- what offline keys hold ---- */

static int kept_encode(struct buf *b, const struct backup_header *h)
{
	int err = buf_put_u8(b, (uint8_t)h->nkept);

	for (unsigned i = 0; i < h->nkept && !err; i++)
		err = buf_put_str(b, h->kept[i].group) || buf_put_var(b, h->kept[i].set.bytes, h->kept[i].set.len);
	return err;
}

static int kept_decode(struct buf *b, struct backup_header *h)
{
	const uint8_t *set;
	uint8_t n;
	size_t len;

	if (buf_get_u8(b, &n) || n > KEEPER_GROUPS_MAX)
		return ERR_PROTO;
	h->nkept = n;
	for (unsigned i = 0; i < n; i++) {
		struct backup_kept *k = &h->kept[i];

		if (buf_get_str(b, k->group, sizeof(k->group)) || !name_valid(k->group) ||
		    buf_get_var(b, ESCROW_SET_MAX, &set, &len) || escrow_set_decode(set, len, &k->set) || k->set.n < 1)
			return ERR_PROTO;
	}
	return n && strcmp(h->kept[0].group, DEFAULT_GROUP) != 0 ? ERR_PROTO : 0;
}

void backup_header_keys(const struct backup_header *h, struct recovery_keys *keys)
{
	keys->n = h->nkept ? h->kept[0].set.n : 0;
	for (unsigned i = 0; i < keys->n; i++)
		memcpy(keys->fingerprints[i], escrow_recipient(&h->kept[0].set, i), DIGEST_LEN);
}

/* ---- all of it ---- */

static size_t header_len(const struct backup_header *h)
{
	size_t len = BACKUP_HEADER_MIN + h->srk_name_len + h->root_len + h->sets_len;

	for (unsigned i = 0; i < h->nkept; i++)
		len += 8 + strlen(h->kept[i].group) + h->kept[i].set.len;
	return len;
}

int backup_header_encode(struct buf *b, const struct backup_header *h)
{
	if (buf_put_bytes(b, magic, sizeof(magic)) || buf_put_u32le(b, BACKUP_FORMAT) ||
	    buf_put_u32le(b, (uint32_t)header_len(h)) || buf_put_bytes(b, h->key_id, DIGEST_LEN) ||
	    buf_put_bytes(b, h->salt, BACKUP_SALT_LEN) || buf_put_u64le(b, (uint64_t)h->created) ||
	    buf_put_u64le(b, h->size) || buf_put_var(b, h->srk_name, h->srk_name_len) ||
	    buf_put_var(b, h->root, h->root_len) || buf_put_var(b, h->sets, h->sets_len) || kept_encode(b, h))
		return ERR_RANGE;
	return 0;
}

int backup_prefix_decode(struct buf *b, size_t *len)
{
	uint8_t start[sizeof(magic)];
	uint32_t format, n;

	if (buf_get_bytes(b, start, sizeof(start)) || memcmp(start, magic, sizeof(magic)) != 0 ||
	    buf_get_u32le(b, &format) || buf_get_u32le(b, &n))
		return ERR_PROTO;
	if (format > BACKUP_FORMAT)
		return ERR_VERSION;
	if (format != BACKUP_FORMAT || n < BACKUP_HEADER_MIN || n > BACKUP_HEADER_MAX)
		return ERR_PROTO;
	*len = n;
	return 0;
}

int backup_header_decode(struct buf *b, struct backup_header *h)
{
	uint64_t created;
	size_t len;
	int err = backup_prefix_decode(b, &len);

	if (err)
		return err;
	if (b->len != len || buf_get_bytes(b, h->key_id, DIGEST_LEN) || buf_get_bytes(b, h->salt, BACKUP_SALT_LEN) ||
	    buf_get_u64le(b, &created) || created > INT64_MAX || buf_get_u64le(b, &h->size) || h->size < 1 ||
	    h->size > STORE_COPY_MAX || buf_get_var(b, TPM_NAME_MAX, &h->srk_name, &h->srk_name_len) ||
	    buf_get_var(b, STORE_META_MAX, &h->root, &h->root_len) ||
	    buf_get_var(b, STORE_META_MAX, &h->sets, &h->sets_len) || kept_decode(b, h) || buf_left(b))
		return ERR_PROTO;
	h->created = (int64_t)created;
	return 0;
}

uint64_t backup_parts(uint64_t size)
{
	return (size + BACKUP_PART - 1) / BACKUP_PART;
}

size_t backup_part_len(uint64_t size, uint64_t n)
{
	uint64_t left = size - n * BACKUP_PART;

	return left < BACKUP_PART ? (size_t)left : BACKUP_PART;
}

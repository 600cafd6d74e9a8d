/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/backup_file.h"

#include <string.h>

static const uint8_t magic[8] = {'V', 'T', 'P', 'M', 'B', 'K', 'U', 'P'};

int backup_header_encode(struct buf *b, const struct backup_header *h)
{
	size_t len = BACKUP_HEADER_MIN + h->srk_name_len + h->root_len + h->sets_len;

	if (buf_put_bytes(b, magic, sizeof(magic)) || buf_put_u32le(b, BACKUP_FORMAT) ||
	    buf_put_u32le(b, (uint32_t)len) || buf_put_bytes(b, h->key_id, DIGEST_LEN) ||
	    buf_put_bytes(b, h->salt, BACKUP_SALT_LEN) || buf_put_u64le(b, (uint64_t)h->created) ||
	    buf_put_u64le(b, h->size) || buf_put_var(b, h->srk_name, h->srk_name_len) ||
	    buf_put_var(b, h->root, h->root_len) || buf_put_var(b, h->sets, h->sets_len))
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
	    buf_get_var(b, STORE_META_MAX, &h->sets, &h->sets_len) || buf_left(b))
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

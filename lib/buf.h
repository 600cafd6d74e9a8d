/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bounded cursor: all bytes from a guest, a peer, the disk or the TPM bus are read and
 * all bytes for them are written through it. It never allocates: the storage belongs to the
 * caller and must outlive the cursor.
 *
 * Bytes [pos, len) are unread, [len, cap) are free. A getter that fails returns ERR_RANGE
 * and does not advance; a putter that fails returns ERR_RANGE and writes nothing. Numbers
 * are little-endian (le: our own protocols) or big-endian (be: TPM 2.0 Part 1, 4.2).
 */
#ifndef VTPM_LIB_BUF_H
#define VTPM_LIB_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

struct buf {
	uint8_t *data;
	size_t cap; /* bytes of storage that may be written: 0 after buf_wrap */
	size_t len; /* bytes written */
	size_t pos; /* bytes read */
};

/* An empty cursor over cap bytes at mem, to be written and then read. */
void buf_init(struct buf *b, void *mem, size_t cap);
/* A full cursor over len bytes at mem, to be read; putters fail. mem is never written. */
void buf_wrap(struct buf *b, const void *mem, size_t len);
/* Forgets what was written and read. */
void buf_reset(struct buf *b);

/* Bytes not yet read. A message has been parsed when its last getter leaves 0. */
size_t buf_left(const struct buf *b);

CHECKED int buf_put_u8(struct buf *b, uint8_t v);
CHECKED int buf_put_u16le(struct buf *b, uint16_t v);
CHECKED int buf_put_u32le(struct buf *b, uint32_t v);
CHECKED int buf_put_u64le(struct buf *b, uint64_t v);
CHECKED int buf_put_u16be(struct buf *b, uint16_t v);
CHECKED int buf_put_u32be(struct buf *b, uint32_t v);
CHECKED int buf_put_u64be(struct buf *b, uint64_t v);
CHECKED int buf_put_bytes(struct buf *b, const void *p, size_t n);
/* u32le length, then the bytes: the variable field of our own protocols. */
CHECKED int buf_put_var(struct buf *b, const void *p, size_t n);
/* The same for a NUL-terminated string, without its NUL. */
CHECKED int buf_put_str(struct buf *b, const char *s);
/* u16be length, then the bytes: a TPM2B (TPM 2.0 Part 2, 10.4). */
CHECKED int buf_put_2b(struct buf *b, const void *p, size_t n);
/* Overwrites 4 bytes written earlier at offset off, for sizes known only at the end. */
CHECKED int buf_set_u32be(struct buf *b, size_t off, uint32_t v);

CHECKED int buf_get_u8(struct buf *b, uint8_t *v);
CHECKED int buf_get_u16le(struct buf *b, uint16_t *v);
CHECKED int buf_get_u32le(struct buf *b, uint32_t *v);
CHECKED int buf_get_u64le(struct buf *b, uint64_t *v);
CHECKED int buf_get_u16be(struct buf *b, uint16_t *v);
CHECKED int buf_get_u32be(struct buf *b, uint32_t *v);
CHECKED int buf_get_u64be(struct buf *b, uint64_t *v);
CHECKED int buf_get_bytes(struct buf *b, void *p, size_t n);
CHECKED int buf_skip(struct buf *b, size_t n);
/* A view of n bytes inside the storage; nothing is copied. */
CHECKED int buf_get_view(struct buf *b, size_t n, const uint8_t **p);
/* A view of a variable field of at most max bytes. */
CHECKED int buf_get_var(struct buf *b, size_t max, const uint8_t **p, size_t *n);
/* A variable field as a NUL-terminated string of at most cap - 1 bytes; a NUL inside is an error. */
CHECKED int buf_get_str(struct buf *b, char *s, size_t cap);
/* A view of a TPM2B of at most max bytes. */
CHECKED int buf_get_2b(struct buf *b, size_t max, const uint8_t **p, size_t *n);

#endif

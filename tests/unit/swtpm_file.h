/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes files as swtpm does, and as it never would: a second hand at the format, from the other side. */
#ifndef VTPM_TESTS_SWTPM_FILE_H
#define VTPM_TESTS_SWTPM_FILE_H

#include "lib/buf.h"

#define FILE_HEADER_SIZE 10u

enum { FILE_DATA = 1, FILE_ENCRYPTED = 2, FILE_HMAC = 3, FILE_IV = 6 };

/* Begins a file; file_end sets its size. */
void file_begin(struct buf *b, uint16_t flags);
void file_field(struct buf *b, uint16_t tag, const void *p, size_t n);
void file_end(struct buf *b);

void file_plain(struct buf *b, const uint8_t *state, size_t n);
/* key_len: 16 or 32. pad: the bytes at the end, NULL: as swtpm pads; the same number in any case. */
void file_encrypted(struct buf *b, const uint8_t *state, size_t n, const uint8_t *key, size_t key_len,
		    const uint8_t *pad);
/* The HMAC over what is there. */
void file_hmac(const uint8_t *key, size_t key_len, const uint8_t *text, size_t n, const uint8_t *iv, uint8_t out[static 32]);

#endif

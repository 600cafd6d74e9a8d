/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single items of deterministic CBOR (RFC 8949, 4.2.1), read from and written to the bounded cursor by libcbor: lengths are definite,
 * numbers as short as they can be. What is not so is ERR_PROTO and does not advance; nothing is allocated, byte strings are views.
 */
#ifndef VTPM_ATTEST_ITEM_H
#define VTPM_ATTEST_ITEM_H

#include <stdint.h>

#include "lib/buf.h"

CHECKED int item_get_uint(struct buf *b, uint64_t max, uint64_t *v);
CHECKED int item_get_bytes(struct buf *b, size_t min, size_t max, const uint8_t **p, size_t *n);
/* The number of elements or pairs, which are the next items. */
CHECKED int item_get_array(struct buf *b, size_t min, size_t max, size_t *n);
CHECKED int item_get_map(struct buf *b, size_t min, size_t max, size_t *n);

CHECKED int item_put_uint(struct buf *b, uint64_t v);
CHECKED int item_put_bytes(struct buf *b, const void *p, size_t n);
CHECKED int item_put_array(struct buf *b, size_t n);
CHECKED int item_put_map(struct buf *b, size_t n);

#endif

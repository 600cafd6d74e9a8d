/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packing of a TPM's state: long runs of one byte are taken out of it, such as NV indices that nothing was written to. Packed it is
 *
 *	u8 n | n times {u32 bytes since the run before, u32 length, u8 value} | the bytes that are in no run
 *
 * (little-endian). A run is as long as it can be, and PACK_RUN_MIN at least; the table has all of them, or the first PACK_RUNS_MAX. So there
 * is one form for each state, which is never longer than the state by more than PACK_OVERHEAD, and any other is refused.
 */
#ifndef VTPM_BACKEND_PACK_H
#define VTPM_BACKEND_PACK_H

#include "lib/buf.h"
#include "vtpm-backend/state.h"

#define PACK_RUN_MIN   64u
#define PACK_RUNS_MAX  64u
#define PACK_OVERHEAD  1u
#define PACK_HEAD_MAX  (1u + PACK_RUNS_MAX * (4u + 4u + 1u))
#define PACK_PARTS_MAX (1u + PACK_RUNS_MAX + 1u)

/*
 * The packed form of n bytes, in pieces: the table, which is put into head, and views of p. Returns how many. What they hold is as
 * secret as p.
 */
unsigned pack(const uint8_t *p, size_t n, uint8_t head[static PACK_HEAD_MAX], struct state_part parts[static PACK_PARTS_MAX]);
/*
 * Unpacks all that is left of in, to max bytes at most. *p is the caller's to wipe and free; with an error there is none. ERR_PROTO: it is no
 * packed form; ERR_FULL: it is one of more than max bytes.
 */
CHECKED int unpack(struct buf *in, size_t max, uint8_t **p, size_t *n);

#endif

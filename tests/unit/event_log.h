/* SPDX-License-Identifier: BSD-2-Clause */
/* Event logs as firmware writes them, for tests. Functions that fail end the test. */
#ifndef VTPM_TESTS_EVENT_LOG_H
#define VTPM_TESTS_EVENT_LOG_H

#include "lib/buf.h"

#define CHECK(e) assert_int_equal((e), 0)

struct log {
	uint8_t mem[8192];
	struct buf b; /* over mem */
};

void sha256(const void *p, size_t n, uint8_t out[static 32]);
/* An empty one, with banks SHA-1 and SHA-256, as most firmware has. */
void log_begin(struct log *l);
/* The digest is that of data, unless another is given. */
void log_event(struct log *l, uint32_t pcr, uint32_t type, const void *data, size_t n, const uint8_t *digest);

#endif

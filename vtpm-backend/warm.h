/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Warming up: OpenSSL opens its configuration and loads its algorithms lazily, and the sandbox
 * permits neither, so every kind of work that a backend does is done once before. What a spawner has
 * warmed, all backends that it forks share.
 */
#ifndef VTPM_BACKEND_WARM_H
#define VTPM_BACKEND_WARM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum warm_depth {
	WARM_CRYPTO, /* what the sandbox demands */
	WARM_ENGINE, /* also a throw-away TPM in memory, with an ECC key: what makes a fork fast */
};

/* Single-threaded before and after. Keeps the heap of the process in one small arena. */
/* The permanent state of the throw-away TPM; there are no secrets in it that anybody will use. */
struct warm_state {
	uint8_t *data; /* serves every process that is forked; freed by who asked for it */
	size_t len;
};

/* state: what WARM_ENGINE leaves for warm_again; NULL with WARM_CRYPTO. */
CHECKED int warm_up(enum warm_depth depth, struct warm_state *state);
/*
 * In a process that was forked: goes the way that a backend will go from its key to a TPM that answers. A fork
 * shares memory until it is written, and maps files page by page: each page costs microseconds, here rather than
 * while a guest waits.
 */
CHECKED int warm_again(const struct warm_state *state);

#endif

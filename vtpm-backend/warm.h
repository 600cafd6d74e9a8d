/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Warming up: OpenSSL opens its configuration and loads its algorithms lazily, and the sandbox
 * permits neither, so every kind of work that a backend does is done once before. What a spawner has
 * warmed, all backends that it forks share.
 */
#ifndef VTPM_BACKEND_WARM_H
#define VTPM_BACKEND_WARM_H

#include "lib/err.h"

enum warm_depth {
	WARM_CRYPTO, /* what the sandbox demands */
	WARM_ENGINE, /* also a throw-away TPM in memory, with an ECC key: what makes a fork fast */
};

/* Single-threaded before and after. Keeps the heap of the process in one small arena. */
CHECKED int warm_up(enum warm_depth depth);

#endif

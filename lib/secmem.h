/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for secrets: locked, kept out of core dumps, wiped; and constant-time comparison. */
#ifndef VTPM_LIB_SECMEM_H
#define VTPM_LIB_SECMEM_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

/*
 * n bytes, zeroed, on pages of their own that are locked into RAM, MADV_DONTDUMP and
 * MADV_WIPEONFORK. NULL if there is no memory or it may not be locked (RLIMIT_MEMLOCK).
 */
void *secmem_alloc(size_t n);
/* Wipes and unmaps what secmem_alloc gave; n is the size that was asked for. NULL is fine. */
void secmem_free(void *p, size_t n);
/* Overwrites n bytes in a way the compiler cannot remove. */
void secmem_wipe(void *p, size_t n);
/* Compares in a time that depends on n alone. */
bool secmem_equal(const void *a, const void *b, size_t n);
/* Not dumpable, not traceable by its own uid (PR_SET_DUMPABLE 0), RLIMIT_CORE 0. For every process that holds a secret. */
CHECKED int secmem_process(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A copy of a file in memory that nobody can change any more, whoever has its descriptor: what was looked at is what is used. */
#ifndef VTPM_LIB_SEALED_H
#define VTPM_LIB_SEALED_H

#include <stddef.h>

#include "lib/err.h"

/*
 * Copies all that can be read from a descriptor into a memfd, seals that, and gives it to the caller: *fd is closed by him, and at execve
 * unless he says otherwise. *size is in bytes. ERR_RANGE: there are more than max. ERR_SYS and the like: errno says why.
 */
CHECKED int sealed_copy(int from, const char *name, size_t max, int *fd, size_t *size);

#endif

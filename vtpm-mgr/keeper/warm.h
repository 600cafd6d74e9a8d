/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * OpenSSL opens its configuration, and glibc its time zone, when they are first needed; in the
 * sandbox that is death. So everything the keeper does with them is done once before, and what
 * comes out is checked.
 */
#ifndef VTPM_KEEPER_WARM_H
#define VTPM_KEEPER_WARM_H

#include "lib/err.h"

CHECKED int warm_openssl(void);

#endif

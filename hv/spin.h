/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A short, bounded look at the page before going to sleep: waking a sleeper costs more than
 * most TPM commands do. Spinning that does not pay (an idle guest, a slow command, both sides
 * on one core) is given up: after n misses in a row the next 2^n - 1 waits sleep at once,
 * with n at most SPIN_MISSES_MAX, so that an unlucky wait costs little on average.
 */
#ifndef VTPM_HV_SPIN_H
#define VTPM_HV_SPIN_H

#include <stdbool.h>

#define SPIN_MISSES_MAX 5u

struct spin {
	unsigned misses; /* in a row */
	unsigned skip;	 /* waits that will not spin */
};

/* Calls ready(arg) for at most us microseconds; true as soon as it is. 0: never spins. Starts zeroed. */
bool spin_until(struct spin *s, unsigned us, bool (*ready)(const void *arg), const void *arg);

#endif

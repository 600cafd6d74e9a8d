/* SPDX-License-Identifier: BSD-2-Clause */
/* What a hostile guest does to its ring. Each returns when the back end has done what it should, or ends the program. */
#ifndef TESTS_TOOLS_HOSTILE_H
#define TESTS_TOOLS_HOSTILE_H

#include "tests/tools/front.h"

struct hostile_mode {
	const char *name;
	int nargs;
	void (*run)(struct front *f, char **args);
};
extern const struct hostile_mode hostile_page_modes[]; /* hostile_page.c */
extern const size_t hostile_page_nmodes;
/* NULL: there is none of that name with so many arguments. */
const struct hostile_mode *hostile_find(const struct hostile_mode *modes, size_t n, const char *name, int nargs);

/* n commands: noise behind a well-formed header, known commands with noise, and mutated valid ones. Ends with a TPM that still serves. */
void hostile_random(struct front *f, uint64_t seed, unsigned n);
/* rounds commands whose bytes, length and state a second thread changes all the time. */
void hostile_toggle(struct front *f, uint64_t seed, unsigned rounds);
/* The next of a sequence that is the same for a seed (xorshift64). */
uint64_t hostile_next(uint64_t *x);

#endif

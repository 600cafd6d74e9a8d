/* SPDX-License-Identifier: BSD-2-Clause */
/* What would unseal a root now, and why the rest would not. It decides which way is tried; whether it leads anywhere is the TPM's to say. */
#ifndef VTPM_KEEPER_POLICY_LOOK_H
#define VTPM_KEEPER_POLICY_LOOK_H

#include "vtpm-mgr/keeper/tpm.h"

struct pcr_sets {
	struct pcr_set v[2u * PCR_SETS_MAX];
	unsigned n;
	bool damaged; /* what follows the last one is no set */
};

/* From bytes that anybody may have written. */
void sets_decode(const uint8_t *p, size_t len, struct pcr_sets *out);
/* For operations. least: a version that none may be below, as if the counter were there already. */
CHECKED int policy_look(struct tpm *t, const struct policy *p, const char *group, const struct pcr_sets *sets, uint32_t least,
			struct policy_look *out);

#endif

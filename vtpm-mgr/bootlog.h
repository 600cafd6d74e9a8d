/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which event of the boot is another, when a root stays sealed. The event log of the last boot that a root was unsealed in is
 * kept in the state directory, in a file of its own: it only explains, nobody vouches for it, and losing it loses words.
 */
#ifndef VTPM_MGR_BOOTLOG_H
#define VTPM_MGR_BOOTLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vtpm-mgr/proto/limits.h"

struct bootlog {
	uint8_t *now; /* the kernel's log of this boot; NULL: there is none */
	size_t now_len;
	bool kept;
};

/* While there are still the rights of root, which that takes. Without a log nothing is explained, nor for another TPM than the host's own. */
void bootlog_read(struct bootlog *b, const char *tcti);
void bootlog_free(struct bootlog *b);
/* A root was unsealed: this boot is what later ones are compared with. */
void bootlog_keep(struct bootlog *b, const char *state_dir);
/* Appends to text, for PCRs of the mask, the first event of each that is another than in the log that was kept. */
void bootlog_explain(const struct bootlog *b, const char *state_dir, uint32_t mask, char text[static TEXT_MAX + 1]);

#endif

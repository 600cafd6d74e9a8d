/* SPDX-License-Identifier: BSD-2-Clause */
/* A store that is being made of a backup: between recreate.c, recreate_recover.c and the methods of recovery. */
#ifndef VTPM_MGR_RECREATE_H
#define VTPM_MGR_RECREATE_H

#include "vtpm-mgr/backup.h"
#include "vtpm-mgr/reroot.h"

struct recreate {
	struct mgr *m;
	struct restore *r;
	uint8_t mem[BACKUP_HEADER_MAX]; /* what header views */
	struct backup_header header;
	/* With --recover, on a TPM that does not have the root. */
	struct call *c; /* that has brought the answers; NULL: none has yet */
	struct reroot_order order;
	struct reroot_first first;
};

/* ---- recreate.c ---- */

/* A root that opens the file is open in the keeper. */
void recreate_read(struct recreate *rc);
/* Ends the manager: err, or 0. */
void recreate_end(struct recreate *rc, int err, const char *text);

/* ---- recreate_recover.c ---- */

/* This TPM does not have the root: asks for it, or says what would. */
void recover_foreign(struct recreate *rc);
/* The backup is in the state directory. */
void recover_placed(struct recreate *rc);
/* Whether it waits for an answer. */
bool recover_waits(const struct mgr *m);
/* What the backup has for offline keys, as describe_escrows. NULL: it does not wait for an answer. */
json_t *recover_escrows(const struct mgr *m);
/* RecoveryRestore of such a manager. Takes the order over; ends the call. */
void recover_answer(struct mgr *m, struct reroot_order *order, struct call *c);

#endif

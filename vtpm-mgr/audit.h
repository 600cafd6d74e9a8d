/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit log: <state-dir>/audit.log, JSON lines, opened O_APPEND and never rewritten; renamed, it is begun anew. A line:
 * {"time": RFC 3339 UTC with ms, "uid": N, "pid": N, "action": "create", "vtpm": "web1", "uuid": "…",
 *  "result": "ok" | error text, "detail": "…"}. Who: the peer's credentials as the kernel gave them.
 */
#ifndef VTPM_MGR_AUDIT_H
#define VTPM_MGR_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

struct audit {
	int dir, fd;
	bool unsynced; /* lines were written that may not be on the disk yet */
};
struct audit_entry {
	int64_t uid; /* -1: the manager itself */
	int64_t pid;
	const char *action;
	const char *vtpm;	 /* NULL: none */
	const uint8_t *uuid;	 /* NULL: none */
	int result;		 /* 0 or a code */
	const char *detail;	 /* NULL: none */
};

CHECKED int audit_open(struct audit *a, const char *dir);
void audit_close(struct audit *a);
/* Appends one line: a crash of the manager does not lose it any more. A failure is logged by the caller; it does not undo what was done. */
CHECKED int audit_write(struct audit *a, const struct audit_entry *e);
/* Makes what was appended survive a power cut, too. Called a moment after the answers (main.c). */
CHECKED int audit_sync(struct audit *a);

#endif

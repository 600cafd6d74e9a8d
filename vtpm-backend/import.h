/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RUN_IMPORT, the engine thread's part of it: swtpm's state of a TPM becomes ours. Whoever imports has proved nothing but
 * that they can read the file, so it is handled like what a guest sends.
 */
#ifndef VTPM_BACKEND_IMPORT_H
#define VTPM_BACKEND_IMPORT_H

#include "vtpm-backend/provision.h"

/* Reads b->import_fd, closes both, and leaves the state in b->plain. *why: what a person can do about an error. */
CHECKED int import_load(struct backend *b, const char **why);
/* The EKs and certificates that the TPM has; what it has not stays empty. */
CHECKED int import_identify(struct product *p);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine thread of a worker: RUN_MANUFACTURE, RUN_CERTIFY and RUN_CERTIFY_AK; RUN_IMPORT, with import.c. */
#ifndef VTPM_BACKEND_PROVISION_H
#define VTPM_BACKEND_PROVISION_H

#include "vtpm-backend/backend.h"

/* What is made here, until it is sent. */
struct product {
	uint8_t pub[KEY_KINDS][PUBLIC_MAX];
	size_t pub_len[KEY_KINDS];
	uint8_t cert[KEY_KINDS][CERT_MAX];
	size_t cert_len[KEY_KINDS];
	bool rows; /* evidence_nv.h */
};

/*
 * Makes a TPM (or takes b->plain, or swtpm's), has its keys certified if that was asked for, seals the result for
 * start.uuid under version start.version + 1, sends BACKEND_PROVISIONED, ends the process.
 */
_Noreturn void provision_run(struct backend *b);

/*
 * A new TPM in the running engine: SHA-256 and SHA-384 banks, both EKs. Nothing is sealed or
 * sent. The spawner warms itself up with a part of it.
 */
CHECKED int provision_startup(void);
CHECKED int provision_manufacture(void);

#endif

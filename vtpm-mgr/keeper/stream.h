/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCTI (TSS 2.0 TCTI specification 1.0) for TPMs behind a UNIX stream socket, for
 * "swtpm:path=…". The one of tpm2-tss connects anew for every command, which a process that
 * opens no socket after its start cannot; this one connects once.
 */
#ifndef VTPM_KEEPER_STREAM_H
#define VTPM_KEEPER_STREAM_H

#include <stdbool.h>

#include <tss2/tss2_tcti.h>

/* Whether name is "swtpm:path=…". */
bool stream_names(const char *name);
/* Connects; errno is set on failure. The context goes with stream_close. */
TSS2_RC stream_open(const char *name, TSS2_TCTI_CONTEXT **ctx);
void stream_close(TSS2_TCTI_CONTEXT **ctx);

#endif

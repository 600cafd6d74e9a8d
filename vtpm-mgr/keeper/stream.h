/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCTI (TCG TSS 2.0 TPM Command Transmission Interface API) for software TPMs that speak raw
 * TPM commands over a stream socket, as swtpm's --server does. The connection is made once and
 * kept. The TSS's own tcti-swtpm connects anew for every command: the sandbox forbids that, and
 * it would hide that another TPM answers than before. Here a TPM that goes away is lost for good.
 *
 * Once open, a context calls nothing but poll(2), send(2), recv(2) and close(2).
 */
#ifndef VTPM_KEEPER_STREAM_H
#define VTPM_KEEPER_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <tss2/tss2_tcti.h>

#include "lib/err.h"

/* Whether a TCTI string is served by this module ("swtpm", "swtpm:…") and not by one of the TSS. */
bool stream_serves(const char *tcti);

/*
 * Connects to "swtpm:path=SOCKET", or to "swtpm[:host=HOST][,port=PORT]" (127.0.0.1, 2321).
 * ERR_INVAL: the string is neither. ERR_TPM_LOST: nobody answers there. Then why says what is
 * wrong, in at most cap bytes. *ctx is the caller's, to be given back to stream_close.
 */
CHECKED int stream_open(const char *tcti, TSS2_TCTI_CONTEXT **ctx, char *why, size_t cap);
/* Disconnects, frees and makes *ctx NULL. NULL is fine. */
void stream_close(TSS2_TCTI_CONTEXT **ctx);

#endif

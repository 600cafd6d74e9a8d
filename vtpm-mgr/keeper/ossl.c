/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tpm2-tss 3.2 makes a library context of OpenSSL for each digest and each HMAC, with its providers and its random
 * generators, and frees it at once: 0.4 ms each, and some 3 ms for a command in a session, many times what the command
 * itself takes. Every durable change of a guest waits for two such commands. So in this process there is one context, the one
 * that everything else here uses, too. This definition comes before libcrypto's for all libraries of the process, as any
 * symbol of a program does; libcrypto does not free its default context when it is asked to.
 */
#include <openssl/crypto.h>

__attribute__((visibility("default"))) OSSL_LIB_CTX *OSSL_LIB_CTX_new(void)
{
	return OSSL_LIB_CTX_get0_global_default();
}

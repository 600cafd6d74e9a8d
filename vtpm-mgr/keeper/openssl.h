/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenSSL's headers. */
#ifndef VTPM_KEEPER_OPENSSL_H
#define VTPM_KEEPER_OPENSSL_H

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#endif

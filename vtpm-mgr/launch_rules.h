/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which launches are allowed, as a vTPM's row or a group's value in the store has it: nothing, or
 *
 *	u8 mismatch | {u8 kind, var value} …	at most LAUNCH_RULES of them, each once
 *
 *	digest	SHA-256 of an event log
 *	key	a SubjectPublicKeyInfo, DER, of RSA (2048 bits or more) or ECC P-256, P-384, P-521: logs that it has signed, with
 *		SHA-256 and, for RSA, PKCS #1 v1.5
 *
 * Without any entry each measured launch is allowed.
 */
#ifndef VTPM_MGR_LAUNCH_RULES_H
#define VTPM_MGR_LAUNCH_RULES_H

#include "lib/buf.h"
#include "vtpm-mgr/store.h"

#define LAUNCH_RULES	    64u
#define LAUNCH_KEY_MAX	    600u /* RSA 4096 takes 550 */
#define LAUNCH_SIGNATURE_MAX 512u

enum rule_kind { RULE_DIGEST, RULE_KEY, RULE_KINDS };
enum { MISMATCH_REFUSE, MISMATCH_SERVE };

struct rule {
	uint8_t kind;
	const uint8_t *value; /* view */
	size_t len;
};

/* Every byte of it. ERR_AUTH: damaged. */
CHECKED int rules_check(const struct store_rules *r);
/* From a cursor that rules_open gave; ERR_NOTFOUND after the last. */
CHECKED int rules_open(const struct store_rules *r, struct buf *b, uint8_t *mismatch);
CHECKED int rules_next(struct buf *b, struct rule *e);
/* ERR_EXISTS, ERR_FULL; ERR_NOTFOUND. */
CHECKED int rules_add(struct store_rules *r, const struct rule *e);
CHECKED int rules_remove(struct store_rules *r, const struct rule *e);
CHECKED int rules_set_mismatch(struct store_rules *r, uint8_t mismatch);
bool rules_empty(const struct store_rules *r);

/* A key in PEM as its rule has it; *len is the room and then the length. ERR_INVAL: it is none that may be. */
CHECKED int rules_key_of_pem(const char *pem, uint8_t *der, size_t *len);

/* What was launched. */
struct rules_launch {
	const uint8_t *digest; /* DIGEST_LEN bytes */
	const uint8_t *log, *signature;
	size_t log_len, signature_len; /* signature_len 0: none came */
};
/* 0: it is allowed. ERR_DENIED: it is not. ERR_AUTH: the rules are damaged. */
CHECKED int rules_judge(const struct store_rules *r, const struct rules_launch *l);

#endif

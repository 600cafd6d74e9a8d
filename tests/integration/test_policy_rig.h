/* SPDX-License-Identifier: BSD-2-Clause */
/* An operator with keys of OpenSSL's, on top of the rig of test_keeper: signs PCR sets and recovery challenges, asks about policies. */
#ifndef VTPM_TESTS_POLICY_RIG_H
#define VTPM_TESTS_POLICY_RIG_H

#include <openssl/evp.h>

#include "tests/integration/test_keeper_manager.h"

#define COUNTER POLICY_COUNTER_DEFAULT

struct op_key {
	EVP_PKEY *key;
	uint8_t pub[POLICY_KEY_MAX];
	struct policy_key policy;
};
struct op_sets { /* an encoded list */
	uint8_t mem[PCR_SETS_ENCODED_MAX + PCR_SET_ENCODED_MAX];
	size_t len;
};

void op_key_ecc(struct op_key *k);
void op_key_rsa(struct op_key *k);
void op_key_free(struct op_key *k);
void op_sign(const struct op_key *k, const uint8_t digest[static DIGEST_LEN], struct pcr_set *s);
/* A signed set with the values of the last policy_look, changed by edit (NULL: as they are). */
void op_set(const struct op_key *k, const char *group, uint32_t version, uint32_t mask, struct pcr_set *s,
	    void (*edit)(struct pcr_set *s));
void op_sets_add(struct op_sets *l, const struct pcr_set *s);

extern struct policy_look seen;
/* Looks, into seen. Returns the code. */
int ask_look(const struct op_sets *l, uint32_t least);
/* Seals the stored root anew, and stores what came of it. */
int ask_seal(const struct op_sets *from, const struct policy *to, const struct op_sets *l);
int ask_raise(const struct op_sets *l, uint32_t version);
/* With the stored root. */
int ask_open(const struct op_sets *l);
int ask_open_as(const char *group, const struct op_sets *l);
/* A nonce of the keeper's TPM. */
int ask_recover_begin(uint8_t nonce[static 64], size_t *len);
int ask_recover(const struct op_key *k, const char *group, const uint8_t *nonce, size_t len, uint32_t seconds);
/* A signed policy, with the present values as version 1 (the counter's first). */
void begin_signed(const struct op_key *signer, const struct op_key *recovery, uint32_t mask, struct op_sets *l);
/* The key that the stored wrapped key is given out as is still the one it was. */
void expect_same_key(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The manager that test_keeper plays: its requests, and what its store would hold. */
#ifndef VTPM_TEST_KEEPER_MANAGER_H
#define VTPM_TEST_KEEPER_MANAGER_H

#include "tests/integration/test_keeper_rig.h"
#include "vtpm-mgr/proto/backend.h"

struct store {
	uint8_t name[TPM_NAME_MAX], ek[TPM_NAME_MAX], root[SEALED_ROOT_MAX], wrapped[WRAPPED_KEY_LEN], key[KEY_LEN];
	size_t name_len, ek_len, root_len;
	uint32_t open_flags;
	struct sealed_root s;
	struct key_binding binding;
};

extern struct rig rig;
extern struct answer a; /* to the last request */
extern struct store store;

/* Fixtures: what the rig starts is there; a rig of its own for each test. */
int manager_check(void **state);
int manager_setup(void **state);
int manager_teardown(void **state);

/* Puts the root of the last answer into the store. */
void keep_root(void);
int key_new(const struct key_binding *b);
/* A new key of the group "default", in the store. */
void keep_key(void);
/* A new store with a group and a key. */
void begin(uint32_t mask, uint32_t flags);
int open_srk(void);
/* Another keeper for the same store. */
void again(void);
int hand(const struct key_binding *b, const uint8_t *wrapped, uint64_t token, bool certify);
/* The backend at the other end of fd is given the stored key's uuid and epoch. */
void expect_key(int fd, struct key_give *give);
/* The row of a CA, as CA_NEW gave it. */
int ask_ca_open(const uint8_t *row, size_t len);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the store share: a directory for each test, and vTPMs web1, web2 … of group "default" in it. */
#ifndef VTPM_TESTS_STORE_FIXTURE_H
#define VTPM_TESTS_STORE_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vtpm-mgr/store.h"

#define STATE_LEN 10000u

extern char fixture_dir[32];
extern uint8_t fixture_sealed[STATE_LEN];

int fixture_setup(void **state);
int fixture_teardown(void **state);
struct store *fixture_open_store(bool create);
/* Opens and closes it, and expects text among the reasons of a refusal (NULL: any). Returns what store_open does. */
int fixture_expect_open(bool create, const char *text);
void fixture_make_uuid(uint8_t uuid[static UUID_LEN], unsigned n);
struct store_vtpm fixture_make_vtpm(unsigned n);
/* A new store with web1 … webN. */
struct store *fixture_with_vtpms(unsigned n);
/* All changes, with the next row of the journal. */
int fixture_commit(struct store *s, struct store_change *changes, size_t n);
/* One change each; the transaction's error, or else the change's. */
int fixture_insert(struct store *s, const struct store_vtpm *v, uint64_t version, const uint8_t *sealed, size_t len);
int fixture_configure(struct store *s, const struct store_vtpm *v, uint8_t snapshots, const uint8_t *wrapped);
int fixture_delete(struct store *s, int64_t id);
int fixture_group(struct store *s, const char *name);
/* Commits a state that holds its version. Returns the transaction's error, or else the change's. */
int fixture_commit_one(struct store *s, unsigned n, uint64_t version);
/* The stored version; asserts that the state is the one of that version. */
uint64_t fixture_version_of(struct store *s, unsigned n);

#endif

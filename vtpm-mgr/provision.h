/* SPDX-License-Identifier: BSD-2-Clause */
/* provision.c: new vTPMs, and the pool of manufactured ones; import.c: those that were swtpm's. */
#ifndef VTPM_MGR_PROVISION_H
#define VTPM_MGR_PROVISION_H

#include <jansson.h>

#include "vtpm-mgr/control.h"
#include "vtpm-mgr/proto/backend.h"
#include "vtpm-mgr/store.h"

struct mgr;

/* swtpm's state of a TPM, as a client gave it: passed on unread. */
struct import {
	enum import_secret secret;
	unsigned nfds;
	int fds[IMPORT_FDS_MAX]; /* owned; sealed memfds */
};

struct provision;
void provision_create(struct mgr *m, const struct store_vtpm *want, struct call *c);
/* The same for who is no call: done is called once, unless the manager ends before; row is that of the store if code is 0. */
struct provision_order {
	int64_t uid, pid; /* for the audit log; -1: the manager itself */
	void (*done)(void *arg, int code, const char *text, const struct store_vtpm *row);
	void *arg;
};
/* order stays the caller's until done. Not 0: done is not called; ERR_EXISTS: name or uuid is taken. */
CHECKED int provision_order(struct mgr *m, const struct store_vtpm *want, struct provision_order *order);
/* ERR_EXISTS: name or uuid is taken, in the store or by one that is being made. */
CHECKED int provision_check_free(struct mgr *m, const struct store_vtpm *want);
/* Takes the descriptors over. */
void provision_import(struct mgr *m, const struct store_vtpm *want, struct import *from, struct call *c);
/* From a call and its descriptors. On failure the call has been answered, and nothing is left open. */
CHECKED int import_take(struct call *c, json_t *params, struct import *out);
void import_close(struct import *i);
/* Whether they have an EK in common. Two without any EK that can be seen are not told from each other. */
bool import_is_twin(const struct store_vtpm *one, const struct store_vtpm *other);
/* Whether the store has, or is about to have, a vTPM with one of these EKs: one state must not become two vTPMs. ERR_EXISTS: name says which. */
CHECKED int import_find_twin(struct mgr *m, const struct store_vtpm *row, char name[static NAME_MAX_LEN + 1]);
/* Among those that are on their way there. NULL: there is none. */
const char *provision_twin(const struct mgr *m, const struct store_vtpm *row);
/* Makes pool instances while fewer than wanted are there and nothing else is going on. */
void pool_refill(struct mgr *m);
void provision_close(struct mgr *m);
void pool_free(struct mgr *m);

#endif

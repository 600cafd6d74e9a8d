/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the manager does about policies (docs/sealing.md): it keeps the groups' PCR sets, asks the keeper what they are worth, and
 * has groups unsealed once more while they are open.
 *
 *	pcr_sets.c	  the sets of a group in the store; nothing of them is true before the keeper has verified it
 *	policy_methods.c  PolicyShow, PolicyPlan, PolicyApply, PolicyRemove, PolicyRaise, PolicyTest
 *	policy_seal.c	  PolicySet, PolicyChallenge, PolicyRecover
 *	recheck.c	  once more
 */
#ifndef VTPM_MGR_POLICY_H
#define VTPM_MGR_POLICY_H

#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/pcr_set_json.h"

/* Encoded struct pcr_sets, one after the other, as they lie in the store. */
struct set_list {
	size_t len;
	uint8_t mem[PCR_SETS_ENCODED_MAX + PCR_SET_ENCODED_MAX];
};

/* A call about one group. */
struct policy_call {
	struct mgr *m;
	struct call *c;
	struct group *g;
	const char *action; /* for the audit log; NULL: it changes nothing */
	bool viewer;	    /* mgr.viewer_looks is its */
	struct set_list sets; /* that are installed */
	uint8_t was[DIGEST_LEN]; /* of the row that the keeper was asked with */
	unsigned installed;
	struct pcr_set_file file; /* that came with it */
	bool has_file;
	uint32_t version;
	/* policy_seal.c */
	struct policy want;
	uint8_t keys[2][POLICY_KEY_MAX];
	struct set_list next; /* the sets after it */
	struct keeper_recover recover;
	uint8_t signature[SIGNATURE_MAX];
};

/* --- pcr_sets.c --- */

/* What is installed; damage in it is left out, and said in the log. */
void sets_load(struct mgr *m, const char *group, struct set_list *out);
CHECKED int sets_save(struct mgr *m, const char *group, const struct set_list *l);
/* ERR_FULL: there is no room. */
CHECKED int sets_add(struct set_list *l, const struct pcr_set *s);
unsigned sets_count(const struct set_list *l);
/* Those that keep says true to. */
void sets_filter(struct set_list *l, bool (*keep)(const struct pcr_set *s, unsigned i, void *arg), void *arg);

/* --- policy_methods.c --- */

/* NULL: the call has been answered. */
struct policy_call *policy_begin(struct mgr *m, struct call *c, json_t *params, const char *action);
/* The parameter "set", a PCR set as a file has it. Not 0: the call has been answered, and p is gone. */
CHECKED int policy_set_param(struct policy_call *p, json_t *params, bool needed);
/* Begins a request about the group, with its sealed root and sets. */
CHECKED int policy_request(struct policy_call *p, const struct set_list *sets, struct buf *b);
/* Ends the call. */
void policy_fail(struct policy_call *p, int code, const char *text);
void policy_done(struct policy_call *p, json_t *reply);
void method_policy_show(void *arg, struct call *c, json_t *params);
void method_policy_plan(void *arg, struct call *c, json_t *params);
void method_policy_apply(void *arg, struct call *c, json_t *params);
void method_policy_remove(void *arg, struct call *c, json_t *params);
void method_policy_raise(void *arg, struct call *c, json_t *params);
void method_policy_test(void *arg, struct call *c, json_t *params);

/* --- policy_seal.c --- */

void method_policy_set(void *arg, struct call *c, json_t *params);
void method_policy_challenge(void *arg, struct call *c, json_t *params);
void method_policy_recover(void *arg, struct call *c, json_t *params);

#endif

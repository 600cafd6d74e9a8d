/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measured launch: what a guest is booted from is measured by who boots it (vtpm-launch), and comes here as a list of events
 * before the guest runs. Its vTPM is powered on for that guest alone, and begins with these events in its PCRs.
 *
 *	launch_methods.c	Launch and EventLog: what a client sent becomes an event log
 *	launch.c		for how long one waits, and what is said of it
 *	launch_policy.c		which vTPMs must be launched, and by which launches: of a vTPM, or of its group
 *	launch_policy_methods.c	LaunchAllow, LaunchPolicy, LaunchShow
 *
 *	Launch for a domain	the vTPM is powered on at once, and waits for the domain of that number (xen_serve.c)
 *	Launch for none		it waits, off, for the QEMU or the start that comes next, which then has it powered on;
 *				each reset of that guest begins with the same events
 */
#ifndef VTPM_MGR_LAUNCH_H
#define VTPM_MGR_LAUNCH_H

#include "vtpm-mgr/launch_rules.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/launch.h"

struct launch {
	bool for_domain; /* domid is who it is for; otherwise a QEMU, or a ring */
	uint32_t domid;
	bool startup;	 /* TPM2_Startup is ours */
	bool waits;	 /* nobody has come for it yet */
	bool kept;	 /* vtpm-hold has it */
	bool mismatch;	 /* it is not among those that are allowed, and served all the same */
	uint64_t until_ms; /* then nobody will; on the clock of loop_now_ms */
	struct loop_timer timer;
	uint8_t digest[DIGEST_LEN]; /* SHA-256 of the log */
	size_t len;
	uint8_t log[LAUNCH_LOG_MAX];
};

/* The vTPM is off. Takes l over, and ends the call, now or later. */
void launch_begin(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c);
/* A vTPM of that uuid has gone off, or failed: who waited for that is launched now. */
void launch_next(struct mgr *m, const uint8_t uuid[static UUID_LEN]);
/* From vtpm.c and power_on.c: that one goes; it is on, for l->domid. */
void launch_free(struct vtpm *v);
void launch_ready(struct vtpm *v);
/* It waits for its guest, until l->until_ms. */
void launch_wait(struct vtpm *v);
/* Who it waited for has come. */
void launch_taken(struct vtpm *v);
/* The domain that goes on where the one that it was launched for has ended, by the toolstack's word. */
void launch_moved(struct vtpm *v, unsigned domid);
/* Whether it waits for that domain; for another, or none. */
bool launch_waits_for(const struct vtpm *v, unsigned domid);

/* For describe.c; v may be NULL. */
void launch_describe(const struct vtpm *v, json_t *j);

/* --- launch_policy.c --- */

/* What a group says, or a vTPM of its own. */
struct launch_policy {
	uint8_t mode; /* LAUNCH_AUTO, LAUNCH_REQUIRED, LAUNCH_OFF */
	struct store_rules rules;
};
/* How it is stored: u8 mode, and the rules. */
#define LAUNCH_POLICY_MAX (1u + STORE_RULES_MAX)
void launch_meta_key(const char *group, char key[static NAME_MAX_LEN + 16]);
/* A group's; ERR_AUTH: the journal vouches for another than the store has. hash: of the value, zeroes if there is none. */
CHECKED int launch_group_policy(struct mgr *m, const char *group, struct launch_policy *p, uint8_t hash[static DIGEST_LEN]);
/* Whether a guest of that kind must come by a launch. What cannot be believed demands it. */
bool launch_is_required(struct mgr *m, const struct store_vtpm *row, bool xen);
/* Whom a vTPM is powered on for. */
enum start_kind { START_RING, START_QEMU, START_XEN, START_LAUNCH };
/*
 * Whether it may be: with a launch, or without. v: it has failed, or waits launched; NULL: it is off. One that failed under a domain is still that
 * domain's: a reset would be a TPM without a launch for a guest that runs, a launch one for a guest that it is not of.
 */
CHECKED int launch_admit(struct mgr *m, const struct store_vtpm *row, const struct vtpm *v, enum start_kind kind,
			 char why[static TEXT_MAX + 1]);
/* 0: it is allowed, or served though it is not (l->mismatch). Otherwise why says what to do. */
CHECKED int launch_judge(struct mgr *m, const struct store_vtpm *row, struct launch *l, const uint8_t *signature, size_t len,
			 char why[static TEXT_MAX + 1]);

/* --- held_launch.c --- */

/* A launch outlives the manager as its vTPM does, or, if it waits, without. */
void held_launch_keep(struct vtpm *v);
void held_launch_drop(struct vtpm *v);
/* v has just come from the last manager: and how it was launched, if it was. */
void held_launch_recall(struct vtpm *v);
/* After all of those. */
void held_launches_revive(struct mgr *m);

/* --- methods --- */

void method_launch_allow(void *arg, struct call *c, json_t *params);
void method_launch_policy(void *arg, struct call *c, json_t *params);
void method_launch_show(void *arg, struct call *c, json_t *params);
void method_launch(void *arg, struct call *c, json_t *params);
void method_event_log(void *arg, struct call *c, json_t *params);

#endif

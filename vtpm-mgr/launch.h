/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Measured launch: what a guest is booted from is measured by who boots it (vtpm-launch), and comes here as a list of events
 * before the guest runs. Its vTPM is powered on for that guest alone, and begins with these events in its PCRs.
 *
 *	launch_methods.c	Launch and EventLog: what a client sent becomes an event log
 *	launch.c		who may have a vTPM, and for how long one waits
 *
 *	Launch for a domain	the vTPM is powered on at once, and waits for the domain of that number (xen_serve.c)
 *	Launch for none		it waits, off, for the QEMU or the start that comes next, which then has it powered on;
 *				each reset of that guest begins with the same events
 */
#ifndef VTPM_MGR_LAUNCH_H
#define VTPM_MGR_LAUNCH_H

#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/launch.h"

#define LAUNCH_WAIT_MS 300000u

struct launch {
	bool for_domain; /* domid is who it is for; otherwise a QEMU, or a ring */
	uint32_t domid;
	bool startup;	 /* TPM2_Startup is ours */
	bool waits;	 /* nobody has come for it yet */
	uint64_t until_ms; /* then nobody will; on the clock of loop_now_ms */
	struct loop_timer timer;
	uint8_t digest[DIGEST_LEN]; /* SHA-256 of the log */
	size_t len;
	uint8_t log[LAUNCH_LOG_MAX];
};

/* The vTPM is off. Takes l over, and ends the call, now or later. */
void launch_begin(struct mgr *m, const struct store_vtpm *row, struct launch *l, struct call *c);
/* From vtpm.c and power_on.c: that one goes; it is on, for l->domid. */
void launch_free(struct vtpm *v);
void launch_ready(struct vtpm *v);
/* Who it waited for has come. */
void launch_taken(struct vtpm *v);
/* Whether it waits for that domain; for another, or none. */
bool launch_waits_for(const struct vtpm *v, unsigned domid);

/* --- held_guests.c --- */

/* A launch outlives the manager as its vTPM does, or, if it waits, without. */
void held_launch_keep(struct vtpm *v);
void held_launch_drop(struct vtpm *v);

void method_launch(void *arg, struct call *c, json_t *params);
void method_event_log(void *arg, struct call *c, json_t *params);

#endif

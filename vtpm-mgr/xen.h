/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the manager's Xen side: xen.c (who is there), xen_scan.c (what their nodes say), xen_serve.c (what is done). */
#ifndef VTPM_MGR_XEN_H
#define VTPM_MGR_XEN_H

#include "hv/xen/xenstore.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/xen_device.h"

/* One front end, as its directory below backend/vtpm names it. */
struct xen_front {
	struct xen_front *next;
	struct mgr *m;
	unsigned domid, handle;
	struct xen_device d;
	struct xen_nodes n;
	char reason[TEXT_MAX + 1]; /* why its TPM is not on, where the vTPM that knew it may be gone */
	struct xen_making *making; /* the vTPM that is being made for it; NULL */
	bool watched;		   /* its state is */
	bool has_error;		   /* an error node was written for it */
	bool asked;		   /* whether the domain that has its TPM is there */
	bool asking, ask_again;	   /* whether its own is; once more, for another has ended meanwhile */
	uint64_t told_ms;	   /* when the log last had a line that the guest can have as often as it likes */
	/* xen_scan.c */
	struct xen_value values[XEN_NODES];
	unsigned at;	/* node that is being read; XEN_NODES: none is */
	bool again;	/* something has changed meanwhile */
	double looks;	/* that it may have at once */
	uint64_t looks_ms;
	struct loop_timer later;
};

struct xen {
	struct xenstore *store; /* NULL: lost */
	char base[64];		/* the own backend/vtpm, absolute; "": not known yet */
	struct xen_policy policy;
	struct xen_front *fronts;
	struct loop_timer list_again;
	unsigned walk; /* the domain whose devices are being asked for, where all cannot be at once; 0: none is */
};

/* --- xen.c --- */
CHECKED int xen_front_path(const struct xen_front *f, const char *node, char *out, size_t cap);
CHECKED int xen_back_path(const struct xen_front *f, const char *node, char *out, size_t cap);
void xen_front_free(struct xen_front *f);
/* One that is known already, and is looked at as soon as xenstore can be asked. NULL: no memory. */
struct xen_front *xen_front_recall(struct mgr *m, unsigned domid, unsigned handle);

/* --- xen_scan.c --- */
/* Something about f may have changed: reads all of it and calls xen_front_step, now or when it is f's turn again. */
void xen_look(struct xen_front *f);
void xen_look_end(struct xen_front *f);

/* --- xen_serve.c --- */
/* f->n has just been read. May free f. */
void xen_front_step(struct xen_front *f);
/* Before f goes: what is being made for it is finished without it. */
void xen_making_end(struct xen_front *f);
/* A request to xenstore that f cannot be served without has ended with err. */
void xen_mute(struct xen_front *f, int err);
/* A save, restore or migration is announced: as long as the domain may still be there. */
void xen_announce(struct vtpm *v);
/* How f calls itself in the log. */
void xen_log_front(const struct xen_front *f, const char *text);

#endif

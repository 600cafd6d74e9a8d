/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The handshake with one front end, without Xen: what the nodes of xenstore say goes in, what is to be done comes out.
 * xen.c reads, asks this, and does it.
 *
 *	NEW -> ADMITTED -> LEFT		a device that libxl has made, served, and taken away again
 *	    \-> REFUSED -> LEFT		one that is not served, or no longer: its `error` node says why
 *
 * Only what stands in the backend's own directory says who somebody is: no guest can write there. What the front end
 * wrote about itself (state, ring-ref, event-channel) is numbers that may be anything, and changes whenever the guest likes:
 * nothing here waits for a front end, and everything is judged anew with each look.
 *
 * States of xenbus (xen/io/xenbus.h): the back end goes to INIT_WAIT before anything slow, since libxl waits 10 s for
 * it; to CONNECTED when the ring is mapped; to CLOSING and back to INIT_WAIT with the front end; to CLOSED at the end.
 */
#ifndef VTPM_MGR_XEN_DEVICE_H
#define VTPM_MGR_XEN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/util.h"

enum xen_state {
	XEN_STATE_NONE = 0, /* no node, or nonsense in it */
	XEN_STATE_INITIALISING = 1,
	XEN_STATE_INIT_WAIT = 2,
	XEN_STATE_INITIALISED = 3,
	XEN_STATE_CONNECTED = 4,
	XEN_STATE_CLOSING = 5,
	XEN_STATE_CLOSED = 6,
};

/* The nodes that are looked at, in this order: states before what a front end writes ahead of them. */
enum xen_node {
	XEN_NODE_FRONTEND,
	XEN_NODE_FRONTEND_ID,
	XEN_NODE_UUID,
	XEN_NODE_SERVED, /* ours: its TPM has been powered on for this domain */
	XEN_NODE_ONLINE,
	XEN_NODE_STATE,
	XEN_NODE_FRONT_STATE, /* from here on the guest's */
	XEN_NODE_RING_REF,
	XEN_NODE_EVENT_CHANNEL,
	XEN_NODES,
};
#define XEN_NODE_SERVED_NAME "vtpm-served"
#define XEN_DOMID_MAX	     0x7fefu
#define XEN_VALUE_MAX	     127u /* bytes of a value that makes sense */

/* A value as it was read; absent and nonsense are both len 0. */
struct xen_value {
	size_t len;
	char text[XEN_VALUE_MAX + 1];
};

/* What they say. */
struct xen_nodes {
	bool device;  /* the back end's directory is there */
	const char *bad; /* why the device cannot be: its identity is nonsense; NULL */
	uint8_t uuid[UUID_LEN];
	bool served, online;
	enum xen_state back, front;
	bool has_ring; /* ref and port are numbers */
	uint32_t ref, port;
};

/* Stores n bytes of a value, or nothing if they are none: too long, or with a NUL inside. */
void xen_value_set(struct xen_value *v, const char *p, size_t n);
void xen_nodes_parse(struct xen_nodes *n, const struct xen_value values[static XEN_NODES], unsigned domid, unsigned handle);
/* "DOMID/HANDLE" at the beginning of a path; ERR_PROTO. rest: behind it, a '/' or the end. */
CHECKED int xen_path_parse(const char *s, unsigned *domid, unsigned *handle, const char **rest);

/* How the TPM of its uuid stands to a device. */
enum xen_tpm {
	XEN_TPM_UNKNOWN,  /* no vTPM has this uuid */
	XEN_TPM_OFF,
	XEN_TPM_UNLAUNCHED, /* off, and to be launched for its domain before that runs */
	XEN_TPM_STARTING, /* for this device; the next three, too */
	XEN_TPM_ON,
	XEN_TPM_ENDING,
	XEN_TPM_FAILED,
	XEN_TPM_HELD,	 /* on, announced, and its domain has gone: for the next one */
	XEN_TPM_LEAVING, /* on for somebody who is on the way out */
	XEN_TPM_TAKEN,	 /* on for somebody else */
};

enum xen_phase { XEN_NEW, XEN_ADMITTED, XEN_REFUSED, XEN_LEFT };
enum xen_ring_phase {
	XEN_RING_OFF,
	XEN_RING_COMING, /* ordered; ref and port say which */
	XEN_RING_ON,
	XEN_RING_GOING,
	XEN_RING_BAD, /* the hypervisor did not give ref or port */
};

struct xen_device {
	enum xen_phase phase;
	enum xen_state state; /* that was written last */
	enum xen_ring_phase ring; /* whoever carries orders out moves it on from COMING and GOING, and to OFF when the backend ends */
	uint32_t ref, port;
	bool connected; /* the front end has been seen CONNECTED with this ring */
	bool lost;	/* a backend that was killed had this ring, and the next has none yet; whoever carries orders out says so */
	bool powered;	/* its TPM was powered on, or taken over, for it */
	bool creating;	/* a vTPM is being made for it */
	bool hopeless;	/* and could not be; whoever carries orders out says so */
	bool dead;	/* its domain is; the same */
	bool mute;	/* xenstore does not take what is written, or asked, for it; the same, who also says why */
};

/* What is to be done, in this order. */
enum {
	XEN_DO_DETACH = 1u << 0,   /* have the backend let go of the ring */
	XEN_DO_ERROR = 1u << 1,	   /* log `why`, and write it to the error node; NULL: the reason is known elsewhere */
	XEN_DO_FEATURES = 1u << 2, /* write feature-protocol-v2 */
	XEN_DO_STATE = 1u << 3,	   /* write d->state */
	XEN_DO_MARK = 1u << 4,	   /* write XEN_NODE_SERVED */
	XEN_DO_CREATE = 1u << 5,   /* make a vTPM with this uuid */
	XEN_DO_POWER = 1u << 6,	   /* power the TPM on for it */
	XEN_DO_ADOPT = 1u << 7,	   /* it owns the held TPM from now on */
	XEN_DO_ATTACH = 1u << 8,   /* have d->ref and d->port opened for the backend */
	XEN_DO_RELEASE = 1u << 9,  /* it does not own its TPM any more */
	XEN_DO_REMOVE = 1u << 10,  /* remove the back end's directory */
	XEN_DO_LOOK = 1u << 11,	   /* look at it anew: what is known of its TPM is another one's */
	XEN_DO_FORGET = 1u << 12,  /* the device is no more */
};
struct xen_orders {
	uint32_t what;
	const char *why;
	bool again; /* with XEN_DO_ATTACH: it is the ring that was lost */
};

/* own: this domain is not dom0, so the back end's directory is ours to remove. */
struct xen_policy {
	bool autocreate, own;
};

void xen_device_step(struct xen_device *d, const struct xen_nodes *n, enum xen_tpm tpm, const struct xen_policy *policy,
		     struct xen_orders *o);
/* Whether the device is on its way out, so that who wants its TPM need only wait. */
bool xen_device_leaving(const struct xen_device *d, const struct xen_nodes *n);

#endif

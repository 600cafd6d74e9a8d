/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How commands come and answers go: what the engine thread (serve.c) needs of a way to a guest. One request is in hand at
 * a time: wait, take, respond.
 *
 *	transport_ring	the shared page of a local ring; the TPM is on as long as the process serves it
 *	transport_qemu	QEMU's control and data channels; QEMU says when the TPM is on
 *	transport_xen	as transport_ring, over pages of a guest of Xen that come and go while the TPM is on
 */
#ifndef VTPM_BACKEND_TRANSPORT_H
#define VTPM_BACKEND_TRANSPORT_H

#include "lib/sandbox.h"
#include "vtpm-backend/backend.h"

struct transport {
	const char *option; /* of vtpm-backend(8), that chooses it */
	enum sandbox_kind sandbox;
	int area_fd; /* the memory for checkpoints */
	/* The engine has its state: powers it on, if that is not the guest's side to say. */
	int (*begin)(struct backend *b);
	/* 0: look with take; spurious returns are permitted. ERR_CLOSED: b->stopping. */
	int (*wait)(struct backend *b);
	/* As chan_take of hv.h: a request in b->cmd, nonsense, or nothing. */
	enum chan_verdict (*take)(struct backend *b, struct chan_request *req);
	/* No command will come any more; in most cases power_off. A code: the store does not have the newest state. */
	int (*end)(struct backend *b);
	/* Answers the request, or the nonsense, that was taken, with len bytes of b->rsp. */
	int (*respond)(struct backend *b, size_t len);
	/* The control thread's: whether the request in hand is to be cancelled. */
	bool (*cancelled)(struct backend *b);
};

/* For wait: b->stop_fd is readable. ERR_CLOSED: b->stopping; 0: what it is about was written down before it became so. */
CHECKED int transport_woken(struct backend *b);

extern const struct transport transport_ring, transport_qemu, transport_xen;

#endif

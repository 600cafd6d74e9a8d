/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transport for QEMU's tpm-emulator: the control and data channels of swtpm.
 *
 *	qemu_proto.c	what the control channel carries
 *	qemu_control.c	control thread: takes requests, hands those that concern the engine over, sends replies
 *	qemu_job.c	engine thread: does what was handed over
 *	qemu_state.c	engine thread: state blobs, for save, restore and migration
 *	qemu_data.c	engine thread: the data channel, a stream of TPM commands
 *
 * One control request is in hand at a time, as QEMU sends them. The slot `job` changes hands with its stage:
 * it is the engine thread's while QEMU_JOB_POSTED, the control thread's otherwise.
 *
 * QEMU is the guest's hypervisor, so it may say what locality a command has and when the TPM resets. It is not trusted
 * with the state: what it saves is sealed, and what it brings back is taken only if the manager agrees.
 */
#ifndef VTPM_BACKEND_QEMU_H
#define VTPM_BACKEND_QEMU_H

#include <poll.h>
#include <stdatomic.h>

#include "vtpm-backend/backend.h"
#include "vtpm-backend/qemu_proto.h"

enum qemu_stage { QEMU_JOB_NONE, QEMU_JOB_POSTED, QEMU_JOB_DONE };

struct qemu_job {
	atomic_int stage; /* enum qemu_stage */
	const struct qemu_rule *rule;
	struct buf body;  /* of the request, in qemu.in */
	int fd;		  /* that came with it; -1 */
	uint8_t *blob;	  /* SET_STATEBLOB: what followed the request, blob_len bytes; freed by the control thread */
	size_t blob_len;
	struct qemu_reply reply;
};

/* A state in the clear: secret. */
struct qemu_saved {
	uint8_t *p; /* NULL: none */
	size_t len;
	uint64_t version; /* of the permanent state in the store, to which it belongs */
};

struct qemu {
	/* Control thread. */
	bool gone;	 /* the control channel has ended */
	uint8_t in[QEMU_REQUEST_MAX];
	size_t blob_have; /* of job.blob, while it is being received */
	bool receiving;	  /* job.blob is */
	size_t sent;	  /* of the reply */

	/* Both, in turns. */
	struct qemu_job job;
	int job_fd;	    /* eventfd, control thread -> engine thread: a job was posted */
	atomic_int data;    /* data channel, engine thread's to change; -1: none */
	atomic_bool in_hand; /* the engine thread is at a command */
	atomic_bool cancel; /* control thread -> engine thread: cancel it */

	/* Engine thread. */
	bool quit;	 /* SHUTDOWN has been done; read by the control thread when its job is */
	size_t have;	 /* bytes in b->cmd */
	size_t taken;	 /* of them, the command that was taken last; what is behind it belongs to the next */
	bool expired;	 /* nothing more of it will come */
	bool once;	 /* the data channel ends with its first answer */
	uint8_t locality;
	struct qemu_saved permanent; /* that SET_STATEBLOB brought, for the next INIT */
	struct qemu_saved resume;    /* volatile state for the next INIT: brought, or kept by STORE_VOLATILE */
};

/* Prepares BACKEND_FD_QEMU, before the sandbox. */
CHECKED int qemu_attach(struct backend *b);

/* The control thread's part: what to wait for, and what to do when it has come. Nothing without transport_qemu. */
void qemu_watch(struct backend *b, struct pollfd *p);
void qemu_service(struct backend *b, const struct pollfd *p);

/* Engine thread: does the job that was posted. */
void qemu_job_run(struct backend *b);

/* qemu_data.c */
void qemu_data_close(struct qemu *q);
/* Forgets a command of which a part has come. */
void qemu_data_forget(struct backend *b);

/* qemu_state.c */
uint32_t qemu_state_get(struct backend *b, struct qemu_job *job);
uint32_t qemu_state_set(struct backend *b, struct qemu_job *job);
/* Keeps the volatile state for the next INIT. */
uint32_t qemu_state_keep(struct backend *b);
/*
 * For INIT: sees to it that the engine has the state that is to be powered on, what was brought or, if it has none yet, what the store
 * has. Not 0: the manager does not agree, and nothing has changed.
 */
CHECKED int qemu_state_take(struct backend *b);
/* What was brought or kept is used, or of no use. */
void qemu_state_forget(struct qemu *q);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The transport for QEMU's tpm-emulator: the control and data channels of swtpm.
 *
 *	qemu_proto.c	what the control channel carries
 *	qemu_control.c	control thread: takes requests, hands those that concern the engine over, sends replies
 *	qemu_job.c	engine thread: does what was handed over
 *	qemu_state.c	engine thread: state blobs, for save, restore and migration
 *	qemu_data.c	engine thread: the data channel, a stream of TPM commands
 *	qemu_link.c	what the next backend needs, if this one is killed
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
#include "vtpm-backend/transfer.h"

enum qemu_stage { QEMU_JOB_NONE, QEMU_JOB_POSTED, QEMU_JOB_DONE };

struct qemu_job {
	atomic_int stage; /* enum qemu_stage */
	uint64_t number;  /* of the request; the first one is 1 */
	const struct qemu_rule *rule;
	struct buf body;  /* of the request, in qemu.in */
	int fd;		  /* that came with it; -1 */
	const uint8_t *blob; /* SET_STATEBLOB: what followed the request, blob_len bytes; in qemu_area */
	size_t blob_len;
	struct qemu_reply reply;
};

/*
 * What the next backend finds, in memory that is kept for it (checkpoint_link). Requests of the control channel have numbers, as commands
 * have. Each channel has one of them in hand: it is received, done, and its answer is sent, and only then the next is received. An answer that
 * has been begun counts as given: the next backend sends the rest of it. What has none yet is done anew, but for what a checkpoint says has been
 * done. docs/continuity.md has the table.
 *
 * Words are written in one store each, before the answer to what they come of.
 */
enum { SAVED_PERMANENT, SAVED_VOLATILE, SAVED_KINDS };
struct qemu_area {
	/* Engine thread. */
	uint64_t halted, quit, locality;
	uint64_t packet_max; /* that SET_BUFFERSIZE asked for; 0: none */
	uint64_t data;	     /* number of the SET_DATAFD that brought the data channel, which is in the stash; 0: there is none */
	uint64_t once;	     /* number of the command after which it ends; 0: it does not */
	uint64_t exported;   /* version whose state was given away */
	uint64_t verdict;    /* number of a request << 32 | its result: it is not done again */
	uint64_t saved_len[SAVED_KINDS]; /* of saved */
	struct transfer cmd_in, rsp_out;
	/* Control thread. */
	struct transfer request_in, reply_out;
	struct transfer blob_in; /* what of a blob came behind the request */

	uint8_t cmd[CHAN_PACKET_MAX], rsp[CHAN_PACKET_MAX];
	uint8_t request[QEMU_REQUEST_MAX];
	/* What follows is sealed, or no secret. Up to here it is locked. */
	uint8_t reply[QEMU_REPLY_MAX + SEALED_STATE_MAX];
	uint8_t blob[SEALED_STATE_MAX];			   /* of the SET_STATEBLOB in hand */
	uint8_t saved[SAVED_KINDS][SEALED_STATE_MAX]; /* qemu.saved, sealed */
};
#define QEMU_AREA_LOCKED offsetof(struct qemu_area, reply)

/* A state in the clear: secret. */
struct qemu_saved {
	uint8_t *p; /* NULL: none */
	size_t len;
	uint64_t version; /* of the permanent state in the store, to which it belongs */
	uint8_t secret[KEY_LEN]; /* of a permanent one: permanent.h */
};

struct qemu {
	/* Control thread. */
	bool gone;	 /* the control channel has ended */
	uint8_t in[QEMU_REQUEST_MAX];
	size_t unread;	  /* bytes of the request that are still in the socket: its descriptor is */
	size_t blob_head; /* of job.blob, what came with the request */
	bool receiving;	  /* the rest of job.blob is */

	/* Both, in turns. */
	struct qemu_job job;
	int job_fd;	    /* eventfd, control thread -> engine thread: a job was posted */
	struct qemu_area *area;
	atomic_int data;    /* data channel, engine thread's to change; -1: none */
	atomic_bool in_hand; /* the engine thread is at a command */
	atomic_bool cancel; /* control thread -> engine thread: cancel it */

	/* Engine thread. */
	bool quit;	 /* SHUTDOWN has been done; read by the control thread when its job is */
	bool inherited;	 /* all of a command is there, which the backend before this one has received */
	bool expired;	 /* nothing more of a command will come */
	uint8_t locality;
	/* For the next INIT: permanent state that SET_STATEBLOB brought; volatile, brought or kept by STORE_VOLATILE. */
	struct qemu_saved saved[SAVED_KINDS];
};

/* Prepares BACKEND_FD_QEMU, before the sandbox. */
CHECKED int qemu_attach(struct backend *b);

/* The control thread's part, before the engine thread begins: what the backend before this one had in hand. Then what to wait for, and what to do when it has come. Nothing without transport_qemu. */
void qemu_begin_control(struct backend *b);
void qemu_watch(struct backend *b, struct pollfd *p);
void qemu_service(struct backend *b, const struct pollfd *p);

/* Engine thread: does the job that was posted. */
void qemu_job_run(struct backend *b);

/* qemu_data.c */
void qemu_data_close(struct backend *b);
/* Forgets a command of which a part has come. */
void qemu_data_forget(struct backend *b);

/* qemu_link.c */
/* A word of the area: one store. */
void qemu_note(uint64_t *word, uint64_t v);
/* A data channel that came with a request of that number is kept for the next backend, in place of the one before. */
CHECKED int qemu_stash_put(uint64_t number, int fd);
/* The one of that number, close-on-exec; -1: there is none. */
int qemu_stash_get(uint64_t number);
void qemu_stash_clear(void);
/* Begins to receive command `number`, unless that has begun; or forgets what has come of it, too. */
void qemu_cmd_begin(struct qemu *q, uint64_t number);
void qemu_cmd_begin_anew(struct qemu *q, uint64_t number);
/* Begins the response to command b->seq, len bytes of b->rsp. */
void qemu_rsp_begin(struct backend *b, size_t len);
/* The result of the job in hand, whatever happens from here on. */
void qemu_judge(struct qemu *q, uint32_t result);
/* What the backend before this one has left of the protocol: before the engine has its state, and when it has. */
void qemu_link_restore(struct backend *b);
void qemu_link_resume(struct backend *b);

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
/* Opens what was brought or kept by the time the last backend ended. */
void qemu_state_restore(struct backend *b);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One backend process. Two threads share a struct backend:
 *
 *	control thread (the main one)  waits for the manager's messages; asks the engine to cancel
 *	engine thread		       runs the engine, waits on the ring, speaks to the store
 *
 * Until `go` is posted everything belongs to the control thread; from then on everything
 * belongs to the engine thread, but for what is marked below. The process ends by
 * backend_exit or backend_fail, from either.
 */
#ifndef VTPM_BACKEND_BACKEND_H
#define VTPM_BACKEND_BACKEND_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "hv/hv.h"
#include "vtpm-backend/ak.h"
#include "vtpm-backend/checkpoint.h"
#include "vtpm-backend/commit.h"
#include "vtpm-backend/permanent.h"
#include "vtpm-mgr/proto/backend.h"

/* Where the descriptors of a backend are when it starts, prefork or exec. 0, 1 and 2 are /dev/null. */
enum {
	BACKEND_FD_CONTROL = 3,
	BACKEND_FD_STORE = 4,
	BACKEND_FD_KEY = 5,
	BACKEND_FD_QEMU = 6,  /* only to serve a QEMU: its control channel */
	BACKEND_FD_ATTACH = 6, /* only to serve a guest of Xen: where its rings come from */
	BACKEND_FD_MEMFD = 6, /* this and those below only to serve a ring */
	BACKEND_FD_TO_BACK = 7,
	BACKEND_FD_TO_FRONT = 8,
	BACKEND_FD_RING_AREA = 9, /* where checkpoints are, as the next two: behind what its kind is given */
	BACKEND_FD_QEMU_AREA = 7,
	BACKEND_FD_XEN_AREA = 7,
	BACKEND_FD_STASH_IN = 8, /* to serve a QEMU: two ends of one channel, in which its data channel is kept */
	BACKEND_FD_STASH_OUT = 9,
};

/* What the guest asks for (guest_evidence.h). */
struct guest_ask {
	bool asks; /* the command in hand does */
	size_t nonce_len, offset;
	uint32_t id; /* of the last one that the manager was asked for */
	/* id << 2, and who has the two below: enum of guest_evidence.c */
	atomic_uint_fast64_t stage;
	struct backend_evidence answer;
	uint8_t *evidence; /* owned */
};

struct transport;
struct qemu;
struct xen_link;

/* Lives in locked memory. */
struct backend {
	struct backend_start start; /* its view is gone once the state was opened */
	struct sealer sealer;
	uint8_t key[KEY_LEN]; /* with transport_qemu: opens what other processes sealed */
	bool renews;	      /* the next commit is sealed under another key, and with it that is the one: */
	struct sealer next_sealer;
	uint8_t next_key[KEY_LEN]; /* as key */
	uint8_t secret[KEY_LEN];  /* goes with the state: permanent.h */
	struct ak_secret ak;	  /* derived from it */
	struct commit commit;
	const struct transport *transport; /* to the guest; NULL: a worker, which has none */
	struct chan chan;    /* with transport_ring and transport_xen */
	struct qemu *qemu;   /* with transport_qemu */
	struct xen_link *xen; /* with transport_xen */
	uint8_t locality_max; /* commands from above are refused */
	bool powered;	     /* the engine is on */
	bool halted;	     /* on or not, commands are answered TPM_RC_FAILURE */
	bool auth_failed;    /* an authorisation has failed, or was refused by the lockout, since the last successful commit */
	bool giving;	     /* what is committed now is to be given away */
	bool shutdown_seen;  /* the last command was a successful TPM2_Shutdown */
	bool hashing;	     /* the hardware's hash sequence is under way */
	bool unstirred;	     /* the generator is a restored one: power_stir goes before the next command */
	uint8_t *launch;     /* the event log of a measured launch, which each power-on replays; NULL: there was none */
	size_t launch_len;
	bool launch_written; /* it is in NV since this process began */
	uint8_t *plain;	     /* the opened state, until the engine has it */
	size_t plain_len;
	struct checkpoint_area area; /* with a transport; resume.h */
	struct checkpoint last;	     /* with RUN_RESUME: where to go on, until the engine has it; views of last_mem */
	uint8_t *last_mem;	     /* NULL: there is none, the TPM was off */
	size_t last_mem_len;
	uint64_t seq;	     /* number of the last command that was executed or answered */
	uint64_t kept_seq;   /* the same of the newest checkpoint */
	uint64_t job;	     /* with transport_qemu: the last request whose effect is in the engine, and its result */
	uint32_t job_result;
	bool unsettled;	     /* the next command is checkpointed whatever it is */
	int import_fd[IMPORT_FDS_MAX]; /* with RUN_IMPORT: swtpm's file, and what opens it; -1: none */

	sem_t go;	     /* control thread -> engine thread: begin */
	int stop_fd;	     /* eventfd, control thread -> engine thread: BACKEND_STOP, BACKEND_QUOTE, BACKEND_EVIDENCE; with transport_xen also: a ring comes or goes */
	int busy_fd;	     /* eventfd, engine thread -> control thread: a long command begins, or a reply is ready */
	atomic_bool busy;    /* a long command is in hand */
	atomic_bool stopping; /* control thread's to set: BACKEND_STOP has come, or QEMU has gone */
	/* BACKEND_QUOTE: what is to be quoted over is the engine thread's while quote_asked, the control thread's otherwise. */
	atomic_bool quote_asked;
	uint8_t quote_over[DIGEST_LEN];
	struct guest_ask ask;

	uint8_t cmd[CHAN_PACKET_MAX], rsp[CHAN_PACKET_MAX];
};

/* Ends the process in order: everything it had to do is done. */
_Noreturn void backend_exit(struct backend *b);
/* Tells the manager why (BACKEND_FAILED: "what: text of code") and ends the process with status 1. b may be NULL. */
_Noreturn void backend_fail(struct backend *b, int code, const char *what);
/* The same with a whole sentence for a person. */
_Noreturn void backend_refuse(struct backend *b, int code, const char *why);

#endif

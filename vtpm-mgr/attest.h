/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evidence about vTPMs (docs/attestation.md). Who asks with a nonce has it quoted by the vTPM at once; then many share one quote of the
 * physical TPM, which is the slow one:
 *
 *	attest.c	the method; what a vTPM is asked, and what it answers
 *	attest_guest.c	guests that ask, by their backends
 *	attest_host.c	what comes within ATTEST_WINDOW_MS is bound together under one Merkle root, for which the physical TPM speaks
 *	attest_make.c	Names, bindings, and the evidence as it goes out
 *
 * A binding says what anchor A holds by the journal. So it is made, and the keeper asked, while no commit is under way: what comes
 * meanwhile is behind it in the keeper's row, and a quote never goes before a commit that has begun.
 */
#ifndef VTPM_MGR_ATTEST_H
#define VTPM_MGR_ATTEST_H

#include "attest/evidence.h"
#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/merkle.h"
#include "vtpm-mgr/mgr.h"
#include "vtpm-mgr/proto/attest.h"

#define ATTEST_WINDOW_MS  50u
#define ATTEST_TIMEOUT_MS 10000u /* for a vTPM's quote: a command that its guest has in hand goes before it */
#define ATTEST_RATE	  20u	 /* of one vTPM, a second, and at once */
#define ATTEST_WAITING	  64u	 /* of one vTPM */
#define ATTEST_BATCH	  1024u	 /* under one root */
#define ATTEST_SLICE	  16u	 /* that are finished between two looks at what else there is to do */
#define ATTEST_REST_MIN_MS 1000u /* of a physical TPM that has failed, until it is asked again; then twice as long each time */
#define ATTEST_REST_MAX_MS 60000u
#define GUEST_RATE	  1u	 /* of one guest's own, a second */
#define GUEST_BURST	  5u
#define HOST_PCRS	  0x3ffu /* always quoted, besides those that group "default" is sealed to */

/* One piece of evidence on its way. */
struct attest_request {
	struct attest_request *next;
	struct mgr *m;
	/* Once, at its end; evidence NULL: code and text say why there is none. */
	void (*done)(struct attest_request *r, int code, const char *text, const struct buf *evidence);
	struct call *call;  /* an operator's */
	struct vtpm *guest; /* by_guest, and its backend still waits */
	uint32_t ask;	    /* number of that */
	bool by_guest;	    /* without logs, and at the guest's own rate */
	struct vtpm *v; /* NULL: its quote is there */
	char name[NAME_MAX_LEN + 1];
	uint8_t nonce[EVIDENCE_NONCE_MAX];
	struct binding binding; /* its nonce is the one above */
	struct store_blob ek_public, ek_cert;
	struct certs certs;
	struct loop_timer deadline;
	uint8_t *log; /* of the launch by which it is on; NULL: there was none */
	size_t log_len;
	size_t attest_len, sig_len;
	uint8_t attest[ATTEST_MAX], sig[ATTEST_SIG_MAX], pcrs[QUOTE_PCRS_LEN];
	size_t bound_len;
	uint8_t bound[EVIDENCE_BINDING_MAX]; /* the encoded binding */
};

/* What is the same for all of one keeper. */
struct attest_identity {
	unsigned keeper; /* number of the one that it is of; 0: unknown */
	uint8_t record[ENROLMENT_MAX];
	size_t record_len;
	size_t ek_cert_len;
	uint8_t ek_cert[CERT_MAX]; /* of the physical TPM; its maker's, unread */
	size_t ca_len;
	uint8_t ca[CA_KEY_MAX];
	const uint8_t *log; /* the firmware's; NULL: there is none that would fit */
	size_t log_len;
	uint8_t log_hash[DIGEST_LEN];
};

/* What a vTPM is asked. */
struct attest_node {
	struct attest_node *next;
	struct vtpm *v;
	bool asked;		      /* its backend has not answered yet */
	struct attest_request *queue; /* the first one is the one asked for, unless it has given up */
	bool first_gave_up;
	unsigned waiting;
	double tokens;
	uint64_t tokens_ms;
};

struct attesting {
	struct mgr *m;
	struct attest_node *nodes;
	struct attest_request *ready, **ready_end; /* quoted by their vTPMs */
	struct attest_request *flying;		   /* bound under the root for which the keeper was asked, in order */
	struct attest_request *made;		   /* the rest of them, the quote being there */
	size_t made_at;
	struct loop_timer window, slice;
	bool window_over, going;
	struct merkle tree;
	struct attest_identity id;
	uint8_t quote[HOST_QUOTE_MAX]; /* the physical TPM's, encoded */
	size_t quote_len;
	int told; /* the code of why the physical TPM did not speak for the host, as the log has it; 0: it did */
	uint64_t rest_ms, rest_until; /* what it has failed last, it is left alone for; 0: it did not */
	char why[TEXT_MAX + 1];	      /* why that was */
	uint64_t evidence, by_guests, host_quotes; /* since the start */
};

/* ---- attest.c ---- */

void method_attest(void *arg, struct call *c, json_t *params);
/* BACKEND_QUOTED from v's backend. Not 0: it broke the protocol. */
CHECKED int attest_quoted(struct vtpm *v, struct ipc_msg *msg);
/* Its backend has gone: what it was asked is not answered. */
void attest_backend_gone(struct vtpm *v);
void attest_close(struct mgr *m);
json_t *attest_describe(const struct mgr *m);
/* Of a vTPM of that row; r: done, who asked, and the nonce. It belongs to what is begun here. */
void attest_begin(struct mgr *m, const struct store_vtpm *row, struct attest_request *r);
/* Ends it, and frees it. */
void attest_end(struct attest_request *r, int code, const char *text, const struct buf *evidence);

/* ---- attest_guest.c ---- */

/* BACKEND_ASK from v's backend. Not 0: it broke the protocol. */
CHECKED int attest_asked(struct vtpm *v, struct ipc_msg *msg);
/* Its backend has gone, and with it who waits. */
void attest_guest_gone(struct vtpm *v);

/* ---- attest_host.c ---- */

/* Its vTPM has quoted: it goes into the next root. */
void attest_bind(struct attesting *a, struct attest_request *r);
void attest_host_close(struct attesting *a);

/* ---- attest_make.c ---- */

/* Names and EK of a request, of what the store has. ERR_NOTFOUND: there is no EK or AK, or no certificate of the AK. */
CHECKED int attest_identify(struct attest_request *r, const struct store_vtpm *row);
/* It is on by a launch of that digest and log, which is copied. */
CHECKED int attest_launched(struct attest_request *r, const uint8_t digest[static DIGEST_LEN], const uint8_t *log, size_t len);
/* The binding, with what the journal says of the vTPM and of anchor A; and the hash of its leaf. */
CHECKED int attest_binding(struct attest_request *r, const struct attest_identity *id, const struct store_leaf *leaf,
			   const uint8_t anchor[static DIGEST_LEN], struct merkle *t, uint8_t hash[static DIGEST_LEN]);
/* ERR_RANGE: it does not fit. */
CHECKED int attest_make(const struct attest_request *r, const struct attest_identity *id, const struct merkle *t, size_t at,
			const struct host_quote *q, struct buf *out);

#endif

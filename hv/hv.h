/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hypervisor gives: a channel to one guest. hv/chan.c holds the request state machine
 * over the shared page, the same for every hypervisor; a platform (hv/local, later hv/xen)
 * gives the page and two ways to signal, as a struct chan_port.
 *
 * The page belongs to the guest. Each field is read once, lengths are checked in 64 bits, the
 * request is copied out, and the page is not read again for that request.
 */
#ifndef VTPM_HV_HV_H
#define VTPM_HV_HV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hv/chan_abi.h"
#include "hv/spin.h"
#include "lib/err.h"

/* Signals of one side of a channel. */
struct chan_port {
	int wait_fd; /* readable when the other side has signalled */
	void *ctx;
	/* Takes pending signals off wait_fd; does not wait for one. Only for the thread that calls chan_wait: from
	 * another it could steal the signal of the next request. wait_fd may hold signals that are over. */
	int (*ack)(struct chan_port *port);
	/* Signals the other side; does not wait for it. */
	int (*notify)(struct chan_port *port);
};

/* The back end's end of a channel. */
struct chan {
	volatile uint8_t *page; /* CHAN_PAGE_SIZE bytes, shared with the guest */
	struct chan_port port;
	uint32_t data_off;	/* where the packet of the request in hand begins */
	uint32_t head;		/* state, locality, pad and nr_extra_pages as they were when it was taken */
	struct spin spin;	/* of chan_wait */
};

/* A request taken off the page. */
struct chan_request {
	size_t len;	  /* 10 … CHAN_PACKET_MAX */
	uint8_t locality; /* as the guest claims: cap it */
};

enum chan_verdict {
	CHAN_NONE,    /* no request is waiting */
	CHAN_REQUEST, /* a request was copied out; answer it with chan_respond */
	CHAN_BAD,     /* the page held nonsense: answer with chan_respond and a TPM error */
};

void chan_init(struct chan *c, void *page, const struct chan_port *port);
/*
 * Takes a waiting request: state SUBMIT, and a TPM header (TPM 2.0 Part 1, 18) whose size is
 * the length. Copies it to out[CHAN_PACKET_MAX]. CHAN_BAD: a length outside 10 …
 * 4096 - data offset, or a header that disagrees; out then holds nothing.
 * CHAN_NONE also ends a CANCEL that came when no request was in hand (state IDLE, and a signal).
 * Call it once after connecting: a SUBMIT that came before the signals were bound is not signalled again.
 */
enum chan_verdict chan_take(struct chan *c, uint8_t out[static CHAN_PACKET_MAX], struct chan_request *req);
/*
 * The number under which a back end begins to answer on this page: it has answered number seq, or nothing yet. Before
 * the first chan_take.
 */
void chan_begin(struct chan *c, uint8_t seq);
enum chan_left {
	CHAN_LEFT_NOTHING,  /* it has it, and wants nothing more */
	CHAN_LEFT_REQUEST,  /* it has it, and chan_take finds a new request */
	CHAN_LEFT_RESPONSE, /* it waits for it: the next chan_respond is that response's */
};
/* For a back end that takes the place of one that was killed, whose last response was number seq: how the guest stands. */
enum chan_left chan_resume(struct chan *c, uint8_t seq);
/*
 * Writes a response of 10 … CHAN_PACKET_MAX bytes and its length, then, with release order and in one store, state FINISH and
 * the low bits of the number seq of the response, then signals. A response that does not fit where the guest put its extra
 * pages is replaced by TPM_RC_SIZE. ERR_RANGE: len is out of bounds (a bug of the caller).
 */
CHECKED int chan_respond(struct chan *c, uint8_t seq, const uint8_t *resp, size_t len);
/* Signals the guest once more: a back end that was killed may have written FINISH and not come to that. */
CHECKED int chan_nudge(struct chan *c);
/* True while the guest asks to cancel the request in hand (state CANCEL). */
bool chan_cancelled(const struct chan *c);
/*
 * Waits until the guest has signalled, or stop_fd becomes readable (ERR_CLOSED). First looks at
 * the page for spin_us microseconds without a system call. 0: look at the page with chan_take; spurious returns are permitted.
 */
CHECKED int chan_wait(struct chan *c, int stop_fd, unsigned spin_us);

#endif

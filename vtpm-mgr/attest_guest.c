/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evidence that guests ask for: by their backends, while these have a command in hand. A guest has a rate of its own, which no backend resets, and one at a time.
 * What it learns of why there is none is in the few texts here: the rest is for the host.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/attest.h"

_Static_assert(GUEST_NONCE_MIN == EVIDENCE_NONCE_MIN && GUEST_NONCE_MAX == EVIDENCE_NONCE_MAX && GUEST_EVIDENCE_MAX == EVIDENCE_CORE_MAX,
	       "a guest's nonce is one, and its evidence fits");

/* evidence NULL: text says why. */
static void answer(struct vtpm *v, uint32_t ask, const char *text, const struct buf *evidence)
{
	struct backend_evidence m = { .id = ask };
	struct buf b;
	int err;

	if (v->w.control < 0)
		return;
	if (evidence) {
		m.evidence = evidence->data;
		m.evidence_len = evidence->len;
	} else {
		snprintf(m.text, sizeof(m.text), "%s", text);
	}
	buf_init(&b, v->m->tx, sizeof(v->m->tx));
	err = backend_evidence_encode(&b, &m);
	if (!err)
		err = ipc_send(v->w.control, BACKEND_EVIDENCE, &b, NULL, 0);
	if (err && err != ERR_CLOSED)
		worker_kill(&v->w);
}

static const char *guest_text(int code)
{
	switch (code) {
	case ERR_BUSY:
	case ERR_TIMEOUT:
	case ERR_CLOSED:
		return "not in this moment; ask again";
	case ERR_NOTFOUND:
		return "this TPM has no certified attestation key";
	case ERR_QUARANTINE:
		return "the host does not vouch for this TPM's state";
	case ERR_TPM:
	case ERR_TPM_LOST:
	case ERR_TPM_IDENTITY:
	case ERR_PCR:
		return "the physical TPM does not speak for the host";
	default:
		return "the host cannot make it";
	}
}

/* The host's log has each reason once, however often its guest asks. */
static void on_done(struct attest_request *r, int code, const char *text, const struct buf *evidence)
{
	if (!r->guest)
		return;
	if (!evidence && code != r->guest->told)
		log_info("%s: its guest has asked for evidence, and gets none: %s", r->name, text);
	r->guest->told = evidence ? 0 : code;
	r->guest->asking = NULL;
	answer(r->guest, r->ask, guest_text(code), evidence);
}

void attest_guest_gone(struct vtpm *v)
{
	if (v->asking)
		v->asking->guest = NULL;
	v->asking = NULL;
}

/* 0: it has paid; otherwise in how many seconds it can. */
static unsigned pay(struct vtpm *v)
{
	const uint64_t now = loop_now_ms();

	v->asks = v->asks_ms ? v->asks + (double)(now - v->asks_ms) * GUEST_RATE / 1000.0 : GUEST_BURST;
	v->asks_ms = now;
	if (v->asks > GUEST_BURST)
		v->asks = GUEST_BURST;
	if (v->asks < 1.0)
		return (unsigned)((1.0 - v->asks) / GUEST_RATE) + 1;
	v->asks -= 1.0;
	return 0;
}

static void begin(struct vtpm *v, const struct backend_ask *q)
{
	struct attest_request *r = calloc(1, sizeof(*r));
	struct store_vtpm *row = malloc(sizeof(*row));

	if (!r || !row || store_vtpm_by_uuid(v->m->store, v->row.uuid, row)) {
		answer(v, q->id, guest_text(ERR_IO), NULL);
		free(r);
	} else {
		r->done = on_done;
		r->by_guest = true;
		r->guest = v;
		r->ask = q->id;
		memcpy(r->nonce, q->nonce, q->nonce_len);
		r->binding.nonce_len = q->nonce_len;
		v->asking = r;
		attest_begin(v->m, row, r);
	}
	free(row);
}

int attest_asked(struct vtpm *v, struct ipc_msg *msg)
{
	char text[GUEST_TEXT_MAX + 1];
	struct backend_ask q;
	unsigned wait;
	int err = backend_ask_decode(&msg->body, &q);

	if (err)
		return err;
	if (v->m->cfg.no_guest_evidence) {
		answer(v, q.id, "this host gives none to guests", NULL);
		return 0;
	}
	wait = v->asking ? 0 : pay(v);
	snprintf(text, sizeof(text), "asked too often; again in %u s", wait);
	if (v->asking || wait)
		answer(v, q.id, v->asking ? guest_text(ERR_BUSY) : text, NULL);
	else
		begin(v, &q);
	return 0;
}

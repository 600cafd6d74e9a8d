/* SPDX-License-Identifier: BSD-2-Clause */
/* Attest: who may ask what of a vTPM, and what its backend answers. One quote of a vTPM at a time. */
#include "vtpm-mgr/attest.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/launch.h"

static struct attesting *attesting_of(struct mgr *m)
{
	struct attesting *a = m->attesting;

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	if (merkle_init(&a->tree)) {
		free(a);
		return NULL;
	}
	a->m = m;
	a->ready_end = &a->ready;
	m->attesting = a;
	return a;
}

static struct attest_node *node_find(const struct attesting *a, const struct vtpm *v)
{
	struct attest_node *n = a ? a->nodes : NULL;

	while (n && n->v != v)
		n = n->next;
	return n;
}

static struct attest_node *node_of(struct attesting *a, struct vtpm *v)
{
	struct attest_node *n = node_find(a, v);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	*n = (struct attest_node){ .next = a->nodes, .v = v, .tokens = ATTEST_RATE, .tokens_ms = loop_now_ms() };
	a->nodes = n;
	return n;
}

void attest_end(struct attest_request *r, int code, const char *text, const struct buf *evidence)
{
	loop_timer_cancel(&r->m->loop, &r->deadline);
	r->done(r, code, text && text[0] ? text : err_text(code), evidence);
	free(r->log);
	free(r);
}

/* ---- what a vTPM is asked ---- */

static struct attest_request *node_take(struct attest_node *n)
{
	struct attest_request *r = n->queue;

	n->queue = r->next;
	n->waiting--;
	r->next = NULL;
	return r;
}

static int send_quote(struct attest_node *n, const struct attest_request *r)
{
	uint8_t mem[BACKEND_QUOTE_SIZE], over[DIGEST_LEN];
	struct buf b;
	int err = evidence_inner_data(&r->binding, over);

	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = backend_quote_encode(&b, over);
	return err ? err : n->v->w.control < 0 ? ERR_CLOSED : ipc_send(n->v->w.control, BACKEND_QUOTE, &b, NULL, 0);
}

/* The next one, if nothing is on its way. */
static void node_ask(struct attest_node *n)
{
	int err;

	while (n->queue && !n->asked) {
		err = send_quote(n, n->queue);
		n->asked = !err;
		n->first_gave_up = false;
		if (err)
			attest_end(node_take(n), err, "its backend cannot be asked, and is perhaps being replaced; ask again", NULL);
	}
}

static void on_deadline(void *arg)
{
	struct attest_request *r = arg;
	struct attest_node *n = node_find(r->m->attesting, r->v);
	struct attest_request **p = &n->queue;

	while (*p != r)
		p = &(*p)->next;
	if (p == &n->queue)
		n->first_gave_up = true; /* what its backend answers is nobody's */
	*p = r->next;
	n->waiting--;
	attest_end(r, ERR_TIMEOUT, "a command that its guest has in hand takes too long; ask again", NULL);
}

static const char *refusal(int code)
{
	switch (code) {
	case ERR_NOTFOUND:
		return "its TPM has no attestation key that is ours: the firmware of its guest has removed it; vtpmctl certify puts it back while it is "
		       "off";
	case ERR_WRONG_STATE:
		return "its TPM is off, or its guest's firmware has not started it up";
	case ERR_BUSY:
		return "the hardware's hash sequence is under way; ask again";
	default:
		return "its TPM does not quote";
	}
}

static void take(struct attest_request *r, const struct backend_quoted *q)
{
	loop_timer_cancel(&r->m->loop, &r->deadline);
	r->v = NULL;
	memcpy(r->attest, q->attest, q->attest_len);
	memcpy(r->sig, q->sig, q->sig_len);
	memcpy(r->pcrs, q->pcrs, sizeof(r->pcrs));
	r->attest_len = q->attest_len;
	r->sig_len = q->sig_len;
	attest_bind(r->m->attesting, r);
}

int attest_quoted(struct vtpm *v, struct ipc_msg *msg)
{
	struct attest_node *n = node_find(v->m->attesting, v);
	struct attest_request *r;
	struct backend_quoted q;
	int err = backend_quoted_decode(&msg->body, &q);

	if (err || !n || !n->asked)
		return err ? err : ERR_PROTO;
	n->asked = false;
	r = n->first_gave_up ? NULL : node_take(n);
	if (r && q.code)
		attest_end(r, q.code, refusal(q.code), NULL);
	else if (r)
		take(r, &q);
	node_ask(n);
	return 0;
}

void attest_backend_gone(struct vtpm *v)
{
	struct attest_node **p = v->m->attesting ? &v->m->attesting->nodes : NULL;
	struct attest_node *n;

	attest_guest_gone(v);
	while (p && *p && (*p)->v != v)
		p = &(*p)->next;
	if (!p || !*p)
		return;
	n = *p;
	*p = n->next;
	while (n->queue)
		attest_end(node_take(n), ERR_BUSY, "its backend has ended; ask again", NULL);
	free(n);
}

/* ---- the method ---- */

static bool pay(struct attest_node *n)
{
	const uint64_t now = loop_now_ms();

	n->tokens += (double)(now - n->tokens_ms) * ATTEST_RATE / 1000.0;
	n->tokens_ms = now;
	if (n->tokens > ATTEST_RATE)
		n->tokens = ATTEST_RATE;
	if (n->tokens < 1.0 || n->waiting >= ATTEST_WAITING)
		return false;
	n->tokens -= 1.0;
	return true;
}

static int nonce_param(struct call *c, json_t *params, uint8_t nonce[static EVIDENCE_NONCE_MAX], size_t *len)
{
	const char *text = json_string_value(json_object_get(params, "nonce"));

	*len = text ? strlen(text) / 2 : 0;
	if (text && strlen(text) % 2 == 0 && *len >= EVIDENCE_NONCE_MIN && *len <= EVIDENCE_NONCE_MAX && !hex_decode(text, nonce, *len))
		return 0;
	call_error(c, ERR_INVAL, "nonce must be %u to %u bytes in hex", EVIDENCE_NONCE_MIN, EVIDENCE_NONCE_MAX);
	return ERR_INVAL;
}

/* What the store and the journal have of it. */
static int identify(struct mgr *m, struct attest_request *r, const struct store_vtpm *row, const char **why)
{
	const struct leaf *leaf = leaves_find(&m->continuity.leaves, row->uuid);
	int err;

	*why = "the journal does not vouch for it";
	if (!leaf || row->quarantine[0])
		return ERR_QUARANTINE;
	r->binding.epoch = leaf->l.epoch;
	err = certs_load(m->store, &leaf->l, row, &r->certs);
	*why = err == ERR_AUTH ? CERTS_NOT_VOUCHED : err_text(err);
	if (err)
		return err == ERR_AUTH ? ERR_QUARANTINE : err;
	*why = "it has no certified attestation key, or no endorsement key that can be seen; see vtpmctl show";
	if (!certs_issued(&leaf->l.certs))
		return ERR_NOTFOUND;
	return attest_identify(r, row);
}

static void ask(struct attesting *a, struct vtpm *v, struct attest_request *r)
{
	struct attest_node *n = node_of(a, v);
	struct attest_request **p;

	if (!n) {
		attest_end(r, ERR_NOMEM, "out of memory", NULL);
		return;
	}
	if (!r->by_guest && !pay(n)) {
		attest_end(r, ERR_BUSY, "it was asked too often; ask again in a moment", NULL);
		return;
	}
	for (p = &n->queue; *p; p = &(*p)->next)
		;
	*p = r;
	n->waiting++;
	r->v = v;
	loop_timer_set(&r->m->loop, &r->deadline, ATTEST_TIMEOUT_MS, on_deadline, r);
	node_ask(n);
}

void attest_begin(struct mgr *m, const struct store_vtpm *row, struct attest_request *r)
{
	struct attesting *a = attesting_of(m);
	struct vtpm *v = vtpm_find(m, row->uuid);
	const char *why = "";
	int err;

	r->m = m;
	r->binding.nonce = r->nonce;
	snprintf(r->name, sizeof(r->name), "%s", row->name);
	if (!a) {
		attest_end(r, ERR_NOMEM, "out of memory", NULL);
	} else if (m->draining || !v || v->state != VTPM_RUNNING || v->standby) {
		attest_end(r, v && v->resuming ? ERR_BUSY : ERR_WRONG_STATE, v && v->resuming ? "it is being resumed; ask again" : "it is not running", NULL);
	} else {
		err = identify(m, r, row, &why);
		if (!err && v->launch)
			err = attest_launched(r, v->launch->digest, v->launch->log, v->launch->len);
		if (err)
			attest_end(r, err, why, NULL);
		else
			ask(a, v, r);
	}
}

/* Base64, as text. */
static json_t *text_of(const struct buf *b)
{
	char *text = malloc((b->len + 2) / 3 * 4 + 1);
	json_t *j = NULL;

	if (text) {
		EVP_EncodeBlock((unsigned char *)text, b->data, (int)b->len);
		j = json_string(text);
	}
	free(text);
	return j;
}

static void on_done(struct attest_request *r, int code, const char *text, const struct buf *evidence)
{
	json_t *j = evidence ? text_of(evidence) : NULL;

	if (j)
		call_reply(r->call, json_pack("{s:o}", "evidence", j));
	else
		call_error(r->call, evidence ? ERR_NOMEM : code, "%s: no evidence: %s", r->name, evidence ? err_text(ERR_NOMEM) : text);
}

void method_attest(void *arg, struct call *c, json_t *params)
{
	struct attest_request *r = calloc(1, sizeof(*r));
	struct store_vtpm *row = NULL;

	if (!r)
		call_error(c, ERR_NOMEM, "out of memory");
	else if (!nonce_param(c, params, r->nonce, &r->binding.nonce_len))
		row = row_of(arg, c, params);
	if (row) {
		r->call = c;
		r->done = on_done;
		attest_begin(arg, row, r);
	} else {
		free(r);
	}
	free(row);
}

json_t *attest_describe(const struct mgr *m)
{
	const struct attesting *a = m->attesting;
	int waiting = 0, guests = 0;

	for (const struct vtpm *v = m->vtpms; v; v = v->next)
		guests += v->asking != NULL;
	for (const struct attest_request *r = a ? a->ready : NULL; r; r = r->next)
		waiting++;
	return json_pack("{s:I, s:I, s:i, s:I, s:i}", "evidence", (json_int_t)(a ? a->evidence : 0), "by_guests",
			 (json_int_t)(a ? a->by_guests : 0), "guests_waiting", guests, "host_quotes", (json_int_t)(a ? a->host_quotes : 0), "waiting", waiting);
}

void attest_close(struct mgr *m)
{
	struct attesting *a = m->attesting;

	if (!a)
		return;
	while (a->nodes)
		attest_backend_gone(a->nodes->v);
	attest_host_close(a);
	merkle_free(&a->tree);
	free(a);
	m->attesting = NULL;
}

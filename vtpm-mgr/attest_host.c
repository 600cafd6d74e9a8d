/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One quote of the physical TPM for many vTPMs:
 *
 *	attest_bind	what their quotes are there of; the first one opens the window
 *	host_begin	its time is over, and so is the quote before: the identity, if this keeper's is not known
 *	host_wait	the commit that is under way
 *	host_ask	bindings, root; the keeper
 *	host_done	the evidence, a few at a time
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/attest.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/keeper_client.h"

static void host_next(struct attesting *a);

static void end_all(struct attest_request **list, int code, const char *text)
{
	struct attest_request *r;

	while (*list) {
		r = *list;
		*list = r->next;
		attest_end(r, code, text, NULL);
	}
}

/* It came to nothing for those that it was for. Guests can have that come as often as they like: the log has it once. */
static void host_failed(struct attesting *a, int code, const char *text)
{
	if (code != a->told)
		log_warn("the physical TPM does not speak for the host: %s (%s)", text, err_text(code));
	a->told = code;
	end_all(&a->flying, code, text);
	a->going = false;
	host_next(a);
}

/* That it was asked made it load, or even make, a key: one that keeps failing is not to do that as often as guests like. */
static void chip_failed(struct attesting *a, int code, const char *text)
{
	a->id.keeper = 0; /* perhaps it is the record that is of no use */
	a->rest_ms = a->rest_ms ? 2 * a->rest_ms : ATTEST_REST_MIN_MS;
	if (a->rest_ms > ATTEST_REST_MAX_MS)
		a->rest_ms = ATTEST_REST_MAX_MS;
	a->rest_until = loop_now_ms() + a->rest_ms;
	snprintf(a->why, sizeof(a->why), "%s", text[0] ? text : err_text(code));
	host_failed(a, code, text);
}

/* Who asks meanwhile is told what those were told who had it asked. */
static void host_rests(struct attesting *a)
{
	const unsigned left = (unsigned)((a->rest_until - loop_now_ms() + 999) / 1000);
	char text[TEXT_MAX + 40];

	snprintf(text, sizeof(text), "%s; again in %u s", a->why, left);
	host_failed(a, a->told, text);
}

/* ---- the evidence ---- */

static void finish(struct attesting *a, struct attest_request *r, const struct host_quote *q)
{
	const size_t cap = EVIDENCE_CORE_MAX + (r->by_guest ? 0 : EVIDENCE_GUEST_LOG_MAX + a->id.log_len);
	uint8_t *mem = malloc(cap);
	struct buf out;
	int err = ERR_NOMEM;

	if (mem) {
		buf_init(&out, mem, cap);
		err = attest_make(r, &a->id, &a->tree, a->made_at, q, &out);
	}
	a->evidence += !err;
	a->by_guests += !err && r->by_guest;
	attest_end(r, err, "", err ? NULL : &out);
	free(mem);
}

/* Commits do not wait until hundreds of them are encoded. */
static void host_done(void *arg)
{
	struct attesting *a = arg;
	struct host_quote q;
	struct buf b;
	bool whole;

	buf_wrap(&b, a->quote, a->quote_len);
	whole = !host_quote_decode(&b, &q);
	for (unsigned i = 0; whole && a->made && i < ATTEST_SLICE; i++, a->made_at++) {
		struct attest_request *r = a->made;

		a->made = r->next;
		finish(a, r, &q);
	}
	if (a->made && whole) {
		loop_timer_set(&a->m->loop, &a->slice, 0, host_done, a);
		return;
	}
	end_all(&a->made, ERR_PROTO, "the keeper's answer is malformed");
	a->going = false;
	host_next(a);
}

/* ---- the keeper ---- */

static void on_quote(void *arg, const struct keeper_reply *reply)
{
	struct attesting *a = arg;

	if (reply->code || reply->result_len > sizeof(a->quote)) {
		chip_failed(a, reply->code ? reply->code : ERR_PROTO, reply->text);
		return;
	}
	memcpy(a->quote, reply->result, reply->result_len);
	a->quote_len = reply->result_len;
	a->host_quotes++;
	a->told = 0;
	a->rest_ms = a->rest_until = 0;
	a->made = a->flying;
	a->flying = NULL;
	a->made_at = 0;
	host_done(a);
}

/* Those that are still what they were when they were quoted, bound; hashes: of their leaves. */
static size_t bind_all(struct attesting *a, uint8_t hashes[][DIGEST_LEN])
{
	struct continuity *c = &a->m->continuity;
	struct attest_request **p = &a->flying;
	size_t n = 0;

	while (*p) {
		struct attest_request *r = *p;
		const struct leaf *leaf = leaves_find(&c->leaves, r->binding.uuid);
		int err = !leaf || leaf->l.epoch != r->binding.epoch ? ERR_BUSY : 0;

		if (!err)
			err = attest_binding(r, &a->id, &leaf->l, c->view.a, &a->tree, hashes[n]);
		if (!err) {
			n++;
			p = &r->next;
			continue;
		}
		*p = r->next;
		attest_end(r, err, err == ERR_BUSY ? "it was changed meanwhile; ask again" : "", NULL);
	}
	return n;
}

static uint32_t host_mask(struct mgr *m)
{
	const struct group *g = group_find(m, DEFAULT_GROUP);

	return HOST_PCRS | (g ? g->mask : 0);
}

static int ask_quote(struct attesting *a, uint8_t hashes[][DIGEST_LEN])
{
	struct host_quote_request q = { .record = a->id.record, .record_len = a->id.record_len, .mask = host_mask(a->m) };
	uint8_t mem[KEEPER_HOST_QUOTE_MAX];
	size_t n = bind_all(a, hashes);
	struct buf b;
	int err;

	if (!n)
		return ERR_NOTFOUND;
	err = merkle_build(&a->tree, n, (const uint8_t(*)[DIGEST_LEN])hashes);
	if (!err)
		err = merkle_root(&a->tree, q.root);
	q.leaves = (uint32_t)n;
	buf_init(&b, mem, sizeof(mem));
	if (!err)
		err = host_quote_request_encode(&b, &q);
	/* Never asked of another keeper: by then A holds something else. */
	if (!err)
		keeper_ask_once(a->m, KEEPER_HOST_QUOTE, &b, on_quote, a);
	return err;
}

static void host_ask(void *arg)
{
	struct attesting *a = arg;
	struct continuity *c = &a->m->continuity;
	char why[TEXT_MAX + 1] = "a commit is under way";
	uint8_t(*hashes)[DIGEST_LEN];
	int err = c->state != CONTINUITY_OPEN ? continuity_why(a->m, why) : c->batch ? ERR_BUSY : 0;

	if (err) {
		host_failed(a, err, why);
		return;
	}
	hashes = calloc(ATTEST_BATCH, DIGEST_LEN);
	err = hashes ? ask_quote(a, hashes) : ERR_NOMEM;
	free(hashes);
	if (err == ERR_NOTFOUND) { /* none of them was left */
		a->going = false;
		host_next(a);
	} else if (err) {
		host_failed(a, err, err_text(err));
	}
}

static void host_wait(struct attesting *a)
{
	changes_wait(a->m, host_ask, a);
}

/* ---- the identity ---- */

static int log_look(struct attesting *a)
{
	const struct bootlog *l = &a->m->bootlog;

	a->id.log = l->now && l->now_len && l->now_len <= EVIDENCE_HOST_LOG_MAX ? l->now : NULL;
	a->id.log_len = a->id.log ? l->now_len : 0;
	return a->id.log ? leaf_hash(a->id.log, a->id.log_len, a->id.log_hash) : 0;
}

/* The certificate of the EK that its maker has left, if he has. */
static void on_ek(void *arg, const struct keeper_reply *reply)
{
	struct attesting *a = arg;
	const uint8_t *pub, *cert;
	size_t pub_len, cert_len = 0;
	struct buf b;
	int err = reply->code == ERR_TPM ? 0 : reply->code; /* a TPM need not have an EK of that kind, or may keep it to itself */

	buf_wrap(&b, reply->result, reply->result_len);
	if (!reply->code && (buf_get_var(&b, PUBLIC_MAX, &pub, &pub_len) || buf_get_var(&b, CERT_MAX, &cert, &cert_len)))
		err = ERR_PROTO;
	if (cert_len)
		memcpy(a->id.ek_cert, cert, cert_len);
	a->id.ek_cert_len = cert_len;
	if (!err)
		err = log_look(a);
	if (err) {
		chip_failed(a, err, reply->text);
		return;
	}
	a->id.keeper = a->m->keeper.number;
	host_wait(a);
}

static void ask_ek(struct attesting *a, uint8_t kind, keeper_done *done)
{
	uint8_t mem[1];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u8(&b, kind))
		host_failed(a, ERR_RANGE, "");
	else
		keeper_ask(a->m, KEEPER_ENROLL_EK, &b, done, a);
}

/* ECC where it has one with a certificate, else RSA. */
static void on_ecc(void *arg, const struct keeper_reply *reply)
{
	const uint8_t *pub, *cert;
	size_t pub_len, cert_len = 0;
	struct buf b;

	buf_wrap(&b, reply->result, reply->result_len);
	if (!reply->code && !buf_get_var(&b, PUBLIC_MAX, &pub, &pub_len) && !buf_get_var(&b, CERT_MAX, &cert, &cert_len) && cert_len)
		on_ek(arg, reply);
	else
		ask_ek(arg, EK_RSA2048, on_ek);
}

static void on_record(void *arg, int code, const char *text, const uint8_t *record, size_t len)
{
	struct attesting *a = arg;
	struct buf ca;

	if (!code && keeper_ca_request(a->m, a->id.ca, &ca))
		code = ERR_AUTH;
	if (code) {
		chip_failed(a, code, text);
		return;
	}
	a->id.ca_len = ca.len;
	memcpy(a->id.record, record, len);
	a->id.record_len = len;
	ask_ek(a, EK_ECC_P256, on_ecc);
}

/* ---- the window ---- */

static void host_begin(struct attesting *a)
{
	struct attest_request **end = &a->flying;
	unsigned n = 0;

	a->going = true;
	for (; a->ready && n < ATTEST_BATCH; n++) {
		*end = a->ready;
		a->ready = a->ready->next;
		end = &(*end)->next;
	}
	*end = NULL;
	if (!a->ready) {
		a->ready_end = &a->ready;
		a->window_over = false;
	}
	if (loop_now_ms() < a->rest_until)
		host_rests(a);
	else if (a->id.keeper == a->m->keeper.number && a->m->keeper.state == KEEPER_READY)
		host_wait(a);
	else
		enroll_record(a->m, NULL, on_record, a);
}

static void host_next(struct attesting *a)
{
	if (a->ready && a->window_over && !a->going)
		host_begin(a);
}

static void on_window(void *arg)
{
	struct attesting *a = arg;

	a->window_over = true;
	host_next(a);
}

void attest_bind(struct attesting *a, struct attest_request *r)
{
	r->next = NULL;
	if (!a->ready && !a->window_over)
		loop_timer_set(&a->m->loop, &a->window, ATTEST_WINDOW_MS, on_window, a);
	*a->ready_end = r;
	a->ready_end = &r->next;
}

void attest_host_close(struct attesting *a)
{
	loop_timer_cancel(&a->m->loop, &a->window);
	loop_timer_cancel(&a->m->loop, &a->slice);
	changes_wait_no_more(a->m, a);
	end_all(&a->flying, ERR_CLOSED, "the manager is stopping");
	end_all(&a->made, ERR_CLOSED, "the manager is stopping");
	end_all(&a->ready, ERR_CLOSED, "the manager is stopping");
}

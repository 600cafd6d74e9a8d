/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Crl: the list of revoked certificates, signed by the CA key in the physical TPM. It is made when somebody asks, kept in memory, and
 * made anew when something was revoked since, or a day has gone.
 *
 *	CA open -> what is revoked -> the number, in the store -> CRL_BEGIN -> CRL_ADD … -> CRL_SIGN -> CRL_READ …
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vtpm-mgr/certs.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/proto/enroll.h"

#define DAY_S	 (24 * 3600)
#define UNTIL_S	 (7 * DAY_S)
#define NUMBER	 "crl-number"

struct crl_wait {
	struct crl_wait *next;
	struct call *call;
};
struct crl_list {
	uint8_t digest[DIGEST_LEN]; /* of what is revoked in it */
	int64_t made;		    /* 0: there is none */
	uint64_t number;
	size_t n, len;
	uint8_t *der;
};
struct crl_making {
	struct mgr *m;
	struct crl_wait *waits; /* who asked for it, until it is done */
	bool busy;
	struct crl_list now, next;
	size_t at; /* what was sent or read */
	struct revoked *revoked;
};

static struct crl_making *making(struct mgr *m)
{
	if (!m->crl) {
		m->crl = calloc(1, sizeof(*m->crl));
		if (m->crl)
			m->crl->m = m;
	}
	return m->crl;
}

void crl_forget(struct mgr *m)
{
	struct crl_making *c = m->crl;

	if (!c)
		return;
	while (c->waits) {
		struct crl_wait *w = c->waits;

		c->waits = w->next;
		free(w);
	}
	free(c->now.der);
	free(c->next.der);
	free(c->revoked);
	free(c);
	m->crl = NULL;
}

static json_t *describe_crl(const struct crl_list *l)
{
	return json_pack("{s:o, s:I, s:I, s:o, s:o}", "crl", describe_pem("X509 CRL", l->der, l->len), "number", (json_int_t)l->number, "revoked",
			 (json_int_t)l->n, "made", describe_time(l->made), "until", describe_time(l->made + UNTIL_S));
}

static void crl_end(struct crl_making *c, int code, const char *text)
{
	struct crl_wait *list = c->waits;

	if (!code) {
		free(c->now.der);
		c->now = c->next;
	} else {
		free(c->next.der);
	}
	c->next = (struct crl_list){ 0 };
	free(c->revoked);
	c->revoked = NULL;
	c->waits = NULL;
	c->busy = false;
	while (list) {
		struct crl_wait *w = list;

		list = w->next;
		if (code)
			call_error(w->call, code, "the list cannot be made: %s", text && text[0] ? text : err_text(code));
		else
			call_reply(w->call, describe_crl(&c->now));
		free(w);
	}
}

/* ---- what is revoked ---- */

/* In the order in which they were revoked; when and why do not change. */
static int collect(struct crl_making *c)
{
	uint8_t *mem;
	struct buf b;
	int err = revocations_load(c->m, CRL_ENTRIES_MAX, &c->revoked, &c->next.n);

	mem = err ? NULL : malloc(c->next.n * SERIAL_LEN + 1);
	if (!mem)
		return err ? err : ERR_NOMEM;
	buf_init(&b, mem, c->next.n * SERIAL_LEN);
	for (size_t i = 0; i < c->next.n && !err; i++)
		err = buf_put_bytes(&b, c->revoked[i].serial, SERIAL_LEN);
	if (!err)
		err = leaf_hash(mem, b.len, c->next.digest);
	free(mem);
	return err;
}

/* ---- the keeper ---- */

static void read_more(struct crl_making *c);

static void on_read(void *arg, const struct keeper_reply *r)
{
	struct crl_making *c = arg;

	if (r->code || !r->result_len || r->result_len > c->next.len - c->at) {
		crl_end(c, r->code ? r->code : ERR_PROTO, r->text);
		return;
	}
	memcpy(c->next.der + c->at, r->result, r->result_len);
	c->at += r->result_len;
	read_more(c);
}

static void read_more(struct crl_making *c)
{
	uint8_t mem[4];
	struct buf b;

	if (c->at == c->next.len) {
		crl_end(c, 0, NULL);
		return;
	}
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u32le(&b, (uint32_t)c->at))
		crl_end(c, ERR_RANGE, NULL);
	else
		keeper_ask(c->m, KEEPER_CRL_READ, &b, on_read, c);
}

static void on_signed(void *arg, const struct keeper_reply *r)
{
	struct crl_making *c = arg;
	uint32_t len = 0;
	struct buf b;
	int err = r->code;

	buf_wrap(&b, r->result, r->result_len);
	if (!err && (buf_get_u32le(&b, &len) || !len || len > CRL_SIZE_MAX))
		err = ERR_PROTO;
	if (!err) {
		c->next.der = malloc(len);
		c->next.len = len;
		err = c->next.der ? 0 : ERR_NOMEM;
	}
	c->at = 0;
	if (err)
		crl_end(c, err, r->text);
	else
		read_more(c);
}

static void add_more(struct crl_making *c);

static void on_added(void *arg, const struct keeper_reply *r)
{
	if (r->code)
		crl_end(arg, r->code, r->text);
	else
		add_more(arg);
}

static void add_more(struct crl_making *c)
{
	uint8_t mem[CRL_ADD_N * REVOKED_SIZE];
	struct buf b;
	int err = 0;

	buf_init(&b, mem, sizeof(mem));
	for (unsigned i = 0; i < CRL_ADD_N && c->at < c->next.n && !err; i++)
		err = revoked_encode(&b, &c->revoked[c->at++]);
	if (err)
		crl_end(c, err, NULL);
	else if (b.len)
		keeper_ask(c->m, KEEPER_CRL_ADD, &b, on_added, c);
	else
		keeper_ask(c->m, KEEPER_CRL_SIGN, NULL, on_signed, c);
}

/* ---- its beginning ---- */

/* Rises with each, over restarts, too (RFC 5280, 5.2.3); and, as it is no less than the time, over a store that was made of a backup. */
static int next_number(struct crl_making *c)
{
	uint8_t mem[8];
	size_t len = sizeof(mem);
	struct buf b;

	if (!store_meta_get(c->m->store, NUMBER, mem, &len)) {
		buf_wrap(&b, mem, len);
		if (buf_get_u64le(&b, &c->next.number) || c->next.number >= INT64_MAX)
			return ERR_AUTH;
	}
	c->next.number++;
	if (c->next.number < (uint64_t)c->next.made)
		c->next.number = (uint64_t)c->next.made;
	buf_init(&b, mem, sizeof(mem));
	return buf_put_u64le(&b, c->next.number) ? ERR_RANGE : store_meta_put(c->m->store, NUMBER, mem, sizeof(mem));
}

static bool is_current(const struct crl_making *c)
{
	return c->now.made && c->next.made >= c->now.made && c->next.made - c->now.made < DAY_S &&
	       memcmp(c->now.digest, c->next.digest, DIGEST_LEN) == 0;
}

static void begin(struct crl_making *c)
{
	uint8_t mem[24];
	struct buf b;
	int err = next_number(c);

	buf_init(&b, mem, sizeof(mem));
	c->at = 0;
	if (!err && (buf_put_u64le(&b, c->next.number) || buf_put_u64le(&b, (uint64_t)c->next.made) ||
		     buf_put_u64le(&b, (uint64_t)(c->next.made + UNTIL_S))))
		err = ERR_RANGE;
	if (err)
		crl_end(c, err, store_why(c->m->store));
	else
		keeper_ask(c->m, KEEPER_CRL_BEGIN, &b, on_added, c);
}

static void on_ca(void *arg, int code, const char *text)
{
	struct crl_making *c = arg;

	if (!code)
		code = collect(c);
	c->next.made = time(NULL);
	if (code) {
		crl_end(c, code, text[0] ? text : code == ERR_QUARANTINE ? "the journal does not vouch for what the store has of it: it was changed" : err_text(code));
	} else if (is_current(c)) {
		c->next = c->now;
		c->now.der = NULL;
		crl_end(c, 0, NULL);
	} else {
		begin(c);
	}
}

void method_crl(void *arg, struct call *c, json_t *params)
{
	struct crl_making *making_of = making(arg);
	struct crl_wait *w = making_of ? malloc(sizeof(*w)) : NULL;

	(void)params;
	if (!w) {
		call_error(c, ERR_NOMEM, "out of memory");
		return;
	}
	*w = (struct crl_wait){ .next = making_of->waits, .call = c };
	making_of->waits = w;
	if (making_of->busy)
		return;
	making_of->busy = true;
	keeper_open_ca(arg, on_ca, making_of);
}

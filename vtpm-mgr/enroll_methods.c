/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Enroll and EnrollActivate: what somebody who is not here needs to know of the physical TPM to trust the CA, and his challenge to it.
 *
 *	the record (enroll_record.c) -> ENROLL_EK of each kind | ACTIVATE
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "vtpm-mgr/enroll.h"
#include "vtpm-mgr/proto/enroll.h"

struct enrolling {
	struct mgr *m;
	struct call *call;
	size_t blob_len; /* 0: what is asked for is to be shown */
	uint8_t blob[CREDENTIAL_MAX];
	size_t record_len;
	uint8_t record[ENROLMENT_MAX];
	uint8_t kind;
	json_t *eks;
};

static void enroll_end(struct enrolling *e, int code, const char *text, json_t *reply)
{
	if (e->blob_len)
		mgr_audit(e->m, e->call, "enroll-activate", NULL, code, NULL);
	if (code)
		call_error(e->call, code, "%s", text[0] ? text : err_text(code));
	else
		call_reply(e->call, reply);
	json_decref(e->eks);
	free(e);
}

/* ---- what is shown ---- */

static json_t *hex(const uint8_t *p, size_t n)
{
	char *text = malloc(2 * n + 1);
	json_t *j = text && !hex_encode(p, n, text, 2 * n + 1) ? json_string(text) : json_string("");

	free(text);
	return j;
}

/* The Name of an object whose nameAlg is SHA-256 (Part 1, 16): of its public area, which its size stands before. */
static json_t *name_of(const uint8_t *pub, size_t len)
{
	uint8_t name[2 + DIGEST_LEN] = { 0x00, 0x0b };

	return len < 2 || leaf_hash(pub + 2, len - 2, name + 2) ? json_string("") : hex(name, sizeof(name));
}

static json_t *describe_creation(const struct enrolment *r)
{
	return json_pack("{s:o, s:o, s:o}", "data", hex(r->creation, r->creation_len), "attest", hex(r->creation_attest, r->creation_attest_len),
			 "signature", hex(r->creation_sig, r->creation_sig_len));
}

static json_t *describe(struct enrolling *e, const struct enrolment *r)
{
	uint8_t mem[CA_KEY_MAX];
	struct ca_key ca;
	struct buf b;

	if (keeper_ca_request(e->m, mem, &b) || ca_key_decode(&b, &ca))
		return NULL;
	return json_pack("{s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o, s:o, s:o, s:o}, s:O}", "ak", "public", hex(r->pub, r->pub_len), "public_pem",
			 describe_spki(r->pub, r->pub_len), "name", name_of(r->pub, r->pub_len), "ca", "certificate",
			 describe_pem("CERTIFICATE", ca.cert, ca.cert_len), "public", hex(ca.pub, ca.pub_len), "name", name_of(ca.pub, ca.pub_len),
			 "attest", hex(r->attest, r->attest_len), "signature", hex(r->sig, r->sig_len), "creation", describe_creation(r), "eks", e->eks);
}

static void show(struct enrolling *e)
{
	struct enrolment r;
	json_t *j = NULL;
	struct buf b;

	buf_wrap(&b, e->record, e->record_len);
	if (!enrolment_decode(&b, &r))
		j = describe(e, &r);
	enroll_end(e, j ? 0 : ERR_AUTH, "what the store has of the CA is damaged", j);
}

static void ask_ek(struct enrolling *e);

static void on_ek(void *arg, const struct keeper_reply *reply)
{
	struct enrolling *e = arg;
	const uint8_t *pub, *cert;
	size_t pub_len, cert_len;
	struct buf b;

	buf_wrap(&b, reply->result, reply->result_len);
	if (reply->code == ERR_TPM) { /* a TPM need not have both kinds */
		log_warn("the physical TPM has no %s endorsement key: %s", e->kind == EK_RSA2048 ? "RSA-2048" : "ECC P-256", reply->text);
	} else if (reply->code || buf_get_var(&b, PUBLIC_MAX, &pub, &pub_len) || buf_get_var(&b, CERT_MAX, &cert, &cert_len)) {
		enroll_end(e, reply->code ? reply->code : ERR_PROTO, reply->text, NULL);
		return;
	} else {
		json_array_append_new(e->eks, describe_key(ek_words[e->kind], pub, pub_len, cert, cert_len));
	}
	e->kind++;
	ask_ek(e);
}

static void ask_ek(struct enrolling *e)
{
	uint8_t mem[1];
	struct buf b;

	if (e->kind == EK_KINDS) {
		show(e);
		return;
	}
	buf_init(&b, mem, sizeof(mem));
	if (buf_put_u8(&b, e->kind))
		enroll_end(e, ERR_RANGE, "", NULL);
	else
		keeper_ask(e->m, KEEPER_ENROLL_EK, &b, on_ek, e);
}

/* ---- the challenge ---- */

static void on_activated(void *arg, const struct keeper_reply *reply)
{
	struct enrolling *e = arg;

	enroll_end(e, reply->code, reply->text, reply->code ? NULL : json_pack("{s:o}", "credential", hex(reply->result, reply->result_len)));
}

static void ask_activate(struct enrolling *e)
{
	uint8_t mem[KEEPER_ACTIVATE_MAX];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (buf_put_var(&b, e->record, e->record_len) || buf_put_var(&b, e->blob, e->blob_len))
		enroll_end(e, ERR_RANGE, "", NULL);
	else
		keeper_ask(e->m, KEEPER_ACTIVATE, &b, on_activated, e);
}

/* ---- the record ---- */

static void on_record(void *arg, int code, const char *text, const uint8_t *record, size_t len)
{
	struct enrolling *e = arg;

	if (code) {
		enroll_end(e, code, text, NULL);
		return;
	}
	memcpy(e->record, record, len);
	e->record_len = len;
	if (e->blob_len)
		ask_activate(e);
	else
		ask_ek(e);
}

static struct enrolling *enroll_begin(struct mgr *m, struct call *c)
{
	struct enrolling *e = calloc(1, sizeof(*e));

	if (!e) {
		call_error(c, ERR_NOMEM, "out of memory");
		return NULL;
	}
	e->m = m;
	e->call = c;
	e->eks = json_array();
	return e;
}

void method_enroll(void *arg, struct call *c, json_t *params)
{
	struct enrolling *e = enroll_begin(arg, c);

	(void)params;
	if (e)
		enroll_record(arg, c, on_record, e);
}

void method_enroll_activate(void *arg, struct call *c, json_t *params)
{
	const char *text = json_string_value(json_object_get(params, "blob"));
	size_t n = text ? strlen(text) / 2 : 0;
	struct enrolling *e;

	if (!text || !n || n > CREDENTIAL_MAX || strlen(text) % 2) {
		call_error(c, ERR_INVAL, "blob must be what tpm2_makecredential has written, in hex");
		return;
	}
	e = enroll_begin(arg, c);
	if (!e)
		return;
	e->blob_len = n;
	if (hex_decode(text, e->blob, n))
		enroll_end(e, ERR_INVAL, "blob must be what tpm2_makecredential has written, in hex", NULL);
	else
		enroll_record(arg, c, on_record, e);
}

/* Behind the certificate of the CA of now those of CA keys that went with their chips: what they have certified verifies as before. */
static json_t *with_former_cas(struct mgr *m, json_t *now)
{
	uint8_t mem[STORE_META_MAX];
	size_t len = sizeof(mem), n;
	const uint8_t *der;
	struct buf b;

	if (store_meta_get(m->store, "former-cas", mem, &len))
		return now;
	buf_wrap(&b, mem, len);
	while (!buf_get_var(&b, CERT_MAX, &der, &n)) {
		json_t *one = describe_pem("CERTIFICATE", der, n), *all = json_sprintf("%s%s", json_string_value(now), json_string_value(one));

		json_decref(one);
		json_decref(now);
		now = all;
	}
	return now;
}

void method_ca(void *arg, struct call *c, json_t *params)
{
	struct mgr *m = arg;
	uint8_t mem[CA_KEY_MAX];
	size_t len = sizeof(mem);
	struct ca_key ca;
	struct buf b;
	int err = store_meta_get(m->store, "ca", mem, &len);

	(void)params;
	buf_wrap(&b, mem, len);
	if (!err)
		err = ca_key_decode(&b, &ca);
	if (err)
		call_error(c, err, "the CA's row in the store cannot be read");
	else
		call_reply(c, json_pack("{s:o}", "certificate",
					with_former_cas(m, describe_pem("CERTIFICATE", ca.cert, ca.cert_len))));
}

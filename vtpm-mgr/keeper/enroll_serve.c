/* SPDX-License-Identifier: BSD-2-Clause */
/* The requests of vtpm-mgr/proto/enroll.h. */
#include <string.h>

#include "lib/log.h"
#include "lib/secmem.h"
#include "vtpm-mgr/keeper/enroll.h"
#include "vtpm-mgr/keeper/serve.h"

int enroll_record_decode(const uint8_t *p, size_t len, struct enrolment *e)
{
	struct buf b;

	buf_wrap(&b, p, len);
	return enrolment_decode(&b, e) || buf_left(&b) ? ERR_AUTH : 0;
}

int serve_enroll(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[ENROLMENT_MAX];
	struct enrolment_blob blob;
	struct enrolment e;
	const uint8_t *record;
	struct buf b;
	uint64_t id;
	size_t len;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_var(&m->body, ENROLMENT_MAX, &record, &len) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = enroll_record_decode(record, len, &e);
	if (!r)
		r = enroll_check(&k->ca, &e);
	if (r == ERR_AUTH) {
		k->tpm.text[0] = '\0';
		r = enroll_new(&k->ca, &blob, &e);
	}
	if (!r)
		r = enrolment_encode(&b, &e);
	return serve_reply(k, id, r, mem, b.len);
}

int serve_enroll_ek(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mem[8 + PUBLIC_MAX + CERT_MAX], pub[PUBLIC_MAX], cert[CERT_MAX], kind;
	size_t pub_len = 0, cert_len = 0;
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_u8(&m->body, &kind) || kind >= EK_KINDS || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = enroll_ek(&k->tpm, kind, pub, &pub_len, cert, &cert_len);
	if (!r && (buf_put_var(&b, pub, pub_len) || buf_put_var(&b, cert, cert_len)))
		r = ERR_RANGE;
	return serve_reply(k, id, r, mem, b.len);
}

int serve_activate(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	const uint8_t *record, *blob;
	uint8_t secret[SECRET_MAX];
	size_t record_len, len, secret_len = 0;
	struct enrolment e;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_var(&m->body, ENROLMENT_MAX, &record, &record_len) ||
	    buf_get_var(&m->body, CREDENTIAL_MAX, &blob, &len) || buf_left(&m->body))
		return ERR_PROTO;
	r = enroll_record_decode(record, record_len, &e);
	if (!r)
		r = enroll_activate(&k->ca, &e, blob, len, secret, &secret_len);
	r = serve_reply(k, id, r, secret, secret_len);
	secmem_wipe(secret, sizeof(secret));
	return r;
}

/* ---- the list of revoked certificates ---- */

int serve_crl_begin(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint64_t id, number, from, until;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_get_u64le(&m->body, &number) || buf_get_u64le(&m->body, &from) ||
	    buf_get_u64le(&m->body, &until) || buf_left(&m->body))
		return ERR_PROTO;
	r = k->ca.cert ? crl_begin(&k->crl, k->ca.cert, number, from, until) : tpm_fail(&k->tpm, ERR_WRONG_STATE, "there is no CA");
	if (r == ERR_RANGE)
		r = tpm_fail(&k->tpm, r, "it would be good for more than a week, or begin later than now: the clock was set");
	return serve_reply(k, id, r, NULL, 0);
}

int serve_crl_add(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct revoked one;
	uint64_t id;
	int r = 0;

	if (buf_get_u64le(&m->body, &id))
		return ERR_PROTO;
	while (!r && buf_left(&m->body)) {
		if (revoked_decode(&m->body, &one))
			return ERR_PROTO;
		r = crl_add(&k->crl, &one);
	}
	return serve_reply(k, id, r, NULL, 0);
}

int serve_crl_sign(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	const struct cert_signer signer = {.sign = ca_sign, .arg = &k->ca};
	uint8_t mem[4];
	struct buf b;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || buf_left(&m->body))
		return ERR_PROTO;
	buf_init(&b, mem, sizeof(mem));
	r = k->ca.cert ? crl_sign(&k->crl, X509_get0_pubkey(k->ca.cert), &signer) : ERR_WRONG_STATE;
	if (!r)
		r = buf_put_u32le(&b, (uint32_t)k->crl.len);
	return serve_reply(k, id, r, mem, b.len);
}

int serve_crl_read(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint32_t offset;
	uint64_t id;
	size_t n;

	if (buf_get_u64le(&m->body, &id) || buf_get_u32le(&m->body, &offset) || buf_left(&m->body))
		return ERR_PROTO;
	if (!k->crl.der || offset >= k->crl.len)
		return serve_reply(k, id, ERR_WRONG_STATE, NULL, 0);
	n = k->crl.len - offset < CRL_PIECE ? k->crl.len - offset : CRL_PIECE;
	return serve_reply(k, id, 0, k->crl.der + offset, n);
}

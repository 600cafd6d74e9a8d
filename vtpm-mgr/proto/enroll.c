/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/enroll.h"

int enrolment_encode(struct buf *b, const struct enrolment *e)
{
	if (buf_put_var(b, e->pub, e->pub_len) || buf_put_var(b, e->priv, e->priv_len) || buf_put_var(b, e->attest, e->attest_len) ||
	    buf_put_var(b, e->sig, e->sig_len) || buf_put_var(b, e->creation, e->creation_len) ||
	    buf_put_var(b, e->creation_attest, e->creation_attest_len) || buf_put_var(b, e->creation_sig, e->creation_sig_len))
		return ERR_RANGE;
	return 0;
}

int enrolment_decode(struct buf *b, struct enrolment *e)
{
	if (buf_get_var(b, SEALED_BLOB_MAX, &e->pub, &e->pub_len) || buf_get_var(b, SEALED_BLOB_MAX, &e->priv, &e->priv_len) ||
	    buf_get_var(b, ATTEST_MAX, &e->attest, &e->attest_len) || buf_get_var(b, ATTEST_SIG_MAX, &e->sig, &e->sig_len) ||
	    buf_get_var(b, CREATION_MAX, &e->creation, &e->creation_len) || !e->creation_len ||
	    buf_get_var(b, ATTEST_MAX, &e->creation_attest, &e->creation_attest_len) || !e->creation_attest_len ||
	    buf_get_var(b, ATTEST_SIG_MAX, &e->creation_sig, &e->creation_sig_len) || !e->creation_sig_len)
		return ERR_PROTO;
	return 0;
}

int revoked_encode(struct buf *b, const struct revoked *r)
{
	return buf_put_bytes(b, r->serial, SERIAL_LEN) || buf_put_u64le(b, r->when) || buf_put_u8(b, r->reason) ? ERR_RANGE : 0;
}

int revoked_decode(struct buf *b, struct revoked *r)
{
	return buf_get_bytes(b, r->serial, SERIAL_LEN) || buf_get_u64le(b, &r->when) || buf_get_u8(b, &r->reason) ? ERR_PROTO : 0;
}

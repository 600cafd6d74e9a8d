/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-mgr/proto/attest.h"

#define MASK_ALL ((1u << PCR_COUNT) - 1u)

int host_quote_request_encode(struct buf *b, const struct host_quote_request *m)
{
	return buf_put_var(b, m->record, m->record_len) || buf_put_bytes(b, m->root, DIGEST_LEN) || buf_put_u32le(b, m->leaves) ||
			       buf_put_u32le(b, m->mask)
		       ? ERR_RANGE
		       : 0;
}

int host_quote_request_decode(struct buf *b, struct host_quote_request *m)
{
	if (buf_get_var(b, ENROLMENT_MAX, &m->record, &m->record_len) || buf_get_bytes(b, m->root, DIGEST_LEN) || buf_get_u32le(b, &m->leaves) ||
	    buf_get_u32le(b, &m->mask))
		return ERR_PROTO;
	return m->mask & ~MASK_ALL ? ERR_PROTO : 0;
}

int host_quote_encode(struct buf *b, const struct host_quote *m)
{
	if (buf_put_var(b, m->attest, m->attest_len) || buf_put_var(b, m->sig, m->sig_len) || buf_put_var(b, m->pcrs, m->pcrs_len) ||
	    buf_put_var(b, m->anchor, m->anchor_len) || buf_put_var(b, m->anchor_sig, m->anchor_sig_len) ||
	    buf_put_var(b, m->anchor_public, m->anchor_public_len))
		return ERR_RANGE;
	return 0;
}

int host_quote_decode(struct buf *b, struct host_quote *m)
{
	if (buf_get_var(b, ATTEST_MAX, &m->attest, &m->attest_len) || buf_get_var(b, ATTEST_SIG_MAX, &m->sig, &m->sig_len) ||
	    buf_get_var(b, PCR_COUNT * DIGEST_LEN, &m->pcrs, &m->pcrs_len) || buf_get_var(b, ATTEST_MAX, &m->anchor, &m->anchor_len) ||
	    buf_get_var(b, ATTEST_SIG_MAX, &m->anchor_sig, &m->anchor_sig_len) ||
	    buf_get_var(b, NV_PUBLIC_LEN, &m->anchor_public, &m->anchor_public_len))
		return ERR_PROTO;
	return 0;
}

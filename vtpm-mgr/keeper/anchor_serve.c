/* SPDX-License-Identifier: BSD-2-Clause */
/* The requests of vtpm-mgr/proto/anchor.h. */
#include "vtpm-mgr/keeper/serve.h"

#include <string.h>

static int reply_view(struct keeper *k, uint64_t id, int r, const struct anchor_view *view, bool with_record)
{
	uint8_t mem[ANCHOR_RECORD_SIZE + ANCHOR_VIEW_SIZE];
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (!r && with_record)
		r = anchor_record_encode(&b, &k->anchor.record);
	if (!r)
		r = anchor_view_encode(&b, view);
	return serve_reply(k, id, r, mem, b.len);
}

int serve_anchor_new(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct anchor_view view;
	struct anchor_new q;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id) || anchor_new_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	return reply_view(k, id, anchor_new(&k->anchor, &q, &view), &view, true);
}

int serve_anchor_renew(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct anchor_record q;
	struct anchor_view view;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id) || anchor_record_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	return reply_view(k, id, anchor_renew(&k->anchor, &q, &view), &view, true);
}

int serve_anchor_open(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	struct anchor_record q;
	struct anchor_view view;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id) || anchor_record_decode(&m->body, &q) || buf_left(&m->body))
		return ERR_PROTO;
	return reply_view(k, id, anchor_open(&k->anchor, &q, &view), &view, false);
}

int serve_anchor_own(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id))
		return ERR_PROTO;
	return serve_reply(k, id, anchor_own(&k->anchor), NULL, 0);
}

int serve_row_mac(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mac[DIGEST_LEN];
	struct journal_row row;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id) || journal_row_decode(&m->body, &row) || buf_left(&m->body))
		return ERR_PROTO;
	return serve_reply(k, id, anchor_mac(&k->anchor, &row, mac), mac, sizeof(mac));
}

int serve_anchor_extend(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t values[2 * DIGEST_LEN];
	struct journal_row row;
	uint64_t id;
	int r;

	if (buf_get_u64le(&m->body, &id) || journal_row_decode(&m->body, &row) || buf_left(&m->body))
		return ERR_PROTO;
	r = anchor_extend(&k->anchor, &row);
	memcpy(values, k->anchor.a_now, DIGEST_LEN);
	memcpy(values + DIGEST_LEN, k->anchor.v_now, DIGEST_LEN);
	return serve_reply(k, id, r, values, sizeof(values));
}

int serve_rows_verify(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint8_t mac[DIGEST_LEN], mem[ROWS_VERIFY_MAX * ROW_VIEW_SIZE];
	struct journal_row row;
	struct row_view view;
	struct buf out;
	uint64_t id;
	int r = 0;

	if (buf_get_u64le(&m->body, &id) || buf_left(&m->body) % ROW_SEALED_SIZE)
		return ERR_PROTO;
	buf_init(&out, mem, sizeof(mem));
	while (!r && buf_left(&m->body)) {
		if (journal_row_decode(&m->body, &row) || buf_get_bytes(&m->body, mac, sizeof(mac)))
			return ERR_PROTO;
		r = anchor_check(&k->anchor, &row, mac, &view);
		if (!r)
			r = row_view_encode(&out, &view);
	}
	return serve_reply(k, id, r, mem, out.len);
}

int serve_tpm_shutdown(void *peer, struct ipc_msg *m)
{
	struct keeper *k = peer;
	uint64_t id;

	if (buf_get_u64le(&m->body, &id))
		return ERR_PROTO;
	return serve_reply(k, id, anchor_shutdown(&k->anchor), NULL, 0);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "attest/item.h"

#include <stdbool.h>
#include <string.h>

#include <cbor.h>

enum item_kind { ITEM_OTHER, ITEM_UINT, ITEM_BYTES, ITEM_ARRAY, ITEM_MAP };

struct item {
	enum item_kind kind;
	uint64_t v; /* the number, or the length */
	const uint8_t *p;
};

static void on_uint8(void *arg, uint8_t v)
{
	*(struct item *)arg = (struct item){.kind = ITEM_UINT, .v = v};
}

static void on_uint16(void *arg, uint16_t v)
{
	*(struct item *)arg = (struct item){.kind = ITEM_UINT, .v = v};
}

static void on_uint32(void *arg, uint32_t v)
{
	*(struct item *)arg = (struct item){.kind = ITEM_UINT, .v = v};
}

static void on_uint64(void *arg, uint64_t v)
{
	*(struct item *)arg = (struct item){.kind = ITEM_UINT, .v = v};
}

static void on_bytes(void *arg, cbor_data p, size_t n)
{
	*(struct item *)arg = (struct item){.kind = ITEM_BYTES, .v = n, .p = p};
}

static void on_array(void *arg, size_t n)
{
	*(struct item *)arg = (struct item){.kind = ITEM_ARRAY, .v = n};
}

static void on_map(void *arg, size_t n)
{
	*(struct item *)arg = (struct item){.kind = ITEM_MAP, .v = n};
}

/* How many bytes the shortest head of this number has. */
static size_t head_len(uint64_t v)
{
	if (v < 24)
		return 1;
	if (v <= UINT8_MAX)
		return 2;
	if (v <= UINT16_MAX)
		return 3;
	return v <= UINT32_MAX ? 5 : 9;
}

/* The item that is next, of the kind and in the bounds that are asked for; the cursor goes behind it. */
static int item_get(struct buf *b, enum item_kind kind, uint64_t min, uint64_t max, struct item *item)
{
	struct cbor_callbacks calls = cbor_empty_callbacks;
	struct cbor_decoder_result r;
	size_t body;

	*item = (struct item){.kind = ITEM_OTHER};
	calls.uint8 = on_uint8;
	calls.uint16 = on_uint16;
	calls.uint32 = on_uint32;
	calls.uint64 = on_uint64;
	calls.byte_string = on_bytes;
	calls.array_start = on_array;
	calls.map_start = on_map;
	if (!buf_left(b))
		return ERR_PROTO;
	r = cbor_stream_decode(b->data + b->pos, buf_left(b), &calls, item);
	if (r.status != CBOR_DECODER_FINISHED || item->kind != kind || item->v < min || item->v > max)
		return ERR_PROTO;
	body = kind == ITEM_BYTES ? (size_t)item->v : 0;
	if (r.read < body || r.read - body != head_len(item->v))
		return ERR_PROTO;
	return buf_skip(b, r.read);
}

int item_get_uint(struct buf *b, uint64_t max, uint64_t *v)
{
	struct item item;
	int r = item_get(b, ITEM_UINT, 0, max, &item);

	if (!r)
		*v = item.v;
	return r;
}

int item_get_bytes(struct buf *b, size_t min, size_t max, const uint8_t **p, size_t *n)
{
	struct item item;
	int r = item_get(b, ITEM_BYTES, min, max, &item);

	if (!r) {
		*p = item.p;
		*n = (size_t)item.v;
	}
	return r;
}

int item_get_array(struct buf *b, size_t min, size_t max, size_t *n)
{
	struct item item;
	int r = item_get(b, ITEM_ARRAY, min, max, &item);

	if (!r)
		*n = (size_t)item.v;
	return r;
}

int item_get_map(struct buf *b, size_t min, size_t max, size_t *n)
{
	struct item item;
	int r = item_get(b, ITEM_MAP, min, max, &item);

	if (!r)
		*n = (size_t)item.v;
	return r;
}

#define HEAD_MAX 9u

int item_put_uint(struct buf *b, uint64_t v)
{
	uint8_t head[HEAD_MAX];

	return buf_put_bytes(b, head, cbor_encode_uint(v, head, sizeof(head)));
}

int item_put_array(struct buf *b, size_t n)
{
	uint8_t head[HEAD_MAX];

	return buf_put_bytes(b, head, cbor_encode_array_start(n, head, sizeof(head)));
}

int item_put_map(struct buf *b, size_t n)
{
	uint8_t head[HEAD_MAX];

	return buf_put_bytes(b, head, cbor_encode_map_start(n, head, sizeof(head)));
}

int item_put_bytes(struct buf *b, const void *p, size_t n)
{
	uint8_t head[HEAD_MAX];
	size_t len = cbor_encode_bytestring_start(n, head, sizeof(head));

	if (n > b->cap - b->len || len > b->cap - b->len - n)
		return ERR_RANGE;
	if (buf_put_bytes(b, head, len))
		return ERR_RANGE;
	return n ? buf_put_bytes(b, p, n) : 0;
}

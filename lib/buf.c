/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/buf.h"

#include <string.h>

void buf_init(struct buf *b, void *mem, size_t cap)
{
	*b = (struct buf){.data = mem, .cap = cap};
}

void buf_wrap(struct buf *b, const void *mem, size_t len)
{
	/* cap 0 is what keeps mem from being written, also by buf_set_u32be and after buf_reset. */
	*b = (struct buf){.data = (uint8_t *)(uintptr_t)mem, .len = len};
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->pos = 0;
}

size_t buf_left(const struct buf *b)
{
	return b->pos < b->len ? b->len - b->pos : 0;
}

static size_t buf_room(const struct buf *b)
{
	return b->len < b->cap ? b->cap - b->len : 0;
}

static int put_le(struct buf *b, uint64_t v, size_t n)
{
	if (n > buf_room(b))
		return ERR_RANGE;
	for (size_t i = 0; i < n; i++)
		b->data[b->len + i] = (uint8_t)(v >> (8 * i));
	b->len += n;
	return 0;
}

static void store_be(uint8_t *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static int put_be(struct buf *b, uint64_t v, size_t n)
{
	if (n > buf_room(b))
		return ERR_RANGE;
	store_be(b->data + b->len, v, n);
	b->len += n;
	return 0;
}

int buf_put_u8(struct buf *b, uint8_t v)
{
	return put_le(b, v, 1);
}

int buf_put_u16le(struct buf *b, uint16_t v)
{
	return put_le(b, v, 2);
}

int buf_put_u32le(struct buf *b, uint32_t v)
{
	return put_le(b, v, 4);
}

int buf_put_u64le(struct buf *b, uint64_t v)
{
	return put_le(b, v, 8);
}

int buf_put_u16be(struct buf *b, uint16_t v)
{
	return put_be(b, v, 2);
}

int buf_put_u32be(struct buf *b, uint32_t v)
{
	return put_be(b, v, 4);
}

int buf_put_u64be(struct buf *b, uint64_t v)
{
	return put_be(b, v, 8);
}

int buf_put_bytes(struct buf *b, const void *p, size_t n)
{
	if (n > buf_room(b))
		return ERR_RANGE;
	if (n > 0) /* memcpy from NULL is undefined even for 0 bytes */
		memcpy(b->data + b->len, p, n);
	b->len += n;
	return 0;
}

/* Both parts fit, or neither is written. */
static int room_for_prefixed(const struct buf *b, size_t prefix, size_t n)
{
	size_t room = buf_room(b);

	return room < prefix || n > room - prefix ? ERR_RANGE : 0;
}

int buf_put_var(struct buf *b, const void *p, size_t n)
{
	if (n > UINT32_MAX || room_for_prefixed(b, 4, n) || buf_put_u32le(b, (uint32_t)n))
		return ERR_RANGE;
	return buf_put_bytes(b, p, n);
}

int buf_put_str(struct buf *b, const char *s)
{
	return buf_put_var(b, s, strlen(s));
}

int buf_put_2b(struct buf *b, const void *p, size_t n)
{
	if (n > UINT16_MAX || room_for_prefixed(b, 2, n) || buf_put_u16be(b, (uint16_t)n))
		return ERR_RANGE;
	return buf_put_bytes(b, p, n);
}

int buf_set_u32be(struct buf *b, size_t off, uint32_t v)
{
	if (b->len > b->cap || b->len < 4 || off > b->len - 4)
		return ERR_RANGE;
	store_be(b->data + off, v, 4);
	return 0;
}

static int get_le(struct buf *b, uint64_t *v, size_t n)
{
	uint64_t x = 0;

	if (n > buf_left(b))
		return ERR_RANGE;
	for (size_t i = 0; i < n; i++)
		x |= (uint64_t)b->data[b->pos + i] << (8 * i);
	b->pos += n;
	*v = x;
	return 0;
}

static int get_be(struct buf *b, uint64_t *v, size_t n)
{
	uint64_t x = 0;

	if (n > buf_left(b))
		return ERR_RANGE;
	for (size_t i = 0; i < n; i++)
		x = x << 8 | b->data[b->pos + i];
	b->pos += n;
	*v = x;
	return 0;
}

int buf_get_u8(struct buf *b, uint8_t *v)
{
	uint64_t x;

	if (get_le(b, &x, 1))
		return ERR_RANGE;
	*v = (uint8_t)x;
	return 0;
}

int buf_get_u16le(struct buf *b, uint16_t *v)
{
	uint64_t x;

	if (get_le(b, &x, 2))
		return ERR_RANGE;
	*v = (uint16_t)x;
	return 0;
}

int buf_get_u32le(struct buf *b, uint32_t *v)
{
	uint64_t x;

	if (get_le(b, &x, 4))
		return ERR_RANGE;
	*v = (uint32_t)x;
	return 0;
}

int buf_get_u64le(struct buf *b, uint64_t *v)
{
	return get_le(b, v, 8);
}

int buf_get_u16be(struct buf *b, uint16_t *v)
{
	uint64_t x;

	if (get_be(b, &x, 2))
		return ERR_RANGE;
	*v = (uint16_t)x;
	return 0;
}

int buf_get_u32be(struct buf *b, uint32_t *v)
{
	uint64_t x;

	if (get_be(b, &x, 4))
		return ERR_RANGE;
	*v = (uint32_t)x;
	return 0;
}

int buf_get_u64be(struct buf *b, uint64_t *v)
{
	return get_be(b, v, 8);
}

int buf_get_view(struct buf *b, size_t n, const uint8_t **p)
{
	if (n > buf_left(b))
		return ERR_RANGE;
	*p = n > 0 || b->data ? b->data + b->pos : NULL;
	b->pos += n;
	return 0;
}

int buf_get_bytes(struct buf *b, void *p, size_t n)
{
	const uint8_t *view;

	if (buf_get_view(b, n, &view))
		return ERR_RANGE;
	if (n > 0)
		memcpy(p, view, n);
	return 0;
}

int buf_skip(struct buf *b, size_t n)
{
	const uint8_t *view;

	return buf_get_view(b, n, &view);
}

int buf_get_var(struct buf *b, size_t max, const uint8_t **p, size_t *n)
{
	struct buf try = *b; /* committed only when both parts were there */
	uint32_t len;

	if (buf_get_u32le(&try, &len) || len > max || buf_get_view(&try, len, p))
		return ERR_RANGE;
	*n = len;
	*b = try;
	return 0;
}

int buf_get_str(struct buf *b, char *s, size_t cap)
{
	struct buf try = *b;
	const uint8_t *p;
	size_t n;

	if (cap == 0 || buf_get_var(&try, cap - 1, &p, &n) || (n > 0 && memchr(p, '\0', n)))
		return ERR_RANGE;
	if (n > 0)
		memcpy(s, p, n);
	s[n] = '\0';
	*b = try;
	return 0;
}

int buf_get_2b(struct buf *b, size_t max, const uint8_t **p, size_t *n)
{
	struct buf try = *b;
	uint16_t len;

	if (buf_get_u16be(&try, &len) || len > max || buf_get_view(&try, len, p))
		return ERR_RANGE;
	*n = len;
	*b = try;
	return 0;
}

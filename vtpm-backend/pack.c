/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/pack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/secmem.h"

#define WORD  8u
#define PROBE (PACK_RUN_MIN - WORD) /* so far from each other there is one with its whole word in each run */

struct run {
	size_t gap; /* bytes since the run before */
	size_t len;
	uint8_t value;
};

struct table {
	struct run run[PACK_RUNS_MAX];
	unsigned n;
};

/* Whether these 8 bytes are the same. */
static bool uniform(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, WORD);
	return w == (w << 8 | w >> 56);
}

/* The first of the bytes before at, of at least from, that are the same as the one there. */
static size_t run_begin(const uint8_t *p, size_t at, size_t from)
{
	while (at > from && p[at - 1] == p[at])
		at--;
	return at;
}

static size_t run_end(const uint8_t *p, size_t at, size_t n)
{
	const uint8_t value = p[at];

	while (n - at >= WORD && p[at] == value && uniform(p + at))
		at += WORD;
	while (at < n && p[at] == value)
		at++;
	return at;
}

static void table_make(struct table *t, const uint8_t *p, size_t n)
{
	size_t done = 0, from = 0, at = 0;

	t->n = 0;
	while (t->n < PACK_RUNS_MAX && at <= n && n - at >= WORD) {
		if (!uniform(p + at)) {
			at += PROBE;
			continue;
		}
		from = run_begin(p, at, from);
		at = run_end(p, at, n);
		if (at - from >= PACK_RUN_MIN) {
			t->run[t->n++] = (struct run){ .gap = from - done, .len = at - from, .value = p[from] };
			done = at;
		}
		from = at;
	}
}

static int table_encode(struct buf *b, const struct table *t)
{
	if (buf_put_u8(b, (uint8_t)t->n))
		return ERR_RANGE;
	for (unsigned i = 0; i < t->n; i++)
		if (buf_put_u32le(b, (uint32_t)t->run[i].gap) || buf_put_u32le(b, (uint32_t)t->run[i].len) ||
		    buf_put_u8(b, t->run[i].value))
			return ERR_RANGE;
	return 0;
}

static int run_decode(struct buf *b, struct run *r)
{
	uint32_t gap, len;

	if (buf_get_u32le(b, &gap) || buf_get_u32le(b, &len) || buf_get_u8(b, &r->value))
		return ERR_PROTO;
	r->gap = gap;
	r->len = len;
	return 0;
}

/* *n: the length of the whole, with what is left of b. */
static int table_decode(struct buf *b, size_t max, struct table *t, size_t *n)
{
	uint8_t count;

	if (buf_get_u8(b, &count) || count > PACK_RUNS_MAX)
		return ERR_PROTO;
	t->n = count;
	*n = 0;
	for (unsigned i = 0; i < t->n; i++) {
		if (run_decode(b, &t->run[i]) != 0)
			return ERR_PROTO;
		*n += t->run[i].len;
	}
	*n += buf_left(b);
	if (*n > max)
		return ERR_FULL;
	return *n > 0 ? 0 : ERR_PROTO;
}

/* Writes the whole, n bytes, to p. */
static int fill(struct buf *in, const struct table *t, uint8_t *p)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (buf_get_bytes(in, p, t->run[i].gap))
			return ERR_PROTO;
		p += t->run[i].gap;
		memset(p, t->run[i].value, t->run[i].len);
		p += t->run[i].len;
	}
	return buf_get_bytes(in, p, buf_left(in)) ? ERR_PROTO : 0;
}

static bool same(const struct table *a, const struct table *b)
{
	bool same = a->n == b->n;

	for (unsigned i = 0; same && i < a->n; i++)
		same = a->run[i].gap == b->run[i].gap && a->run[i].len == b->run[i].len && a->run[i].value == b->run[i].value;
	return same;
}

unsigned pack(const uint8_t *p, size_t n, uint8_t head[static PACK_HEAD_MAX], struct state_part parts[static PACK_PARTS_MAX])
{
	unsigned used = 1;
	struct table t;
	size_t at = 0;
	struct buf b;

	table_make(&t, p, n);
	buf_init(&b, head, PACK_HEAD_MAX);
	(void)!table_encode(&b, &t); /* has room for each table */
	parts[0] = (struct state_part){ head, b.len };
	for (unsigned i = 0; i < t.n; i++) {
		parts[used++] = (struct state_part){ p + at, t.run[i].gap };
		at += t.run[i].gap + t.run[i].len;
	}
	parts[used++] = (struct state_part){ p + at, n - at };
	secmem_wipe(&t, sizeof(t));
	return used;
}

int unpack(struct buf *in, size_t max, uint8_t **p, size_t *n)
{
	struct table t, again;
	int err;

	*p = NULL;
	err = table_decode(in, max, &t, n);
	if (err == 0) {
		*p = malloc(*n);
		err = *p != NULL ? fill(in, &t, *p) : ERR_NOMEM;
	}
	if (err == 0) {
		table_make(&again, *p, *n);
		err = same(&t, &again) ? 0 : ERR_PROTO;
		secmem_wipe(&again, sizeof(again));
	}
	secmem_wipe(&t, sizeof(t));
	if (err == 0)
		return 0;
	if (*p != NULL)
		secmem_wipe(*p, *n);
	free(*p);
	*p = NULL;
	*n = 0;
	return err;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/tools/tpmproxy.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/util.h"

#define TAG_NO_SESSIONS 0x8001u
#define HEADER_SIZE	10u

static const char *const kinds[] = { "pass", "flip", "code", "size", "cut", "garbage" };

bool plan_parse(struct plan *p, int nwords, char *const *words)
{
	const char *range;
	char *end;

	*p = (struct plan){ .kind = PLAN_PASS };
	if (nwords == 0)
		return true;
	if (nwords != 3)
		return false;
	while (strcmp(words[0], kinds[p->kind]) != 0)
		if (++p->kind == ARRAY_LEN(kinds))
			return false;
	range = strchr(words[1], '/');
	if (range)
		p->code = (uint32_t)strtoul(words[1], NULL, 16);
	p->first = strtoul(range ? range + 1 : words[1], &end, 10);
	p->last = *end == '-' ? strtoul(end + 1, &end, 10) : p->first;
	p->value = *end == '\0' ? strtol(words[2], &end, 0) : 0;
	return *end == '\0' && p->first >= 1 && p->last >= p->first;
}

bool plan_counts(const struct plan *p, const struct frame *cmd)
{
	uint32_t code;
	struct buf b;

	buf_wrap(&b, cmd->mem, cmd->len);
	return !p->code || (!buf_skip(&b, 6) && !buf_get_u32be(&b, &code) && code == p->code);
}

static bool applies(const struct plan *p, unsigned long n)
{
	return p->kind != PLAN_PASS && n >= p->first && n <= p->last;
}

bool plan_answers(const struct plan *p, unsigned long n)
{
	return applies(p, n) && (p->kind == PLAN_CODE || p->kind == PLAN_GARBAGE);
}

static void put_code(struct frame *f, uint32_t code)
{
	struct buf b;

	buf_init(&b, f->mem, sizeof(f->mem));
	if (buf_put_u16be(&b, TAG_NO_SESSIONS) || buf_put_u32be(&b, HEADER_SIZE) || buf_put_u32be(&b, code))
		abort();
	f->len = b.len;
}

static void put_size(struct frame *f, uint32_t size)
{
	struct buf b;

	buf_init(&b, f->mem, sizeof(f->mem));
	b.len = f->len;
	if (buf_set_u32be(&b, 2, size))
		abort();
}

/* Whether the size field promises more than comes: who waits for the rest waits for the end of the connection. */
static bool promises_more(const struct frame *f)
{
	uint16_t tag;
	uint32_t size;
	struct buf b;

	buf_wrap(&b, f->mem, f->len);
	return buf_get_u16be(&b, &tag) || buf_get_u32be(&b, &size) || size > f->len;
}

static void flip(struct frame *f, long at)
{
	size_t i = at < 0 ? f->len - (size_t)-at : (size_t)at;

	if (i < f->len)
		f->mem[i] ^= 1;
}

bool plan_apply(const struct plan *p, unsigned long n, struct frame *rsp)
{
	if (!applies(p, n))
		return false;
	switch (p->kind) {
	case PLAN_PASS:
		break;
	case PLAN_FLIP:
		flip(rsp, p->value);
		break;
	case PLAN_CODE:
		put_code(rsp, (uint32_t)p->value);
		break;
	case PLAN_SIZE:
		put_size(rsp, (uint32_t)p->value);
		break;
	case PLAN_CUT:
		rsp->len = (size_t)p->value < rsp->len ? (size_t)p->value : rsp->len;
		return true;
	case PLAN_GARBAGE:
		rsp->len = (size_t)p->value < sizeof(rsp->mem) ? (size_t)p->value : sizeof(rsp->mem);
		memset(rsp->mem, 0xa5, rsp->len);
		break;
	}
	return promises_more(rsp);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/children.h"

#include <stdlib.h>

#include "lib/util.h"

#define CHILDREN_STEP 64u

int children_reserve(struct children *c)
{
	struct child *list;

	if (c->n < c->cap)
		return 0;
	list = reallocarray(c->list, c->cap + CHILDREN_STEP, sizeof(*list));
	if (list == NULL)
		return ERR_NOMEM;
	c->list = list;
	c->cap += CHILDREN_STEP;
	return 0;
}

void children_add(struct children *c, const struct child *ch)
{
	c->list[c->n++] = *ch;
}

struct child *children_find_pid(struct children *c, pid_t pid)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].pid == pid)
			return &c->list[i];
	return NULL;
}

struct child *children_find_token(struct children *c, uint64_t token)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].kind == CHILD_BACKEND && c->list[i].token == token)
			return &c->list[i];
	return NULL;
}

struct child *children_find_gone(struct children *c, uint64_t name)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].kind == CHILD_GONE && c->list[i].name == name)
			return &c->list[i];
	return NULL;
}

struct child *children_find_left(struct children *c, uint64_t name)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].kind == CHILD_LEFT && (name == 0 || c->list[i].name == name))
			return &c->list[i];
	return NULL;
}

struct child *children_find_keeper(struct children *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->list[i].kind == CHILD_KEEPER)
			return &c->list[i];
	return NULL;
}

void children_remove(struct children *c, struct child *ch)
{
	*ch = c->list[--c->n];
}

void children_free(struct children *c)
{
	for (size_t i = 0; i < c->n; i++)
		legacy_close(&c->list[i].legacy);
	free(c->list);
	*c = (struct children){ 0 };
}

void legacy_close(struct legacy *l)
{
	fd_close(&l->area);
	fd_close(&l->stash[0]);
	fd_close(&l->stash[1]);
}

static int legacy_encode(struct buf *b, const struct legacy *l)
{
	return buf_put_u32le(b, (uint32_t)l->area) || buf_put_u32le(b, (uint32_t)l->stash[0]) ||
	       buf_put_u32le(b, (uint32_t)l->stash[1]);
}

static int legacy_decode(struct buf *b, struct legacy *l)
{
	uint32_t area, in, out;

	if (buf_get_u32le(b, &area) || buf_get_u32le(b, &in) || buf_get_u32le(b, &out))
		return ERR_RANGE;
	*l = (struct legacy){ .area = (int32_t)area, .stash = { (int32_t)in, (int32_t)out } };
	return 0;
}

int children_encode(struct buf *b, const struct children *c)
{
	if (buf_put_u32le(b, (uint32_t)c->n))
		return ERR_RANGE;
	for (size_t i = 0; i < c->n; i++)
		if (buf_put_u8(b, c->list[i].kind) || buf_put_u64le(b, c->list[i].token) ||
		    buf_put_u32le(b, (uint32_t)c->list[i].pid) || legacy_encode(b, &c->list[i].legacy) ||
		    buf_put_u64le(b, c->list[i].name))
			return ERR_RANGE;
	return 0;
}

int children_decode(struct buf *b, struct children *c)
{
	struct child ch = { 0 };
	uint32_t n, pid;
	int err;

	if (buf_get_u32le(b, &n))
		return ERR_RANGE;
	while (n-- > 0) {
		if (buf_get_u8(b, &ch.kind) || buf_get_u64le(b, &ch.token) || buf_get_u32le(b, &pid) ||
		    legacy_decode(b, &ch.legacy) || buf_get_u64le(b, &ch.name))
			return ERR_RANGE;
		err = children_reserve(c);
		if (err != 0)
			return err;
		ch.pid = (pid_t)pid;
		children_add(c, &ch);
	}
	return 0;
}

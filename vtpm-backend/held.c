/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/held.h"

#include <fcntl.h>

#include "lib/log.h"
#include "lib/util.h"
#include "vtpm-mgr/proto/hold.h"

#define TAG_SIZE 8u /* a legacy's name, u64le */

/* One of them: that of a backend that is not there any more. Without a stash there is the area alone. */
static int take_legacy(struct spawner *s, struct ipc_msg *m)
{
	struct child gone = { .kind = CHILD_LEFT, .legacy = LEGACY_NONE };
	struct hold_item item;
	struct buf tag;
	int err = hold_item_decode(&m->body, &item);

	if (err != 0)
		return err;
	buf_wrap(&tag, item.tag, item.tag_len);
	if (buf_get_u64le(&tag, &gone.name) || buf_left(&tag) != 0 || (m->nfds != 1 && m->nfds != LEGACY_FDS))
		return ERR_PROTO;
	err = children_reserve(&s->children);
	if (err != 0)
		return err;
	gone.legacy.area = ipc_take_fd(m, 0);
	gone.legacy.stash[0] = ipc_take_fd(m, 1);
	gone.legacy.stash[1] = ipc_take_fd(m, 2);
	children_add(&s->children, &gone);
	return 0;
}

int held_receive(struct spawner *s)
{
	uint8_t mem[HOLD_ITEM_MAX];
	uint32_t generation;
	struct ipc_msg m;
	int err;

	if (!s->opt.held)
		return 0;
	if (fcntl(SPAWN_FD_HOLD, F_SETFD, FD_CLOEXEC) != 0)
		return ERR_SYS;
	for (;;) {
		err = ipc_recv(SPAWN_FD_HOLD, &m, mem, sizeof(mem), 0);
		if (err != 0)
			return err;
		if (m.type == HOLD_END && m.nfds == 0)
			return hold_end_decode(&m.body, &generation);
		err = m.type == HOLD_ITEM ? take_legacy(s, &m) : ERR_PROTO;
		ipc_msg_done(&m);
		if (err != 0)
			return err;
	}
}

/* vtpm-hold waits for nobody. If it has gone, or goes on with the next generation, this one has nothing more to say. */
static void say(uint32_t type, const struct buf *b, const int *fds, unsigned nfds)
{
	int err = ipc_send_wait(SPAWN_FD_HOLD, type, b, fds, nfds);

	if (err != 0 && err != ERR_CLOSED)
		log_error("vtpm-hold cannot be told: %s", err_text(err));
}

static int put_name(struct hold_item *item, uint8_t mem[static TAG_SIZE], uint64_t name)
{
	struct buf b;

	buf_init(&b, mem, TAG_SIZE);
	*item = (struct hold_item){ .tag = mem, .tag_len = TAG_SIZE };
	return buf_put_u64le(&b, name);
}

void held_keep(struct spawner *s, uint64_t name, const struct legacy *l)
{
	const int fds[LEGACY_FDS] = { l->area, l->stash[0], l->stash[1] };
	uint8_t tag[TAG_SIZE], mem[HOLD_KEEP_MAX];
	struct hold_item item;
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (s->opt.held && put_name(&item, tag, name) == 0 && hold_keep_encode(&b, &item) == 0)
		say(HOLD_KEEP, &b, fds, l->stash[0] < 0 ? 1 : LEGACY_FDS);
}

void held_drop(struct spawner *s, const struct child *ch)
{
	uint8_t tag[TAG_SIZE], mem[HOLD_DROP_MAX];
	struct hold_item item;
	struct buf b;

	buf_init(&b, mem, sizeof(mem));
	if (s->opt.held && ch->legacy.area >= 0 && put_name(&item, tag, ch->name) == 0 && hold_drop_encode(&b, &item) == 0)
		say(HOLD_DROP, &b, NULL, 0);
}

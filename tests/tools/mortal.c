/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked into a backend with --wrap of the functions below (ld(1)): see mortal.h. */
#include "tests/tools/mortal.h"

#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>

#include "hv/page.h"
#include "lib/buf.h"
#include "lib/ipc.h"
#include "vtpm-backend/backend.h"
#include "vtpm-backend/checkpoint.h"
#include "vtpm-backend/engine.h"
#include "vtpm-backend/transfer.h"

/* The step that was ordered, and the page on which it is told. One engine thread uses them. */
static uint32_t ordered;
static volatile uint8_t *page;
/* With a QEMU: gaps until the end; 0: there is none. Both threads come to gaps. */
static atomic_int gaps;

int __real_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX], size_t *rsp_len);
int __wrap_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX], size_t *rsp_len);
enum chan_verdict __real_chan_take(struct chan *c, uint8_t out[static CHAN_PACKET_MAX], struct chan_request *req);
enum chan_verdict __wrap_chan_take(struct chan *c, uint8_t out[static CHAN_PACKET_MAX], struct chan_request *req);
int __real_chan_respond(struct chan *c, uint8_t seq, const uint8_t *resp, size_t len);
int __wrap_chan_respond(struct chan *c, uint8_t seq, const uint8_t *resp, size_t len);
int __real_state_seal_parts(struct sealer *s, const struct state_id *id, const struct state_part *parts, unsigned nparts,
			    struct buf *out);
int __wrap_state_seal_parts(struct sealer *s, const struct state_id *id, const struct state_part *parts, unsigned nparts,
			    struct buf *out);
int __real_checkpoint_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
			    const struct checkpoint *c, bool pending);
int __wrap_checkpoint_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
			    const struct checkpoint *c, bool pending);
int __real_checkpoint_redo_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
				 const struct checkpoint_redo *r);
int __wrap_checkpoint_redo_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
				 const struct checkpoint_redo *r);
void __real_checkpoint_settle(struct checkpoint_area *a);
void __wrap_checkpoint_settle(struct checkpoint_area *a);
void __real_checkpoint_answer(struct checkpoint_area *a, uint64_t seq, const uint8_t *rsp, size_t len);
void __wrap_checkpoint_answer(struct checkpoint_area *a, uint64_t seq, const uint8_t *rsp, size_t len);
int __real_ipc_send(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds);
int __wrap_ipc_send(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds);

void __real_transfer_clear(struct transfer *t);
void __wrap_transfer_clear(struct transfer *t);
void __real_transfer_start(struct transfer *t, uint64_t what, size_t total);
void __wrap_transfer_start(struct transfer *t, uint64_t what, size_t total);
int __real_transfer_receive(struct transfer *t, int fd, uint8_t *mem, size_t want);
int __wrap_transfer_receive(struct transfer *t, int fd, uint8_t *mem, size_t want);
int __real_transfer_send(struct transfer *t, int fd, const uint8_t *mem, size_t cap);
int __wrap_transfer_send(struct transfer *t, int fd, const uint8_t *mem, size_t cap);

/* Whether this gap is the last one. */
static bool last_gap(void)
{
	return gaps > 0 && atomic_fetch_sub(&gaps, 1) == 1;
}

static void gap(void)
{
	if (last_gap())
		__builtin_trap();
}

static void die_at(enum mortal_step step)
{
	gap();
	if (ordered != step || page == NULL)
		return;
	page_set_u8(page, MORTAL_MARK, (uint8_t)step);
	for (;;)
		(void)!poll(NULL, 0, -1);
}

enum chan_verdict __wrap_chan_take(struct chan *c, uint8_t out[static CHAN_PACKET_MAX], struct chan_request *req)
{
	page = c->page;
	return __real_chan_take(c, out, req);
}

/* Its first store, and the rest of it. */
void __wrap_transfer_clear(struct transfer *t)
{
	if (t->what != 0 && last_gap()) {
		t->what = 0;
		__builtin_trap();
	}
	__real_transfer_clear(t);
	gap();
}

void __wrap_transfer_start(struct transfer *t, uint64_t what, size_t total)
{
	if (total > 0)
		gap();
	__real_transfer_start(t, what, total);
	if (total > 0)
		gap();
}

int __wrap_transfer_receive(struct transfer *t, int fd, uint8_t *mem, size_t want)
{
	int err = __real_transfer_receive(t, fd, mem, want);

	if (err == 0)
		gap();
	return err;
}

int __wrap_transfer_send(struct transfer *t, int fd, const uint8_t *mem, size_t cap)
{
	const uint64_t total = t->total;
	int err;

	if (last_gap()) {
		t->total = total / 2;
		(void)!__real_transfer_send(t, fd, mem, cap);
		t->total = total;
		__builtin_trap();
	}
	err = __real_transfer_send(t, fd, mem, cap);
	gap();
	if (page == NULL && ordered >> 8) {
		gaps = (int)(ordered >> 8);
		ordered = MORTAL_NONE;
	}
	return err;
}

static uint32_t command_code(const uint8_t *cmd, size_t len, uint32_t *arg)
{
	uint32_t code = 0;
	struct buf b;

	buf_wrap(&b, cmd, len);
	*arg = 0;
	if (buf_skip(&b, 6) || buf_get_u32be(&b, &code))
		return 0;
	return buf_left(&b) == 4 && buf_get_u32be(&b, arg) ? 0 : code;
}

static int order(uint32_t step, uint8_t rsp[static CHAN_PACKET_MAX], size_t *rsp_len)
{
	struct buf b;

	ordered = MORTAL_NONE;
	gaps = 0;
	buf_init(&b, rsp, CHAN_PACKET_MAX);
	if (buf_put_u16be(&b, 0x8001) || buf_put_u32be(&b, 10) || buf_put_u32be(&b, 0))
		return ERR_RANGE;
	*rsp_len = b.len;
	ordered = step << 8; /* from its own end on: see __wrap_chan_respond */
	return 0;
}

int __wrap_engine_process(uint8_t *cmd, size_t len, uint8_t locality, uint8_t rsp[static CHAN_PACKET_MAX], size_t *rsp_len)
{
	uint32_t arg, code = command_code(cmd, len, &arg);
	int err;

	if (code == MORTAL_COMMAND)
		return order(arg, rsp, rsp_len);
	if (code == MORTAL_CRASH)
		__builtin_trap();
	if (code == MORTAL_WAIT)
		ordered = MORTAL_TAKEN;
	die_at(MORTAL_TAKEN);
	err = __real_engine_process(cmd, len, locality, rsp, rsp_len);
	die_at(MORTAL_EXECUTED);
	return err;
}

int __wrap_state_seal_parts(struct sealer *s, const struct state_id *id, const struct state_part *parts, unsigned nparts,
			    struct buf *out)
{
	const bool kept = id->kind == STATE_CHECKPOINT || id->kind == STATE_REDO;
	int err;

	if (kept && ordered == MORTAL_SEALING) {
		for (size_t i = 0; i < 3000 && i < out->cap / 2; i++)
			out->data[i] = (uint8_t)i;
		die_at(MORTAL_SEALING);
	}
	err = __real_state_seal_parts(s, id, parts, nparts, out);
	if (kept)
		die_at(MORTAL_SEALED);
	return err;
}

int __wrap_checkpoint_redo_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
				 const struct checkpoint_redo *r)
{
	int err = __real_checkpoint_redo_write(a, s, uuid, r);

	if (err == 0)
		die_at(MORTAL_PUBLISHED);
	return err;
}

int __wrap_checkpoint_write(struct checkpoint_area *a, struct sealer *s, const uint8_t uuid[static UUID_LEN],
			    const struct checkpoint *c, bool pending)
{
	int err = __real_checkpoint_write(a, s, uuid, c, pending);

	die_at(MORTAL_PUBLISHED);
	return err;
}

int __wrap_ipc_send(int fd, uint32_t type, const struct buf *body, const int *fds, unsigned nfds)
{
	int err = __real_ipc_send(fd, type, body, fds, nfds);

	if (type == STORE_COMMIT)
		die_at(MORTAL_COMMIT_SENT);
	return err;
}

void __wrap_checkpoint_settle(struct checkpoint_area *a)
{
	die_at(MORTAL_COMMIT_DONE);
	__real_checkpoint_settle(a);
	die_at(MORTAL_SETTLED);
}

void __wrap_checkpoint_answer(struct checkpoint_area *a, uint64_t seq, const uint8_t *rsp, size_t len)
{
	__real_checkpoint_answer(a, seq, rsp, len);
	die_at(MORTAL_RECORDED);
}

static int die_unsignalled(struct chan_port *port)
{
	(void)port;
	die_at(MORTAL_FINISHED);
	return 0;
}

int __wrap_chan_respond(struct chan *c, uint8_t seq, const uint8_t *resp, size_t len)
{
	int err;

	die_at(MORTAL_RESPONDING);
	if (ordered == MORTAL_HALF_WRITTEN) {
		page_write(c->page, CHAN_HEADER_SIZE, resp, len / 2);
		die_at(MORTAL_HALF_WRITTEN);
	}
	if (ordered == MORTAL_FINISHED)
		c->port.notify = die_unsignalled;
	err = __real_chan_respond(c, seq, resp, len);
	die_at(MORTAL_SIGNALLED);
	if (ordered >> 8)
		ordered >>= 8; /* the order itself has been answered */
	return err;
}

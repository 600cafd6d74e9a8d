/* SPDX-License-Identifier: BSD-2-Clause */
#include "vtpm-backend/transfer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

_Static_assert(offsetof(struct mmsghdr, msg_len) % sizeof(unsigned) == 0, "msg_len is read and written in one access");

static void set_word(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static uint64_t get_word(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static unsigned *step_len(struct transfer_step *s)
{
	void *p = s->msg + offsetof(struct mmsghdr, msg_len);

	return p;
}

static uint64_t step_end(const struct transfer_step *s)
{
	const void *p = s->msg + offsetof(struct mmsghdr, msg_len);
	const unsigned *len = p;

	return get_word(&s->from) + __atomic_load_n(len, __ATOMIC_ACQUIRE);
}

void transfer_clear(struct transfer *t)
{
	set_word(&t->what, 0);
	for (unsigned i = 0; i < 2; i++) {
		__atomic_store_n(step_len(&t->step[i]), 0, __ATOMIC_RELEASE);
		set_word(&t->step[i].from, 0);
	}
	set_word(&t->total, 0);
}

void transfer_start(struct transfer *t, uint64_t what, size_t total)
{
	set_word(&t->total, total);
	set_word(&t->what, what);
}

uint64_t transfer_what(const struct transfer *t)
{
	return get_word(&t->what);
}

static const struct transfer_step *further(const struct transfer *t)
{
	return step_end(&t->step[0]) > step_end(&t->step[1]) ? &t->step[0] : &t->step[1];
}

size_t transfer_done(const struct transfer *t, size_t cap)
{
	const uint64_t end = step_end(further(t));

	return end < cap ? (size_t)end : cap;
}

size_t transfer_left(const struct transfer *t, size_t cap)
{
	const uint64_t total = get_word(&t->total) < cap ? get_word(&t->total) : cap;

	return (size_t)total - transfer_done(t, (size_t)total);
}

void transfer_give_up(struct transfer *t)
{
	set_word(&t->total, 0);
}

/* The next step, from `done` on, with nothing moved yet: its end was not the further one, and is the same as it now. */
static struct mmsghdr *begin_step(struct transfer *t, size_t done, struct iovec *iov)
{
	struct transfer_step *s = further(t) == &t->step[0] ? &t->step[1] : &t->step[0];
	void *p = s->msg;
	struct mmsghdr *m = p;

	__atomic_store_n(step_len(s), 0, __ATOMIC_RELEASE);
	set_word(&s->from, done);
	m->msg_hdr = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 1 };
	return m;
}

/* What the last call that moved nothing says. */
static int nothing_moved(void)
{
	return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_CLOSED;
}

int transfer_receive(struct transfer *t, int fd, uint8_t *mem, size_t want)
{
	const size_t done = transfer_done(t, want);
	struct iovec iov = { .iov_base = mem + done, .iov_len = want - done };
	struct mmsghdr *m;

	if (done == want)
		return 0;
	m = begin_step(t, done, &iov);
	if (recvmmsg(fd, m, 1, MSG_DONTWAIT, NULL) != 1)
		return nothing_moved();
	return transfer_done(t, want) == done ? ERR_CLOSED : 0;
}

int transfer_send(struct transfer *t, int fd, const uint8_t *mem, size_t cap)
{
	size_t left;

	while ((left = transfer_left(t, cap)) > 0) {
		const size_t done = transfer_done(t, cap);
		struct iovec iov = { .iov_base = (void *)(uintptr_t)(mem + done), .iov_len = left };

		if (sendmmsg(fd, begin_step(t, done, &iov), 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1 && errno != EINTR)
			return nothing_moved();
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who could block whom: both ends of an eventfd share one open file description, so a hostile
 * front end can take O_NONBLOCK off it and fill or empty the counter at any moment. Nothing
 * prevents that for good (eventfds cannot be reopened, and know no MSG_DONTWAIT for writing).
 * So: signals are read only after poll has said that there are some, which leaves a front end
 * a race to win, and no system call here is restarted when a Unix signal interrupts it. The
 * manager never reads or writes these descriptors. What is left to such a front end is
 * to stop the engine thread of its own back end, which is its own to stop; that process's control
 * thread does not touch them and can still interrupt the engine thread, or end the process.
 */
#include "hv/local/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/loop.h"
#include "lib/util.h"

#define RING_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define RING_FDS   3u
#define REFUSE_MAX 512u /* bytes of text */
#define RING_BODY  (2u * 4u + REFUSE_MAX)

/* One mask bit: these messages come in no particular state. */
#define STATE_ANY 1u

static int memfd_make(int *out)
{
	int fd = memfd_create("vtpm-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_from_errno(errno);
	if (ftruncate(fd, CHAN_PAGE_SIZE) != 0 || fcntl(fd, F_ADD_SEALS, RING_SEALS) != 0) {
		int err = err_from_errno(errno);

		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

int local_ring_make(struct local_ring *r)
{
	int err;

	*r = LOCAL_RING_NONE;
	err = memfd_make(&r->memfd);
	if (err != 0)
		return err;
	r->to_back = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->to_front = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->to_back < 0 || r->to_front < 0) {
		err = err_from_errno(errno);
		local_ring_close(r);
	}
	return err;
}

void local_ring_close(struct local_ring *r)
{
	fd_close(&r->memfd);
	fd_close(&r->to_back);
	fd_close(&r->to_front);
}

/* Without the seals, whoever shrinks the file makes the other side die of SIGBUS. */
static bool is_ring_memfd(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & RING_SEALS) == RING_SEALS && fstat(fd, &st) == 0 && st.st_size == CHAN_PAGE_SIZE;
}

/*
 * Of the descriptors without a file type (anonymous inodes) only an eventfd takes 8 bytes of
 * zero, which add nothing to its counter. Unlike /proc/self/fd this works in an empty root.
 */
static bool is_eventfd(int fd)
{
	const uint64_t nothing = 0;
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0 &&
	       write(fd, &nothing, sizeof(nothing)) == (ssize_t)sizeof(nothing);
}

int local_ring_map(const struct local_ring *r, void **page)
{
	void *p;

	*page = NULL;
	if (!is_ring_memfd(r->memfd) || !is_eventfd(r->to_back) || !is_eventfd(r->to_front))
		return ERR_PROTO;
	p = mmap(NULL, CHAN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	if (p == MAP_FAILED)
		return err_from_errno(errno);
	*page = p;
	return 0;
}

void local_ring_unmap(void *page)
{
	if (page != NULL)
		munmap(page, CHAN_PAGE_SIZE);
}

/* Nothing there, or interrupted: not an error, the caller looks at the page anyway. */
static int local_ack(struct chan_port *port)
{
	struct pollfd pfd = {.fd = port->wait_fd, .events = POLLIN};
	uint64_t count;

	if (poll(&pfd, 1, 0) != 1)
		return 0;
	if (read(port->wait_fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		return ERR_SYS;
	return 0;
}

/* A counter that is full is readable, so the front end has been signalled. */
static int local_notify(struct chan_port *port)
{
	const uint64_t one = 1;

	if (write((int)(intptr_t)port->ctx, &one, sizeof(one)) < 0 && errno != EAGAIN && errno != EINTR)
		return ERR_SYS;
	return 0;
}

int local_attach_back(struct chan *c, const struct local_ring *r)
{
	struct chan_port port = {
		.wait_fd = r->to_back,
		.ctx = (void *)(intptr_t)r->to_front,
		.ack = local_ack,
		.notify = local_notify,
	};
	void *page;
	int err = local_ring_map(r, &page);

	if (err == 0)
		chan_init(c, page, &port);
	return err;
}

/* RING_GRANT: u32le abi, and three descriptors. */
int local_send_grant(int sock, const struct local_ring *r)
{
	const int fds[RING_FDS] = {r->memfd, r->to_back, r->to_front};
	uint8_t mem[4];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = buf_put_u32le(&b, RING_ABI);
	if (err != 0)
		return err;
	return ipc_send(sock, RING_GRANT, &b, fds, RING_FDS);
}

/* What the client waits for, and what came of it. */
struct answer {
	struct local_ring *ring;
	int code;
	char text[REFUSE_MAX + 1];
};

static int handle_grant(void *peer, struct ipc_msg *m)
{
	struct answer *a = peer;
	uint32_t abi;
	int err = buf_get_u32le(&m->body, &abi);

	if (err != 0)
		return err;
	if (abi != RING_ABI)
		return ERR_VERSION;
	a->ring->memfd = ipc_take_fd(m, 0);
	a->ring->to_back = ipc_take_fd(m, 1);
	a->ring->to_front = ipc_take_fd(m, 2);
	return 0;
}

/* RING_REFUSE: i32le code, str text. */
int local_send_refusal(int sock, int code, const char *text)
{
	uint8_t mem[RING_BODY];
	struct buf b;
	int err;

	buf_init(&b, mem, sizeof(mem));
	err = buf_put_u32le(&b, (uint32_t)code);
	if (err != 0)
		return err;
	err = buf_put_var(&b, text, strnlen(text, REFUSE_MAX));
	if (err != 0)
		return err;
	return ipc_send(sock, RING_REFUSE, &b, NULL, 0);
}

static int handle_refuse(void *peer, struct ipc_msg *m)
{
	struct answer *a = peer;
	uint32_t code;

	if (buf_get_u32le(&m->body, &code) != 0 || buf_get_str(&m->body, a->text, sizeof(a->text)) != 0)
		return ERR_PROTO;
	a->code = (int)(int32_t)code;
	return a->code < 0 && a->code >= ERR_LAST ? 0 : ERR_PROTO;
}

static const struct ipc_rule answer_rules[] = {
	{RING_GRANT, STATE_ANY, 4, 4, RING_FDS, RING_FDS, handle_grant},
	{RING_REFUSE, STATE_ANY, 8, RING_BODY, 0, 0, handle_refuse},
};

static int wait_readable(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	uint64_t end = loop_now_ms() + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
	uint64_t now;
	int n;

	while ((n = poll(&pfd, 1, timeout_ms)) < 0 && errno == EINTR) {
		now = loop_now_ms();
		if (timeout_ms >= 0)
			timeout_ms = now < end ? (int)(end - now) : 0;
	}
	if (n < 0)
		return err_from_errno(errno);
	return n == 0 ? ERR_TIMEOUT : 0;
}

/* The text goes to terminals: nothing in it may steer one. */
static void copy_printable(char *out, size_t cap, const char *text)
{
	size_t i;

	for (i = 0; i + 1 < cap && text[i] != '\0'; i++)
		out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	if (cap > 0)
		out[i] = '\0';
}

int local_receive(int sock, struct local_ring *r, int timeout_ms, char *why, size_t cap)
{
	uint8_t mem[RING_BODY];
	struct ipc_msg m;
	struct answer a = {.ring = r};
	int err;

	*r = LOCAL_RING_NONE;
	copy_printable(why, cap, "");
	err = wait_readable(sock, timeout_ms);
	if (err != 0)
		return err;
	err = ipc_recv(sock, &m, mem, sizeof(mem), 0);
	if (err != 0)
		return err;
	err = ipc_dispatch(answer_rules, ARRAY_LEN(answer_rules), STATE_ANY, &a, &m);
	if (err == 0 && a.code != 0) {
		copy_printable(why, cap, a.text);
		err = a.code;
	}
	if (err != 0)
		local_ring_close(r);
	return err;
}

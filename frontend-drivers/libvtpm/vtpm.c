/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front end's half of the protocol that hv/chan.c narrates. The page is not trusted here
 * either: a response is copied out once, and handed on only if its TPM header agrees with the
 * length on the page.
 */
#pragma GCC visibility push(default)
#include "frontend-drivers/libvtpm/vtpm.h"
#pragma GCC visibility pop

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hv/local/local.h"
#include "hv/page.h"
#include "hv/spin.h"
#include "lib/loop.h"
#include "lib/util.h"

#define TPM_HEADER_SIZE 10u /* tag, size, code: TPM 2.0 Part 1, 18 */
#define LOCALITY_LAST	4u

#define GRANT_TIMEOUT_MS 10000
#define DRAIN_TIMEOUT_MS 10000
/* Most commands that need neither an RSA key nor the disk are answered within this. */
#define SPIN_US 50u

_Static_assert(VTPM_COMMAND_MAX == CHAN_PACKET_MAX, "the page holds one command");

struct vtpm {
	int sock; /* held as long as the ring is used */
	int poll_fd;
	struct local_ring ring;
	volatile uint8_t *page;
	struct spin spin;
	uint8_t locality;
	bool in_hand;	/* atomic: vtpm_cancel reads it, perhaps in another thread, */
	bool cancelled; /* atomic: and sets this */
	size_t len;	/* of the response taken off the page, 0: none yet */
	uint8_t response[VTPM_COMMAND_MAX];
};

/* The interface promises the calling thread a text that outlives the failed vtpm_open. */
static _Thread_local char refusal[256];

const char *vtpm_refusal(void)
{
	return refusal;
}

static int to_errno(int err)
{
	static const struct {
		int err, errnum;
	} map[] = {
		{ERR_NOMEM, ENOMEM},	    {ERR_BUSY, EBUSY},	      {ERR_DENIED, EACCES},
		{ERR_NOTFOUND, ENOENT},	    {ERR_CLOSED, ECONNRESET}, {ERR_TIMEOUT, ETIMEDOUT},
		{ERR_WRONG_STATE, ECONNREFUSED},  {ERR_AUTH, ECONNREFUSED}, {ERR_QUARANTINE, ECONNREFUSED},
		{ERR_PCR, ECONNREFUSED},    {ERR_FULL, ECONNREFUSED}, {ERR_TPM_LOST, ECONNREFUSED},
		{ERR_ENGINE, ECONNREFUSED}, {ERR_RANGE, EPROTO},      {ERR_VERSION, EPROTO},
	};

	if (err == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(map); i++) {
		if (map[i].err == err)
			return -map[i].errnum;
	}
	return -EPROTO;
}

static bool response_ready(const void *arg)
{
	const struct vtpm *v = arg;
	uint8_t state = page_get_state(v->page);

	return state != CHAN_STATE_SUBMIT && state != CHAN_STATE_CANCEL;
}

/* A full counter and an interrupted call need nothing: see hv/local/local.c. */
static void signal_back(const struct vtpm *v)
{
	const uint64_t one = 1;

	if (write(v->ring.to_back, &one, sizeof(one)) < 0)
		return;
}

static void take_signals(const struct vtpm *v)
{
	uint64_t count;

	if (read(v->ring.to_front, &count, sizeof(count)) < 0)
		return;
}

/* What is left of timeout_ms at end. */
static int time_left(uint64_t end, int timeout_ms)
{
	uint64_t now;

	if (timeout_ms <= 0)
		return timeout_ms;
	now = loop_now_ms();
	return now < end ? (int)(end - now) : 0;
}

/* Waits until the back end is done with the page. Signals may be old ones: the page decides. */
static int wait_ready(struct vtpm *v, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = v->ring.to_front, .events = POLLIN}, {.fd = v->sock, .events = POLLIN}};
	uint64_t end;
	int n, left = timeout_ms;

	if (response_ready(v) || (timeout_ms != 0 && spin_until(&v->spin, SPIN_US, response_ready, v)))
		return 0;
	end = timeout_ms > 0 ? loop_now_ms() + (uint64_t)timeout_ms : 0;
	do {
		n = poll(fds, 2, left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && fds[0].revents != 0)
			take_signals(v);
		if (response_ready(v))
			return 0;
		if (n > 0 && fds[1].revents != 0)
			return -ECONNRESET;
		left = time_left(end, timeout_ms);
	} while (n != 0 && left != 0);
	return -ETIMEDOUT;
}

static uint32_t get_be32(const uint8_t *p)
{
	struct buf b;
	uint32_t v = 0;

	buf_wrap(&b, p, 4);
	return buf_get_u32be(&b, &v) == 0 ? v : 0;
}

/* Offset 2: after the tag. */
static bool header_agrees(const uint8_t *packet, size_t len)
{
	return len >= TPM_HEADER_SIZE && get_be32(packet + 2) == len;
}

static int connect_ring(const char *path, int *out)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int fd, errnum;

	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) != 0) {
		errnum = errno;
		close(fd);
		return -errnum;
	}
	*out = fd;
	return 0;
}

/*
 * An earlier front end may have taken O_NONBLOCK off the description that all share, and filled
 * the counter: our signal would then wait for a back end that waits for us to take its own.
 */
static int make_nonblocking(const struct local_ring *r)
{
	if (fcntl(r->to_back, F_SETFL, O_NONBLOCK) != 0 || fcntl(r->to_front, F_SETFL, O_NONBLOCK) != 0)
		return -errno;
	return 0;
}

static int map_ring(struct vtpm *v)
{
	void *page;
	int err = local_receive(v->sock, &v->ring, GRANT_TIMEOUT_MS, refusal, sizeof(refusal));

	if (err != 0)
		return to_errno(err);
	err = local_ring_map(&v->ring, &page);
	if (err != 0)
		return to_errno(err);
	v->page = page;
	fd_close(&v->ring.memfd);
	return make_nonblocking(&v->ring);
}

/* One descriptor for the caller to poll: the signals, or the end of the back end. */
static int make_poll_fd(struct vtpm *v)
{
	struct epoll_event ev = {.events = EPOLLIN};

	v->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (v->poll_fd < 0 || epoll_ctl(v->poll_fd, EPOLL_CTL_ADD, v->ring.to_front, &ev) != 0 ||
	    epoll_ctl(v->poll_fd, EPOLL_CTL_ADD, v->sock, &ev) != 0)
		return -errno;
	return 0;
}

/*
 * An earlier front end may have died with a command in hand. Its response must not be taken
 * for the answer to ours, so end it first; what it answers stays on the page unread.
 */
static int drain(struct vtpm *v)
{
	page_swap_state(v->page, CHAN_STATE_SUBMIT, CHAN_STATE_CANCEL);
	if (!response_ready(v))
		signal_back(v);
	return wait_ready(v, DRAIN_TIMEOUT_MS);
}

int vtpm_open(const char *path, struct vtpm **out)
{
	struct vtpm *v;
	int err;

	refusal[0] = '\0';
	*out = NULL;
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	v->sock = v->poll_fd = -1;
	v->ring = LOCAL_RING_NONE;
	err = connect_ring(path, &v->sock);
	if (err == 0)
		err = map_ring(v);
	if (err == 0)
		err = make_poll_fd(v);
	if (err == 0)
		err = drain(v);
	if (err != 0) {
		vtpm_close(v);
		return err;
	}
	*out = v;
	return 0;
}

void vtpm_close(struct vtpm *v)
{
	if (v == NULL)
		return;
	local_ring_unmap((void *)(uintptr_t)v->page);
	fd_close(&v->poll_fd);
	local_ring_close(&v->ring);
	fd_close(&v->sock);
	explicit_bzero(v->response, sizeof(v->response));
	free(v);
}

int vtpm_set_locality(struct vtpm *v, uint8_t locality)
{
	if (locality > LOCALITY_LAST)
		return -EINVAL;
	v->locality = locality;
	return 0;
}

int vtpm_send(struct vtpm *v, const void *cmd, size_t len)
{
	if (v->in_hand)
		return -EINVAL;
	if (len > VTPM_COMMAND_MAX)
		return -EMSGSIZE;
	if (!header_agrees(cmd, len))
		return -EINVAL;
	v->len = 0;
	page_set_u8(v->page, CHAN_OFF_LOCALITY, v->locality);
	page_set_u8(v->page, CHAN_OFF_NR_EXTRA, 0);
	page_write(v->page, CHAN_HEADER_SIZE, cmd, len);
	page_set_length(v->page, (uint32_t)len);
	__atomic_store_n(&v->cancelled, false, __ATOMIC_RELEASE);
	page_set_state(v->page, CHAN_STATE_SUBMIT);
	__atomic_store_n(&v->in_hand, true, __ATOMIC_RELEASE);
	signal_back(v);
	return 0;
}

int vtpm_cancel(struct vtpm *v)
{
	if (!__atomic_load_n(&v->in_hand, __ATOMIC_ACQUIRE))
		return -EINVAL;
	__atomic_store_n(&v->cancelled, true, __ATOMIC_RELEASE);
	/* Never over FINISH: the response is there already. */
	if (page_swap_state(v->page, CHAN_STATE_SUBMIT, CHAN_STATE_CANCEL))
		signal_back(v);
	return 0;
}

/* Copies the response off the page, once, so that a caller with too little room can come back for it. */
static int take_response(struct vtpm *v)
{
	/* TPM_ST_NO_SESSIONS, 10 bytes, TPM_RC_CANCELED: the back end had not begun */
	static const uint8_t canceled[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x09};
	uint8_t state = page_get_state(v->page);
	uint32_t len;

	if (state == CHAN_STATE_IDLE && __atomic_load_n(&v->cancelled, __ATOMIC_ACQUIRE)) {
		memcpy(v->response, canceled, sizeof(canceled));
		v->len = sizeof(canceled);
		return 0;
	}
	len = page_get_length(v->page);
	if (state != CHAN_STATE_FINISH || len < TPM_HEADER_SIZE || len > VTPM_COMMAND_MAX)
		return -EPROTO;
	page_read(v->page, CHAN_HEADER_SIZE, v->response, len);
	if (!header_agrees(v->response, len))
		return -EPROTO;
	v->len = len;
	return 0;
}

/* Takes the response off the page, or leaves the command in hand (-ETIMEDOUT). Anything else ends the command. */
static int fetch_response(struct vtpm *v, int timeout_ms)
{
	int err = wait_ready(v, timeout_ms);

	if (err == -ETIMEDOUT)
		return err;
	if (err == 0)
		err = take_response(v);
	if (err != 0)
		__atomic_store_n(&v->in_hand, false, __ATOMIC_RELEASE);
	return err;
}

int vtpm_receive(struct vtpm *v, void *resp, size_t *len, int timeout_ms)
{
	size_t room = *len;
	int err = 0;

	if (!v->in_hand)
		return -EINVAL;
	if (v->len == 0)
		err = fetch_response(v, timeout_ms);
	if (err != 0)
		return err;
	*len = v->len;
	if (v->len > room)
		return -ENOBUFS;
	memcpy(resp, v->response, v->len);
	__atomic_store_n(&v->in_hand, false, __ATOMIC_RELEASE);
	return 0;
}

int vtpm_poll_fd(const struct vtpm *v)
{
	return v->poll_fd;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/tools/front.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void front_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
}

void front_open(struct front *f, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char why[256];
	void *page;
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		front_die("%s: too long", path);
	memcpy(sa.sun_path, path, strlen(path));
	f->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (f->sock < 0 || connect(f->sock, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		front_die("%s: %s", path, strerror(errno));
	err = local_receive(f->sock, &f->ring, FRONT_TIMEOUT_MS, why, sizeof(why));
	if (err != 0)
		front_die("%s: %s: %s", path, err_text(err), why);
	err = local_ring_map(&f->ring, &page);
	if (err != 0)
		front_die("%s: map: %s", path, err_text(err));
	f->page = page;
}

void front_signal(const struct front *f)
{
	const uint64_t one = 1;

	if (write(f->ring.to_back, &one, sizeof(one)) < 0 && errno != EAGAIN)
		front_die("signal: %s", strerror(errno));
}

void front_submit(struct front *f, const uint8_t *packet, size_t n, uint32_t length, uint8_t nr_extra, uint8_t locality)
{
	page_set_u8(f->page, CHAN_OFF_LOCALITY, locality);
	page_set_u8(f->page, CHAN_OFF_NR_EXTRA, nr_extra);
	page_write(f->page, CHAN_HEADER_SIZE + (size_t)nr_extra * CHAN_EXTRA_REF_SIZE, packet, n);
	page_set_length(f->page, length);
	page_set_state(f->page, CHAN_STATE_SUBMIT);
	front_signal(f);
}

static bool in_hand(const struct front *f)
{
	uint8_t state = page_get_state(f->page);

	return state == CHAN_STATE_SUBMIT || state == CHAN_STATE_CANCEL;
}

bool front_wait(struct front *f)
{
	struct pollfd fds[2] = {{.fd = f->ring.to_front, .events = POLLIN}, {.fd = f->sock, .events = POLLIN}};
	uint64_t count;

	while (in_hand(f)) {
		if (poll(fds, 2, FRONT_TIMEOUT_MS) <= 0)
			front_die("no answer within %d s", FRONT_TIMEOUT_MS / 1000);
		if (fds[0].revents != 0 && read(f->ring.to_front, &count, sizeof(count)) < 0 && errno != EAGAIN)
			front_die("signals: %s", strerror(errno));
		if (fds[1].revents != 0 && in_hand(f))
			return false;
	}
	return true;
}

uint32_t front_response(struct front *f, uint8_t nr_extra)
{
	const size_t off = CHAN_HEADER_SIZE + (size_t)nr_extra * CHAN_EXTRA_REF_SIZE;
	uint32_t len;

	if (!front_wait(f))
		front_die("the back end has gone");
	len = page_get_length(f->page);
	if (page_get_state(f->page) != CHAN_STATE_FINISH || len < 10 || len > CHAN_PAGE_SIZE - off)
		front_die("no response on the page: state %u, length %u", page_get_state(f->page), len);
	page_read(f->page, off, f->rsp, len);
	f->rsp_len = len;
	return response_code(f->rsp, len);
}

uint32_t front_command(struct front *f, const struct command *c)
{
	front_submit(f, c->mem, c->b.len, (uint32_t)c->b.len, 0, 0);
	return front_response(f, 0);
}

/*
 * The back end answers CANCEL in any case: with FINISH if a request was in hand, otherwise with
 * IDLE. A FINISH that was written over our CANCEL is as good: then nothing is in hand either.
 */
void front_resync(struct front *f)
{
	page_set_state(f->page, CHAN_STATE_CANCEL);
	front_signal(f);
	if (!front_wait(f))
		front_die("the back end has gone");
}

void front_demand_service(struct front *f)
{
	struct command c;
	uint32_t rc;

	command_get_random(&c);
	rc = front_command(f, &c);
	if (rc != RC_SUCCESS)
		front_die("GetRandom is answered with %#x", rc);
}

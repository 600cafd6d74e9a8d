/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The back end's state machine over the tpmif page. One request goes like this:
 *
 *	1. The front end writes locality, nr_extra_pages, packet and length, then SUBMIT, then signals.
 *	2. chan_take sees SUBMIT (acquire), reads each field once and copies the packet out. From
 *	   here on the page says nothing more about this request, whatever the guest writes there;
 *	   only the state is still looked at, by chan_cancelled.
 *	3. chan_respond writes packet and length where step 2 found the packet, then FINISH and the number of the response
 *	   (one store, release), then signals.
 *
 * Responses are numbered, and the byte that tpmif calls pad has the low bits of the last one that was delivered: SUBMIT beside the
 * number before the last one says that the last one was not. A front end leaves the byte alone; one that does not can only have
 * a response of its own twice, or a command of its own executed twice, and only if the back end is killed in that moment.
 *
 * A front end that gives up writes CANCEL over SUBMIT. If it does so before step 2, or too
 * late, over FINISH, no request is in hand: the back end answers IDLE, "cancel complete", or
 * the front end would wait for ever.
 */
#include "hv/hv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "hv/page.h"
#include "lib/buf.h"

#define TPM_HEADER_SIZE 10u /* tag, size, code: TPM 2.0 Part 1, 18 */

void chan_init(struct chan *c, void *page, const struct chan_port *port)
{
	memset(c, 0, sizeof(*c));
	c->page = page;
	c->port = *port;
	c->data_off = CHAN_HEADER_SIZE;
}

/* Whether the guest wants something of a back end that has no request in hand. */
static bool chan_has_work(const void *arg)
{
	const struct chan *c = arg;
	uint8_t state = page_get_state(c->page);

	return state == CHAN_STATE_SUBMIT || state == CHAN_STATE_CANCEL;
}

static bool packet_size_agrees(const uint8_t *packet, size_t len)
{
	struct buf b;
	uint16_t tag;
	uint32_t size;

	buf_wrap(&b, packet, len);
	return buf_get_u16be(&b, &tag) == 0 && buf_get_u32be(&b, &size) == 0 && size == len;
}

/* There is nothing to cancel: say so. A lost signal is the guest's loss alone. */
static void chan_end_cancel(struct chan *c)
{
	if (page_swap_state(c->page, CHAN_STATE_CANCEL, CHAN_STATE_IDLE))
		(void)c->port.notify(&c->port);
}

/* Where the packet is. At most 8 + 4 * 255 = 1028: always inside the page, with room for an error reply. */
static void chan_hold(struct chan *c, uint32_t head)
{
	c->head = head;
	c->data_off = CHAN_HEADER_SIZE + CHAN_EXTRA_REF_SIZE * head_get(head, CHAN_OFF_NR_EXTRA);
}

enum chan_verdict chan_take(struct chan *c, uint8_t out[static CHAN_PACKET_MAX], struct chan_request *req)
{
	uint32_t head = page_get_head(c->page);
	uint8_t state = head_get(head, CHAN_OFF_STATE);
	uint32_t len;

	req->len = 0;
	req->locality = 0;
	if (state == CHAN_STATE_CANCEL)
		chan_end_cancel(c);
	if (state != CHAN_STATE_SUBMIT)
		return CHAN_NONE;

	chan_hold(c, head);
	len = page_get_length(c->page);
	if (len < TPM_HEADER_SIZE || len > CHAN_PAGE_SIZE - c->data_off)
		return CHAN_BAD;
	page_read(c->page, c->data_off, out, len);
	if (!packet_size_agrees(out, len)) {
		memset(out, 0, len);
		return CHAN_BAD;
	}
	req->len = len;
	req->locality = head_get(head, CHAN_OFF_LOCALITY);
	return CHAN_REQUEST;
}

void chan_begin(struct chan *c, uint8_t seq)
{
	page_set_u8(c->page, CHAN_OFF_PAD, seq);
}

enum chan_left chan_resume(struct chan *c, uint8_t seq)
{
	uint32_t head = page_get_head(c->page);
	uint8_t state = head_get(head, CHAN_OFF_STATE);

	if (state != CHAN_STATE_SUBMIT && state != CHAN_STATE_CANCEL)
		return CHAN_LEFT_NOTHING;
	if (head_get(head, CHAN_OFF_PAD) == (uint8_t)(seq - 1)) {
		chan_hold(c, head);
		return CHAN_LEFT_RESPONSE;
	}
	return state == CHAN_STATE_SUBMIT ? CHAN_LEFT_REQUEST : CHAN_LEFT_NOTHING;
}

int chan_nudge(struct chan *c)
{
	return c->port.notify(&c->port);
}

int chan_respond(struct chan *c, uint8_t seq, const uint8_t *resp, size_t len)
{
	/* TPM_ST_NO_SESSIONS, 10 bytes, TPM_RC_SIZE */
	static const uint8_t does_not_fit[] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x95};

	if (len < TPM_HEADER_SIZE || len > CHAN_PACKET_MAX)
		return ERR_RANGE;
	if (len > CHAN_PAGE_SIZE - c->data_off) {
		resp = does_not_fit;
		len = sizeof(does_not_fit);
	}
	page_write(c->page, c->data_off, resp, len);
	page_set_length(c->page, (uint32_t)len);
	page_set_head(c->page, head_set(head_set(c->head, CHAN_OFF_PAD, seq), CHAN_OFF_STATE, CHAN_STATE_FINISH));
	return c->port.notify(&c->port);
}

bool chan_cancelled(const struct chan *c)
{
	return page_get_state(c->page) == CHAN_STATE_CANCEL;
}

/*
 * Waits for the descriptors, for ever or (timeout 0) only looks. ERR_CLOSED: stop_fd is
 * readable, which goes before whatever the guest wants. ERR_AGAIN: a look found nothing.
 */
static int chan_poll(struct chan *c, int stop_fd, int timeout)
{
	struct pollfd fds[2] = {{.fd = stop_fd, .events = POLLIN}, {.fd = c->port.wait_fd, .events = POLLIN}};
	int n;

	do
		n = poll(fds, timeout == 0 ? 1 : 2, timeout);
	while (n < 0 && errno == EINTR);
	if (n < 0 || (fds[0].revents | fds[1].revents) & POLLNVAL)
		return ERR_SYS;
	if (fds[0].revents != 0)
		return ERR_CLOSED;
	return n == 0 ? ERR_AGAIN : 0;
}

/* There is work. A guest that keeps the back end busy must not keep it from stopping. */
static int chan_check_stop(struct chan *c, int stop_fd)
{
	int err = chan_poll(c, stop_fd, 0);

	return err == ERR_AGAIN ? 0 : err;
}

/*
 * Signals are not taken off one by one: while spinning pays, the hot path makes no system
 * call for them at all. What piled up meanwhile makes poll return once, is taken off, and
 * leaves no work on the page; then poll sleeps. No signal can be lost in between, because
 * the page is looked at after the signals were taken.
 */
int chan_wait(struct chan *c, int stop_fd, unsigned spin_us)
{
	int err;

	if (chan_has_work(c) || spin_until(&c->spin, spin_us, chan_has_work, c))
		return chan_check_stop(c, stop_fd);
	do {
		err = chan_poll(c, stop_fd, -1);
		if (err != 0)
			return err;
		err = c->port.ack(&c->port);
		if (err != 0)
			return err;
	} while (!chan_has_work(c));
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/tools/front.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void front_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	exit(1);
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

bool front_in_hand(const struct front *f)
{
	uint8_t state = page_get_state(f->page);

	return state == CHAN_STATE_SUBMIT || state == CHAN_STATE_CANCEL;
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

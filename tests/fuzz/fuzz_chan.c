/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libFuzzer: the input is a guest. Its bytes are laid over the page, then over the page again
 * while the request is in hand; the invariants of hv/hv.h must hold whatever they are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hv/hv.h"
#include "hv/page.h"

#define SEQ 0x5a /* low byte of the number of the response */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Alignas(CHAN_PAGE_SIZE) uint8_t page[CHAN_PAGE_SIZE];
static uint8_t before[CHAN_PAGE_SIZE];

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static int no_signal(struct chan_port *port)
{
	(void)port;
	return 0;
}

/* Lays at most n bytes of the input at the beginning of the page, and returns how many. */
static size_t overlay(const uint8_t *data, size_t size, size_t n)
{
	if (n > size)
		n = size;
	if (n > 0)
		memcpy(page, data, n);
	return n;
}

static void check_request(const uint8_t *out, const struct chan_request *req, size_t off)
{
	uint32_t claimed = (uint32_t)out[2] << 24 | (uint32_t)out[3] << 16 | (uint32_t)out[4] << 8 | out[5];

	demand(req->len >= 10 && req->len <= CHAN_PACKET_MAX);
	demand(claimed == req->len);
	demand(memcmp(out, page + off, req->len) == 0);
}

/*
 * Nothing but length, header word and the packet where the request had been may have changed. The word is written in one store: it
 * has the response's number, and locality and extra pages as they were when the request was taken.
 */
static void check_response(size_t off, size_t len, const uint8_t taken[static CHAN_HEADER_SIZE])
{
	size_t written = len <= CHAN_PAGE_SIZE - off ? len : 10;

	demand(page_get_length(page) == written);
	demand(page_get_state(page) == CHAN_STATE_FINISH);
	demand(page[CHAN_OFF_LOCALITY] == taken[CHAN_OFF_LOCALITY]);
	demand(page[CHAN_OFF_PAD] == SEQ);
	demand(page[CHAN_OFF_NR_EXTRA] == taken[CHAN_OFF_NR_EXTRA]);
	demand(memcmp(page + CHAN_HEADER_SIZE, before + CHAN_HEADER_SIZE, off - CHAN_HEADER_SIZE) == 0);
	demand(memcmp(page + off + written, before + off + written, CHAN_PAGE_SIZE - off - written) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chan_port port = {.wait_fd = -1, .ack = no_signal, .notify = no_signal};
	uint8_t resp[CHAN_PACKET_MAX], taken[CHAN_HEADER_SIZE];
	struct chan_request req;
	enum chan_verdict verdict;
	uint8_t *out;
	struct chan c;
	size_t used, len, off;

	if (size < 2)
		return 0;
	len = 10 + ((size_t)data[0] << 8 | data[1]) % (CHAN_PACKET_MAX - 9);
	memset(page, 0, sizeof(page));
	used = 2 + overlay(data + 2, size - 2, CHAN_PAGE_SIZE);
	out = malloc(CHAN_PACKET_MAX); /* on the heap: its ends are guarded */
	demand(out != NULL);
	memset(resp, 0xa5, sizeof(resp));
	chan_init(&c, page, &port);

	off = CHAN_HEADER_SIZE + CHAN_EXTRA_REF_SIZE * (size_t)page[CHAN_OFF_NR_EXTRA];
	memcpy(taken, page, sizeof(taken));
	verdict = chan_take(&c, out, &req);
	if (verdict == CHAN_REQUEST)
		check_request(out, &req, off);
	if (verdict != CHAN_NONE) {
		overlay(data + used, size - used, CHAN_PAGE_SIZE);
		memcpy(before, page, sizeof(page));
		demand(chan_respond(&c, SEQ, resp, len) == 0);
		check_response(off, len, taken);
	}
	free(out);
	return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport over a local ring: hv/chan.c does the work. */
#include "lib/secmem.h"
#include "vtpm-backend/power.h"
#include "vtpm-backend/resume.h"
#include "vtpm-backend/transport.h"

#define SPIN_US 30u /* about the time in which a guest's next command follows the last */

static int ring_begin(struct backend *b)
{
	size_t len;
	int err;

	b->locality_max = b->start.locality_max;
	if (b->start.flags & RUN_RESUME) {
		err = resume_restore(b, &len);
		if (err == 0)
			err = resume_deliver(b, len);
		if (err == 0)
			err = resume_renew(b, len);
		secmem_wipe(b->rsp, sizeof(b->rsp));
		return err;
	}
	chan_begin(&b->chan, 0);
	err = power_on(b);
	return err != 0 ? err : resume_begin(b);
}

static int ring_wait(struct backend *b)
{
	int err = chan_wait(&b->chan, b->stop_fd, SPIN_US);

	return err == ERR_CLOSED ? transport_woken(b) : err;
}

static enum chan_verdict ring_take(struct backend *b, struct chan_request *req)
{
	return chan_take(&b->chan, b->cmd, req);
}

static int ring_respond(struct backend *b, size_t len)
{
	return chan_respond(&b->chan, (uint8_t)b->seq, b->rsp, len);
}

static bool ring_cancelled(struct backend *b)
{
	return chan_cancelled(&b->chan);
}

const struct transport transport_ring = {
	.option = "--ring",
	.sandbox = SANDBOX_BACKEND,
	.area_fd = BACKEND_FD_RING_AREA,
	.begin = ring_begin,
	.end = power_off,
	.wait = ring_wait,
	.take = ring_take,
	.respond = ring_respond,
	.cancelled = ring_cancelled,
};

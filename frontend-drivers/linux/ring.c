// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shared page and its event channel; see ring.h.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <asm/barrier.h>
#include <asm/byteorder.h>
#include <asm/sync_bitops.h>
#include <xen/events.h>
#include <xen/page.h>

#include "hv/chan_abi.h"

#include "compat.h"
#include "ring.h"

int ring_open(struct ring *ring, struct xenbus_device *dev, irq_handler_t handler, void *arg)
{
	int rc;

	ring->page = (u8 *)get_zeroed_page(GFP_KERNEL);
	if (!ring->page)
		return -ENOMEM;
	rc = gnttab_grant_foreign_access(dev->otherend_id, virt_to_gfn(ring->page), 0);
	if (rc < 0)
		goto no_grant;
	ring->ref = rc;
	rc = xenbus_alloc_evtchn(dev, &ring->port);
	if (rc)
		goto no_port;
	/* Late end of interrupt: a back end that does nothing but signal is slowed down by the kernel. */
	rc = bind_evtchn_to_irqhandler_lateeoi(ring->port, handler, 0, "xen-tpm2front", arg);
	if (rc < 0)
		goto no_irq;
	ring->irq = rc;
	return 0;
no_irq:
	xenbus_free_evtchn(dev, ring->port);
no_port:
	compat_end_grant(ring->ref, ring->page);
	ring->page = NULL;
	return rc;
no_grant:
	free_page((unsigned long)ring->page);
	ring->page = NULL;
	return rc;
}

bool ring_close(struct ring *ring, void *arg)
{
	if (!ring->page)
		return true;
	unbind_from_irqhandler(ring->irq, arg); /* closes the event channel, too */
	ring->irq = 0;
	return ring_reclaim(ring);
}

bool ring_reclaim(struct ring *ring)
{
	if (!ring->page)
		return true;
	if (!compat_try_end_grant(ring->ref))
		return false;
	free_page((unsigned long)ring->page);
	memset(ring, 0, sizeof(*ring));
	return true;
}

void ring_abandon(struct ring *ring)
{
	if (ring->page)
		compat_end_grant(ring->ref, ring->page);
	memset(ring, 0, sizeof(*ring));
}

static u8 get_state(const struct ring *ring)
{
	const u8 *state = ring->page + CHAN_OFF_STATE;

	return virt_load_acquire(state);
}

bool ring_is_free(const struct ring *ring)
{
	u8 state = get_state(ring);

	return state == CHAN_STATE_IDLE || state == CHAN_STATE_FINISH;
}

void ring_put_request(struct ring *ring, const u8 *buf, size_t len)
{
	u8 *state = ring->page + CHAN_OFF_STATE;

	memcpy(ring->page + CHAN_HEADER_SIZE, buf, len);
	WRITE_ONCE(*(__le32 *)(ring->page + CHAN_OFF_LENGTH), cpu_to_le32(len));
	WRITE_ONCE(ring->page[CHAN_OFF_LOCALITY], 0);
	WRITE_ONCE(ring->page[CHAN_OFF_NR_EXTRA], 0);
	virt_store_release(state, (u8)CHAN_STATE_SUBMIT);
	notify_remote_via_irq(ring->irq);
}

void ring_cancel_request(struct ring *ring)
{
	u8 *state = ring->page + CHAN_OFF_STATE;

	/* Only over SUBMIT: an answer that has just come must not be lost. */
	if (sync_cmpxchg(state, (u8)CHAN_STATE_SUBMIT, (u8)CHAN_STATE_CANCEL) == CHAN_STATE_SUBMIT)
		notify_remote_via_irq(ring->irq);
}

ssize_t ring_take_response(const struct ring *ring, u8 *buf, size_t size)
{
	u32 len;

	if (get_state(ring) != CHAN_STATE_FINISH)
		return -ECANCELED;
	len = le32_to_cpu(READ_ONCE(*(__le32 *)(ring->page + CHAN_OFF_LENGTH)));
	if (len > CHAN_PACKET_MAX || len > size)
		return -EIO;
	/* Where the request was: the back end's word on extra pages is not asked for. */
	memcpy(buf, ring->page + CHAN_HEADER_SIZE, len);
	return len;
}

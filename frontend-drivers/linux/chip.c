// SPDX-License-Identifier: GPL-2.0-only
/*
 * The TPM core's view: commands over whatever ring there is. A command waits in send() for its answer, woken by the
 * event channel, so that it takes no longer than the back end does; the core is told (TPM_CHIP_FLAG_IRQ) not to poll.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/sched/signal.h>
#include <xen/events.h>

#include "hv/chan_abi.h"

#include "compat.h"
#include "front.h"

#define CONNECT_LIMIT (30 * HZ) /* a command waits so long for a back end that is being restarted */
#define CANCEL_LIMIT  (10 * HZ) /* ... for the end of a command that was cancelled */
#define LEAVE_LIMIT   (5 * HZ)	/* ... for any answer, and for the end of it, while driver or domain is leaving */
#define BANKS_MAX     8		/* banks of PCRs that there may be */
#define RC_CANCELED   0x909	/* TPM 2.0, Part 2, "TPM_RC": TPM_RC_CANCELED */

static struct front *front_of(struct tpm_chip *chip)
{
	return dev_get_drvdata(chip->dev.parent);
}

irqreturn_t chip_interrupt(int irq, void *arg)
{
	struct front *front = arg;

	wake_up_all(&front->wait);
	/* More events than there is a reason for make the next one wait. */
	xen_irq_lateeoi(irq, xchg(&front->owed, 0) ? 0 : XEN_EOI_FLAG_SPURIOUS);
	return IRQ_HANDLED;
}

/* Is there a ring that takes requests, or nobody from whom one could come? */
static bool is_ready(struct front *front)
{
	bool ready;

	spin_lock(&front->lock);
	ready = front->removing || front->gone || (front->connected && ring_is_free(&front->ring));
	spin_unlock(&front->lock);
	return ready;
}

/* Puts the request if there is a ring that takes it. -EAGAIN: not now. */
static int put_request(struct front *front, const u8 *buf, size_t len)
{
	int rc = -EAGAIN;

	spin_lock(&front->lock);
	if (front->connected && ring_is_free(&front->ring)) {
		WRITE_ONCE(front->owed, 1);
		ring_put_request(&front->ring, buf, len);
		front->request_epoch = front->epoch;
		rc = 0;
	} else if (front->removing || front->gone) {
		rc = -EPIPE; /* about which the core is silent */
	}
	spin_unlock(&front->lock);
	return rc;
}

/* Has the request been answered, or its ring been lost? */
static bool is_settled(struct front *front)
{
	bool settled;

	spin_lock(&front->lock);
	settled = front->request_epoch != front->epoch || ring_is_free(&front->ring);
	spin_unlock(&front->lock);
	return settled;
}

void front_cancel(struct front *front)
{
	spin_lock(&front->lock);
	if (front->connected) {
		WRITE_ONCE(front->owed, 1);
		ring_cancel_request(&front->ring);
	}
	spin_unlock(&front->lock);
}

static void chip_cancel(struct tpm_chip *chip)
{
	front_cancel(front_of(chip));
}

/* Whoever waits for a domain that is being saved, or powered off, does not wait for minutes. */
static bool is_leaving(struct front *front)
{
	return READ_ONCE(front->removing) || READ_ONCE(front->asleep) || system_state > SYSTEM_RUNNING;
}

/*
 * A killed process takes its command with it; so does one that takes longer than any TPM may (limit), and a driver that is taken
 * away meanwhile, which has cancelled it. The next command then finds a ring that is free, or waits until it is.
 */
static int await_answer(struct front *front, unsigned long limit)
{
	bool removing = READ_ONCE(front->removing);
	long rc;

	if (is_leaving(front))
		limit = min(limit, (unsigned long)LEAVE_LIMIT);
	rc = wait_event_killable_timeout(front->wait, is_settled(front) || READ_ONCE(front->removing) != removing, limit);
	if (rc > 0 && is_settled(front))
		return 0;
	front_cancel(front);
	if (!wait_event_timeout(front->wait, is_settled(front), is_leaving(front) ? LEAVE_LIMIT : CANCEL_LIMIT))
		return -ETIME;
	return rc < 0 ? -EINTR : 0; /* an answer that came late is one */
}

/* TPM2_GetCapability, Part 3: capability behind the header; without sessions, as the kernel itself asks. */
static bool asks_for_banks(const u8 *buf, size_t len)
{
	return len >= TPM_HEADER_SIZE + 4 && get_unaligned_be16(buf) == TPM2_ST_NO_SESSIONS &&
	       get_unaligned_be32(buf + 6) == TPM2_CC_GET_CAPABILITY && get_unaligned_be32(buf + TPM_HEADER_SIZE) == TPM2_CAP_PCRS;
}

/*
 * The TPM core believes what a TPM says of its banks: it makes an entry for each in arrays of fixed size, once for each hash. So
 * here: moreData, capability, TPML_PCR_SELECTION of no more than there may be, each of 24 PCRs and another hash.
 */
static bool banks_are_sane(const u8 *buf, size_t len)
{
	const size_t at = TPM_HEADER_SIZE + 1 + 4 + 4, size = 2 + 1 + TPM2_PCR_SELECT_MIN;
	u32 count;

	if (get_unaligned_be32(buf + 6) != TPM2_RC_SUCCESS)
		return true;
	if (len < at)
		return false;
	count = get_unaligned_be32(buf + at - 4);
	if (count > BANKS_MAX || len != at + count * size)
		return false;
	for (u32 i = 0; i < count; i++) {
		if (buf[at + i * size + 2] != TPM2_PCR_SELECT_MIN)
			return false;
		for (u32 k = 0; k < i; k++)
			if (!memcmp(buf + at + i * size, buf + at + k * size, 2))
				return false;
	}
	return true;
}

static COMPAT_SEND(chip_send)
{
	struct front *front = front_of(chip);
	unsigned long limit = jiffies + CONNECT_LIMIT;
	int rc;

	if (len < TPM_HEADER_SIZE || len > CHAN_PACKET_MAX)
		return -E2BIG;
	front->asks_for_banks = asks_for_banks(buf, len);
	while ((rc = put_request(front, buf, len)) == -EAGAIN) {
		rc = -ETIME;
		if (time_after(jiffies, limit))
			break;
		rc = -EINTR;
		if (wait_event_killable_timeout(front->wait, is_ready(front), CONNECT_LIMIT) < 0)
			break;
	}
	/* TPM 2.0, Part 1, "Command/Response Structure": code at offset 6. */
	return rc ? rc : await_answer(front, tpm_calc_ordinal_duration(chip, get_unaligned_be32(buf + 6)));
}

static int chip_recv(struct tpm_chip *chip, u8 *buf, size_t size)
{
	struct front *front = front_of(chip);
	ssize_t n = -EPIPE;

	spin_lock(&front->lock);
	if (front->request_epoch == front->epoch)
		n = ring_take_response(&front->ring, buf, size);
	spin_unlock(&front->lock);
	if (n == -EPIPE)
		dev_warn(&front->dev->dev, "the back end left before it answered\n");
	/* The copy is ours: its header may be believed if it agrees with the length that came with it. */
	if (n >= 0 && (n < TPM_HEADER_SIZE || get_unaligned_be32(buf + 2) != n))
		return -EIO;
	if (n >= 0 && front->asks_for_banks && !banks_are_sane(buf, n))
		return -EIO;
	/* Given up because the driver leaves: no failure of the TPM, and none that the core should tell of. */
	if (n >= 0 && READ_ONCE(front->removing) && get_unaligned_be32(buf + 6) == RC_CANCELED)
		return -EPIPE;
	return n;
}

static const struct tpm_class_ops chip_ops = {
	.flags = TPM_OPS_AUTO_STARTUP,
	.send = chip_send,
	.recv = chip_recv,
	.cancel = chip_cancel,
};

/* TPM 2.0 or not: the core asks only those drivers' chips that bring the answer along. */
static int probe_version(struct tpm_chip *chip)
{
	int rc = tpm_chip_start(chip);

	if (rc)
		return rc;
	rc = tpm2_probe(chip);
	tpm_chip_stop(chip);
	if (!rc && !(chip->flags & TPM_CHIP_FLAG_TPM2))
		rc = -EPROTONOSUPPORT;
	return rc;
}

/*
 * epoch: before the first command. An answer that was lost with its ring is no word of the TPM's, but the core may have taken it
 * for one, and the TPM for one that waits for new firmware.
 */
static int set_up(struct front *front, struct tpm_chip *chip, unsigned int epoch)
{
	int rc = probe_version(chip);

	if (!rc)
		rc = tpm_chip_register(chip);
	if (rc || epoch == READ_ONCE(front->epoch))
		return rc;
	tpm_chip_unregister(chip);
	return -EPIPE;
}

/* Each attempt has a chip of its own: of one that failed the core keeps what it had learnt of it. */
void chip_register(struct work_struct *work)
{
	struct front *front = container_of(work, struct front, register_work);
	unsigned int epoch = READ_ONCE(front->epoch);
	struct tpm_chip *chip;
	int rc;

	if (front->chip)
		return;
	chip = tpm_chip_alloc(&front->dev->dev, &chip_ops);
	if (IS_ERR(chip)) {
		xenbus_dev_error(front->dev, PTR_ERR(chip), "the TPM cannot be set up");
		return;
	}
	chip->flags |= TPM_CHIP_FLAG_IRQ;
	dev_set_drvdata(&chip->dev, chip); /* as tpm_pm_suspend wants it */
	rc = set_up(front, chip, epoch);
	if (!rc) {
		front->chip = chip;
		return;
	}
	put_device(&chip->dev);
	if (READ_ONCE(front->removing))
		return;
	if (epoch != READ_ONCE(front->epoch))
		dev_info(&front->dev->dev, "the back end left while the TPM was being set up: waiting for it\n");
	else if (rc == -EPROTONOSUPPORT)
		xenbus_dev_error(front->dev, rc, "the back end's TPM is no TPM 2.0");
	else
		xenbus_dev_error(front->dev, rc, "the TPM cannot be set up");
}

void chip_unregister(struct front *front)
{
	if (!front->chip)
		return;
	tpm_chip_unregister(front->chip);
	put_device(&front->chip->dev); /* it goes with its last user, who cannot reach us any more */
	front->chip = NULL;
}

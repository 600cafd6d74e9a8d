/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One virtual TPM as this driver sees it. Two halves that know each other by the functions below: front.c follows the
 * back end's life in xenstore and opens and closes rings; chip.c is the TPM that the kernel's TPM core drives. The chip
 * outlives rings: a back end that is restarted or a domain that is restored costs at most the command in hand.
 */
#ifndef XEN_TPM2FRONT_FRONT_H
#define XEN_TPM2FRONT_FRONT_H

#include <linux/spinlock.h>
#include <linux/tpm.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "ring.h"

#define RINGS_KEPT 4 /* a back end that holds on to the pages of so many rings gets no other */

/* The xenbus device's drvdata is this. */
struct front {
	struct xenbus_device *dev;
	struct tpm_chip *chip; /* once the kernel knows it */

	/* lock: ring, connected, epoch, gone, removing. Held for no longer than a packet takes to be copied. */
	spinlock_t lock;
	struct ring ring;
	bool connected;	    /* the back end has said so: requests may be put */
	unsigned int epoch; /* counts the rings that were lost */
	bool gone;	    /* the back end's nodes are: its domain has died, and a new one will have nodes of its own */
	bool removing;	    /* no ring will come any more */
	wait_queue_head_t wait; /* for an answer, a connection, or the end of either */

	unsigned int owed; /* 1: the next event is not one too many: something has been asked since the last one */
	/* The core has one command at a time. Of that: */
	unsigned int request_epoch; /* the ring that has it in hand */
	bool asks_for_banks;

	struct work_struct register_work;
	bool asleep; /* from before tpm_pm_suspend to after tpm_pm_resume */

	struct ring kept[RINGS_KEPT]; /* closed, but the back end has not let go of the page */
};

/* chip.c. Work: makes the chip known to the kernel, once there is a connection. */
void chip_register(struct work_struct *work);
/* Once the work has ended and will not begin again. */
void chip_unregister(struct front *front);
/* Asks the back end to give up the command in hand. */
void front_cancel(struct front *front);
/* The event channel's handler; arg is the front. */
irqreturn_t chip_interrupt(int irq, void *arg);

#endif

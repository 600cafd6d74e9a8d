// SPDX-License-Identifier: GPL-2.0-only
/*
 * xen-tpm2front: the front end of Xen's vtpm devices, for TPM 2.0.
 *
 * The handshake (xen/include/public/io/xenbus.h, tpmif.h): the back end is in InitWait; we publish ring and event channel
 * and say Initialised; it maps them and says Connected; so do we. When it closes, so do we, and a back end that returns
 * to InitWait gets a new ring.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/xen.h>

#include "compat.h"
#include "front.h"

static struct front *front_of(struct xenbus_device *dev)
{
	return dev_get_drvdata(&dev->dev);
}

/* A place for a page that is not given back; NULL: the back end has filled them all. */
static struct ring *find_place(struct front *front)
{
	for (unsigned int i = 0; i < RINGS_KEPT; i++)
		if (ring_reclaim(&front->kept[i]))
			return &front->kept[i];
	return NULL;
}

/* Ends the ring, if there is one. Who waits on it is woken. */
static void disconnect(struct front *front)
{
	struct ring *place, old;

	spin_lock(&front->lock);
	old = front->ring;
	memset(&front->ring, 0, sizeof(front->ring));
	front->connected = false;
	front->epoch++;
	spin_unlock(&front->lock);
	wake_up_all(&front->wait);
	if (ring_close(&old, front))
		return;
	place = find_place(front); /* there is one, or there had been no ring */
	if (place)
		*place = old;
	else
		ring_abandon(&old);
}

static int publish(struct xenbus_device *dev, const struct ring *ring)
{
	struct xenbus_transaction t;
	int rc;

	do {
		rc = xenbus_transaction_start(&t);
		if (rc)
			return rc;
		rc = xenbus_printf(t, dev->nodename, "ring-ref", "%u", ring->ref);
		if (!rc)
			rc = xenbus_printf(t, dev->nodename, "event-channel", "%u", ring->port);
		if (!rc)
			rc = xenbus_printf(t, dev->nodename, "feature-protocol-v2", "1");
		if (rc) {
			xenbus_transaction_end(t, 1);
			return rc;
		}
		rc = xenbus_transaction_end(t, 0);
	} while (rc == -EAGAIN);
	return rc;
}

/* A ring for a back end that waits for one. */
static void offer(struct front *front)
{
	struct xenbus_device *dev = front->dev;
	struct ring ring = { 0 };
	int rc;

	disconnect(front); /* from a back end that began anew without having closed */
	if (!xenbus_read_unsigned(dev->otherend, "feature-protocol-v2", 0)) {
		xenbus_dev_fatal(dev, -EPROTONOSUPPORT, "the back end does not speak version 2 of the protocol");
		return;
	}
	if (!find_place(front)) {
		xenbus_dev_error(dev, -EBUSY, "the back end never lets go of a ring: it gets no other");
		return;
	}
	rc = ring_open(&ring, dev, chip_interrupt, front);
	if (rc) {
		xenbus_dev_fatal(dev, rc, "no memory, grant or event channel for the ring");
		return;
	}
	rc = publish(dev, &ring);
	if (rc) {
		if (!ring_close(&ring, front))
			ring_abandon(&ring);
		xenbus_dev_fatal(dev, rc, "the ring cannot be published in xenstore");
		return;
	}
	spin_lock(&front->lock);
	front->ring = ring;
	spin_unlock(&front->lock);
	xenbus_switch_state(dev, XenbusStateInitialised);
}

static void connect(struct front *front)
{
	bool news;

	spin_lock(&front->lock);
	news = front->ring.page && !front->connected;
	front->connected = front->connected || news;
	spin_unlock(&front->lock);
	if (!news)
		return;
	xenbus_switch_state(front->dev, XenbusStateConnected);
	wake_up_all(&front->wait);
	/* Not here: setting up takes commands, and this thread must be free to hear that the back end is leaving. Not while
	 * the domain is suspended, either. */
	queue_work(system_freezable_wq, &front->register_work);
}

static void front_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	struct front *front = front_of(dev);

	spin_lock(&front->lock);
	front->gone = state == XenbusStateUnknown;
	spin_unlock(&front->lock);
	switch (state) {
	case XenbusStateInitWait:
		offer(front);
		break;
	case XenbusStateConnected:
		connect(front);
		break;
	case XenbusStateClosing:
	case XenbusStateClosed:
		if (dev->state == XenbusStateClosed)
			break;
		disconnect(front);
		xenbus_frontend_closed(dev);
		break;
	case XenbusStateUnknown:
		disconnect(front);
		break;
	default:
		break;
	}
}

static int front_probe(struct xenbus_device *dev, const struct xenbus_device_id *id)
{
	struct front *front = kzalloc(sizeof(*front), GFP_KERNEL);
	int rc;

	if (!front)
		return -ENOMEM;
	front->dev = dev;
	dev_set_drvdata(&dev->dev, front);
	spin_lock_init(&front->lock);
	init_waitqueue_head(&front->wait);
	INIT_WORK(&front->register_work, chip_register);
	/* The back end's state, whatever it is, is told to front_changed next. */
	rc = xenbus_switch_state(dev, XenbusStateInitialising);
	if (rc)
		kfree(front);
	return rc;
}

static COMPAT_REMOVE front_remove(struct xenbus_device *dev)
{
	struct front *front = front_of(dev);

	/* Whoever waits for a back end need not wait any longer; one that is there still hears TPM2_Shutdown. */
	spin_lock(&front->lock);
	front->removing = true;
	spin_unlock(&front->lock);
	wake_up_all(&front->wait);
	front_cancel(front);
	cancel_work_sync(&front->register_work);
	chip_unregister(front);
	disconnect(front);
	for (unsigned int i = 0; i < RINGS_KEPT; i++)
		ring_abandon(&front->kept[i]);
	kfree(front);
	return COMPAT_REMOVE_VALUE;
}

/* Before the domain is saved, migrated or checkpointed: TPM2_Shutdown(STATE), and no command in hand. */
static int front_suspend(struct xenbus_device *dev)
{
	struct front *front = front_of(dev);

	if (!front->chip || !READ_ONCE(front->connected))
		return 0;
	WRITE_ONCE(front->asleep, true);
	return tpm_pm_suspend(&front->chip->dev);
}

/* In the restored domain: grants and event channels are gone, and the back end is another one, which waits for a ring. */
static int front_resume(struct xenbus_device *dev)
{
	disconnect(front_of(dev));
	return 0;
}

/* After either, and after a suspend that was cancelled, of which xenbus tells its drivers nothing else. */
static void front_complete(struct device *device)
{
	struct front *front = front_of(to_xenbus_device(device));

	if (front->asleep)
		tpm_pm_resume(&front->chip->dev);
	WRITE_ONCE(front->asleep, false);
}

static const struct dev_pm_ops front_pm = { .complete = front_complete };

static const struct xenbus_device_id front_ids[] = { { "vtpm" }, { "" } };
MODULE_DEVICE_TABLE(xen, front_ids);

static struct xenbus_driver front_driver = {
	.name = "xen-tpm2front",
	.ids = front_ids,
	.probe = front_probe,
	.remove = front_remove,
	.suspend = front_suspend,
	.resume = front_resume,
	.otherend_changed = front_changed,
	.driver = { .pm = &front_pm },
};

static int __init front_init(void)
{
	return xen_domain() ? xenbus_register_frontend(&front_driver) : -ENODEV;
}
module_init(front_init);

static void __exit front_exit(void)
{
	xenbus_unregister_driver(&front_driver);
}
module_exit(front_exit);

MODULE_DESCRIPTION("Xen vtpm front end for TPM 2.0");
MODULE_ALIAS("xen:vtpm");
MODULE_LICENSE("GPL");

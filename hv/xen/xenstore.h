/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of xenstore (xen/io/xs_wire.h, docs/misc/xenstore.txt of Xen) for an event loop. Nothing here waits: requests
 * queue up, one is on its way at a time, and each ends in its callback. So a xenstored that hangs stops nobody who
 * does not need it, and the process can be sandboxed as soon as the connection is open: it takes read and write on
 * one descriptor.
 *
 * Values come from whoever may write the node, guests included: they are bytes to be parsed with suspicion.
 */
#ifndef VTPM_HV_XEN_XENSTORE_H
#define VTPM_HV_XEN_XENSTORE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/loop.h"

#define XENSTORE_PATH_MAX  512u	 /* of paths and tokens here, without the NUL; xenstore has 3072 */
#define XENSTORE_VALUE_MAX 4096u /* bytes of a value */
#define XENSTORE_LIST_MAX  262144u /* of a list: names of as many domains as there are numbers */
#define XENSTORE_QUEUE_MAX 65536u /* requests that wait */

struct xenstore;

/*
 * The end of a request. value: len bytes and a NUL behind them, only until it returns; empty unless something was read.
 * err: ERR_NOTFOUND, ERR_DENIED, ERR_FULL (a quota of xenstore, or of this queue), ERR_RANGE, ERR_CLOSED: the
 * connection is lost. It may be called before the request's function returns.
 */
typedef void xenstore_done(void *arg, int err, const char *value, size_t len);

struct xenstore_events {
	/* A watch has fired: path as xenstore says it, token as it was set. */
	void (*fired)(void *arg, const char *path, const char *token);
	/* The connection has ended, or speaks nonsense. All requests have ended with ERR_CLOSED. Called once. */
	void (*lost)(void *arg);
	void *arg;
};

/*
 * Opens the connection: xenstored's socket in the domain where it runs, the kernel's device elsewhere. Takes the rights
 * of root there. ERR_NOTFOUND: this machine is no domain of Xen's, or has no xenstore.
 */
CHECKED int xenstore_open(int *fd);
/* Takes fd over, also if it fails. */
CHECKED int xenstore_new(struct xenstore **out, struct loop *loop, int fd, const struct xenstore_events *events);
/* Closes; what is queued ends with ERR_CLOSED. NULL is permitted. */
void xenstore_free(struct xenstore *x);

/* Paths are absolute; on the kernel's device also relative to the own domain. done: NULL, nobody wants to know. */
void xenstore_read(struct xenstore *x, const char *path, xenstore_done *done, void *arg);
/*
 * Names of children, each ended by a NUL: XENSTORE_LIST_MAX bytes at most. ERR_RANGE: they do not fit into one message. Only
 * oxenstored on its own socket sends longer ones; and XS_DIRECTORY_PART is not asked for, since not every xenstored has it.
 */
void xenstore_list(struct xenstore *x, const char *path, xenstore_done *done, void *arg);
void xenstore_write(struct xenstore *x, const char *path, const char *value, xenstore_done *done, void *arg);
void xenstore_remove(struct xenstore *x, const char *path, xenstore_done *done, void *arg);
/* Fires at once, and whenever path or something below it changes. */
void xenstore_watch(struct xenstore *x, const char *path, const char *token, xenstore_done *done, void *arg);
void xenstore_unwatch(struct xenstore *x, const char *path, const char *token);
/* Value "T" or "F": whether that domain is there. */
void xenstore_is_introduced(struct xenstore *x, unsigned domid, xenstore_done *done, void *arg);
/* Whoever arg is goes away: its callbacks are not called any more. */
void xenstore_forget(struct xenstore *x, const void *arg);

#endif

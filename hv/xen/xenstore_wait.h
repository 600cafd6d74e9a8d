/* SPDX-License-Identifier: BSD-2-Clause */
/* xenstore for programs that have nothing to do but wait for its answer. */
#ifndef VTPM_HV_XEN_XENSTORE_WAIT_H
#define VTPM_HV_XEN_XENSTORE_WAIT_H

#include "hv/xen/xenstore.h"

struct xenstore_wait {
	struct loop loop;
	struct loop_timer bound;
	struct xenstore *x; /* NULL: closed */
	bool lost, late, ended, fired;
	int err;
	size_t len, cap;
	char *value;
};

/* ERR_NOTFOUND: there is no xenstore, or not for this user. */
CHECKED int xenstore_wait_open(struct xenstore_wait *w);
/* The same on a connection, which is taken over, also if it fails. */
CHECKED int xenstore_wait_new(struct xenstore_wait *w, int fd);
void xenstore_wait_close(struct xenstore_wait *w);

/* Each ends within ms milliseconds (ERR_TIMEOUT). A value is ended by a NUL; ERR_RANGE: it does not fit. */
CHECKED int xenstore_wait_read(struct xenstore_wait *w, const char *path, unsigned ms, char *value, size_t cap);
/* *len: bytes of names, each ended by a NUL. */
CHECKED int xenstore_wait_list(struct xenstore_wait *w, const char *path, unsigned ms, char *names, size_t cap, size_t *len);
CHECKED int xenstore_wait_write(struct xenstore_wait *w, const char *path, const char *value, unsigned ms);
/* From now on changes of path, and of what is below, are counted; there is one at once. */
CHECKED int xenstore_wait_watch(struct xenstore_wait *w, const char *path, unsigned ms);
/* Returns when there was a change since the last return. */
CHECKED int xenstore_wait_change(struct xenstore_wait *w, unsigned ms);

#endif

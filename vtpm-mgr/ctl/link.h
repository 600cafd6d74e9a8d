/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection to a manager: its control socket, or a vchan to the domain of Xen that it lives in. Which of the two it is
 * matters to nobody but who opens it.
 */
#ifndef VTPM_CTL_LINK_H
#define VTPM_CTL_LINK_H

#include "hv/xen/vchan.h"
#include "vtpm-mgr/ctl/ctl.h"

struct link {
	int fd; /* the socket; -1: v is it */
	struct vchan v;
	int lock;	 /* of the domain's vchan, which serves one client at a time; -1: none */
	char where[160]; /* for a person */
};

#define LINK_NONE ((struct link){ .fd = -1, .lock = -1, .v = VCHAN_NONE })

CHECKED int link_open(struct link *l, const struct ctl_target *at, struct ctl_error *e);
void link_close(struct link *l);
/* Sends all, within CTL_TIMEOUT_MS. Descriptors pass through a socket only: ERR_INVAL. */
CHECKED int link_send(struct link *l, const char *p, size_t n, const int *fds, unsigned nfds);
/* Waits for bytes, at most CTL_TIMEOUT_MS: *n is not 0. ERR_CLOSED: the manager has gone. */
CHECKED int link_receive(struct link *l, char *p, size_t cap, size_t *n);
/* Says that there is no manager, and what to do. */
int link_unreachable(const struct link *l, struct ctl_error *e, const char *why);

/* --- client.c --- */

/* One call over it, as client_call. */
CHECKED int client_ask(struct link *l, const char *method, json_t *params, const int *fds, unsigned nfds, json_t **reply,
		       struct ctl_error *e);

/* --- domain.c --- */

/* The vchan of a manager in a domain, by its name or number. */
CHECKED int domain_attach(struct link *l, const char *domain, struct ctl_error *e);

#endif

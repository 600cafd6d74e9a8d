/* SPDX-License-Identifier: BSD-2-Clause */
/* A backend process from its first instruction on: the same for a forked and an executed one. */
#ifndef VTPM_BACKEND_RUN_H
#define VTPM_BACKEND_RUN_H

#include <stdbool.h>
#include <sys/types.h>

#include "vtpm-backend/backend.h"

struct sock_fprog;
struct run_config {
	uid_t uid; /* not used unless started as root */
	gid_t gid;
	const struct sock_fprog *filter; /* NULL: build one */
	const struct transport *transport; /* its descriptors are there; NULL: a worker */
};

/* What can be done before it is known whom the process will serve: locked memory for all that follows. */
CHECKED int backend_prepare(struct backend **out);
/* Expects the descriptors in their places, and nothing else open; and sandbox_confine done. */
_Noreturn void backend_run(struct backend *b, const struct run_config *cfg);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* A domain that xl makes of sealed copies: its configuration is parsed and used from one copy, and so are kernel and ramdisk. */
#ifndef VTPM_HV_LAUNCH_DOMAIN_H
#define VTPM_HV_LAUNCH_DOMAIN_H

#include "hv/launch/launch.h"

struct domain {
	const struct launch_args *a;
	bool stub; /* it has the TPM itself: no vTPM; it is not made paused, and may be made anew by xl */
	struct image config, kernel, ramdisk;
	struct xl_config parsed;
	bool made;   /* xl has made it */
	char id[12]; /* its number, when that is known */
};
#define DOMAIN_NONE ((struct domain){ .config = IMAGE_NONE, .kernel = IMAGE_NONE, .ramdisk = IMAGE_NONE })

/* Reads the configuration that the user names, and what it boots. */
CHECKED int domain_read(struct domain *d, struct ctl_error *e);
/* Has xl make it. */
CHECKED int domain_create(struct domain *d, struct ctl_error *e);
void domain_destroy(struct domain *d);
void domain_free(struct domain *d);
/* "xl VERB WHAT", as run_program. */
CHECKED int xl_run(const char *verb, const char *what, char **out, struct ctl_error *e);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is asked of the hypervisor itself, over /dev/xen/privcmd: who can open that can do everything that its domain may.
 * Both are for programs of root, before they drop it; nothing stays open.
 */
#ifndef VTPM_HV_XEN_HYPERCALL_H
#define VTPM_HV_XEN_HYPERCALL_H

#include <stdint.h>

#include "lib/err.h"

enum xen_xsm {
	XEN_XSM_UNKNOWN,    /* no Xen, or no way to ask: no privcmd, no rights */
	XEN_XSM_NONE,	    /* Xen without XSM's FLASK: labels of domains mean nothing */
	XEN_XSM_PERMISSIVE, /* it logs what it would refuse */
	XEN_XSM_ENFORCING,
};

/*
 * Does the hypervisor enforce a policy? public/xsm/flask_op.h, FLASK_GETENFORCE. Xen answers every domain, but newer kernels
 * let only dom0's programs ask.
 */
enum xen_xsm xen_xsm_ask(void);
/* "enforcing" and the like. */
const char *xen_xsm_word(enum xen_xsm xsm);

/*
 * Takes access to count pages of memory-mapped I/O from page number first on away from dom0: public/domctl.h,
 * XEN_DOMCTL_iomem_permission. It lasts until the host boots anew: who has no access to a range can give it to nobody,
 * itself included. What is mapped stays mapped, so the driver must have let go. ERR_DENIED: this is not dom0's root, access
 * was taken away before, or the policy says no. ERR_NOTFOUND: no Xen, no privcmd. ERR_VERSION: an interface that is
 * newer than those known here.
 */
CHECKED int xen_iomem_deny_dom0(uint64_t first, uint64_t count);

#endif

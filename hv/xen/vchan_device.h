/* SPDX-License-Identifier: BSD-2-Clause */
/* Page and event channel of a vchan, from the kernel's devices. Private to vchan*.c. */
#ifndef VTPM_HV_XEN_VCHAN_DEVICE_H
#define VTPM_HV_XEN_VCHAN_DEVICE_H

#include "hv/xen/vchan.h"

/* Bytes of the page that say whether an end is there: the kernel clears ours when this process ends. */
#define VCHAN_CLI_LIVE 20u
#define VCHAN_SRV_LIVE 21u

/* Unmaps and closes what there is. */
void vchan_device_close(struct vchan *v);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#define __XEN_TOOLS__ 1 /* domctl.h asks for it */
#include "hv/xen/hypercall.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/sys/privcmd.h>
#include <xen/xsm/flask_op.h>

#include "lib/util.h"

#define ARG_SIZE 4096u /* a page */

_Static_assert(sizeof(struct xen_domctl) <= ARG_SIZE && sizeof(struct xen_flask_op) <= ARG_SIZE, "an argument fits a page");

/* Versions of domctl.h in which iomem_permission is as here: Xen 4.14 to the newest known. */
#define DOMCTL_FIRST 0x13u
#define DOMCTL_LAST  0x1fu

/*
 * One hypercall with one argument, which must lie in memory that never faults: what /dev/xen/hypercall gives (Linux 4.18).
 * What Xen answers, 0 or more, or a negative errno.
 */
static int hypercall(unsigned int op, void *arg, size_t len)
{
	struct privcmd_hypercall call = { .op = op };
	int privcmd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC), memory = open("/dev/xen/hypercall", O_RDWR | O_CLOEXEC);
	void *page = MAP_FAILED;
	int rc;

	if (privcmd >= 0 && memory >= 0)
		page = mmap(NULL, ARG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (page == MAP_FAILED) {
		rc = errno == EACCES || errno == EPERM ? -EPERM : -ENODEV;
		goto out;
	}
	memcpy(page, arg, len);
	call.arg[0] = (uintptr_t)page;
	rc = ioctl(privcmd, IOCTL_PRIVCMD_HYPERCALL, &call);
	if (rc < 0)
		rc = -errno;
	munmap(page, ARG_SIZE);
out:
	fd_close(&privcmd);
	fd_close(&memory);
	return rc;
}

enum xen_xsm xen_xsm_ask(void)
{
	struct xen_flask_op op = { .cmd = FLASK_GETENFORCE, .interface_version = XEN_FLASK_INTERFACE_VERSION };

	switch (hypercall(__HYPERVISOR_xsm_op, &op, sizeof(op))) {
	case 0:
		return XEN_XSM_PERMISSIVE;
	case 1:
		return XEN_XSM_ENFORCING;
	case -ENOSYS:
		return XEN_XSM_NONE;
	default:
		return XEN_XSM_UNKNOWN;
	}
}

const char *xen_xsm_word(enum xen_xsm xsm)
{
	static const char *const words[] = { "unknown", "none", "permissive", "enforcing" };

	return words[xsm];
}

static int domctl_deny(uint32_t version, uint64_t first, uint64_t count)
{
	struct xen_domctl op = {
		.cmd = XEN_DOMCTL_iomem_permission,
		.interface_version = version,
		.domain = 0,
		.u.iomem_permission = { .first_mfn = first, .nr_mfns = count, .allow_access = 0 },
	};

	return hypercall(__HYPERVISOR_domctl, &op, sizeof(op));
}

int xen_iomem_deny_dom0(uint64_t first, uint64_t count)
{
	int rc = -EACCES; /* what Xen says to a version that is not its own */

	for (uint32_t version = DOMCTL_FIRST; version <= DOMCTL_LAST && rc == -EACCES; version++)
		rc = domctl_deny(version, first, count);
	switch (rc) {
	case 0:
		return 0;
	case -EACCES:
		return ERR_VERSION;
	case -ENODEV:
		return ERR_NOTFOUND;
	case -EPERM:
	case -ENOSYS: /* not for this domain */
		return ERR_DENIED;
	default:
		return ERR_SYS;
	}
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What two domains of Xen can have of each other, or are kept from.
 *
 *	xen_reach offer DOMID			grants it a page and has a port for it, 0 if that is refused; prints "REF PORT", stays
 *	xen_reach take DOMID REF PORT		maps that page, binds that port; prints "page" and "port", for what it got
 *	xen_reach deny FIRST COUNT		in dom0: gives pages of MMIO up until the host boots anew
 *	xen_reach kexec				in dom0: asks Xen where it would load another kernel; loads none
 *
 * Exit status: 0, done; 1, not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/gntalloc.h>
#include <xen/sys/evtchn.h>
#include <xen/kexec.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>

#include "hv/xen/hypercall.h"

#define PAGE 4096u

static void fail(const char *what)
{
	fprintf(stderr, "xen_reach: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int device(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail(path);
	return fd;
}

static noreturn void offer(uint16_t domid)
{
	struct ioctl_gntalloc_alloc_gref grant = { .domid = domid, .flags = GNTALLOC_FLAG_WRITABLE, .count = 1 };
	struct ioctl_evtchn_bind_unbound_port bind = { .remote_domain = domid };
	int port;

	if (ioctl(device("/dev/xen/gntalloc"), IOCTL_GNTALLOC_ALLOC_GREF, &grant) != 0)
		fail("gntalloc");
	port = ioctl(device("/dev/xen/evtchn"), IOCTL_EVTCHN_BIND_UNBOUND_PORT, &bind);
	printf("%u %d\n", grant.gref_ids[0], port < 0 ? 0 : port);
	fflush(stdout);
	for (;;)
		pause();
}

static bool take_page(uint16_t domid, uint32_t ref)
{
	struct ioctl_gntdev_map_grant_ref map = { .count = 1, .refs = { { .domid = domid, .ref = ref } } };
	int fd = device("/dev/xen/gntdev");

	return ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &map) == 0 &&
	       mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)map.index) != MAP_FAILED;
}

static bool take_port(uint16_t domid, uint32_t port)
{
	struct ioctl_evtchn_bind_interdomain bind = { .remote_domain = domid, .remote_port = port };

	return ioctl(device("/dev/xen/evtchn"), IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind) >= 0;
}

static int take(uint16_t domid, uint32_t ref, uint32_t port)
{
	bool page = take_page(domid, ref), bound = take_port(domid, port);

	printf("%s%s\n", page ? "page " : "", bound ? "port" : "");
	return page && bound ? 0 : 1;
}

static int deny(uint64_t first, uint64_t count)
{
	int err = xen_iomem_deny_dom0(first, count);

	if (err)
		fprintf(stderr, "xen_reach: %s\n", err_text(err));
	return err ? 1 : 0;
}

/* Xen asks its policy before it looks at anything else, and would then find no argument. */
static int kexec(void)
{
	struct privcmd_hypercall call = { .op = __HYPERVISOR_kexec_op, .arg = { KEXEC_CMD_kexec_get_range } };

	if (ioctl(device("/dev/xen/privcmd"), IOCTL_PRIVCMD_HYPERCALL, &call) != 0 && errno != EFAULT)
		fail("kexec");
	return 0;
}

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "offer"))
		offer((uint16_t)number(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "take"))
		return take((uint16_t)number(argv[2]), (uint32_t)number(argv[3]), (uint32_t)number(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "deny"))
		return deny(number(argv[2]), number(argv[3]));
	if (argc == 2 && !strcmp(argv[1], "kexec"))
		return kexec();
	fprintf(stderr, "usage: xen_reach offer DOMID | take DOMID REF PORT | deny FIRST COUNT | kexec\n");
	return 1;
}

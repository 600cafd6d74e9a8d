#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What this lab's machines boot: Debian's Xen and kernel, unpacked ELFs both, and dom0's initramfs, which holds Xen's
# tools, our programs and what its guests boot. Prints the paths of Xen, kernel and initramfs.
# Usage: image.sh BUILD
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
lab=$B/lab here=tests/lab/xen
mkdir -p "$lab"
. tests/lab/packages.sh
. tests/lab/initramfs.sh

XEN_PACKAGES="xen-hypervisor-4.17-amd64 xen-utils-4.17 xen-utils-common xenstore-utils libxencall1 libxendevicemodel1
	libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenhypfs1 libxenmisc4.17 libxenstore4 libxentoolcore1
	libxentoollog1 libyajl2"
XEN_BIN=/usr/lib/xen-4.17/bin # where libxl looks for its helpers
PROGRAMS="vtpm-hold vtpm-mgr vtpm-keeper vtpm-spawn vtpm-backend vtpmctl vtpm-launch libtss2-tcti-vtpm.so.0"
TOOLS="$B/tests/xenback $B/tests/xen_reach"
DOM0_TOOLS="/bin/bash /bin/busybox /usr/bin/flock /usr/bin/tpm2 /usr/bin/swtpm /sbin/mke2fs" # flock and bash for the scripts of Xen
GUEST_MODULES="xen-tpmfront xen-blkfront xen-gntalloc xen-gntdev xen-evtchn"
DOM0_MODULES="xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback loop virtio_pci virtio_blk ext4 crc32c_generic"

xen_packages() { echo $XEN_PACKAGES; }
xen_prepare() { gunzip -c "$1"/boot/xen-4.17-amd64.gz >"$1/xen"; }

guest_root() {
	guest_fill "$1" tests/lab/plans.sh $here/trials_guest.sh
	install -m 755 "$B"/tests/{hostile_xen,xen_reach} "$1/bin/"
	install -D -m 644 "$module" "$1/lib/modules/$(basename "$kernel"/lib/modules/*)/updates/xen-tpm2front.ko"
	initramfs_modules "$1" "$kernel" $GUEST_MODULES
}

dom0_root() {
	local root=$1 p tools=()
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,etc,guest,var/lib/xen,var/lib/xenstored,var/log/xen,var/lib/vtpm,usr/bin,usr/lib/xen-4.17} "$root$XEN_BIN"
	ln -s /run "$root/var/run"
	for p in xl xenstored oxenstored xen-init-dom0 xenconsoled libxl-save-helper vchan-socket-proxy flask-label-pci xen-livepatch; do tools+=("$xen$XEN_BIN/$p"); done
	install -m 755 "${tools[@]}" "$root$XEN_BIN/"
	# Xen's device scripts are written for bash, and look for it and the others where Debian has them.
	install -m 755 $DOM0_TOOLS "$xen"/usr/bin/xenstore* "$root/bin/"
	cp -a "$xen/etc/xen" "$root/etc/"
	echo 'run_hotplug_scripts=1' >"$root/etc/xen/xl.conf"
	for p in $PROGRAMS; do install -m 755 "$B/$p" "$root/bin/"; done
	install -m 755 $TOOLS "$root/bin/"
	ln -s libtss2-tcti-vtpm.so.0 "$root/bin/libtss2-tcti-vtpm.so"
	printf 'root:x:0:0:root:/:/bin/sh\nvtpm:x:900:900::/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nvtpm:x:900:\n' >"$root/etc/group"
	install -m 755 tests/lab/init "$root/init"
	install -m 644 tests/lab/assert.sh $here/manager.sh $here/guests.sh $here/trials.sh $here/stub.sh $here/flask.sh "$root/"
	install -m 644 tests/lab/launch/dom0.sh "$root/launch.sh"
	install -m 644 "$B/stubdom/vtpmmgr.cfg" "$root/etc/xen/"
	install -m 644 $here/dom0.sh "$root/plans.sh"
	# libgcc_s is loaded when a thread is cancelled, the TCTI when it is named.
	LIBRARY_PATH=$xen/usr/lib/x86_64-linux-gnu initramfs_libraries "$root" $tcti /lib/x86_64-linux-gnu/libgcc_s.so.1 \
		$(LIBRARY_PATH=$xen/usr/lib/x86_64-linux-gnu libraries "${tools[@]}" "$xen"/usr/bin/xenstore $DOM0_TOOLS $tcti $TOOLS \
			$(for p in $PROGRAMS; do echo "$B/$p"; done))
	initramfs_modules "$root" "$kernel" $DOM0_MODULES
	cp "$kernel/vmlinux" "$root/guest/"
	cp "$guest" "$root/guest/initramfs"
	cp "$B/stubdom/initramfs" "$root/guest/stubdom"
}

xen=$(package_tree xen xen_packages xen_prepare)
kernel=$(kernel_tree)
[ -e "$kernel/vmlinux" ] || raw_kernel "$kernel/vmlinuz" "$kernel/vmlinux"
# Our driver, without what a debugger would want.
module=$lab/xen-tpm2front.ko
make -s module BUILD="$B" KDIR="$(headers_tree)/usr/src/build" >&2
strip --strip-debug -o "$module" "$B/module/xen-tpm2front.ko"
tcti=/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0
common=("$0" tests/lab/{initramfs,assert}.sh tests/lab/init "$(guest_versions)" "$kernel")
guest=$(initramfs xen-guest guest_root "${common[@]}" tests/lab/plans.sh $here/trials_guest.sh "$B"/tests/{guest_bench,hostile_xen,xen_reach} "$module" "$GUEST_MODULES")
echo "$xen/xen"
echo "$kernel/vmlinux"
initramfs xen-dom0 dom0_root "${common[@]}" $here/dom0.sh $here/manager.sh $here/guests.sh $here/trials.sh $here/stub.sh $here/flask.sh tests/lab/launch/dom0.sh "$B"/stubdom/{vtpmmgr.cfg,initramfs} "$guest" "$xen" $TOOLS $(for p in $PROGRAMS; do echo "$B/$p"; done)

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What this lab's machines boot: our EFI program, a GRUB, Debian's Xen, two kernels that differ, and dom0's initramfs.
# Prints a directory that holds them as boot.sh puts them on a disk. Usage: image.sh BUILD
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
lab=$B/lab here=tests/lab/host
mkdir -p "$lab"
. tests/lab/packages.sh
. tests/lab/initramfs.sh

PROGRAMS="vtpm-mgr vtpm-keeper vtpm-spawn vtpm-backend vtpmctl libtss2-tcti-vtpm.so.0"
DOM0_MODULES="virtio_pci virtio_blk ext4 crc32c_generic vfat nls_cp437 nls_ascii"
GRUB_MODULES="tpm normal part_gpt fat multiboot2 test echo boot" # all it needs: it loads none

xen_packages() { echo xen-hypervisor-4.17-amd64; }
xen_prepare() { gunzip -c "$1"/boot/xen-4.17-amd64.gz >"$1/xen"; }
grub_packages() { echo grub-common grub-efi-amd64-bin libdevmapper1.02.1; }
dom0_root() {
	local root=$1 p
	guest_fill "$root"
	rm "$root/bin/guest_bench" # firmware hashes each byte
	mkdir -p "$root"/{boot,run,etc,var/lib/vtpm,var/log}
	for p in $PROGRAMS; do strip --strip-all -o "$root/bin/$p" "$B/$p"; done
	ln -s libtss2-tcti-vtpm.so.0 "$root/bin/libtss2-tcti-vtpm.so"
	printf 'root:x:0:0:root:/:/bin/sh\nvtpm:x:900:900::/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nvtpm:x:900:\n' >"$root/etc/group"
	install -m 644 tests/lab/xen/manager.sh "$root/"
	echo lab-byte=a >"$root/etc/lab" # which somebody changes
	install -m 644 $here/dom0.sh "$root/plans.sh"
	# libgcc_s is loaded when a thread is cancelled.
	initramfs_libraries "$root" /lib/x86_64-linux-gnu/libgcc_s.so.1 $(libraries $(for p in $PROGRAMS; do echo "$B/$p"; done))
	initramfs_modules "$root" "$kernel" $DOM0_MODULES
}

xen=$(package_tree host-xen xen_packages xen_prepare)
grub=$(package_tree grub grub_packages :)
kernel=$(kernel_tree)
[ -e "$kernel/vmlinux" ] || raw_kernel "$kernel/vmlinuz" "$kernel/vmlinux"
# Xen unpacks gzip, in a second. Not the same bytes, so to the TPM another kernel.
[ -e "$kernel/vmlinuz-1" ] || { gzip -6nc "$kernel/vmlinux" >"$kernel/vmlinuz-1.new" && mv "$kernel/vmlinuz-1.new" "$kernel/vmlinuz-1"; }
[ -e "$kernel/vmlinuz-2" ] || { gzip -7nc "$kernel/vmlinux" >"$kernel/vmlinuz-2.new" && mv "$kernel/vmlinuz-2.new" "$kernel/vmlinuz-2"; }
initrd=$(initramfs host-dom0 dom0_root "$0" tests/lab/{initramfs,assert}.sh tests/lab/init tests/lab/xen/manager.sh $here/dom0.sh \
	"$(guest_versions)" "$kernel" "$B/tests/guest_bench" $(for p in $PROGRAMS; do echo "$B/$p"; done))

out=$lab/host
mkdir -p "$out"
LD_LIBRARY_PATH=$(echo "$grub"/lib/x86_64-linux-gnu) "$grub/usr/bin/grub-mkimage" -O x86_64-efi -d "$grub/usr/lib/grub/x86_64-efi" \
	-p /grub -o "$out/grubx64.efi" $GRUB_MODULES
ln -sf "$B/efi/vtpm-launch.efi" "$out/bootx64.efi"
ln -sf "$xen/xen" "$out/xen"
ln -sf "$kernel/vmlinuz-1" "$out/vmlinuz-1"
ln -sf "$kernel/vmlinuz-2" "$out/vmlinuz-2"
ln -sf "$initrd" "$out/initrd.img"
echo "$out"

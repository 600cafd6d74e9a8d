#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the lab's machines boot: Debian's kernel, from its package, unpacked and never installed, and an initramfs of
# busybox, tpm2-tools, what it is linked with, and the guest's scripts. The same packages and files make the same
# bytes. Prints the kernel's and the initramfs's path.
# Usage: image.sh BUILD
# The kernel is vmlinuz as it is: QEMU boots the unpacked vmlinux, too, but then lays the
# initramfs over the ACPI tables as soon as there is a TPM, and the guest finds no TPM.
set -euo pipefail
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
here=tests/lab/qemu
lab=$B/lab
tools="busybox-static tpm2-tools libtss2-esys-3.0.2-0 libtss2-tcti-device0 libssl3 libc6"
mkdir -p "$lab"

known() { # sets $package, which linux-image-amd64 stands for, and $version, as apt's lists have them
	package=$(apt-cache depends linux-image-amd64 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-/ && !n++ { print $2 }')
	[ -n "$package" ] || return 1
	version=$(apt-cache show --no-all-versions "$package" | awk '$1 == "Version:" && !n++ { print $2 }')
}

fetch() {
	rm -rf "$dir.new"
	mkdir -p "$dir.new"
	(cd "$dir.new" && apt-get download -q "$package=$version" >&2)
}

# A machine may have no lists of packages, or lists of packages that are no longer there.
refresh() { apt-get -q update >&2 || echo "image: apt-get update failed; it may need root" >&2; }

kernel() { # a download if it is not there yet
	local package version dir
	known || { refresh && known; } || { echo "image: apt knows no linux-image-amd64; run apt-get update" >&2; exit 1; }
	dir=$lab/kernel-$version
	if [ ! -e "$dir/vmlinuz" ] && ! fetch; then
		refresh && known && dir=$lab/kernel-$version
		fetch
	fi
	if [ ! -e "$dir/vmlinuz" ]; then
		(cd "$dir.new" && dpkg -x ./*.deb unpacked && rm ./*.deb)
		# A module would have to be in the initramfs, too.
		for d in tpm_tis tpm_crb; do
			grep -q "/$d.ko$" "$dir.new"/unpacked/lib/modules/*/modules.builtin ||
				{ echo "image: $d is not built into $package" >&2; exit 1; }
		done
		mv "$dir.new"/unpacked/boot/vmlinuz-* "$dir.new/vmlinuz"
		rm -rf "$dir.new/unpacked"
		mv "$dir.new" "$dir"
	fi
	echo "$dir/vmlinuz"
}

# Everything the initramfs is made of, as one line each: what its name is derived from.
ingredients() {
	dpkg-query -W $tools
	sha256sum "$here/image.sh" "$here/init" "$here/plans.sh" "$B/tests/guest_bench" | cut -c 1-64
}

libraries() { ldd "$@" | grep -o '/[^ ]*' | grep -v ':$' | sort -u; }

fill() { # $1: the root to be
	local tcti=/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0
	mkdir -p "$1"/{bin,dev,proc,sys,tmp}
	install -m 755 /bin/busybox /usr/bin/tpm2 "$B/tests/guest_bench" "$1/bin/"
	install -m 755 "$here/init" "$1/init"
	install -m 644 "$here/plans.sh" "$1/plans.sh"
	for l in $tcti $(libraries /usr/bin/tpm2 $tcti); do
		install -D -m 755 "$l" "$1$l"
	done
	find "$1" -exec touch -h -d @0 {} +
}

initramfs() {
	local file tree
	file=$lab/initramfs-$(ingredients | sha256sum | cut -c 1-16).cpio
	if [ ! -e "$file" ]; then
		tree=$(mktemp -d "$lab/root.XXXXXX")
		chmod 755 "$tree"
		fill "$tree"
		(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) >"$file.new"
		rm -rf "$tree"
		mv "$file.new" "$file"
	fi
	echo "$file"
}

kernel
initramfs

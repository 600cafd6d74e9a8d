#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The stub domain: kernel, initramfs, xl's configuration, in BUILD/stubdom. Everything in it is from Debian packages, which
# are downloaded and unpacked below BUILD/lab and not installed, or built here. The same packages and sources make the same
# bytes. Usage: image.sh BUILD
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
lab=$B/lab out=$B/stubdom here=hv/xen/stubdom
mkdir -p "$lab" "$out"
. tests/lab/packages.sh
. tests/lab/initramfs.sh

PACKAGES="libc6 libgcc-s1 libssl3 libcbor0.8 libjansson4 libseccomp2 libsqlite3-0 libtpms0 libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-rc0
	libtss2-sys1 libtss2-tctildr0 libtss2-tcti-device0 busybox-static e2fsprogs libext2fs2 libcom-err2 libblkid1 libuuid1"
MODULES="xen-blkfront xen-evtchn xen-gntdev xen-gntalloc xen-privcmd crc32c_generic ext4"
DEVICE_TCTI=libtss2-tcti-device.so.0 # loaded by name; libgcc_s, too, when a thread is cancelled

needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
library() { # name: where the packages have it
	local d
	for d in lib usr/lib; do [ ! -e "$tree/$d/x86_64-linux-gnu/$1" ] || { echo "$tree/$d/x86_64-linux-gnu/$1"; return; }; done
	echo "stubdom: no package has $1" >&2
	return 1
}
# Those that files need, and those that these need.
closure() {
	local todo=("$@") done='' name file
	while [ ${#todo[@]} -gt 0 ]; do
		for name in $(needed "${todo[0]}"); do
			case " $done ld-linux-x86-64.so.2 " in *" $name "*) continue ;; esac
			done+=" $name"
			file=$(library "$name")
			echo "$file"
			todo+=("$file")
		done
		todo=("${todo[@]:1}")
	done
}

# Without what only a debugger reads: it names the directory that it was built in.
install_program() { # file, directory
	mkdir -p "$2"
	strip --strip-all --remove-section=.note.gnu.build-id --remove-section=.comment -o "$2/$(basename "$1")" "$1"
	chmod 755 "$2/$(basename "$1")"
}

fill() {
	local root=$1 p extra l libraries
	mkdir -p "$root"/{bin,dev,etc,proc,run,sys,tmp,var/lib/vtpm,lib64,lib/x86_64-linux-gnu}
	ln -s /run "$root/var/run"
	install -m 755 $here/init "$root/init"
	install -m 755 "$tree/bin/busybox" "$tree/sbin/e2fsck" "$root/bin/"
	for p in vtpm-mgr vtpm-vchan; do install_program "$B/$p" "$root/bin"; done
	for p in vtpm-keeper vtpm-spawn vtpm-backend; do install_program "$B/$p" "$root/usr/libexec/vtpm"; done
	printf 'root:x:0:0:root:/:/bin/false\nvtpm:x:900:900::/:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\nvtpm:x:900:\n' >"$root/etc/group"
	extra="$(library $DEVICE_TCTI) $(library libgcc_s.so.1)"
	libraries=$(closure "$root"/bin/vtpm-* "$root"/usr/libexec/vtpm/* "$root/bin/e2fsck" $extra)
	for l in $extra $libraries; do
		install -m 755 "$l" "$root/lib/x86_64-linux-gnu/$(basename "$l")"
	done
	install -m 755 "$(library ld-linux-x86-64.so.2)" "$root/lib64/ld-linux-x86-64.so.2"
	initramfs_modules "$root" "$kernel" $MODULES
}

stubdom_packages() { printf '%s\n' $PACKAGES; }
tree=$(package_tree stubdom stubdom_packages :)
kernel=$(kernel_tree)
[ -e "$kernel/vmlinux" ] || raw_kernel "$kernel/vmlinuz" "$kernel/vmlinux"
root=$(mktemp -d "$out/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
fill "$root"
initramfs_pack "$root" "$out/initramfs"
cmp -s "$kernel/vmlinux" "$out/vmlinux" || cp "$kernel/vmlinux" "$out/vmlinux"
install -m 644 $here/vtpmmgr.cfg "$out/vtpmmgr.cfg"
(cd "$out" && sha256sum vmlinux initramfs)

# SPDX-License-Identifier: BSD-2-Clause
# Initramfs images of the labs: the same files make the same bytes, and an image that is there already is not made
# again. Sourced, with $lab, by a script that ends when a command fails (errexit, inherit_errexit).

# What a program of these is linked with, where the loader would find it. $LIBRARY_PATH: directories before the system's.
libraries() { LD_LIBRARY_PATH=${LIBRARY_PATH:-} ldd "$@" | grep -o '/[^ ]*' | grep -v ':$' | sort -u; }

# Puts libraries into a root, where a loader without configuration looks for them.
initramfs_libraries() { # root, file…
	local root=$1 l
	shift
	for l; do install -D -m 755 "$l" "$root/lib/x86_64-linux-gnu/$(basename "$l")"; done
	install -D -m 755 /lib64/ld-linux-x86-64.so.2 "$root/lib64/ld-linux-x86-64.so.2"
}

# Kernel modules by name, with those they need, so that modprobe finds them. $2: a tree of kernel_tree.
initramfs_modules() { # root, kernel, module…
	local root=$1 kernel=$2 m version file
	shift 2
	version=$(basename "$kernel"/lib/modules/*)
	mkdir -p "$root/lib/modules/$version"
	for m; do
		file=$(sed -n "s|^\(.*/${m//[-_]/[-_]}\.ko\): *\(.*\)|\1 \2|p" "$kernel/lib/modules/$version/modules.dep")
		[ -n "$file" ] || { echo "lab: the kernel has no module $m" >&2; return 1; }
		(cd "$kernel/lib/modules/$version" && cp --parents $file "$root/lib/modules/$version/")
	done
	busybox depmod -b "$root" "$version"
}

# The same tree makes the same bytes.
initramfs_pack() { # root, file
	find "$1" -exec touch -h -d @0 {} +
	(cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible -R 0:0) >"$2.new"
	mv "$2.new" "$2"
}

# Prints the path of the image. $1: its name, $2: the function that fills a root. The rest are files or words that its
# content is derived from.
initramfs() {
	local name=$1 fill=$2 file tree p
	shift 2
	file=$lab/$name-$(for p; do if [ -f "$p" ]; then sha256sum <"$p"; else echo "$p"; fi; done | sha256sum | cut -c 1-16).cpio
	if [ ! -e "$file" ]; then
		tree=$(mktemp -d "$lab/root.XXXXXX")
		chmod 755 "$tree"
		"$fill" "$tree"
		initramfs_pack "$tree" "$file"
		rm -rf "$tree"
	fi
	echo "$file"
}

# What every guest has: busybox, tpm2-tools with their way to the device, the stopwatch. $2…: more files, for /.
GUEST_PACKAGES="busybox-static tpm2-tools libtss2-esys-3.0.2-0 libtss2-tcti-device0 libssl3 libc6"
guest_versions() { dpkg-query -W $GUEST_PACKAGES; }
guest_fill() {
	local root=$1 tcti=/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0
	shift
	mkdir -p "$root"/{bin,dev,proc,sys,tmp}
	install -m 755 /bin/busybox /usr/bin/tpm2 "$B/tests/guest_bench" "$root/bin/"
	install -m 755 tests/lab/init "$root/init"
	install -m 644 tests/lab/assert.sh "$@" "$root/"
	initramfs_libraries "$root" "$tcti" $(libraries /usr/bin/tpm2 "$tcti")
}

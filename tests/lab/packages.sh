# SPDX-License-Identifier: BSD-2-Clause
# Debian packages for the labs' machines: downloaded, unpacked below $lab, never installed. Sourced, with $lab, by a script
# that ends when a command fails (errexit, inherit_errexit). Who sources it is alone below $lab until it ends: labs that
# are run side by side make the same trees.
exec {lab_lock}>"$lab/lock"
flock "$lab_lock"

package_depends() { # package, pattern: the first of what it depends on that matches, "linux-image-amd64" 'linux-image-.*'
	apt-cache depends "$1" 2>/dev/null | awk -v p="^$2$" '$1 == "Depends:" && $2 ~ p && !n++ { print $2 }'
}
package_version() { # of what apt would install
	apt-cache policy "$1" | awk '$1 == "Candidate:" && $2 != "(none)" && !n++ { print $2 }'
}

# Sets $wanted: PACKAGE=VERSION for each package that a function names.
package_versions() { # function
	local p version
	wanted=()
	for p in $("$1"); do
		version=$(package_version "$p")
		[ -n "$version" ] || return 1
		wanted+=("$p=$version")
	done
	[ ${#wanted[@]} -gt 0 ]
}
package_path() { echo "$lab/$1-$(printf '%s\n' "${wanted[@]}" | sha256sum | cut -c 1-16)"; }

# Unpacks packages into one tree, once for each set of versions, and prints its path. $1: what it is called, $2: a function
# that prints the packages' names, $3: one that makes the tree what is wanted before it is kept, with its path as argument.
package_tree() {
	local wanted p tree
	if ! package_versions "$2" || [ ! -e "$(package_path "$1")" ]; then
		# A machine may have no lists of packages, or lists of packages that are no longer there.
		apt-get -qq update >&2 || echo "lab: apt-get update failed; it may need root" >&2
		package_versions "$2" || { echo "lab: apt does not know all packages of $1" >&2; return 1; }
	fi
	tree=$(package_path "$1")
	if [ ! -e "$tree" ]; then
		rm -rf "$tree.new"
		mkdir -p "$tree.new/deb"
		(cd "$tree.new/deb" && apt-get download -qq "${wanted[@]}" >&2)
		for p in "$tree.new"/deb/*.deb; do dpkg -x "$p" "$tree.new"; done
		rm -r "$tree.new/deb"
		"$3" "$tree.new"
		mv "$tree.new" "$tree"
	fi
	echo "$tree"
}

# What a module is built against, for the kernel of kernel_tree. The package's Makefile names where it would be installed.
headers_tree() { package_tree headers headers_packages headers_prepare; }
headers_packages() {
	local headers
	headers=$(package_depends linux-headers-amd64 'linux-headers-.*')
	echo "$headers"
	package_depends "$headers" 'linux-headers-.*-common'
	package_depends "$headers" 'linux-kbuild-.*'
	package_depends "$headers" 'linux-compiler-.*'
}
headers_prepare() {
	mv "$1"/usr/src/linux-headers-*-common "$1/usr/src/common"
	mv "$1"/usr/src/linux-headers-* "$1/usr/src/build"
	echo 'include $(dir $(lastword $(MAKEFILE_LIST)))../common/Makefile' >"$1/usr/src/build/Makefile"
}

# The kernel that linux-image-amd64 stands for, with its modules and what is needed to look them up. The TPM's drivers
# must be built in: modules would have to be in the initramfs, too.
kernel_tree() { package_tree kernel kernel_packages kernel_prepare; }
kernel_packages() { package_depends linux-image-amd64 'linux-image-.*'; }
kernel_prepare() {
	local modules d
	modules=$(echo "$1"/lib/modules/*)
	for d in tpm_tis tpm_crb; do
		grep -q "/$d.ko$" "$modules/modules.builtin" || { echo "lab: $d is not built into this kernel" >&2; return 1; }
	done
	mv "$1"/boot/vmlinuz-* "$1/vmlinuz"
	# Drivers of hardware that no machine of the labs has are most of it.
	rm -rf "$modules"/kernel/{sound,drivers/{gpu,infiniband,media,iio,usb,staging,hwmon,hid}} "$1"/boot/System.map-*
	find "$modules/kernel/drivers/net" ! -type d ! -path '*/xen-net*' -delete
	busybox depmod -b "$1" "$(basename "$modules")"
}

# The ELF inside a bzImage (Documentation/arch/x86/boot.rst: payload_offset, payload_length), or each domain would
# unpack it anew, which takes 7 s without hardware virtualisation.
raw_kernel() { # bzImage, ELF
	local setup offset length
	setup=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
	read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
	dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip=$(((setup + 1) * 512 + offset)) count="$length" status=none | xz -dc --single-stream >"$2.new" && mv "$2.new" "$2"
}

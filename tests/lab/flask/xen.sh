#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's Xen with XSM, for this lab alone: the hypervisor built from the source package, once for each version, below
# BUILD/lab; and its policy with ours. Prints the paths of Xen, the source tree and the policy. Usage: xen.sh BUILD
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
lab=$B/lab
mkdir -p "$lab"
. tests/lab/packages.sh

# Lists of source packages of our own, from where the machine has its packages from.
sources() { # directory
	mkdir -p "$1/lists/partial"
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 ~ /^[a-z]+$/ && $3 == "main" && !seen[$0]++ { print "deb-src", $0 }' >"$1/sources.list"
	apt=(-qq -o "Dir::Etc::sourcelist=$1/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$1/lists" -o APT::Sandbox::User=root)
	apt-get "${apt[@]}" update >&2
}

build() { # tree
	cat >"$1/xen/.config" <<-END
		CONFIG_EXPERT=y
		CONFIG_XSM=y
		CONFIG_XSM_FLASK=y
		CONFIG_XSM_FLASK_DEFAULT=y
		# CONFIG_XSM_FLASK_POLICY is not set
	END
	make -s -C "$1/xen" XEN_TARGET_ARCH=x86_64 olddefconfig >&2
	make -s -C "$1/xen" -j"$(nproc)" XEN_TARGET_ARCH=x86_64 build >&2
}

# The newest source that there is may be older than the package; xl of a later revision works with it.
tree=$lab/xsm-xen-4.17
if [ ! -e "$tree/xen/xen" ]; then
	rm -rf "$tree" "$tree.new"
	mkdir -p "$tree.new"
	sources "$tree.new"
	(cd "$tree.new" && apt-get "${apt[@]}" source --download-only xen >&2 && dpkg-source -x --no-check ./xen_*.dsc xen >&2)
	echo "lab: building Xen with XSM, once: a minute or two" >&2
	build "$tree.new/xen" 2>"$tree.new/log" || { tail -n 20 "$tree.new/log" >&2; exit 1; }
	mv "$tree.new/xen" "$tree"
	rm -rf "$tree.new"
fi
hv/flask/build.sh "$tree" "$lab/xsm-policy"
echo "$tree/xen/xen"
echo "$tree"
echo "$lab/xsm-policy"

#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Xen's policy with the vTPM manager's module, compiled for a Xen with XSM.
# Usage: build.sh XEN OUT [FILE…]
#	XEN	the source tree of the Xen that is to enforce it (apt-get source xen): tools/flask/policy, xen/xsm/flask/policy
#	OUT	the policy; OUT.conf is its source. For Xen's multiboot line, as a module, with flask=enforcing
#	FILE	modules of the site, .te or .if, which are read after ours
# Needs checkpolicy and m4. A policy that opens what vtpm.te closes does not compile.
set -eu
[ $# -ge 2 ] || { sed -n '3,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
xen=$1/tools/flask/policy classes=$1/xen/xsm/flask/policy out=$2
shift 2
[ -e "$xen/modules/xen.te" ] || { echo "build.sh: $xen is not the policy of a Xen source tree" >&2; exit 1; }

# In Xen's order. modules.conf says which of its modules are on.
modules=$(awk '$1 !~ /^#/ && $2 == "=" && $3 == "on" { print $1 }' "$xen/modules/modules.conf")
interfaces='' rules='' constraints='' site_interfaces='' site_rules=''
for m in $modules; do
	[ ! -e "$xen/modules/$m.if" ] || interfaces="$interfaces $xen/modules/$m.if"
	[ ! -e "$xen/modules/$m.cons" ] || constraints="$constraints $xen/modules/$m.cons"
	rules="$rules $xen/modules/$m.te"
done
for f; do
	case $f in
	*.if) site_interfaces="$site_interfaces $f" ;;
	*) site_rules="$site_rules $f" ;;
	esac
done
version=$(checkpolicy -V | awk '{ print ($1 < 30) ? $1 : 30 }') # Xen reads 24 to 30

# dom0 of Xen's own policy may switch enforcement off, relabel devices, patch Xen and replace it by kexec; a rule cannot be taken back, so it is left out
# here. Were it written otherwise in another Xen, vtpm.te's neverallow rules would say so.
m4 -D self_contained_policy -D mls_num_sens=16 -D mls_num_cats=256 -s \
	"$classes/security_classes" "$classes/initial_sids" "$classes/access_vectors" \
	"$xen/policy/security_classes" "$xen/policy/access_vectors" \
	"$xen"/policy/support/*.spt "$xen/policy/mls" \
	$interfaces "$here/vtpm.if" $site_interfaces \
	"$xen/policy/global_tunables" $rules "$here/vtpm.te" $site_rules \
	"$xen/policy/users" $constraints "$xen/policy/initial_sids" "$xen/policy/device_contexts" "$here/device_contexts" |
	sed -e '/^allow dom0_t security_t:security { load_policy setenforce setbool };$/d' \
		-e '/^allow dom0_t security_t:security { add_ocontext del_ocontext };$/d' \
		-e '/^allow dom0_t xen_t:xen2\{0,1\} {$/,/^};$/s/ \(kexec\|livepatch_op\)\>//' >"$out.conf"
checkpolicy -t Xen -c "$version" "$out.conf" -o "$out" >"$out.log" 2>&1 || { cat "$out.log" >&2; exit 1; }
rm "$out.log"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A Xen that enforces the policy of hv/flask: the policy by itself, then on machines. docs/lab.md says more. Logs go to
# BUILD/lab/log. LAB_FLASK: "short" leaves the control out.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/xen/machine.sh
. tests/lab/xen/by_name.sh
. tests/lab/verify.sh
. tests/lab/xen/stub_machines.sh
LOG=$B/lab/log
mkdir -p "$LOG"
# Every neverallow rule keeps a rule out that would open what it closes, and names its line; without, the policy compiles.
holes() {
	local number rule
	while IFS='|' read -r number rule; do
		echo "$rule" >"$LAB/hole.te"
		if hv/flask/build.sh "$TREE" "$LAB/hole" "$LAB/hole.te" >"$LAB/hole.out" 2>&1; then
			echo "not ok hole_$number: it compiles: $rule"
		elif grep -q "neverallow on line .*vtpm\.te.* violated by" "$LAB/hole.out"; then
			echo "ok hole_$number"
		else
			sed 's/^/    /' "$LAB/hole.out"
			echo "not ok hole_$number: refused for another reason: $rule"
		fi
	done < <(grep -v '^#' tests/lab/flask/holes)
	echo '# nothing' >"$LAB/hole.te"
	check a_site_module_without_a_hole hv/flask/build.sh "$TREE" "$LAB/hole" "$LAB/hole.te"
	# Rules by line number: each has a hole that shows it.
	is every_neverallow_has_a_hole "$(grep -v '^#' tests/lab/flask/holes | cut -d'|' -f1 | sed 's/[a-z]*$//' | sort -un | tr '\n' ' ')" \
		"$(grep -n '^neverallow' hv/flask/vtpm.te | awk '{ print NR }' | tr '\n' ' ')"
}

machine_flask() {
	stub_boot flask flask flask && order "flask_is Enforcing" && order "flask_stub enforcing" || return
	order flask_thief && order flask_impostor && order flask_give_up && order "stub_make web1 web2" || return
	order flask_guests && order "both own" && order flask_nothing_denied || return
	order flask_reach && order flask_dom0 || return
	order "both reload" && order "down web1" && order "down web2" && order flask_no_second_stub && vm_end "$vm"
}
# The same policy, not enforced: the thief has the TPM, so it is FLASK that refuses it.
machine_control() {
	local XEN_ARGS=flask=permissive
	stub_boot control control control && order "flask_is Permissive" && order flask_permissive && vm_end "$vm"
}

lab_init
{ read -r XSM_XEN && read -r TREE && read -r XEN_MODULE; } < <(tests/lab/flask/xen.sh "$B")
[ -n "${XEN_MODULE:-}" ] || { echo "not ok xen_with_xsm"; exit 1; }
holes
image_build || { echo "not ok image"; exit 1; }
XEN=$XSM_XEN XEN_ARGS=flask=enforcing
machines=(flask control)
[ "${LAB_FLASK:-}" != short ] || machines=(flask)
for vm in "${machines[@]}"; do run_machine "$vm" >"$LAB/$vm.results" & done
wait $(jobs -p)
for vm in "${machines[@]}"; do cat "$LAB/$vm.results"; done

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's Xen in QEMU, with a swtpm as the machine's TPM. docs/lab.md says more. Logs go to BUILD/lab/log.
# LAB_XEN: which machines, by name; default all. LAB_XEN=short: what make test has time for.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/xen/machine.sh
LOG=$B/lab/log
mkdir -p "$LOG"

# Name, then the plans of dom0.sh that it runs in one boot.
machines() {
	case $1 in
	short) boot host manager "bare pv" "driver pv" ;;
	host) boot host manager "bare pv" "bare pvh" ;;
	driver) boot "driver pv" "driver pvh" driver_lies driver_life driver_saved ;;
	*) return 1 ;;
	esac
}
boot() { # plans
	local plan
	vm_start host "$machine_name" "$machine_name" "$machine_name" || return
	for plan; do vm_plan host "$plan" "$machine_name" || break; done
	[ -z "${VM_PID[host]:-}" ] || vm_end host
}

lab_init
trap 'vm_kill_all; lab_end' EXIT
image_build || { echo "not ok image"; exit 1; }
for machine_name in ${LAB_XEN:-host driver}; do
	start=$EPOCHREALTIME
	machines "$machine_name" || echo "not ok $machine_name: no such machine"
	echo "    $machine_name: $(since "$start") s"
done

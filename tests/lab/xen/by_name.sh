# SPDX-License-Identifier: BSD-2-Clause
# For a lab that has a function machine_NAME for each of its machines; $vm is the one that runs. Sourced after machine.sh.
order() { vm_plan "$vm" "$1" "$vm"; }
run_machine() {
	local start=$EPOCHREALTIME vm=$1
	trap vm_kill_all EXIT
	"machine_$vm"
	[ -z "${VM_PID[$vm]:-}" ] || { vm_say "$vm" poweroff; vm_gone "$vm"; }
	echo "    $vm: $(since "$start") s"
}

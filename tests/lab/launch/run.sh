#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Guests of Xen that vtpm-launch makes, and such that come by another way. docs/lab.md says more. Logs go to BUILD/lab/log.
# LAB_LAUNCH: machines by name; "short" leaves the PVH guest, the reboot, the stub domain and the host that boots measured out.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/xen/machine.sh
. tests/lab/xen/by_name.sh
. tests/lab/verify.sh
. tests/lab/xen/stub_machines.sh
LOG=$B/lab/log
mkdir -p "$LOG"

# What the guest reads in NV is what the manager has.
log_is_the_managers() { same "$1_log_in_nv_is_the_managers" "$vm.$1.eventlog" "${NOTE[$vm.$1.manager]:-none}"; }

machine_launch() {
	local BOOT_LIMIT=$((BOOT_LIMIT * 2)) # guests are booted one after the other
	vm_start launch launch launch launch || return
	order manager && order "launch_make web1 web2 web3" && order "launch_up web1 4 pv" || return
	pcrs_are_the_logs $vm.web1 web1
	log_is_the_managers web1
	order "launch_reload web1" || return
	pcrs_are_the_logs $vm.web1 web1_reloaded
	order "launch_strangers web2 web1" || return
	if [ "${LAB_LAUNCH:-}" != short ]; then
		order "launch_up web2 5 pvh" || return
		pcrs_are_the_logs $vm.web2 web2
		log_is_the_managers web2
		order "down web2" && order "launch_reboot web1" || return
		pcrs_are_the_logs $vm.web1 web1_rebooted
	else
		order "down web1" || return
	fi
	order "launch_other_byte web1 4" && order "launch_swap web3 4" || return
	pcrs_are_the_logs $vm.web3 web3
	if [ "${LAB_LAUNCH:-}" != short ]; then
		order "launch_saved web3" || return
		pcrs_are_the_logs $vm.web3 web3_restored
		order "launch_saved_reboot web3" || return
	else
		order "down web3" || return
	fi
	order log && vm_end launch
}

# The stub domain's image is measured into the machine's TPM, and its store sealed to that: on two boots of the machine.
machine_stubdom() {
	stub_boot launch_stub stub stub && order "launch_stub_init 15" && order "launch_stub_up web1" && order "launch_stub_up web2" || return
	order launch_stub_other && vm_end "$vm" || return
	stub_boot launch_stub_on stub stub && order launch_stub_unmeasured && order launch_stub_give_up && order "launch_stub_guest web1 4" || return
	pcrs_are_the_logs $vm.web1 stub_web1
	order launch_stub_end && vm_end "$vm"
}

lab_init
image_build || { echo "not ok image"; exit 1; }
case ${LAB_LAUNCH:-long} in
short) machines=(launch) ;;
long) machines=(whole launch stubdom) ;;
*) machines=($LAB_LAUNCH) ;;
esac
# A machine that is none of the Xen lab's has a file of its own.
for vm in "${machines[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "${LAB_LANES:-2}" ]; do wait -n; done
	(
		[ ! -e "tests/lab/launch/$vm.sh" ] || . "tests/lab/launch/$vm.sh"
		run_machine "$vm"
	) >"$LAB/$vm.results" &
done
wait $(jobs -p)
for vm in "${machines[@]}"; do cat "$LAB/$vm.results"; done

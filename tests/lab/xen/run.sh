#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's Xen in QEMU, with a swtpm as the machine's TPM. docs/lab.md says more. Logs go to BUILD/lab/log.
# LAB_XEN: which machines, by name; default all. LAB_XEN=short: what make test has time for.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/xen/machine.sh
. tests/lab/verify.sh
. tests/lab/xen/stub_machines.sh
LOG=$B/lab/log
mkdir -p "$LOG"

# By name: what happens on each.
machine_short() { boot host manager "bare pv" "driver pv" && vm_end host; }
machine_host() { boot host manager "bare pv" "bare pvh" && vm_end host; }
machine_driver() { boot "driver pv" "driver pvh" driver_lies driver_life driver_saved && vm_end host; }

# TPMs of the manager, through both drivers. What a guest has must stay through its reboots, the machine's, and the driver's.
machine_guests() {
	boot manager "make web1 web2" || return
	order "up web1 4 pv stock" && order "tell web1 xen_stock" && order "down web1" || return
	order "up web1 4 pv ours" && order "tell web1 xen_kernel" && order "tell web1 use_anew" && identity_is_good web1 || return
	was=("${NOTE[host.web1.ek]:-}" "${NOTE[host.web1.primary_name]:-}" "${NOTE[host.web1.nv]:-}")
	order "tell web1 reload" && order "restart web1" && order "tell web1 again" || return
	kept host.web1 "${machine_name}_reboot" "${was[@]}"
	order "down web1" && order log && vm_end host
}

# The machine goes off and on: with its chip and disk, with another chip, with its own again. A PV and a PVH guest at once.
machine_power() {
	local guest was1 was2
	boot manager "make web1 web2" || return
	both_up && order "both use" || return
	for guest in web1 web2; do identity_is_good "$guest"; done
	was1=("${NOTE[host.web1.ek]:-}" "${NOTE[host.web1.primary_name]:-}" "${NOTE[host.web1.nv]:-}")
	was2=("${NOTE[host.web2.ek]:-}" "${NOTE[host.web2.primary_name]:-}" "${NOTE[host.web2.nv]:-}")
	check power_each_has_its_own_ek test "${was1[0]}" != "${was2[0]}"
	check power_each_has_its_own_keys test "${was1[1]}" != "${was2[1]}"
	order "down web1" && order "down web2" && vm_end host || return

	vm_start host power_other_chip other power && order other_chip && vm_end host || return

	vm_start host power_on power power && order manage && both_up && order "both again" || return
	kept host.web1 power_on_web1 "${was1[@]}"
	kept host.web2 power_on_web2 "${was2[@]}"
	order "down web1" && order "down web2" && vm_end host
}
both_up() { order "up web1 4 pv ours" && order "up web2 5 pvh ours"; }

# Whom the manager refuses, and a guest that keeps to nothing beside one that must not notice.
machine_hostile() { boot manager "make web1 web2" trial_refusals trial_hostile log && vm_end host; }
# Domains destroyed, a backend killed, the manager restarted; a domain saved and restored.
machine_ends() { boot manager "make web1 web2" trial_destroy trial_killed trial_saved log && vm_end host; }

# Nanoseconds a command, where a guest's program stands: the machine's TPM in a domain of its own, then one guest's TPM
# through both drivers.
machine_bench() {
	local op who
	boot "up_owner chip 4" "tell chip bench_prepare" "tell chip bench" "tell chip bench_create" "down_owner chip" || return
	remember chip
	order manager && order "make web1" && order "up web1 4 pv stock" && order "tell web1 bench_prepare" || return
	order "tell web1 bench" && order "tell web1 bench_create" && order "down web1" || return
	remember stock
	order "up web1 4 pv ours" && order "tell web1 bench" && order "tell web1 bench_create" && order "down web1" || return
	remember ours
	vm_end host
	printf '    %-20s %14s %14s %14s   (ns)\n' "" xen-tpmfront xen-tpm2front "physical TPM"
	for op in $operations; do
		printf '    %-20s %14d %14d %14d\n' "$op" "${NOTE[stock.$op]}" "${NOTE[ours.$op]}" "${NOTE[chip.$op]}"
	done
}
operations="get_random pcr_extend nv_write quote create_primary_rsa"
remember() { # who: the notes of the domain that was measured
	local op domain=web1
	[ "$1" != chip ] || domain=chip
	for op in $operations; do NOTE[$1.$op]=${NOTE[host.$domain.$op]:-0}; done
}

identity_is_good() { # guest
	file host.ca
	check "${machine_name}_$1_ek_is_the_certified_one" ek_is_the_certified_one "host.$1"
	check "${machine_name}_$1_ek_certificate_verifies" ek_certificate_verifies "host.$1" "$LAB/host.ca"
	check "${machine_name}_$1_rsa_signature_is_good" rsa_signature_is_good "host.$1"
}

boot() { # plans
	local plan
	vm_start host "$machine_name" "$machine_name" "$machine_name" || return
	for plan; do order "$plan" || return; done
}
order() { vm_plan host "$1" "$machine_name"; }

lab_init
trap 'vm_kill_all; lab_end' EXIT
image_build || { echo "not ok image"; exit 1; }
for machine_name in ${LAB_XEN:-host driver guests power hostile ends stub}; do
	start=$EPOCHREALTIME
	"machine_$machine_name"
	[ -z "${VM_PID[host]:-}" ] || { vm_say host poweroff; vm_gone host; }
	echo "    $machine_name: $(since "$start") s"
done

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Debian's Xen in QEMU, with a swtpm as the machine's TPM. docs/lab.md says more. Logs go to BUILD/lab/log.
# LAB_XEN: which machines, by name; the longest first, for the lanes. LAB_XEN=short: what make test has time for.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/xen/machine.sh
. tests/lab/xen/by_name.sh
. tests/lab/verify.sh
. tests/lab/xen/stub_machines.sh
LOG=$B/lab/log
mkdir -p "$LOG"

# By name: what happens on each.
machine_short() {
	boot host manager "make web1" "up web1 4 pv ours" "tell web1 xen_kernel" "tell web1 reload" "down web1" trial_unlaunched && vm_end "$vm"
}
machine_host() { boot host manager "bare pv" "bare pvh" && vm_end "$vm"; }
machine_driver() { boot "driver pv" "driver pvh" driver_lies driver_life driver_saved && vm_end "$vm"; }

# TPMs of the manager, through both drivers. What a guest has must stay through its reboots, the machine's, and the driver's.
machine_guests() {
	boot manager "make web1 web2" || return
	order "up web1 4 pv stock" && order "tell web1 xen_stock" && order "down web1" || return
	order "up web1 4 pv ours" && order "tell web1 xen_kernel" && order "tell web1 use_anew" && identity_is_good web1 || return
	check guests_web1_rsa_signature_is_good rsa_signature_is_good "$vm.web1"
	was=("${NOTE[$vm.web1.ek]:-}" "${NOTE[$vm.web1.primary_name]:-}" "${NOTE[$vm.web1.nv]:-}")
	order "tell web1 reload" && order "restart web1" && order "tell web1 again" || return
	kept $vm.web1 "${vm}_reboot" "${was[@]}"
	order "down web1" && order log && vm_end "$vm"
}

# The machine goes off and on: with its chip and disk, with another chip, with its own again. A PV and a PVH guest at once.
machine_power() {
	local guest was1 was2
	boot manager "make web1 web2" || return
	both_up && order "both own" || return
	for guest in web1 web2; do identity_is_good "$guest"; done
	was1=("${NOTE[$vm.web1.ek]:-}" "${NOTE[$vm.web1.primary_name]:-}" "${NOTE[$vm.web1.nv]:-}")
	was2=("${NOTE[$vm.web2.ek]:-}" "${NOTE[$vm.web2.primary_name]:-}" "${NOTE[$vm.web2.nv]:-}")
	check power_each_has_its_own_ek test "${was1[0]}" != "${was2[0]}"
	check power_each_has_its_own_keys test "${was1[1]}" != "${was2[1]}"
	order "down web1" && order "down web2" && vm_end "$vm" || return

	vm_start "$vm" power_other_chip other power && order other_chip && vm_end "$vm" || return

	vm_start "$vm" power_on power power && order manage && both_up && order "both again ecc" || return
	kept $vm.web1 power_on_web1 "${was1[@]}"
	kept $vm.web2 power_on_web2 "${was2[@]}"
	order "down web1" && order "down web2" && vm_end "$vm"
}
both_up() { order "up web1 4 pv ours" && order "up web2 5 pvh ours"; }

# Whom the manager refuses, and a guest that keeps to nothing beside one that must not notice.
machine_hostile() { boot manager "make web1 web2" trial_refusals trial_unlaunched trial_hostile log && vm_end "$vm"; }
# Domains destroyed, a backend killed, the manager restarted; a domain saved and restored.
machine_ends() { boot manager "make web1 web2" trial_destroy trial_killed trial_saved trial_autocreate log && vm_end "$vm"; }

# What hardly ever happens to devices: made in another's place, left by who is dead, too many, in the way of a quota.
# With the xenstored that Debian starts; the other machines have the one in C.
machine_edges() { dom0_args=lab.ocaml boot manager "make web1 web2" trial_another trial_dead_holder trial_many trial_waits log && vm_end "$vm"; }

# Managers that die under vtpm-hold, and upgrades: no guest notices.
machine_held() { boot manager "make web1" trial_held log && vm_end "$vm"; }

# Nanoseconds a command, where a guest's program stands: one guest's TPM through both drivers, then the machine's TPM in a
# domain of its own. That one is no part of what is emulated: making a key takes it no time.
machine_bench() {
	local op who
	# Shared: the domain that is measured last makes a key of the chip's owner.
	boot "manager --shared-chip" "make web1" "up web1 4 pv stock" "tell web1 bench_prepare" || return
	order "tell web1 bench" && order "tell web1 bench_create" && order "down web1" || return
	remember stock
	order "up web1 4 pv ours" && order "tell web1 bench" && order "tell web1 bench_create" && order "down web1" || return
	remember ours
	order unmanage && order "up_owner chip 4" && order "tell chip bench_prepare" && order "tell chip bench" || return
	order "tell chip bench_create" && order "down chip" || return
	remember chip
	vm_end "$vm"
	printf '    %-20s %14s %14s %14s   (ns)\n' "" xen-tpmfront xen-tpm2front "physical TPM"
	for op in $operations; do
		printf '    %-20s %14d %14d %14d\n' "$op" "${NOTE[stock.$op]}" "${NOTE[ours.$op]}" "${NOTE[chip.$op]}"
	done
}
operations="get_random pcr_extend nv_write quote create_primary_rsa"
remember() { # who: the notes of the domain that was measured
	local op domain=web1
	[ "$1" != chip ] || domain=chip
	for op in $operations; do NOTE[$1.$op]=${NOTE[$vm.$domain.$op]:-0}; done
}

identity_is_good() { # guest
	file "$vm.ca"
	check "${vm}_$1_ek_is_the_certified_one" ek_is_the_certified_one "$vm.$1"
	check "${vm}_$1_ek_certificate_verifies" ek_certificate_verifies "$vm.$1" "$LAB/$vm.ca"
}

boot() { # plans
	local plan
	vm_start "$vm" "$vm" "$vm" "$vm" "${dom0_args:-}" || return
	for plan; do order "$plan" || return; done
}
lab_init
image_build || { echo "not ok image"; exit 1; }
machines=($LAB_XEN)
for vm in "${machines[@]}"; do
	declare -F "machine_$vm" >/dev/null || { echo "not ok $vm: no such machine"; exit 1; }
done
# One machine after the other in each lane; results are shown in whole machines.
for vm in "${machines[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "${LAB_LANES:-2}" ]; do wait -n; done
	run_machine "$vm" >"$LAB/$vm.results" &
done
wait $(jobs -p) # not for whoever else is a child
for vm in "${machines[@]}"; do cat "$LAB/$vm.results"; done

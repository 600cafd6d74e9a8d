# SPDX-License-Identifier: BSD-2-Clause
# Machines on which a stub domain owns the TPM. Sourced by run.sh.

# What the store holds, read from the stub domain's disk while the machine is off.
stub_rows() {
	rm -f "$LAB"/rows.db*
	debugfs -R "dump /store/vtpm.db $LAB/rows.db" "$LAB/stub.store" 2>/dev/null
	debugfs -R "dump /store/vtpm.db-wal $LAB/rows.db-wal" "$LAB/stub.store" 2>/dev/null
	[ -s "$LAB/rows.db-wal" ] || rm -f "$LAB/rows.db-wal"
	sqlite3 "$LAB/rows.db" .dump | sha256sum
}

# Label, chip, disks, what dom0 does first if not that it lets go of the TPM. The stub domain's disk is dom0's last.
stub_boot() {
	local machine BOOT_LIMIT=$((BOOT_LIMIT * 3)) # several domains are started there, one after the other
	[ -e "$LAB/$3.store" ] || truncate -s 64M "$LAB/$3.store"
	disk_make "$3" && chip_power "$2" || return 1
	machine_command "$2" "$3" ""
	machine+=(-drive "if=virtio,format=raw,file=$LAB/$3.store")
	vm_run "$vm" "$1" "${machine[@]}"
	vm_ready "$vm" && order "${4:-stub_release}"
}
stub_both() { order "stub_guest web1 4 pv" && order "stub_guest web2 5 $1"; } # pv or pvh

machine_stub() {
	local guest was1 was2 rows
	stub_boot stub stub stub && order stub_setup && order stub_up && order "stub_make web1 web2" && order stub_ctl && order stub_thief || return
	stub_both pvh && order "both own" || return
	for guest in web1 web2; do identity_is_good "$guest"; done
	was1=("${NOTE[$vm.web1.ek]:-}" "${NOTE[$vm.web1.primary_name]:-}" "${NOTE[$vm.web1.nv]:-}")
	was2=("${NOTE[$vm.web2.ek]:-}" "${NOTE[$vm.web2.primary_name]:-}" "${NOTE[$vm.web2.nv]:-}")
	check stub_each_has_its_own_ek test "${was1[0]}" != "${was2[0]}"
	check stub_each_has_its_own_keys test "${was1[1]}" != "${was2[1]}"
	order "stub_destroy web1" && order "tell web2 neighbour 3" && order "down web2" && order stub_down && vm_end "$vm" || return

	rows=$(stub_rows)
	stub_boot stub_other_chip other stub && order stub_up && order stub_other_chip && order stub_down && vm_end "$vm" || return
	is stub_other_chip_changes_no_row "$(stub_rows)" "$rows"

	stub_boot stub_on stub stub && order stub_again_init && order stub_up && stub_both pv && order "both again ecc" || return
	kept $vm.web1 stub_on_web1 "${was1[@]}"
	kept $vm.web2 stub_on_web2 "${was2[@]}"
	order "down web2" && order "stub_restart web1" && order "down web1" && order stub_down && vm_end "$vm"
}

# SPDX-License-Identifier: BSD-2-Clause
# The machine that has all of it: it boots as a host does, by firmware that measures, a Xen that enforces the policy of
# hv/flask; a stub domain that is measured has the TPM, and serves guests that are launched. Read by run.sh, for this machine alone.
dom0=$DOM0 # of the Xen lab, which the host lab's has no guests for
. tests/lab/host/machine.sh
ESP_SIZE=256M
SEAL=0,2,4,7,8,9,15

whole_image() {
	local files=$LAB/whole_files
	{ read -r XEN && read -r _ && read -r XEN_MODULE; } < <(tests/lab/flask/xen.sh "$B")
	[ -n "${XEN_MODULE:-}" ] && image_build && mkdir "$files" || return
	ln -s "$FILES"/{bootx64.efi,grubx64.efi,vmlinuz-1} "$files/"
	ln -s "$XEN" "$files/xen"
	ln -s "$dom0" "$files/initrd.img"
	FILES=$files
	esp_make whole && esp_configure whole flask=enforcing "" one && chip_make whole
}
whole_boot() { stub_boot "$1" whole whole measured_boot && order "flask_is $2"; } # label, Enforcing or Permissive

machine_whole() {
	local guest
	check whole_image whole_image || return
	whole_boot whole_init Enforcing && order "launch_stub_init $SEAL" && vm_end "$vm" || return
	is whole_init_nothing_was_denied "$(denials whole_init | tail -n 3)" ""

	whole_boot whole Enforcing || return
	firmware_log_is_true "$vm"
	order "labelled_stub $SEAL" && order "launch_make web1 web2" || return
	order "labelled_up web1 4 vtpm_guest_t" && order "labelled_up web2 5 vtpm_sealed_guest_t" || return
	order "labelled_stranger web3" && order "both own" || return
	for guest in web1 web2; do
		pcrs_are_the_logs "$vm.$guest" "whole_$guest"
		log_is_the_managers "$guest"
		file "$vm.ca"
		check "whole_${guest}_ek_is_the_certified_one" ek_is_the_certified_one "$vm.$guest"
		check "whole_${guest}_ek_certificate_verifies" ek_certificate_verifies "$vm.$guest" "$LAB/$vm.ca"
	done
	check whole_each_has_its_own_ek test "${NOTE[$vm.web1.ek]:-}" != "${NOTE[$vm.web2.ek]:-}"
	# Of the whole boot, on Xen's own console; what is refused after that shows that it would be there.
	is whole_nothing_was_denied "$(denials whole | tail -n 3)" ""
	order flask_dom0 || return
	check whole_denials_are_on_the_console test -n "$(denials whole)"
	order "down web1" && order "down web2" && order launch_stub_end && vm_end "$vm" || return

	# A Xen that does not enforce is another boot.
	esp_configure whole flask=permissive "" one
	whole_boot whole_permissive Permissive && order "labelled_stub_in_vain 8" && vm_end "$vm"
}
denials() { grep -a 'avc: *denied' "$LOG/$1.console"; } # label of the boot

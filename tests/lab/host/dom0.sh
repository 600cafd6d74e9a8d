# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does in this lab: a manager whose root is sealed to the boot. Read by init, in dom0; busybox sh.
export LD_LIBRARY_PATH=/bin
. /manager.sh
pcrs=0,1,2,3,4,5,6,7,8,9

prepare() {
	for m in virtio_pci virtio_blk crc32c_generic ext4 vfat nls_cp437 nls_ascii; do modprobe "$m"; done
	mount /dev/vda $state
	mount -t vfat /dev/vdb /boot
}

run_predict() { # further options
	local entry
	entry=$(sed -n 's/^set default="\(.*\)"/\1/p' /boot/grub/grub.cfg)
	[ "$entry" = one ] && entry=1 || entry=2
	vtpmctl policy predict --grub-cfg /boot/grub/grub.cfg --xen /boot/xen --kernel /boot/vmlinuz-$entry --initrd /boot/initrd.img \
		--efi /boot/EFI/BOOT/BOOTX64.EFI,/boot/EFI/BOOT/GRUBX64.EFI --eventlog current "$@"
}

# What was booted is what is on the disk: a prediction of it is what the PCRs hold.
plan_measured() {
	local i
	note_boot
	check predict run_predict --pcrs $pcrs
	run_predict --pcrs $pcrs >/run/predicted 2>/run/told
	check predict_tells_no_change grep -q 'measures what it measured' /run/told
	for i in $(echo $pcrs | tr , ' '); do
		is "predicted_pcr_$i" "$(sed -n "s/^ *\"$i\": \"\(.*\)\".*/\1/p" /run/predicted)" "$(pcr "$i")"
	done
	refused predict_other_file 'no file of that name' vtpmctl policy predict --grub-cfg /boot/grub/grub.cfg --xen /boot/xen --initrd /boot/initrd.img
}

plan_provision() {
	check init vtpm-mgr --init $mgr_options
	check start mgr_start --xen off
	check create ctl create web1
	use_web1
}
use_web1() {
	check start_web1 ctl start web1
	check use env TPM2TOOLS_TCTI=vtpm:path=/run/vtpm/web1.ring tpm2 getrandom --hex 16
	check stop_web1 ctl stop web1
}
plan_stop() { check stop mgr_stop; sync; umount $state /boot; }

# Without a hand.
plan_unsealed() {
	check start mgr_start --xen off
	use_web1
}

# --- evidence, for somebody who is not here ---
plan_enrol() {
	check enroll_show ctl enroll show --dir /run/enrolment
	note_file ek /run/enrolment/ek-rsa.pem
	note_file ak /run/enrolment/ak.name
}
plan_activate() { note secret "$(ctl enroll activate /run/credential)"; }
plan_attest() { # nonce
	check start_web1 ctl start web1
	check attest ctl attest web1 --nonce "$1" --out /run/evidence
	check stop_web1 ctl stop web1
	note_file evidence /run/evidence
}

# --- policies: the keys are on the host, which is where the operator is ---
plan_put() { echo "$2" | base64 -d >"/run/$1"; } # name, content
set_of() { "$@" >/run/set; } # command that writes one
plan_current() {
	check current set_of ctl policy current --pcrs 0,2,4,7,8,9 --description now
	note_file set /run/set
}
plan_signed_policy() {
	check policy_set ctl policy set --policy-key /run/policy.pub --set /run/signed --recovery-key /run/recovery.pub
	check policy_test ctl policy test
}
# The kernel is updated: its entry becomes the default, nothing else is done before the next boot but this.
plan_update() {
	sed -i 's/^set default="one"/set default="two"/' /boot/grub/grub.cfg
	sync
	check predict_update set_of run_predict --description kernel_2
	note_file set /run/set
}
plan_apply() {
	check apply ctl policy apply /run/signed
	ctl policy plan >/dev/console
	ctl policy show >/run/shown
	check policy_show grep -q kernel_2 /run/shown
}
plan_raise() { # the least version
	check raise ctl policy raise --to "$1"
	check policy_test ctl policy test
}
plan_revoked() {
	check start mgr_start --xen off
	refused start_web1 'revoked' ctl start web1
}
plan_challenge() {
	check challenge set_of ctl policy challenge
	note_file challenge /run/set
}
plan_recover_in_vain() { # the answer is to another challenge
	refused recover 'not that of the recovery key' ctl policy recover /run/answer
	refused start_web1 'revoked' ctl start web1
}
plan_recover() {
	check recover ctl policy recover /run/answer
	use_web1
}

# --- a key that needs no TPM ---
plan_offline_key() {
	mkdir -p /etc/vtpm/recovery.d
	check recovery_init ctl recovery init --key /run/offline.pub
}
# Before the manager starts: its keeper takes roots from no other key.
plan_offline_pub() {
	mkdir -p /etc/vtpm/recovery.d
	check recovery_key cp /run/offline.pub /etc/vtpm/recovery.d/offline.pem
}
plan_lost() {
	check recovery_challenge set_of ctl recovery challenge
	note_file challenge /run/set
	until_works grep -q 'the code of the challenge is' /var/log/vtpm.log
	note code "$(sed -n 's/.*the code of the challenge is \([^;]*\);.*/\1/p' /var/log/vtpm.log)"
}
plan_restore() {
	refused restore_without_a_word 'i-accept-rollback' ctl recovery restore --response /run/response
	check restore ctl recovery restore --response /run/response --i-accept-rollback
	use_web1
}

# $1: what was changed: the message names the PCR, and the event.
plan_sealed() {
	check start mgr_start --xen off
	case $1 in
	xen) refused start_web1 'PCR 8 is .*; the event log of PCR 8 has ".*lab=b.*" where it had ".*lab=a' ctl start web1 ;;
	dom0) refused start_web1 'PCR 8 is .*; the event log of PCR 8 has ".*lab.byte=b.*" where it had ".*lab.byte=a' ctl start web1 ;;
	initrd) refused start_web1 'PCR 9 is .*; the event log has another content for /initrd.img \(PCR 9\)' ctl start web1 ;;
	chip) refused start_web1 'storage root key' ctl start web1 ;;
	esac
	ctl status >/dev/console
}

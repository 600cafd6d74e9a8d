#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A host that boots measured: OVMF, our EFI program, GRUB, Xen, dom0, a manager whose root is sealed to it. docs/lab.md says
# more. Logs go to BUILD/lab/log. LAB_HOST=short: what make test has time for.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/host/machine.sh
. tests/lab/verify.sh
LOG=$B/lab/log
mkdir -p "$LOG"
VM=host

up() { chip_make "$VM" && vm_start "$VM" "$VM${1:+_$1}" "$VM" "$VM"; } # what its results are called beside its name
order() { vm_plan "$VM" "$1"; }
down() { order stop && vm_end "$VM"; }

# Files for dom0, and from it.
give() {
	local order
	order="put $1 $(base64 -w 0 "$LAB/$1")"
	vm_say "$VM" plan "$order"
	vm_hear "$VM" "done $order" "${VM}_put_$1"
}
took() { file "$VM.$1" && mv "$LAB/$VM.$1" "$LAB/$1"; }
sign() { # key, file: into LAB/signed
	check "${VM}_sign_$2" sh -c "$B/vtpmctl policy sign --key $LAB/$1.key $3 $LAB/$2 >$LAB/signed"
}
keys() {
	local k
	for k in policy recovery offline; do
		openssl ecparam -name prime256v1 -genkey -noout -out "$LAB/$k.key"
		openssl ec -in "$LAB/$k.key" -pubout -out "$LAB/$k.pub" 2>/dev/null
	done
}

machine_host() {
	esp_make host
	up && order measured && firmware_log_is_true "$VM" && order provision && down
}
# What is said elsewhere of evidence, by a policy with these rules for events: STATUS WORDS RULES
judged() {
	local rc
	printf '{"host": {"log": true, "events": [%s]}}\n' "$3" >"$LAB/policy.json"
	"$B/vtpm-verify" --nonce "$(cat "$LAB/nonce")" --trust "$LAB/hosts.json" --policy "$LAB/policy.json" "$LAB/evidence" >"$LAB/verdict"
	rc=$?
	[ $rc -eq "$1" ] && grep -q "$2" "$LAB/verdict" || { cat "$LAB/verdict"; return 1; }
}
digest_of() { sha256sum "$1" | cut -d' ' -f1; }
# Somebody elsewhere, who has enrolled the chip and has the files that ought to be booted, learns whether they were.
evidence_of_the_boot() {
	order enrol && took ek && took ak || return
	openssl rand 32 >"$LAB/secret" && openssl rand -hex 32 >"$LAB/nonce"
	check "${VM}_makecredential" tpm2_makecredential -Q -T none -G rsa -u "$LAB/ek" -s "$LAB/secret" -n "$(cat "$LAB/ak")" -o "$LAB/credential"
	give credential && order activate || return
	is "${VM}_has_that_key" "${NOTE[$VM.secret]:-nothing}" "$(od -An -v -tx1 "$LAB/secret" | tr -d ' \n')"
	printf '{"hosts": [{"name": "%s", "ak": "%s"}]}\n' "$VM" "$(cat "$LAB/ak")" >"$LAB/hosts.json"
	order "attest $(cat "$LAB/nonce")" && took evidence || return
	check "${VM}_has_booted_these_files" judged 0 '^host-events *passed' \
		'{"pcr": 9, "required": ["'"$(digest_of "$FILES/xen")"'", "'"$(digest_of "$FILES/initrd.img")"'"]}'
	check "${VM}_has_not_booted_that_one" judged 1 '^host-events *FAILED .*PCR 9' '{"pcr": 9, "required": ["'"$(digest_of "$FILES/vmlinuz-2")"'"]}'
	check "${VM}_has_booted_what_is_forbidden" judged 1 '^host-events *FAILED .*PCR 9' '{"pcr": 9, "forbidden": ["'"$(digest_of "$FILES/initrd.img")"'"]}'
}
# A boot as the one before, a policy with keys, and the files of the next.
machine_again() {
	keys
	up && order measured && order unsealed && evidence_of_the_boot && order current && took set && sign policy set "--number 1" || return
	give signed && give policy.pub && give recovery.pub && order signed_policy && order update || return
	give offline.pub && order offline_key || return
	took set && sign policy set "--number 2" && give signed && order apply && down
}
# Kernel 2, as predicted; then kernel 1 is good for nothing any more, but for who has the recovery key.
machine_update() {
	up && order measured && order unsealed && order "raise 2" && down || return
	esp_configure update lab=a lab.byte=a one
	up revoked && order measured && order revoked || return
	answered 's/"nonce": "0/"nonce": "1/;t;s/"nonce": "./"nonce": "0/' && order recover_in_vain || return
	answered "" && order recover && down
}
# To a challenge of dom0's, of which something was changed before it was signed.
answered() { # how, for sed
	order challenge && took challenge && sed -i "$1" "$LAB/challenge" && sign recovery challenge "" || return
	mv "$LAB/signed" "$LAB/answer"
	give answer
}

# Each is a copy of the host of which something was changed.
machine_xen() { esp_configure xen lab=b lab.byte=a one; up && order "sealed xen" && down; }
machine_dom0() { esp_configure dom0 lab=a lab.byte=b one; up && order "sealed dom0" && down; }
machine_initrd() {
	LC_ALL=C sed 's/lab-byte=a/lab-byte=b/' "$FILES/initrd.img" >"$LAB/initrd.img"
	is initrd_differs_in_a_byte "$(cmp -l "$FILES/initrd.img" "$LAB/initrd.img" | wc -l)" 1
	mcopy -o -i "$LAB/initrd.esp" "$LAB/initrd.img" ::/initrd.img
	up && order "sealed initrd" && down
}
# Another TPM, and the key that needs none.
machine_chip() {
	rm -r "$LAB/chip.chip"
	up && give offline.pub && order offline_pub && order "sealed chip" && order lost && took challenge || return
	check chip_open sh -c "$B/vtpmctl recovery open --key $LAB/offline.key --code '${NOTE[$VM.code]}' $LAB/challenge >$LAB/response"
	give response && order restore && down
}

run_machine() {
	local start=$EPOCHREALTIME
	VM=$1
	trap vm_kill_all EXIT
	"machine_$1"
	[ -z "${VM_PID[$1]:-}" ] || { vm_say "$1" poweroff; vm_gone "$1"; }
	echo "    $1: $(since "$start") s"
}
# Copies of a machine that is off, side by side.
run_machines() { # of which, machine…
	local vm from=$1
	shift
	for vm; do
		while [ "$(jobs -rp | wc -l)" -ge "${LAB_LANES:-2}" ]; do wait -n; done
		[ "$from" = "$vm" ] || machine_copy "$from" "$vm"
		run_machine "$vm" >"$LAB/$vm.results" &
	done
	wait $(jobs -p)
	for vm; do cat "$LAB/$vm.results"; done
}

lab_init
image_build || { echo "not ok image"; exit 1; }
make -s efi BUILD="$LAB/again_efi" >/dev/null
check efi_program_is_reproducible cmp "$B/efi/vtpm-launch.efi" "$LAB/again_efi/efi/vtpm-launch.efi"
run_machines host host
case ${LAB_HOST:-long} in
short) run_machines host again initrd ;;
*)
	run_machines host again initrd
	run_machines again update xen dom0 chip
	;;
esac

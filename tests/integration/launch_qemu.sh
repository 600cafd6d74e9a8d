#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# vtpm-launch qemu with a real QEMU and Debian's kernel: what is measured is what boots, whatever becomes of the files, and what is not the
# same is another launch.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/verify.sh
LOG=$B/lab/log
mkdir -p "$LOG"
lab_init
trap 'vm_kill_all; lab_end' EXIT
. tests/checks.sh

state_of_web1() { ctl --json show web1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["vtpm"]["state"])'; }
launch() { "$B/vtpm-launch" --runtime-dir "$LAB/run" "$@"; }
# The machine of web1: kernel, initrd, end of the command line. Sets $machine.
guest_machine() {
	KERNEL=$1 INITRAMFS=$2
	machine_command web1 tpm-tis bios "$LAB/run/web1.swtpm" "lab.talk=ttyS1 $3"
}
B=${B%/asan} image_build || { echo "not ok image"; exit 1; }
kernel=$KERNEL initrd=$INITRAMFS
chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start --pool 0
ctl create web1 >/dev/null

# The launcher stops where it opens the initrd, a pipe. By then it has measured the kernel, which is another file when QEMU comes to it.
cp "$kernel" "$LAB/vmlinuz"
mkfifo "$LAB/initrd"
guest_machine "$LAB/vmlinuz" "$LAB/initrd" word=a
vm_run web1 launch_qemu "$B/vtpm-launch" --runtime-dir "$LAB/run" --vtpm web1 qemu -- "${machine[@]}"
exec {pipe}>"$LAB/initrd" # when the other end is open
head -c 4096 /dev/zero >"$LAB/vmlinuz"
cat "$initrd" >&"$pipe"
exec {pipe}>&-
if vm_ready web1; then
	echo "ok boots_the_measured_kernel_not_the_file_of_now"
	vm_plan web1 launched
	pcrs_are_the_logs web1 launched
	ctl eventlog web1 --out "$LAB/log"
	check log_in_nv_is_the_managers cmp "$LAB/log" "$LAB/web1.eventlog"

	# Whoever comes second, with or without a launch of his own, does not get the TPM.
	guest_machine "$kernel" "$initrd" word=a
	exits second_launch_is_refused 4 launch --vtpm web1 qemu -- "${machine[@]}"
	vm_reboot web1 && vm_plan web1 launched
	pcrs_are_the_logs web1 rebooted
	vm_end web1
fi

# UEFI starts the TPM itself and measures what it boots: one event comes before it, which PCR 0 begins with.
replayed_uefi() { python3 tests/tools/launch.py --replay "$LAB/uefi.eventlog" sha256 "$LAB/uefi.firmware" | awk '{ print tolower($2) }'; }
KERNEL=$kernel INITRAMFS=$initrd
machine_command uefi tpm-crb uefi "$LAB/run/web1.swtpm" lab.talk=ttyS1
vm_run uefi launch_uefi "$B/vtpm-launch" --runtime-dir "$LAB/run" --vtpm web1 qemu -- "${machine[@]}"
if vm_ready uefi; then
	vm_plan uefi launched_uefi
	file uefi.eventlog && file uefi.firmware
	is pcr_0_is_both_logs "$(cut -d' ' -f1 <<<"${NOTE[uefi.pcrs]:-none}")" "$(replayed_uefi)"
	check the_one_event_names_the_firmware grep -aq "firmware sha256 $(sha256sum <"$OVMF/OVMF_CODE_4M.fd" | cut -d' ' -f1)" "$LAB/uefi.eventlog"
	check and_the_kernel grep -aq "kernel sha256 $(sha256sum <"$kernel" | cut -d' ' -f1)" "$LAB/uefi.eventlog"
	vm_end uefi
fi

# A launch that ends in nothing is taken back: the vTPM is off.
exits no_such_qemu 1 launch --vtpm web1 qemu -- "$LAB/qemu-system-x86_64" -bios "$kernel"
is vtpm_is_off "$(state_of_web1)" stopped

on_full_disk() { launch --json --vtpm web1 qemu -- qemu-system-x86_64 -bios "$kernel" >/dev/full; }
exits one_that_cannot_be_reported 1 on_full_disk
is is_taken_back_too "$(state_of_web1)" stopped
on_closed_pipe() { # whose reader has gone
	python3 -c 'import os, subprocess, sys
r, w = os.pipe()
os.close(r)
sys.exit(subprocess.run(sys.argv[1:], stdout=w).returncode)' "$B/vtpm-launch" --runtime-dir "$LAB/run" --json --vtpm web1 qemu -- \
		qemu-system-x86_64 -bios "$kernel"
}
exits nor_to_a_reader_that_has_gone 1 on_closed_pipe
is and_that_is_taken_back "$(state_of_web1)" stopped

# Beforehand: the same bytes are the same launch, wherever they lie; one byte is another.
words() { echo qemu-system-x86_64 -M q35 -kernel "$1" -append "$2"; }
measured() { launch --json measure --eventlog "$LAB/log" qemu -- $(words "$@") | sed -n 's/.*"digest": "\(.*\)".*/\1/p'; }
cp "$kernel" "$LAB/vmlinuz"
was=$(measured "$kernel" word=a)
is digest_is_of_the_log "$was" "$(sha256sum <"$LAB/log" | cut -d' ' -f1)"
is the_same_bytes_elsewhere "$(measured "$LAB/vmlinuz" word=a)" "$was"
check a_byte_of_the_command_line_is_another_launch test "$(measured "$kernel" word=b)" != "$was"
printf x | dd of="$LAB/vmlinuz" bs=1 seek=4096 conv=notrunc status=none
check a_byte_of_the_kernel_is_another_launch test "$(measured "$LAB/vmlinuz" word=a)" != "$was"

# The policy knows them apart.
ctl launch allow web1 "$was" >/dev/null
cp "$kernel" "$LAB/vmlinuz"
exits a_changed_byte_is_refused 5 launch --vtpm web1 qemu -- $(words "$kernel" word=b)
says and_the_refusal_has_the_digest "$(measured "$kernel" word=b)"

# Or whoever has the key does. true takes the place of a QEMU that would boot.
ln -s /bin/true "$LAB/qemu-system-x86_64"
signed() { launch --vtpm web1 "$@" qemu -- "$LAB/qemu-system-x86_64" -bios "$kernel" -kernel "$kernel"; }
openssl ecparam -genkey -name prime256v1 -noout -out "$LAB/key.pem" 2>/dev/null
openssl ec -in "$LAB/key.pem" -pubout -out "$LAB/key.pub" 2>/dev/null
check allow_a_key ctl launch allow web1 --key "$LAB/key.pub"
exits unsigned_is_refused 5 signed
launch measure --eventlog "$LAB/log" qemu -- "$LAB/qemu-system-x86_64" -bios "$kernel" -kernel "$kernel" >"$LAB/out"
openssl dgst -sha256 -sign "$LAB/key.pem" -out "$LAB/log.sig" "$LAB/log"
check signed_is_launched signed --signature "$LAB/log.sig"
ctl stop web1

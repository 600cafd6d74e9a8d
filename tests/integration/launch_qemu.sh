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

launch() { "$B/vtpm-launch" --runtime-dir "$LAB/run" "$@"; }
# The machine of web1: kernel, initrd, end of the command line. Sets $machine.
guest_machine() {
	KERNEL=$1 INITRAMFS=$2
	machine_command web1 tpm-tis bios "$LAB/run/web1.swtpm" "lab.talk=ttyS1 $3"
}
# What the log in a file leads to, of PCRs 0 to 9. tpm2_eventlog before 5.6 has another PCR 0: it does not know what that begins with.
replayed() { echo $(tests/tools/replay.py "$1" | cut -d' ' -f2); }
by_the_stock_tool() {
	echo $(tpm2_eventlog "$1" | awk '$1 == "sha256:" { on = 1; next } $1 == "sha384:" { on = 0 } on && $1 > 0 && $1 < 10 { sub("0x", "", $3); print $3 }')
}

image_build || { echo "not ok image"; exit 1; }
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
	file web1.eventlog
	is pcrs_are_what_the_log_in_nv_leads_to "${NOTE[web1.pcrs]:-none}" "$(replayed "$LAB/web1.eventlog")"
	is tpm2_eventlog_agrees "$(cut -d' ' -f2- <<<"${NOTE[web1.pcrs]:-none}")" "$(by_the_stock_tool "$LAB/web1.eventlog")"

	# Whoever comes second, with or without a launch of his own, does not get the TPM.
	guest_machine "$kernel" "$initrd" word=a
	exits second_launch_is_refused 4 launch --vtpm web1 qemu -- "${machine[@]}"
	vm_reboot web1 && vm_plan web1 launched
	file web1.eventlog
	is pcrs_after_a_reboot "${NOTE[web1.pcrs]:-none}" "$(replayed "$LAB/web1.eventlog")"
	vm_end web1
fi

# A launch that ends in nothing is taken back: the vTPM is off.
exits no_such_qemu 1 launch --vtpm web1 qemu -- "$LAB/qemu-system-x86_64" -bios "$kernel"
is vtpm_is_off "$(ctl --json show web1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["vtpm"]["state"])')" stopped

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

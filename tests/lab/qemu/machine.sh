# SPDX-License-Identifier: BSD-2-Clause
# Machines of this lab: QEMU under TCG with Debian's kernel and a TPM behind a control socket.
# Sourced after tests/lib.sh, with $LAB, $B and LOG set.
. tests/lab/machine.sh

KERNEL= INITRAMFS=
OVMF=/usr/share/OVMF

image_build() {
	{ read -r KERNEL && read -r INITRAMFS; } < <(tests/lab/qemu/image.sh "$B")
	[ -n "$INITRAMFS" ]
}

# Sets $machine: name, tpm-tis or tpm-crb, bios or uefi, socket, the kernel's further arguments.
# An Intel CPU, for the kernel takes no random numbers from a CRB of AMD's. A small cache of translated code, and no nokaslr:
# after a reset QEMU is slow wherever memory that holds code it once translated is written.
machine_command() {
	machine=(qemu-system-x86_64 -M q35 -accel tcg,tb-size=64 -smp 1 -cpu 'max,vendor=GenuineIntel' -m 512
		-nodefaults -no-user-config -display none
		-kernel "$KERNEL" -initrd "$INITRAMFS"
		-append "console=ttyS0 rdinit=/init loglevel=4 panic=-1 mitigations=off $5"
		-chardev "socket,id=tpm,path=$4" -tpmdev emulator,id=tpm0,chardev=tpm -device "$2,tpmdev=tpm0")
	if [ "$3" = uefi ]; then
		# The variables last as long as the machine's name.
		[ -e "$LAB/$1.vars" ] || cp "$OVMF/OVMF_VARS_4M.fd" "$LAB/$1.vars"
		machine+=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=$OVMF/OVMF_CODE_4M.fd"
			-drive "if=pflash,format=raw,unit=1,file=$LAB/$1.vars")
	fi
}

# Name, device, firmware, socket, label of its log and its tests. Further arguments are QEMU's.
vm_start() { vm_launch "$@" && vm_ready "$1"; }
vm_launch() {
	local vm=$1 label=$5 machine
	machine_command "$1" "$2" "$3" "$4" lab.talk=ttyS1
	shift 5
	vm_run "$vm" "$label" "${machine[@]}" "$@"
}

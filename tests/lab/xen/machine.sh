# SPDX-License-Identifier: BSD-2-Clause
# Machines of this lab: QEMU under TCG that boots Xen and a dom0, with a swtpm as the machine's own TPM and a disk, both
# of which outlive it under a name. Sourced after tests/lib.sh, with $LAB, $B and LOG set.
: "${LAB_BOOT_LIMIT:=480}"
. tests/lab/machine.sh

XEN= KERNEL= DOM0=
XEN_ARGS= XEN_MODULE= # more of Xen's command line; a file that is loaded with it

image_build() {
	{ read -r XEN && read -r KERNEL && read -r DOM0; } < <(tests/lab/xen/image.sh "$B")
	[ -n "$DOM0" ]
}

chip_power() { # name: the machine's TPM; it ends with its machine
	local dir=$LAB/$1.chip
	mkdir -p "$dir"
	[ ! -e "$dir/pid" ] || ended "$(cat "$dir/pid")"
	swtpm socket --tpm2 --tpmstate "dir=$dir" --ctrl "type=unixio,path=$dir/socket" --flags not-need-init --terminate \
		--daemon --pid "file=$dir/pid" --log "file=$dir/log,level=1"
}
disk_make() { # name: an ext4 that dom0 finds as /dev/vda
	[ -e "$LAB/$1.disk" ] || mke2fs -q -t ext4 "$LAB/$1.disk" 64M >"$LAB/mke2fs"
}

# Sets $machine: chip, disk, further arguments of dom0's kernel. Each peculiarity has its reason in Xen under TCG:
#	-smap			dom0 dies at its first return to user mode
#	-rdtscp			PVH guests are killed
#	-xsave			now and then a PVH guest finds sizes of its XSAVE areas that contradict each other
#	spec-ctrl=eager-fpu	XMM registers are not kept over context switches: programs crash at random
#	cpuidle=0		MWAIT panics with some CPU models
machine_command() {
	machine=(qemu-system-x86_64 -M q35 -accel tcg,thread=single -smp 1 -cpu 'max,-smap,-rdtscp,-xsave' -m 2048
		-nodefaults -no-user-config -display none -no-reboot -monitor none
		-kernel "$XEN"
		-append 'console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M loglvl=warning noreboot=0 no-real-mode edd=off spec-ctrl=eager-fpu cpuidle=0'" $XEN_ARGS"
		-initrd "$KERNEL console=hvc0 rdinit=/init loglevel=4 lab.talk=ttyS1 $3,$DOM0${XEN_MODULE:+,$XEN_MODULE}"
		-drive "if=virtio,format=raw,file=$LAB/$2.disk"
		-chardev "socket,id=tpm,path=$LAB/$1.chip/socket" -tpmdev emulator,id=tpm0,chardev=tpm
		-device tpm-tis,tpmdev=tpm0)
}

# Name, label of its log and its tests, chip, disk, further arguments of dom0's kernel
vm_start() { vm_launch "$@" && vm_ready "$1"; }
vm_launch() {
	local machine
	disk_make "$4" && chip_power "$3" || return 1
	machine_command "$3" "$4" "${5:-}"
	vm_run "$1" "$2" "${machine[@]}"
}

# SPDX-License-Identifier: BSD-2-Clause
# Machines of this lab: the Xen lab's, but booted as a host is: by firmware that measures, from a disk with a boot loader.
# Sourced after tests/lib.sh, with $LAB, $B and LOG set. A machine is a name: LAB/NAME.esp, .disk, .chip, .vars.
: "${LAB_BOOT_LIMIT:=300}"
. tests/lab/xen/machine.sh
OVMF=/usr/share/OVMF
FILES=
export MTOOLS_SKIP_CHECK=1

image_build() { FILES=$(tests/lab/host/image.sh "$B") && [ -n "$FILES" ]; }

# What GRUB reads. $1: what is added to Xen's command line; $2: to that of dom0's kernel; $3: default entry. It has what a
# configuration that was generated has: variables, functions, ifs, quotes; so that a prediction has something to follow.
grub_cfg() {
	cat <<-END
		# of the lab
		set timeout=0
		set default="$3"
		xen_options="console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M loglvl=warning noreboot=0 no-real-mode edd=off spec-ctrl=eager-fpu cpuidle=0"
		if [ x\$feature_menuentry_id = xy ]; then
		  menuentry_id_option="--id"
		else
		  menuentry_id_option=""
		fi
		export menuentry_id_option
		function note_it {
		  echo 'Loading:  "Xen"'
		}
		menuentry "Xen, kernel 1" --class xen \$menuentry_id_option one {
			note_it
		# not even GRUB sees this
			multiboot2 /xen \${xen_options} $1
			module2 /vmlinuz-1 console=hvc0 rdinit=/init loglevel=4 lab.talk=ttyS1 'lab.words=a b' $2
			module2 --nounzip /initrd.img${XEN_MODULE:+; module2 --nounzip /${XEN_MODULE##*/}}
		}
		menuentry 'Xen, kernel 2' --class xen \$menuentry_id_option two {
			multiboot2 /xen \$xen_options $1
			module2 /vmlinuz-2 console=hvc0 rdinit=/init loglevel=4 lab.talk=ttyS1 $2
			module2 --nounzip /initrd.img
		}
	END
}

# A disk with all of it, always the same bytes in its files. $1: machine
esp_make() {
	local esp=$LAB/$1.esp
	rm -f "$esp"
	truncate -s "${ESP_SIZE:-96M}" "$esp"
	mformat -i "$esp" -F -N 76545054 -v HOST ::
	mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/grub
	mcopy -i "$esp" "$FILES/bootx64.efi" "$FILES/grubx64.efi" ::/EFI/BOOT/
	mcopy -i "$esp" "$FILES"/{xen,vmlinuz-*,initrd.img} ${XEN_MODULE:+"$XEN_MODULE"} ::/
	esp_configure "$1" lab=a lab.byte=a one
}
esp_configure() { grub_cfg "$2" "$3" "$4" | mcopy -o -i "$LAB/$1.esp" - ::/grub/grub.cfg; } # machine, as grub_cfg

# The firmware hashes all that is booted once for each bank of PCRs that the TPM has.
chip_make() { # machine
	[ -e "$LAB/$1.chip" ] || { mkdir "$LAB/$1.chip" && swtpm_setup --tpm2 --tpmstate "$LAB/$1.chip" --pcr-banks sha256 >"$LAB/swtpm_setup.$1"; }
}

# Another machine of which everything is a copy.
machine_copy() { # from, to
	local part
	for part in esp disk vars; do cp --sparse=always "$LAB/$1.$part" "$LAB/$2.$part"; done
	cp -r "$LAB/$1.chip" "$LAB/$2.chip"
	rm -f "$LAB/$2.chip"/{socket,pid}
}

# Sets $machine, as the Xen lab's does. $2 is the machine, $1 its chip.
machine_command() {
	[ -e "$LAB/$2.vars" ] || cp "$OVMF/OVMF_VARS_4M.fd" "$LAB/$2.vars"
	machine=(qemu-system-x86_64 -M q35 -accel tcg,thread=single -smp 1 -cpu 'max,-smap,-rdtscp,-pku' -m 2048
		-nodefaults -no-user-config -display none -no-reboot -monitor none
		-drive "if=pflash,format=raw,unit=0,readonly=on,file=$OVMF/OVMF_CODE_4M.fd"
		-drive "if=pflash,format=raw,unit=1,file=$LAB/$2.vars"
		-drive "if=none,id=state,format=raw,file=$LAB/$2.disk" -device virtio-blk-pci,drive=state
		-drive "if=none,id=esp,format=raw,file=$LAB/$2.esp" -device virtio-blk-pci,drive=esp,bootindex=0
		-chardev "socket,id=tpm,path=$LAB/$1.chip/socket" -tpmdev emulator,id=tpm0,chardev=tpm
		-device tpm-tis,tpmdev=tpm0)
}

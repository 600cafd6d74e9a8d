# SPDX-License-Identifier: BSD-2-Clause
# Debian's libvirt, as root, and nothing of this host's: its directories are of this mount namespace, its processes of
# this process namespace, and there is no network. Sourced after tests/lib.sh, in the namespaces that run.sh makes.

libvirt_config() {
	cat >/etc/libvirt/libvirtd.conf <<-END
		auth_unix_ro = "none"
		auth_unix_rw = "none"
		log_outputs = "2:file:$LAB/libvirtd.log"
	END
	# There is neither AppArmor nor a systemd here that could be asked for cgroups.
	cat >/etc/libvirt/qemu.conf <<-END
		security_driver = "none"
		cgroup_controllers = []
		namespaces = []
		stdio_handler = "file"
	END
}

# Returns when it answers. $1: the directory that stands first in its PATH.
libvirt_start() {
	local d
	mkdir -p "$LAB"/libvirt/{etc,lib,cache,log}
	chmod 755 "$LAB/libvirt" "$LAB"/libvirt/*
	mount -t tmpfs -o mode=755 none /run
	mkdir -p /run/libvirt /run/lock
	for d in etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log; do
		mount --bind "$LAB/libvirt/${d%%:*}" "${d#*:}" || return 1
	done
	mkdir -p /etc/libvirt/qemu /var/lib/libvirt/qemu
	libvirt_config
	virtlogd 2>>"$LAB/virtlogd.err" &
	libvirtd_start "$1"
}
libvirtd_start() {
	local i
	PATH=$1:$PATH VTPM_RUNTIME_DIR=$LAB/run libvirtd 2>>"$LAB/libvirtd.err" &
	LIBVIRTD_PID=$!
	for i in $(seq 300); do # it has no way to say that it is up
		virsh version >"$LAB/out" 2>&1 && return 0
		kill -0 "$LIBVIRTD_PID" 2>/dev/null || break
		read -r -t 0.1 _ <> <(:) || true
	done
	cat "$LAB/out" "$LAB/libvirtd.err"
	return 1
}

# A machine with a second serial port to talk to its guest over, and a disk for snapshots. $1: name, $2: uuid
domain_xml() {
	cat <<-END
		<domain type='qemu'>
		  <name>$1</name>
		  <uuid>$2</uuid>
		  <memory unit='MiB'>512</memory>
		  <vcpu>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>$LAB/vmlinuz</kernel>
		    <initrd>$LAB/initrd</initrd>
		    <cmdline>console=ttyS0 rdinit=/init loglevel=4 panic=-1 mitigations=off lab.talk=ttyS1</cmdline>
		  </os>
		  <features><acpi/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features>
		  <cpu mode='custom'><model>Nehalem</model></cpu>
		  <devices>
		    <emulator>/usr/bin/qemu-system-x86_64</emulator>
		    <serial type='file'><source path='$LAB/guests/$1.console'/><target port='0'/></serial>
		    <serial type='pipe'><source path='$LAB/guests/$1'/><target port='1'/></serial>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='qcow2'/>
		      <source file='$LAB/guests/$1.disk'/>
		      <target dev='vda' bus='virtio'/>
		    </disk>
		    <controller type='usb' model='none'/>
		    <memballoon model='none'/>
		    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
		  </devices>
		</domain>
	END
}

domain_define() { # name, uuid
	mkdir -p "$LAB/guests"
	chmod 777 "$LAB/guests"
	rm -f "$LAB/guests/$1.in" "$LAB/guests/$1.out"
	mkfifo -m 666 "$LAB/guests/$1.in" "$LAB/guests/$1.out"
	qemu-img create -q -f qcow2 "$LAB/guests/$1.disk" 64M
	domain_xml "$1" "$2" >"$LAB/$1.xml"
	virsh define "$LAB/$1.xml"
}

# Starts it, and opens the way to its guest, for machine.sh's functions. $2: label of its tests
domain_start() {
	virsh start "$1" >"$LAB/$1.start" 2>&1 || { sed 's/^/    /' "$LAB/$1.start"; return 1; }
	domain_open "$1" "$2"
}
domain_open() {
	local in out
	VM_LABEL[$1]=$2
	exec {in}<>"$LAB/guests/$1.in" {out}<"$LAB/guests/$1.out"
	VM_IN[$1]=$in VM_OUT[$1]=$out
	ln -sf "$LAB/guests/$1.console" "$LOG/$2.console"
}
domain_close() { # its QEMU has gone
	local in=${VM_IN[$1]} out=${VM_OUT[$1]}
	exec {in}>&- {out}<&-
	cat "$LAB/guests/$1.console" >"$LOG/$1.console.all" 2>/dev/null
}
domain_destroy() {
	virsh destroy "$1" >"$LAB/out" 2>&1 || { cat "$LAB/out"; return 1; }
	domain_close "$1"
}

# What swtpm's stand-in has to say about a machine.
domain_log() { cat "/var/log/swtpm/libvirt/qemu/$1-swtpm.log"; }
front_pid() { cat /run/libvirt/qemu/swtpm/*-"$1"-swtpm.pid; }
token_dir() { echo "/var/lib/libvirt/swtpm/$1/tpm2"; } # uuid of the machine

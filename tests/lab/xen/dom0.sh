# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does in this lab: Xen's daemons, a manager, guests. Read by init, in dom0; busybox sh.
export PATH=/usr/lib/xen-4.17/bin:$PATH LD_LIBRARY_PATH=/bin
state=/var/lib/vtpm

. /guests.sh

# A daemon says nothing when it is ready; the bound is the machine's.
until_works() { until "$@" >/dev/null 2>&1; do usleep 50000; done; }

prepare() {
	for m in xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback loop virtio_pci virtio_blk crc32c_generic ext4; do
		modprobe "$m"
	done
	mount -t xenfs xenfs /proc/xen
	mkdir -p /run/xenstored /run/xen /run/lock /dev/pts
	mount -t devpts devpts /dev/pts
	mount /dev/vda $state
	xenstored
	until_works xenstore-read -s /tool/xenstored
	xen-init-dom0 >/dev/null
	xenconsoled --log=all --log-dir=/var/log/xen
}

# --- the manager, on the machine's TPM ---
mgr_options="--state-dir $state/state --runtime-dir /run/vtpm --libexec-dir /bin --user vtpm"
mgr_start() {
	mkfifo /run/ready
	vtpm-mgr $mgr_options --ready-fd 9 "$@" 9>/run/ready 2>>/var/log/vtpm.log &
	echo $! >/run/mgr.pid
	read -r _ </run/ready
	local rc=$?
	rm /run/ready
	return $rc
}
mgr_init() { vtpm-mgr --init $mgr_options --insecure-pcrs; }
ctl() { vtpmctl "$@"; }

plan_host() {
	check xl_info xl info
	is xen_major "$(xl info | awk '$1 == "xen_major" { print $3 }')" 4
	check tpmrm0 test -c /dev/tpmrm0
	is tpm_version_major "$(cat /sys/class/tpm/tpm0/tpm_version_major)" 2
	is toolstack_sees_dom0 "$(xl list | awk '$2 == 0 { print $1 }')" Domain-0
}

plan_manager() {
	check mgr_init mgr_init
	check mgr_start mgr_start
	check create ctl create web1
	check start ctl start web1
	check use env TPM2TOOLS_TCTI=vtpm:path=/run/vtpm/web1.ring tpm2 getrandom --hex 16
	cat /var/log/vtpm.log >/dev/console
}

# Guests without a TPM: that the lab can have guests at all.
plan_bare() {
	guest_config "$1" 4 "$1" "" </dev/null
	guest_create "$1" && guest_plan "$1" alive && guest_reboot "$1" && guest_plan "$1" alive && guest_end "$1"
}

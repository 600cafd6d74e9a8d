# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does with a stub domain that owns the TPM, as docs/xen.md tells an operator to. Read by dom0.sh; busybox sh.
stub_disk=/dev/vdb
stub_log=/var/log/xen/guest-vtpmmgr.log

stub() { vtpmctl --xen-domain vtpmmgr "$@"; }
stub_says() { grep -aq "$1" $stub_log || { tail -n 3 $stub_log; return 1; }; }
stub_node() { echo "/local/domain/$(xl domid vtpmmgr)/backend/vtpm/$(xl domid "$1")/0"; } # guest
stub_uuid() { stub show "$1" | awk '$1 == "uuid:" || $1 == "uuid" { print $2; exit }'; }

# The configuration that is delivered, but for the paths. $1: what is added to extra, as docs/xen.md has it. Each start has
# a log of its own.
stub_config() {
	sed -e 's|^kernel = .*|kernel = "/guest/vmlinux"|' -e 's|^ramdisk = .*|ramdisk = "/guest/stubdom"|' \
		-e "s|phy:[^,]*,|phy:$stub_disk,|" ${stub_labels:+-e 's/^#\(.*seclabel = .*\)/\1/'} /etc/xen/vtpmmgr.cfg >/run/vtpmmgr.cfg
	: >$stub_log
}
stub_create() {
	local extra="console=hvc0 loglevel=4 tpm_tis.force=1 tpm_tis.interrupts=0"
	stub_config
	xl create -q /run/vtpmmgr.cfg ${1:+"extra=\"$extra $1\""}
}
stub_gone() { ! xl domid vtpmmgr; }
stub_end() { xl shutdown vtpmmgr && until_works stub_gone; }

stub_scripts() { # those of Xen expect what udev makes
	ln -s /proc/self/fd /dev/fd
	ln -s /proc/self/fd/0 /dev/stdin
}
plan_stub_release() {
	stub_scripts
	echo MSFT0101:00 >/sys/bus/platform/drivers/tpm_tis/unbind
	check dom0_has_let_go_of_the_tpm test ! -e /dev/tpm0
}

# From an empty disk to a store, and what it says to whoever leaves a step out.
plan_stub_setup() {
	check blank_create stub_create
	until_works stub_says "nothing is served"
	check blank_disk_is_named stub_says "holds no ext4"
	check blank_shutdown stub_end
	check blank_disk_is_untouched cmp -n 4194304 $stub_disk /dev/zero
	check mkfs /bin/mke2fs -q -t ext4 $stub_disk
	check unprovisioned_create stub_create
	until_works stub_says "nothing is served"
	check unprovisioned_is_named stub_says "vtpm-mgr --init"
	check unprovisioned_shutdown stub_end
	check init_create stub_create "vtpm.init vtpm.arg=--insecure-pcrs"
	until_works stub_gone
	check init_says_so stub_says "the store is made"
	# Told to end while its manager comes up.
	check early_create stub_create
	until_works stub_says "XSM of this Xen"
	check early_shutdown stub_end
	check early_end_is_in_order stub_says "powering off every vTPM in order"
}
plan_stub_again_init() {
	check init_again_create stub_create "vtpm.init vtpm.arg=--insecure-pcrs"
	until_works stub_says "nothing is served"
	check init_never_replaces stub_says "there is a store already"
	check init_again_shutdown stub_end
}

plan_stub_up() {
	check stub_create stub_create
	until_works stub status
	check stub_status stub status
}
plan_stub_down() {
	check stub_shutdown stub_end
	check stub_stopped_in_order stub_says "powering off every vTPM in order"
	check stub_went_off stub_says "vtpm stub domain: poweroff"
	is stub_console_is_clean "$(grep -aE 'Kernel panic|Oops|BUG:|WARNING:|Call Trace|segfault|general protection|terminated' $stub_log | head -n 3)" ""
}

plan_stub_make() { # name…
	local name
	for name; do check "stub_create_$name" stub create "$name" --launch off; done
	stub ca >/run/ca.pem
	note_file ca /run/ca.pem
	is stub_list "$(stub list | awk 'NR > 1 { print $1 }' | sort | tr '\n' ' ')" "$(for name; do echo "$name"; done | sort | tr '\n' ' ')"
}

# vtpmctl and the vchan.
plan_stub_ctl() {
	local proxy path
	check ctl_by_number vtpmctl --xen-domain "$(xl domid vtpmmgr)" list
	check ctl_start stub start web1
	is ctl_started "$(stub list | awk '$1 == "web1" { print $4 }')" running
	check ctl_stop stub stop web1
	local i
	for i in $(seq 20000 20899); do echo "/local/domain/$i 1"; done | xargs -n 200 xenstore-write
	check ctl_among_many_domains stub list
	for i in $(seq 20000 20899); do echo "/local/domain/$i"; done | xargs -n 200 xenstore-rm
	refused ctl_of_no_domain 'no domain of that name' vtpmctl --xen-domain nosuch list
	refused ctl_of_another_domain 'offers a connection' vtpmctl --xen-domain 0 list
	refused ctl_import 'descriptors' stub import other --swtpm /tmp
	# xen-utils' own vchan, and one that is killed in the middle.
	mkdir -p /run/proxy
	path=/local/domain/$(xl domid vtpmmgr)/data/vtpmctl
	vchan-socket-proxy --mode=client "$(xl domid vtpmmgr)" "$path" /run/proxy/control.sock &
	proxy=$!
	until_works test -S /run/proxy/control.sock
	is ctl_over_libxenvchan "$(vtpmctl --runtime-dir /run/proxy --json list)" "$(vtpmctl --runtime-dir /run/proxy --json list)"
	check ctl_over_libxenvchan_lists sh -c 'vtpmctl --runtime-dir /run/proxy list | grep -q web1'
	kill -9 $proxy
	wait $proxy 2>/dev/null
	rm -r /run/proxy
	check ctl_after_a_killed_client stub list
	(stub list >/tmp/one && stub list >/tmp/one) & (stub list >/tmp/two && stub list >/tmp/two) &
	wait
	is ctl_two_at_once "$(cat /tmp/one)" "$(cat /tmp/two)"
}

# The same kernel, the same arguments, no iomem: Xen maps nothing there, and the driver's first read is its kernel's end.
plan_stub_thief() {
	local log=/var/log/xen/guest-thief.log
	guest_config thief 6 pv "tpm_tis.force=1 tpm_tis.interrupts=0" </dev/null
	check thief_create xl create -q /run/thief.cfg
	until_works grep -aqE 'LAB ready|Kernel panic' $log
	check thief_faults grep -aq 'unable to handle page fault' $log
	check thief_faults_at_the_tpm grep -aq 'tpm_tis_core_init' $log
	is thief_never_ran "$(grep -ac 'LAB ready' $log)" 0
	check tpm_is_still_the_stub_domains stub create after_the_thief
	check created_with_it stub destroy after_the_thief
}

plan_stub_guest() { # name, digit, pv or pvh
	guest_config "$1" "$2" "$3" "lab.modules=xen-tpm2front lab.wait=tpmrm0" <<-END
		vtpm = [ "backend=vtpmmgr,uuid=$(stub_uuid "$1")" ]
	END
	guest_create "$1"
}
# libxl complains when a node of a domain that is not dom0 stays.
plan_stub_destroy() { # guest
	local node
	node=$(stub_node "$1")
	check "$1_has_nodes" xenstore-read "$node/state"
	xl destroy "$1" >/tmp/destroy 2>&1
	is "$1_destroy_has_nothing_to_say" "$(cat /tmp/destroy)" ""
	refused "$1_nodes_are_gone" "couldn't read|doesn't exist" xenstore-read "$node/state"
}

plan_stub_other_chip() {
	stub status >/run/status
	check status_says_so grep -qiE 'another|not the one' /run/status
	refused start_on_another_chip 'storage root key' stub start web1
	refused create_on_another_chip 'storage root key' stub create web3
	check console_says_so stub_says 'storage root key'
}

# The stub domain dies under its guests. It comes back with another number, which they learn when they boot anew.
plan_stub_restart() { # guest, a guest that still runs
	check lost xl destroy vtpmmgr
	guest_plan "$1" back_end_is_gone
	plan_stub_up
	is lost_is_stopped "$(stub list | awk -v n="$1" '$1 == n { print $4 }')" stopped
	guest_reboot "$1"
	guest_plan "$1" again ecc
}

# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does in the lab of measured launches: guests that vtpm-launch makes, and those that come by another way. Read by xen/dom0.sh; busybox sh.

launch_error() { xenstore-read "$(back_node "$1" error)"; }
digest_of() { sed -n 's/^digest //p'; } # of measure's output

# As they are by default: a domain of Xen must be launched.
plan_launch_make() { # name…
	local name
	for name; do check "create_$name" ctl create "$name"; done
}

# name, digit, pv or pvh, arguments of the kernel: a domain with the vTPM of its name, or of another
launch_config() {
	guest_config "$1" "$2" "$3" "lab.modules=xen-tpm2front lab.wait=tpmrm0 $4" <<-END
		vtpm = [ "backend=${launch_backend:-0},uuid=$(uuid_of "${5:-$1}")" ]
		${launch_lines:-}
	END
}
launch_create() { # name
	vtpm-launch xl "/run/$1.cfg" >"/tmp/$1.create" 2>&1 || { say "fail $1_launch: $(tr '\n' ' ' <"/tmp/$1.create")"; return 1; }
	guest_attach "$1" && guest_hear "$1" ready
}
is_no_domain() { ! xl domid "$1"; }

# A launch as it should be. Its digest was known before, and nothing but that one is allowed. The host compares what guest and manager have.
plan_launch_up() { # name, digit, pv or pvh
	local digest
	launch_config "$1" "$2" "$3" "word=a"
	digest=$(vtpm-launch measure xl "/run/$1.cfg" | digest_of)
	check "$1_allow" ctl launch allow "$1" "$digest"
	launch_create "$1" || return
	is "$1_digest_is_the_predicted_one" "$(sed -n 's/.*digest //p' "/tmp/$1.create")" "$digest"
	guest_plan "$1" launched
	ctl eventlog "$1" >/run/eventlog
	note_file "$1.manager" /run/eventlog
	is "$1_digest_is_the_logs" "$(sha256sum </run/eventlog | cut -d' ' -f1)" "$digest"
}

# The guest's own driver cannot clear what was measured.
plan_launch_reload() { # name
	guest_plan "$1" reload
	guest_plan "$1" launched
}

# A byte of the command line is another launch: there is no domain, and the vTPM is off.
plan_launch_other_byte() { # name, digit
	launch_config "$1" "$2" pv "word=b"
	refused "$1_other_byte" "digest" vtpm-launch xl "/run/$1.cfg"
	check "$1_other_byte_left_no_domain" is_no_domain "$1"
	until_works vtpm_is "$1" stopped
}

# The launcher stops at the ramdisk, which is a pipe: the kernel is measured by then, and its file is another when xl comes to it.
plan_launch_swap() { # name, digit
	local launcher
	launch_config "$1" "$2" pv "word=a"
	cp /guest/vmlinux /run/vmlinux
	mkfifo /run/ramdisk
	sed -i -e 's|^kernel = .*|kernel = "/run/vmlinux"|' -e 's|^ramdisk = .*|ramdisk = "/run/ramdisk"|' "/run/$1.cfg"
	vtpm-launch xl "/run/$1.cfg" >"/tmp/$1.create" 2>&1 &
	launcher=$!
	exec 8>/run/ramdisk # when the other end is open
	dd if=/dev/zero of=/run/vmlinux bs=4096 count=16 conv=notrunc 2>/dev/null
	cat /guest/initramfs >&8
	exec 8>&-
	check "$1_swapped_launch" wait $launcher
	guest_attach "$1" && guest_hear "$1" ready || return
	say "ok $1_boots_the_measured_kernel_not_the_file_of_now"
	guest_plan "$1" launched
	is "$1_the_file_is_no_kernel_now" "$(head -c 4 /run/vmlinux | od -An -tx1 | tr -d ' ')" 00000000
	launch_config "$1" "$2" pv "word=a"
	rm /run/vmlinux /run/ramdisk
}

# Who comes by another way: made by xl itself; given the TPM later; with the TPM of another that runs, launched or not.
unlaunched() { # name: what its node says
	until_works launch_error "$1"
	case $(launch_error "$1") in
	*"not launched"* | *vtpm-launch*) say "ok $1_error_node_says_why" ;;
	*) say "fail $1_error_node_says_why: $(launch_error "$1")" ;;
	esac
	guest_plan "$1" has_no_device
}
plan_launch_strangers() { # a vTPM that is free, one that is in use
	guest_config plain 6 pv "lab.modules=xen-tpm2front" <<-END
		vtpm = [ "backend=0,uuid=$(uuid_of "$1")" ]
	END
	guest_create plain && unlaunched plain
	guest_end plain
	until_works vtpm_is "$1" stopped

	guest_config late 6 pv "lab.modules=xen-tpm2front" </dev/null
	guest_create late || return
	check attach xl vtpm-attach late "uuid=$(uuid_of "$1")" backend=0
	unlaunched late
	guest_end late
	until_works vtpm_is "$1" stopped

	launch_config twin 6 pv "word=a" "$2"
	refused twin_launch "unable to add vtpm" vtpm-launch xl /run/twin.cfg
	check twin_log_says_why log_has "another domain, or a program, has the TPM of its uuid"
	check twin_left_no_domain is_no_domain twin
	guest_plan "$2" neighbour 2
}

# A reboot is another domain: the launcher's process that stayed behind launches it, and ends with the last one.
plan_launch_reboot() { # name
	local was
	was=$(xl domid "$1")
	is "$1_launcher_stays" "$(launchers)" 1
	guest_reboot "$1" || return
	check "$1_is_another_domain" test "$(xl domid "$1")" -gt "$was"
	guest_plan "$1" launched
	guest_end "$1"
	until_works no_launcher
}
# A checkpoint is no end. Saved and restored it goes on with its PCRs, if that was announced.
plan_launch_saved() { # name
	check "$1_checkpoint" xl save -c "$1" /run/saved
	guest_plan "$1" launched
	is "$1_launcher_stays" "$(launchers)" 1
	check "$1_suspend" ctl suspend "$1"
	check "$1_save" xl save "$1" /run/saved
	until_works no_launcher
	check "$1_restore" xl restore /run/saved
	guest_attach "$1"
	guest_plan "$1" launched
}
# Its launcher has ended with the domain that it made: a reboot is the end, until somebody launches it.
plan_launch_saved_reboot() { # name
	guest_say "$1" reboot
	guest_hear "$1" "done reboot" && until_works has_ended "$1"
	is "$1_nobody_launches_it" "$(launchers)" 0
	check "$1_destroy" xl destroy "$1"
	until_works vtpm_is "$1" stopped
	launch_create "$1" && guest_plan "$1" launched
	guest_end "$1"
	until_works no_launcher
	rm /run/saved
}
has_ended() { xl list "$1" | awk 'NR == 2 && $5 ~ /s/ { n++ } END { exit !n }'; }
launchers() { grep -lx vtpm-launch /proc/[0-9]*/comm 2>/dev/null | wc -l; }
no_launcher() { [ "$(launchers)" = 0 ]; }

# --- the stub domain, measured into the machine's own TPM before it has that ---
stub_extra="console=hvc0 loglevel=4 tpm_tis.force=1 tpm_tis.interrupts=0"
stub_measured() { # options, assignments
	: >$stub_log
	vtpm-launch ${stub_options:-} stub /run/vtpmmgr.cfg "$@"
}
stub_is_up() { until_works stub status; }
plan_launch_stub_init() { # PCRs of the seal
	local value seal="vtpm.init vtpm.arg=--seal-pcrs=$1"
	check mkfs /bin/mke2fs -q -t ext4 $stub_disk
	stub_config
	value=$(vtpm-launch measure stub /run/vtpmmgr.cfg | awk '$1 == "PCR" { print $3 }')
	note stub_value "$value"
	is init_is_measured_as_the_next_start "$(vtpm-launch measure stub /run/vtpmmgr.cfg "extra=\"$stub_extra $seal\"" |
		awk '$1 == "PCR" { print $3 }')" "$value"
	check init stub_measured "extra=\"$stub_extra $seal\""
	until_works stub_gone
	check init_says_so stub_says "the store is made"
}
# The second start since the host booted, and the third: nothing is added.
plan_launch_stub_up() {
	check start stub_measured
	stub_is_up
	check sealed_to_this_image stub create "${1:-web1}"
	refused twice "runs already" stub_measured
	check end stub_end
}
# Another word on its command line, after this one or before it: not started; started without being measured: nothing is unsealed.
plan_launch_stub_other() {
	refused another_image "another image" stub_measured "extra=\"$stub_extra other=1\""
	check nothing_was_started stub_gone
}
plan_launch_stub_unmeasured() {
	stub_config
	check unmeasured xl create -q /run/vtpmmgr.cfg
	until_works stub_says "PCR 15"
	refused nothing_is_unsealed "PCR 15" stub create web9
	check end stub_end
}
plan_launch_stub_give_up() {
	stub_options=--give-up
	check start stub_measured
	stub_options=
	stub_is_up
	is dom0_has_it_no_more "$(dom0_may_touch_the_tpm && echo 'it has')" ''
	check stub_still_has_it stub create web3
}
# The launcher asks the manager that backend= names, over a vchan.
plan_launch_stub_guest() { # name, digit
	guest_config "$1" "$2" pv "lab.modules=xen-tpm2front lab.wait=tpmrm0" <<-END
		vtpm = [ "backend=vtpmmgr,uuid=$(stub_uuid "$1")" ]
	END
	launch_create "$1" && guest_plan "$1" launched
	guest_end "$1"
}
plan_launch_stub_end() {
	check end stub_end
	refused not_again "given the TPM up" stub_measured
}

# --- all of it: a measured boot, a Xen that enforces, a stub domain of a measured image, guests that are launched ---
plan_measured_boot() {
	stub_scripts
	stub_labels=yes stub_disk=/dev/vdc # vdb is what firmware booted from
	note_boot
}
plan_labelled_stub() { # PCRs of its seal
	stub_config
	plan_launch_stub_give_up
	flask_stub_is enforcing
	stub policy show >/run/shown
	is seal "$(sed -n 's/^PCRs *//p' /run/shown)" "$1"
	check unsealed_without_a_hand grep -q '^this boot *unseals it' /run/shown
	stub ca >/run/ca.pem
	note_file ca /run/ca.pem
	ctl() { stub "$@"; }
	launch_backend=vtpmmgr back_domain=$(xl domid vtpmmgr)
}
# The same, but something before dom0 is another: whatever dom0 says then, the TPM says no.
plan_labelled_stub_in_vain() { # PCR
	stub_config
	check start stub_measured
	until_works stub_says "PCR $1"
	refused nothing_is_unsealed "PCR $1" stub create web9
	check end stub_end
}
plan_labelled_up() { # name, digit, type
	launch_lines=$(label_lines "$3")
	plan_launch_up "$1" "$2" pv
	is "$1_label" "$(xl list -Z "$1" | awk 'NR == 2 { print $NF }')" "$(label "$3")"
}
# With label and uuid, but made by xl itself.
plan_labelled_stranger() { # a vTPM that is free
	guest_config plain 6 pv "lab.modules=xen-tpm2front" <<-END
		vtpm = [ "backend=vtpmmgr,uuid=$(uuid_of "$1")" ]
		$(label_lines vtpm_guest_t)
	END
	guest_create plain && unlaunched plain
	guest_end plain
	until_works vtpm_is "$1" stopped
}

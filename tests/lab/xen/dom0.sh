# SPDX-License-Identifier: BSD-2-Clause
# What dom0 does in this lab: Xen's daemons, a manager, guests. Read by init, in dom0; busybox sh.
export PATH=/usr/lib/xen-4.17/bin:$PATH LD_LIBRARY_PATH=/bin

. /manager.sh
. /guests.sh
. /trials.sh
. /stub.sh
. /flask.sh
. /launch.sh

flag() { grep -qw "lab\.$1" /proc/cmdline; }

prepare() {
	for m in xen-privcmd xenfs xen-evtchn xen-gntdev xen-gntalloc xen-blkback loop virtio_pci virtio_blk crc32c_generic ext4; do
		modprobe "$m"
	done
	mount -t xenfs xenfs /proc/xen
	mkdir -p /run/xenstored /run/xen /run/lock /dev/pts
	mount -t devpts devpts /dev/pts
	mount /dev/vda $state
	$(flag ocaml && echo o)xenstored # Debian's own choice is the one in OCaml
	until_works xenstore-read -s /tool/xenstored
	xen-init-dom0 >/dev/null
	xenconsoled --log=all --log-dir=/var/log/xen
}

plan_host() {
	check xl_info xl info
	is xen_major "$(xl info | awk '$1 == "xen_major" { print $3 }')" 4
	check tpmrm0 test -c /dev/tpmrm0
	is tpm_version_major "$(cat /sys/class/tpm/tpm0/tpm_version_major)" 2
	is toolstack_sees_dom0 "$(xl list | awk '$2 == 0 { print $1 }')" Domain-0
}

mgr_init() { vtpm-mgr --init $mgr_options --insecure-pcrs "$@"; }

# By hand, through a local ring: that manager and chip are there.
plan_manager() { # options of --init
	check mgr_init mgr_init "$@"
	check mgr_start mgr_start --xen on
	check create ctl create local
	check start ctl start local
	check use env TPM2TOOLS_TCTI=vtpm:path=/run/vtpm/local.ring tpm2 getrandom --hex 16
	check stop ctl stop local
}

# --- guests with TPMs of the manager ---
plan_make() { # name…
	local name
	for name; do check "create_$name" ctl create "$name" --launch off; done # xl boots its guest, and nobody measures it
	ctl ca >/run/ca.pem
	note_file ca /run/ca.pem
}
plan_manage() { check mgr_start mgr_start --xen on; }
plan_unmanage() { check mgr_stop mgr_stop; }
plan_log() { cat /var/log/vtpm.log >/dev/console; }

uuid_of() { ctl show "$1" | awk '$1 == "uuid:" || $1 == "uuid" { print $2; exit }'; }
plan_up() { # name, digit, pv or pvh, stock or ours: the driver
	local with
	case $4 in
	stock) with="lab.modules=xen-tpmfront lab.wait=tpm0" ;;
	ours) with="lab.modules=xen-tpm2front lab.wait=tpmrm0" ;;
	esac
	guest_config "$1" "$2" "$3" "$with" <<-END
		vtpm = [ "backend=0,uuid=$(uuid_of "$1")" ]
	END
	guest_create "$1"
}
plan_tell() { guest_plan "$@"; } # name, plan
plan_both() { # plan: of two guests, at the same time
	local one
	guest_plan web1 "$@" &
	one=$!
	guest_plan web2 "$@"
	wait $one
}
plan_restart() { guest_reboot "$1"; }
plan_down() { guest_end "$1"; }

# Guests without a TPM: that the lab can have guests at all.
plan_bare() {
	guest_config "$1" 4 "$1" "" </dev/null
	guest_create "$1" && guest_plan "$1" alive && guest_reboot "$1" && guest_plan "$1" alive && guest_end "$1"
}

# A domain that owns the machine's TPM, as a stub domain does.
plan_up_owner() { # name, digit
	echo MSFT0101:00 >/sys/bus/platform/drivers/tpm_tis/unbind
	guest_config "$1" "$2" pv "tpm_tis.force=1 tpm_tis.interrupts=0 lab.wait=tpmrm0" <<-END
		iomem = [ "fed40,5" ]
	END
	guest_create "$1"
}

# Another chip: nothing is unsealed, and it says why; the store is left as it is.
plan_other_chip() {
	mgr_start --xen on
	refused start_on_another_chip 'storage root key' ctl start web1
	ctl status >/run/status
	check status_says_so grep -qi 'another\|not the one' /run/status
}

# --- our driver, against a back end that can misbehave (tests/tools/xenback.c), with a TPM of its own ---
back_start() {
	mkdir /run/back
	swtpm socket --tpm2 --tpmstate dir=/run/back --server type=unixio,path=/run/back/socket --flags not-need-init,startup-clear \
		--terminate --daemon --pid file=/run/back/pid --log file=/run/back/log,level=1 || return
	mkfifo /run/back.in /run/back.out
	xenback /run/back/socket </run/back.in >/run/back.out 2>/dev/console &
	exec 8>/run/back.in 9</run/back.out
	back_hear ready
}
back_hear() { # until it says the words; what it said before is in $back_said
	local line
	back_said=
	while read -r line <&9; do
		[ "$line" = "$*" ] && return
		back_said="$back_said $line"
	done
	say "fail back_$1: it ended"
	return 1
}
back() { echo "$*" >&8; back_hear "did $1"; } # an order
back_end() {
	exec 8>&- 9<&-
	until_works test ! -e /run/back/pid # its TPM ends with it
	rm -r /run/back /run/back.in /run/back.out
}

driver_start() {
	back_start || return 1
	guest_config "$1" 4 "$2" "lab.modules=xen-tpm2front lab.wait=tpmrm0 rng_core.default_quality=0" <<-END
		vtpm = [ "backend=0,uuid=$(cat /proc/sys/kernel/random/uuid)" ]
	END
	guest_create "$1"
}
plan_driver() { # pv or pvh
	driver_start "$1" "$1" || return
	guest_plan "$1" xen_kernel
	driver_end "$1"
}
driver_end() {
	guest_end "$1"
	back_end
}

# Answers that no driver may believe; after each one that is right. What is read beside the answer is nobody's word.
plan_driver_lies() {
	local manner
	driver_start lies pv || return
	for manner in "length 4294967295" "length 4089" "length 4088" "length 11" "length 9" "length 0" drop; do
		back $manner && guest_plan lies fails "$manner"
		back honest && guest_plan lies works "after $manner"
	done
	back extra && guest_plan lies works extra
	back tear && guest_plan lies survives
	back honest && guest_plan lies works after_tear
	back flood 50000 && guest_plan lies works after_flood
	# One that asks for ring after ring and keeps the pages of all gets a few.
	back hoard 20 && until_works guest_error lies 'lets go of'
	check hoarder_is_refused guest_error lies 'lets go of'
	back hoard 0 && back vanish && back_hear connected && guest_plan lies works after_hoard
	driver_end lies
}
guest_error() { xenstore-read "/local/domain/$(xl domid "$1")/error/device/vtpm/0/error" | grep -q "$2"; } # guest, words

# A back end that comes and goes, and a guest's process and driver that do.
plan_driver_life() {
	driver_start life pv || return
	guest_plan life remember
	back close && back_hear closed && back_hear connected && guest_plan life remembered close
	back vanish && back_hear connected && guest_plan life remembered vanish

	back hold && guest_plan life begin && back_hear request 131 && guest_plan life interrupts_before
	back drip 1000 && guest_plan life interrupts_are_few && guest_plan life kill && back_hear cancelled
	back honest && guest_plan life works after_kill
	back hold && guest_plan life begin && back_hear request 131 && back close && guest_plan life begun_fails close
	back_hear connected && back honest && guest_plan life remembered close_in_mid_command
	back hold && guest_plan life begin && back_hear request 131 && guest_plan life unload && back_hear cancelled
	back_hear closed && back honest && guest_plan life load && guest_plan life remembered reload
	# A back end that does not even answer to a cancel keeps no driver for longer than that is waited for.
	back mute && guest_plan life begin && back_hear request 131 && guest_plan life unload 20 && back_hear closed
	# Set up by one that lies about itself, and lost in the middle of the next attempt: the one after that makes it whole.
	back banks 8 && guest_plan life load_fails && back quit 3 && back vanish && back_hear quit
	guest_plan life comes_up && guest_plan life remembered reload_of_the_mute
	driver_end life
}

# The domain is frozen and goes on: at once, or from a file, as another domain.
plan_driver_saved() {
	local since
	driver_start saved pv || return
	guest_plan saved remember
	# The last command before that is not answered; whoever saves the domain does not wait for long.
	back hold && check checkpoint xl save -c saved /run/saved.image
	back honest && guest_plan saved remembered checkpoint
	check save xl save saved /run/saved.image
	back_hear gone
	check restore xl restore /run/saved.image
	guest_attach saved
	guest_plan saved remembered restore
	# Nor does whoever powers it off.
	since=$(cut -d. -f1 /proc/uptime)
	back hold && driver_end saved
	check off_in_time test $(($(cut -d. -f1 /proc/uptime) - since)) -lt 60
	rm /run/saved.image
}

# SPDX-License-Identifier: BSD-2-Clause
# dom0's guests: made by xl, spoken to over their consoles, with the same marker lines as every machine of the labs; what
# they say goes on to the host under their names. Read by dom0.sh; busybox sh. A guest has a digit from 4 to 9, its file
# descriptor.

digit() { eval "echo \$digit_$1"; }
guest_tty() { xenstore-read "/local/domain/$(xl domid "$1")/console/tty"; }

# Name, digit, pv or pvh, arguments of the guest's kernel (lab.modules and the like). Further lines for xl's
# configuration come from standard input.
guest_config() {
	eval "digit_$1=$2"
	cat >"/run/$1.cfg" <<-END
		name = "$1"
		type = "$3"
		kernel = "/guest/vmlinux"
		ramdisk = "/guest/initramfs"
		extra = "console=hvc0 rdinit=/init loglevel=4 lab.talk=console $4"
		memory = 160
		vcpus = 1
		on_crash = "destroy"
	END
	cat >>"/run/$1.cfg"
}
guest_create() { # name
	xl create -q "/run/$1.cfg" >"/tmp/$1.create" 2>&1 || { say "fail $1_create: $(tr '\n' ' ' <"/tmp/$1.create")"; return 1; }
	guest_attach "$1" && guest_hear "$1" ready
}
guest_attach() {
	until_works guest_tty "$1"
	eval "exec $(digit "$1")<>$(guest_tty "$1")"
}

# Passes on what the guest says until it says "LAB $2"; $noted is what it noted last. 1 if its domain ends before.
guest_hear() {
	local line
	while read -r line; do
		case $line in
		"LAB $2") return 0 ;;
		"LAB ok "* | "LAB skip "* | "LAB fail "*) line=${line#LAB }; say "${line%% *} $1_${line#* }" ;;
		"LAB note "*) line=${line#LAB note } noted=${line#* }; note "$1.${line%% *}" "$noted" ;;
		esac
	done <&"$(digit "$1")"
	say "fail $1_$(echo "$2" | tr ' ' _): the domain ended; it said last: $(tail -n 2 "/var/log/xen/guest-$1.log" | tr '\r\n' '  ')"
	return 1
}
guest_say() { # name, order
	local name=$1
	shift
	echo "$*" >&"$(digit "$name")"
}
guest_plan() { # name, plan, arguments
	local name=$1
	shift
	guest_say "$name" plan "$@"
	guest_hear "$name" "done $*"
}
guest_reboot() {
	guest_say "$1" reboot
	guest_hear "$1" "done reboot" && guest_gone "$1" && guest_attach "$1" && guest_hear "$1" ready
}
guest_end() {
	guest_say "$1" poweroff
	guest_gone "$1" && until_works guest_is_off "$1"
	guest_is_clean "$1"
}
# A console ends with its domain.
guest_gone() { while read -r _; do :; done <&"$(digit "$1")" 2>/dev/null; eval "exec $(digit "$1")<&-"; }
guest_is_off() { ! xl domid "$1"; }
guest_is_clean() {
	is "$1_console_is_clean" "$(grep -av '^LAB ' "/var/log/xen/guest-$1.log" | grep -aE 'Kernel panic|Oops|BUG:|WARNING:|Call Trace|segfault|general protection' | head -n 3)" ""
}

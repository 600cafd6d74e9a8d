# SPDX-License-Identifier: BSD-2-Clause
# Machines of the labs: QEMU with a console that is logged and a second serial port to talk to the machine's init over.
# Sourced after tests/lib.sh, with $LAB, $B and LOG set, by a lab that knows what its machines are.

BOOT_LIMIT=${LAB_BOOT_LIMIT:-150} # seconds a machine may live
trap '' PIPE # a machine may end while it is being spoken to
declare -A VM_PID=() VM_IN=() VM_OUT=() VM_LABEL=() NOTE=()

# Name, label of its log and its tests, QEMU's command line without serial ports.
vm_run() {
	local vm=$1 label=$2 in out
	shift 2
	rm -f "$LAB/$vm.in" "$LAB/$vm.out"
	mkfifo "$LAB/$vm.in" "$LAB/$vm.out"
	# stdio, so that the guest's end closes with QEMU, whatever it dies of
	timeout -k 5 "$BOOT_LIMIT" "$@" -serial "file:$LOG/$label.console" \
		-chardev stdio,id=talk,signal=off -serial chardev:talk \
		<"$LAB/$vm.in" >"$LAB/$vm.out" 2>"$LOG/$label.qemu" &
	VM_PID[$vm]=$! VM_LABEL[$vm]=$label
	exec {in}>"$LAB/$vm.in" {out}<"$LAB/$vm.out"
	VM_IN[$vm]=$in VM_OUT[$vm]=$out
}

# Reports what the guest says until it says "LAB $2"; 1 if it ends before. $3: label of the results.
vm_hear() {
	local vm=$1 want=$2 label=$3 line key
	while read -r line <&"${VM_OUT[$vm]}"; do
		line=${line%$'\r'}
		case $line in
		"LAB $want") return 0 ;;
		"LAB ok "*) echo "ok ${label}_${line#LAB ok }" ;;
		"LAB skip "*) echo "skip ${label}_${line#LAB skip }" ;;
		"LAB note "*) line=${line#LAB note } key=${line%% *}; NOTE[$vm.$key]=${line#* } ;;
		"LAB fail "*)
			line=${line#LAB fail }
			echo "    ${line#*: }"
			echo "not ok ${label}_${line%%:*}"
			;;
		esac
	done
	echo "    the machine ended; its console said last:"
	tail -n 5 "$LOG/${VM_LABEL[$vm]}.console" 2>/dev/null | tr -cd '\n -~' | sed -e 's/^/    /' -e '$a\'
	echo "not ok ${label}_${want// /_}"
	return 1
}

vm_say() { # name, order
	local vm=$1
	shift
	echo "$*" 2>/dev/null >&"${VM_IN[$vm]}"
}

vm_ready() {
	local start=$EPOCHREALTIME
	vm_hear "$1" ready "${VM_LABEL[$1]}" || return 1
	echo "    ${VM_LABEL[$1]}: up after $(since "$start") s"
}

vm_plan() { # name, plan, label of its results if it is not the machine's
	local start=$EPOCHREALTIME label=${3:-${VM_LABEL[$1]}}_$2
	vm_say "$1" plan "$2"
	vm_hear "$1" "done $2" "${label// /_}" || return 1
	echo "    $label: $(since "$start") s"
}

vm_reboot() {
	vm_say "$1" reboot
	vm_hear "$1" "done reboot" "${VM_LABEL[$1]}" && vm_ready "$1"
}

# Powers it off, and looks at what it left behind.
vm_end() {
	vm_say "$1" poweroff
	vm_gone "$1"
}
vm_gone() { # it ends by itself
	local vm=$1 rc=0 log=$LOG/${VM_LABEL[$1]} in=${VM_IN[$1]} out=${VM_OUT[$1]}
	wait "${VM_PID[$vm]}" || rc=$?
	exec {in}>&- {out}<&-
	unset "VM_PID[$vm]"
	sed 's/^/    /' "$log.qemu"
	is "${VM_LABEL[$vm]}_ends_in_order" "$rc" 0
	is "${VM_LABEL[$vm]}_console_is_clean" "$(grep -a -v '^LAB ' "$log.console" | grep -aE "$ALARMS")" ""
}
# Pulls the plug. timeout is the machine's parent.
vm_kill() {
	local vm=$1 in=${VM_IN[$1]} out=${VM_OUT[$1]}
	kill -KILL "$(pgrep -P "${VM_PID[$vm]}")"
	wait "${VM_PID[$vm]}" 2>/dev/null
	exec {in}>&- {out}<&-
	unset "VM_PID[$vm]"
}
# Of Linux, and of Xen when it stops or gives a domain up.
ALARMS='Kernel panic|Oops|BUG:|WARNING:|Call Trace|segfault|general protection|Panic on CPU|Xen BUG|FATAL TRAP|domain_crash'

# A QEMU that ends without its guest having come to life; its reason goes to the output. 1: it ended in order.
vm_lost() {
	local vm=$1 rc=0 in=${VM_IN[$1]} out=${VM_OUT[$1]}
	wait "${VM_PID[$vm]}" || rc=$?
	exec {in}>&- {out}<&-
	unset "VM_PID[$vm]"
	cat "$LOG/${VM_LABEL[$vm]}.qemu"
	[ "$rc" -ne 0 ]
}
vm_kill_all() { [ ${#VM_PID[@]} -eq 0 ] || kill "${VM_PID[@]}" 2>/dev/null; }

since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
is() { # name, got, want
	if [ "$2" = "$3" ]; then echo "ok $1"; else echo "    got '$2', not '$3'"; echo "not ok $1"; fi
}
# Its output goes to a file: what it starts may stay and write.
check() { # name, command…
	local name=$1
	shift
	if "$@" >"$LAB/$name.out" 2>&1; then echo "ok $name"; else sed 's/^/    /' "$LAB/$name.out"; echo "not ok $name"; return 1; fi
}

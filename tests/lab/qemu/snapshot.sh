#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A guest in the middle of its work is moved, saved and loaded: what its TPM holds only in memory, PCRs, a loaded key, an open session,
# goes with it. Two machines side by side: one whose TPM never goes back, which is moved through a file and to another QEMU that
# runs at the same time, and one whose TPM may go back to a snapshot.
# LAB_PEERS: whose TPMs; default ours. swtpm has no policy, and two of them do not share a state.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/qemu/peers.sh
LOG=$B/lab/log
mkdir -p "$LOG"
lab_init

order() { # machine, order…
	local vm=$1
	shift
	tests/lab/qemu/qmp.py "$LAB/$vm.qmp" "$@"
}
launch() { # machine, label, QEMU's options. $disk: its snapshots; all on one $SOCKET
	local vm=$1 label=$2
	shift 2
	vm_launch "$vm" tpm-crb bios "$SOCKET" "$label" -qmp "unix:$LAB/$vm.qmp,server=on,wait=off" \
		-blockdev "driver=qcow2,node-name=disk,file.driver=file,file.filename=$disk" "$@"
}
leave() { # machine: QEMU ends, its guest lives elsewhere
	order "$1" quit
	vm_gone "$1"
}
logged() { # the log comes through a pipe and a process: a moment later
	local i
	for i in $(seq 200); do
		grep -q -- "$1" "$LAB/mgr.log" && return 0
		read -r -t 0.05 _ <> <(:) || true
	done
	return 1
}

through_a_file() { # machine: leaves it as $1_moved
	launch "$1" "$1" && vm_ready "$1" && vm_plan "$1" hold || return 1
	check "$1_migrates_to_a_file" order "$1" migrate "exec:cat >$LAB/$1.moved" || return 1
	leave "$1"
	"peer_${peer}_power" "$1" && launch "$1_moved" "$1_moved" -incoming "exec:cat $LAB/$1.moved" || return 1
	check "$1_moved_runs_on" order "$1_moved" running && vm_plan "$1_moved" held
}

# From one QEMU to another that was there before: it connects to the TPM, waits, and takes over.
live() { # machine, the one it becomes
	launch "$2" "$2" -incoming "unix:$LAB/$2.migrate" || return 1
	check "$2_waits" order "$2" there || return 1
	vm_plan "$1" held "$1_with_another_that_waits" || return 1
	check "$1_migrates_live" order "$1" migrate "unix:$LAB/$2.migrate" || return 1
	check "$2_runs_on" order "$2" running && vm_plan "$2" held || return 1
	leave "$1"
	vm_plan "$2" held "$2_alone"
}

# One that is called off, and one whose target goes away: the guest goes on where it was.
in_vain() { # machine
	local vm=$1 vain=$1_in_vain
	launch "$vain" "$vain" -incoming "unix:$LAB/$vain.migrate" && order "$vain" there || { echo "not ok $vain"; return 1; }
	check "${vm}_migration_is_cancelled" order "$vm" cancel "unix:$LAB/$vain.migrate" || return 1
	vm_lost "$vain"
	vm_plan "$vm" held "${vm}_after_a_cancel" || return 1
	launch "$vain" "$vain" -incoming "unix:$LAB/$vain.migrate" && order "$vain" there || { echo "not ok $vain"; return 1; }
	check "${vm}_loses_its_target" order "$vm" lose "unix:$LAB/$vain.migrate" "$(pgrep -P "${VM_PID[$vain]}")" || return 1
	vm_lost "$vain"
	vm_plan "$vm" held "${vm}_after_a_loss"
}

# Saved to the end, and then it goes on here after all: what was saved is of the past, though only the machine's clock has moved.
goes_on() { # machine
	local vm=$1 past=$1_past
	check "${vm}_migrates_away" order "$vm" migrate "exec:cat >$LAB/$vm.past" || return 1
	check "${vm}_goes_on_after_all" order "$vm" cont && vm_plan "$vm" held "${vm}_after_all" || return 1
	launch "$past" "$past" -incoming "exec:cat $LAB/$vm.past"
	check "${past}_is_refused" vm_lost "$past"
	check "${past}_is_in_the_log" logged "QEMU refused: .* went on to change"
	vm_plan "$vm" held "${vm}_beside_its_past"
}

refused_snapshot() { # machine, which stands still then and ends
	local vm=$1
	check "${vm}_saves" order "$vm" save before disk || return 1
	order "$vm" load before disk >"$LAB/$vm.load" 2>&1
	is "${vm}_does_not_go_back" $? 1
	check "${vm}_log_says_what_to_do" logged "vtpmctl set ${vm%_live} --snapshots allow"
	leave "$vm"
}

# Machine 1: its TPM never goes back.
moves() { # name of machine and TPM
	disk=$LAB/$1.disk
	qemu-img create -q -f qcow2 "$disk" 64M
	"peer_${peer}_power" "$1" && through_a_file "$1" || return 1
	[ "$peer" = ours ] || { leave "$1_moved"; return 0; }
	live "$1_moved" "$1_live" && in_vain "$1_live" && goes_on "$1_live" && refused_snapshot "$1_live"
}

# Machine 2: it may, with what is on the disk and what is in memory.
goes_back() {
	disk=$LAB/$1.disk
	qemu-img create -q -f qcow2 "$disk" 64M
	"peer_${peer}_power" "$1" && launch "$1" "$1" && vm_ready "$1" && vm_plan "$1" hold || return 1
	check "$1_saves" order "$1" save before disk || return 1
	vm_plan "$1" spoil "$1_saved" || return 1
	check "$1_loads" order "$1" load before disk || return 1
	vm_plan "$1" held "$1_loaded" || return 1
	vm_end "$1"
	[ "$peer" != ours ] ||
		is "$1_is_counted" "$(ctl show "$1" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["vtpm"]["rollbacks"])')" 1
}

life() { # one of the two above, machine
	trap vm_kill_all EXIT
	"$1" "$2"
}

image_build || { echo "not ok image"; exit 1; }
for peer in ${LAB_PEERS:-ours}; do
	start=$EPOCHREALTIME
	check "${peer}_prepare" "peer_${peer}_prepare" && check "${peer}_move_make" "peer_${peer}_make" "${peer}_move" &&
		check "${peer}_back_make" "peer_${peer}_make" "${peer}_back" || continue
	[ "$peer" != ours ] || check "${peer}_back_may_go_back" ctl set "${peer}_back" --snapshots allow
	life moves "${peer}_move" >"$LAB/move.results" &
	lives=($!)
	life goes_back "${peer}_back" >"$LAB/back.results" &
	wait "${lives[@]}" $! # not for the peer
	cat "$LAB"/{move,back}.results
	echo "    $peer: $(since "$start") s"
done

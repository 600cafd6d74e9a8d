#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A guest in the middle of its work is moved to another QEMU through a file, saved and loaded: what its TPM holds only
# in memory, PCRs, a loaded key, an open session, goes with it. LAB_PEERS: whose TPMs; default ours.
set -u
cd "$(dirname "$0")/../../.."
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/qemu/peers.sh
LOG=$B/lab/log
mkdir -p "$LOG"
lab_init
trap 'vm_kill_all; lab_end' EXIT

order() { tests/lab/qemu/qmp.py "$LAB/$vm.qmp" "$@"; }
launch() { # label, QEMU's options
	local label=$1
	shift
	"peer_${peer}_power" "$vm" || return 1
	vm_launch "$vm" tpm-crb bios "$SOCKET" "$label" -qmp "unix:$LAB/$vm.qmp,server=on,wait=off" \
		-blockdev "driver=qcow2,node-name=disk,file.driver=file,file.filename=$LAB/$vm.disk" "$@"
}

through_a_file() {
	launch "$vm" && vm_ready "$vm" && vm_plan "$vm" hold || return 1
	check "${vm}_migrates_to_a_file" order migrate "exec:cat >$LAB/$vm.moved" || return 1
	order quit
	vm_gone "$vm"
	launch "${vm}_moved" -incoming "exec:cat $LAB/$vm.moved" || return 1
	check "${vm}_runs_on" order running && vm_plan "$vm" held
}

by_snapshot() {
	check "${vm}_saves" order save before disk || return 1
	vm_plan "$vm" spoil "${vm}_saved" || return 1
	check "${vm}_loads" order load before disk || { order quit; return 1; } # it stands still
	vm_plan "$vm" held "${vm}_loaded"
}

image_build || { echo "not ok image"; exit 1; }
for peer in ${LAB_PEERS:-ours}; do
	vm=${peer}_snap
	qemu-img create -q -f qcow2 "$LAB/$vm.disk" 64M
	check "${peer}_prepare" "peer_${peer}_prepare" && check "${vm}_make" "peer_${peer}_make" "$vm" || continue
	through_a_file && by_snapshot
	[ -z "${VM_PID[$vm]:-}" ] || vm_end "$vm"
done

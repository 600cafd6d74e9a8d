#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What a QEMU has saved buys no tries at a PIN: power cuts, older disks, and as many changes as the saved state has.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/disks.sh
lab_init
CHIP_RESETS=yes

qemu() { # ACT…: what it said is in $LAB/said
	local act=$1
	shift
	timeout 60 python3 tests/integration/saved.py "$B/vtpmctl" "$LAB/run" v "$LAB/saved" "$act" "$@" >"$LAB/said" 2>&1 ||
		{ cat "$LAB/said"; return 1; }
	becomes v stopped
}
said() { grep -qx "$1" "$LAB/said" || { cat "$LAB/said"; return 1; }; }
number() { awk -v w="$1" '$1 == w { n = $2 } END { print n }' "$LAB/said"; }

chip_and_store
mgr_start --pool 0
ctl create v --commit-rate 0 >/dev/null
ctl start v >/dev/null
guest v tpm2_dictionarylockout -s -n 500 -t 100000 -l 100000
guest v tpm2_nvdefine -Q -C o -s 4 -a 'authread|authwrite' -p 4711 0x01500030
printf 0123 | guest v tpm2_nvwrite -Q -C 0x01500030 -P 4711 -i - 0x01500030
ctl stop v
mgr_stop

# A state that is given away is anchored: no disk of before it is accepted after a power cut, on which others could take the place of
# the changes that it has.
mgr_start --pool 0
disk_copy old
spent=$(wear total)
check a-save qemu save 16
check is-anchored-once test "$(wear total)" = $((spent + 1))
host_cut
disk_copy now
disk_back old
check an-older-disk-than-the-save-is-refused store_refused "no row of the journal has the value of anchor A" v

disk_back now
check the-newest-disk-is-accepted all accepted -- discontinuities v 1
check and-the-save-is-resumed all qemu resume -- said "resume 0"
check which-uses-it-up all qemu resume -- said "resume 9"

# As of the save, the disk is accepted. What is tried there is counted, and the save is of the past.
check another-save qemu save 4
disk_copy saved
mgr_stop
mgr_start --pool 0
check that-somebody-goes-on-from all qemu pad -- said "resume 9"
tried=$(number tried) counts=$(number counts)
check with-tries-that-count test "$counts" -ge "$tried"
host_cut
disk_copy now
disk_back saved
check tries-of-after-the-save-are-anchored store_refused "no row of the journal has the value of anchor A" v
disk_back now
check which-loses-nothing all accepted -- qemu pad -- said "resume 9"
check and-counts-on test "$(number counts)" -gt "$counts"

# An older state that an operator accepts is not the one that was saved, however many changes it has.
mgr_stop
disk_copy was
mgr_start --pool 0
check a-third-save qemu save 6
mgr_stop
db "ATTACH '$LAB/disk.was/vtpm.db' AS old; UPDATE state SET (version, sealed) = (SELECT version, sealed FROM old.state o WHERE o.uuid = state.uuid)"
mgr_start --pool 0
check an-older-state-is-refused refused "not the newest" ctl start v
check and-released ctl quarantine release v --i-accept-rollback
check with-the-saved-one-void all qemu pad -- said "resume 9"
check and-v-says-why eval 'field v refusal | grep -q "from before this one was restored from a backup, was released"'
check as-if-it-had-just-been-made all qemu save 2 -- qemu resume -- said "resume 0"

# Nor is it that of an older store.
mgr_stop
disk_copy was
mgr_start --pool 0
check a-fourth-save qemu save 6
mgr_stop
disk_back was
mgr_start --pool 0
check an-older-store-is-refused refused "no row of the journal has the value of anchor A" ctl start v
check and-is-released all ctl quarantine release --store --i-accept-rollback -- soon is_open
check with-what-was-saved-void all qemu pad -- said "resume 9" -- eval 'field v refusal | grep -q "was released"'
check and-what-is-saved-then-is-resumed all qemu save 2 -- qemu resume -- said "resume 0"

# What is on while a store is released saves what can be resumed.
mkfifo "$LAB/go"
exec 4<>"$LAB/go"
qemu save 2 later <&4 &
saver=$!
soon said waits
spawner=$(spawner)
kill -STOP "$spawner" # no other keeper takes the chip meanwhile
kill -KILL "$(keeper)"
chip tpm2_nvundefine -Q -C p 0x01805641
kill -CONT "$spawner"
is_quarantined() { [ "$(continuity state)" = quarantined ]; }
check quarantined-under-a-guest soon is_quarantined
check and-released-under-it all ctl quarantine release --store --i-accept-rollback -- soon is_open
echo >&4
check which-saves-then wait $saver
check and-is-resumed all qemu resume -- said "resume 0"

# A guest that has spent its quota of anchored changes waits with its save as with any of them.
mgr_stop
mgr_start --pool 0 --anchors-per-guest 1
rm "$LAB/saved"
spent=$(wear total)
(qemu save 2 || exit $?) >"$LAB/waits" 2>&1 &
waits=$!
anchored() { [ "$(wear total)" = $((spent + 1)) ]; }
held_back() { field v reason | grep "quota of anchored changes .* is spent"; }
what_waits() { # its backend may still get the answer out, of what is anchored by then
	if wait $waits; then
		test -s "$LAB/saved"
	else
		cat "$LAB/waits"
		grep -qE 'Gone: (hung up|.*Broken pipe|.*Connection reset)' "$LAB/waits" && test ! -s "$LAB/saved"
	fi
}
check beyond-its-quota-a-save-is-anchored soon anchored
check and-waits all soon held_back -- test ! -s "$LAB/saved"
check a-stop-ends-the-wait all ctl stop v -- what_waits
mgr_stop
exit $FAILED

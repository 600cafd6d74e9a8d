#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A disk that is full or read-only, and processes that die in the middle: no acknowledged change is lost, guests get a
# TPM error for what cannot be kept, and service resumes by itself.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${VTPM_TEST_NS:-}" ]; then
	unshare -m true 2>/dev/null || { echo "skip store_faults: mounting a small disk needs root"; exit 0; }
	VTPM_TEST_NS=1 exec unshare -m --propagation private "$0"
fi
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
lab_init
small_disk

COUNT=01500031
value() { printf '%016x' "$1"; }
declare -A ACKED LAST # of each guest: the last number that was acknowledged; the last that was sent
count_up() { # GUEST: writes the next number; ACKED moves only if the TPM says success
	LAST[$1]=$((LAST[$1] + 1))
	say "$1" "$(nv_write_hex $COUNT "$(value "${LAST[$1]}")")"
	[ "$(rc_of "$REPLY")" = 00000000 ] || return 1
	ACKED[$1]=${LAST[$1]}
}
count_to() { local i; for ((i = 0; i < $2; i++)); do count_up "$1" || return 1; done; }
# What it reads is the last acknowledged number, or a later one that was sent: never an earlier one.
nothing_lost() {
	local n
	say "$1" "$(nv_read_hex $COUNT 8)"
	[ "$(rc_of "$REPLY")" = 00000000 ] || { echo "$1 cannot read: $REPLY"; return 1; }
	n=$((16#${REPLY:32:16}))
	LAST[$1]=$((LAST[$1] > n ? LAST[$1] : n))
	[ $n -ge "${ACKED[$1]}" ] && [ $n -le "${LAST[$1]}" ] || { echo "$1 has $n, acknowledged was ${ACKED[$1]}"; return 1; }
}
counter_guest() {
	ctl create "$1" --commit-rate 0 >/dev/null
	ctl start "$1" >/dev/null
	guest "$1" tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x$COUNT
	ACKED[$1]=0 LAST[$1]=0
	line_open "$1"
	count_to "$1" 5
}
restart_guests() { # after the manager is up again: power on, connect
	local g
	for g in a b; do
		line_close $g
		ctl start $g >/dev/null
		line_open $g
	done
}

chip_and_store
mgr_start --pool 0
counter_guest a
counter_guest b

# --- a full disk ---
disk_trouble() { # NAME: a's writes fail, b reads; then both are refused alike, and what needs no authorisation goes on
	local i
	for ((i = 0; i < 2000; i++)); do count_up a || break; done
	check "$1-writes-fail-with-nv-unavailable" test "$REPLY" = $RC_NV_UNAVAILABLE
	check "$1-the-neighbour-reads" nothing_lost b
	check "$1-the-neighbours-writes-fail-too" eval '! count_up b && [ "$REPLY" = $RC_NV_UNAVAILABLE ]'
	check "$1-then-authorisations-are-refused" answers b "$(nv_read_hex $COUNT 8)" $RC_NV_UNAVAILABLE
	check "$1-the-rest-goes-on" all succeeds a "$(get_random_hex)" -- succeeds b "$(get_random_hex)" -- ctl list -- ctl status
	check "$1-is-logged-once" test "$(grep -c "the store cannot be written" "$LAB/mgr.log")" = "$2"
}
disk_again() { # the next command of each finds out by itself
	check "$1-service-resumes" all nothing_lost a -- nothing_lost b -- count_to a 3 -- count_to b 3 -- nothing_lost a
	check "$1-resumption-is-logged" grep -q "the store can be written again" "$LAB/mgr.log"
}
fill_disk
disk_trouble full 1
check full-create-fails-clearly refused "cannot be stored|no room" ctl create c
free_disk
disk_again full
check create-works-again ctl create c
fill_disk
until ! count_up a; do :; done
check full-stop-says-so refused "no room" ctl stop a
free_disk
line_close a
ctl start a >/dev/null
line_open a
check full-stop-loses-nothing-acknowledged nothing_lost a
ACKED[a]=${LAST[a]}

# --- SIGKILL of the manager while guests write ---
write_until_lost() { # GUEST FILE: acknowledged numbers, one a line
	while count_up "$1" >&2; do echo "${ACKED[$1]}"; done >"$2" 2>/dev/null
}
for i in 1 2 3 4 5; do
	mkfifo "$LAB/a.acks" "$LAB/b.acks"
	(write_until_lost a "$LAB/a.acks") &
	wa=$!
	(write_until_lost b "$LAB/b.acks") &
	wb=$!
	for g in a b; do # some of each, then the kill, then what was still acknowledged
		exec 8<"$LAB/$g.acks"
		for ((k = 0; k < 7 * i; k++)); do read -r n <&8; done
		[ $g = a ] && exec 7<&8 || exec 6<&8
		exec 8<&-
	done
	mgr_stop KILL || true
	while read -r n <&7; do ACKED[a]=$n LAST[a]=$((n + 1)); done
	while read -r n <&6; do ACKED[b]=$n LAST[b]=$((n + 1)); done
	exec 6<&- 7<&-
	wait $wa $wb || true
	rm "$LAB/a.acks" "$LAB/b.acks"
	mgr_start --pool 0
	restart_guests
	check "kill-$i-loses-nothing" all nothing_lost a -- nothing_lost b -- count_to a 2 -- count_to b 2
	ACKED[a]=${LAST[a]} ACKED[b]=${LAST[b]}
done

# --- SIGKILL of the others ---
child_of() { pgrep -P "$1" -x "$2" | head -n 1; }
killed() { kill -KILL "$1" && ended "$1"; }
spawner=$(child_of "$MGR_PID" vtpm-spawn)
check keeper-killed killed "$(child_of "$spawner" vtpm-keeper)"
check keeper-killed-guests-go-on all count_to a 3 -- count_to b 3
check keeper-is-started-again all ctl create d -- ctl start d -- ctl stop d
others() { ps -o uid=,pid= --ppid "$spawner" | awk '$1 != 0 { print $2 }' | sort; } # not the one in reserve, which is still root
before=$(others)
ctl start c >/dev/null
victim=$(comm -13 <(echo "$before") <(others))
log_mark
check backend-killed killed "$victim"
check backend-killed-others-go-on all count_to a 3 -- count_to b 3
becomes() { local i; for ((i = 0; i < 100; i++)); do is_state "$@" >/dev/null && return; sleep 0.02; done; is_state "$@"; } # the spawner tells
check backend-killed-is-reported all becomes c running -- logged "c: its backend crashed .signal 9.; another one goes on" -- \
	audited '"crash","vtpm":"c"' -- audited '"replace","vtpm":"c"' -- guest c tpm2_getrandom --hex 8
check reset-afterwards all ctl reset c -- guest c tpm2_getrandom --hex 8 -- is_state c running

in_reserve() { ps -o uid=,pid= --ppid "$spawner" | awk '$1 == 0 { print $2 }'; }
for ((i = 0; i < 100; i++)); do [ -z "$(in_reserve)" ] || break; sleep 0.02; done # it is made when nothing else is to do
check backend-in-reserve-killed all killed "$(in_reserve)" -- ctl stop c -- ctl start c -- guest c tpm2_getrandom --hex 8

log_mark
check spawner-killed killed "$spawner"
rc=0
wait "$MGR_PID" || rc=$?
MGR_PID=
check spawner-killed-stops-the-manager all test $rc -ne 0 -- test $rc -lt 124 -- logged "vtpm-spawn has ended.*stopping"
left() { pgrep -f "vtpm-(mgr|spawn|keeper|backend) .*$LAB/run"; }
for ((i = 0; i < 100; i++)); do left >/dev/null || break; sleep 0.05; done # each of them sees its own end of file
check no-process-is-left no left
mgr_start --pool 0
restart_guests
check after-it-nothing-is-lost all nothing_lost a -- nothing_lost b
line_close a
line_close b
mgr_stop

# --- read-only ---
mount -o remount,ro "$LAB/state"
log_mark
check read-only-at-start all no mgr_start -- logged "Read-only file system"
mount -o remount,rw "$LAB/state"
# A file system that turns read-only in use, as ext4 does after a disk error.
read_only_disk() {
	truncate -s 16m "$LAB/disk" && mkfs.ext4 -q "$LAB/disk" && mount -o loop,errors=remount-ro "$LAB/disk" "$1"
}
mkdir "$LAB/ext4"
if read_only_disk "$LAB/ext4" 2>/dev/null; then
	cp -p "$LAB/state/vtpm.db" "$LAB/ext4/"
	sync -f "$LAB/ext4"
	chmod 700 "$LAB/ext4"
	chown 65534 "$LAB/ext4"
	mount --bind "$LAB/ext4" "$LAB/state"
	mgr_start --pool 0
	restart_guests_only() { ctl start a >/dev/null; ctl start b >/dev/null; line_open a; line_open b; }
	restart_guests_only
	check ext4-works all nothing_lost a -- nothing_lost b -- count_to a 3 -- count_to b 3
	mount -o remount,abort "$LAB/ext4"
	n=$(grep -c "the store cannot be written" "$LAB/mgr.log")
	disk_trouble readonly $((n + 1))
	check readonly-status eval 'ctl status --json | grep -qE "\"store\": *\"(readonly|failing)\""'
	line_close a
	line_close b
	mgr_stop KILL || true
	flock "$LAB/state/keeper.lock" true # its keeper has it open until it has ended, too
	umount "$LAB/state" "$LAB/ext4"
	mount -o loop "$LAB/disk" "$LAB/ext4"
	mount --bind "$LAB/ext4" "$LAB/state"
	mgr_start --pool 0
	restart_guests_only
	check readonly-loses-nothing all nothing_lost a -- nothing_lost b -- count_to a 3
	mgr_stop
else
	echo "skip readonly: no loop device for a file system that turns read-only"
fi
exit $FAILED

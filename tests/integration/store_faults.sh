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

restart_guests() { # after the manager is up again: power on, connect
	line_close a b
	on a b
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
	check "$1-service-resumes" all nothing_lost a -- nothing_lost b -- count_up a 3 -- count_up b 3 -- nothing_lost a
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
on a
check full-stop-loses-nothing-acknowledged nothing_lost a

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
		for ((k = 0; k < 7 * i; k++)); do read -r ACKED[$g] <&8; done
		[ $g = a ] && exec 7<&8 || exec 6<&8
		exec 8<&-
	done
	mgr_stop KILL || true
	while read -r n <&7; do ACKED[a]=$n; done
	while read -r n <&6; do ACKED[b]=$n; done
	for g in a b; do LAST[$g]=$((ACKED[$g] + 1)); done
	exec 6<&- 7<&-
	wait $wa $wb || true
	rm "$LAB/a.acks" "$LAB/b.acks"
	mgr_start --pool 0
	restart_guests
	check "kill-$i-loses-nothing" all nothing_lost a -- nothing_lost b -- count_up a 2 -- count_up b 2
done

# --- SIGKILL of the others ---
killed() { kill -KILL "$1" && ended "$1"; }
spawner=$(spawner)
check keeper-killed killed "$(keeper)"
check keeper-killed-guests-go-on all count_up a 3 -- count_up b 3
check keeper-is-started-again all ctl create d -- ctl start d -- ctl stop d
others() { ps -o uid=,pid= --ppid "$spawner" | awk '$1 != 0 { print $2 }' | sort; } # not the one in reserve, which is still root
before=$(others)
ctl start c >/dev/null
victim=$(comm -13 <(echo "$before") <(others))
log_mark
check backend-killed killed "$victim"
check backend-killed-others-go-on all count_up a 3 -- count_up b 3
check backend-killed-is-reported all becomes c running -- logged "c: its backend crashed .signal 9.; another one goes on" -- \
	audited '"crash","vtpm":"c"' -- audited '"replace","vtpm":"c"' -- guest c tpm2_getrandom --hex 8
check reset-afterwards all ctl reset c -- guest c tpm2_getrandom --hex 8 -- is_state c running

in_reserve() { ps -o uid=,pid= --ppid "$spawner" | awk '$1 == 0 { print $2 }' | grep .; }
soon in_reserve # it is made when nothing else is to do
check backend-in-reserve-killed all killed "$(in_reserve)" -- ctl stop c -- ctl start c -- guest c tpm2_getrandom --hex 8

log_mark
check spawner-killed killed "$spawner"
rc=0
wait "$MGR_PID" || rc=$?
MGR_PID=
check spawner-killed-stops-the-manager all test $rc -ne 0 -- test $rc -lt 124 -- logged "vtpm-spawn has ended.*stopping"
left() { pgrep -f "vtpm-(mgr|spawn|keeper|backend) .*$LAB/run"; }
check no-process-is-left soon no left # each of them sees its own end of file
mgr_start --pool 0
restart_guests
check after-it-nothing-is-lost all nothing_lost a -- nothing_lost b
line_close a b
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
	on a b
	check ext4-works all nothing_lost a -- nothing_lost b -- count_up a 3 -- count_up b 3
	mount -o remount,abort "$LAB/ext4"
	n=$(grep -c "the store cannot be written" "$LAB/mgr.log")
	disk_trouble readonly $((n + 1))
	check readonly-status eval 'ctl status --json | grep -qE "\"store\": *\"(readonly|failing)\""'
	line_close a b
	mgr_stop KILL || true
	flock "$LAB/state/keeper.lock" true # its keeper has it open until it has ended, too
	umount "$LAB/state" "$LAB/ext4"
	mount -o loop "$LAB/disk" "$LAB/ext4"
	mount --bind "$LAB/ext4" "$LAB/state"
	mgr_start --pool 0
	on a b
	check readonly-loses-nothing all nothing_lost a -- nothing_lost b -- count_up a 3
	mgr_stop
else
	echo "skip readonly: no loop device for a file system that turns read-only"
fi
exit $FAILED

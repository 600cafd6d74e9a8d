#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What dies, or has no room, in the middle of a backup or a restore: every vTPM is what it was before, or every one is what the backup has; never some of
# each, and never a backup that looks whole and is not.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${VTPM_TEST_NS:-}" ]; then
	unshare -m true 2>/dev/null || { echo "skip backup_faults: mounting a small disk needs root"; exit 0; }
	VTPM_TEST_NS=1 exec unshare -m --propagation private "$0"
fi
. tests/lib.sh
. tests/integration/faults.sh
. tests/powercut/lab.sh
lab_init
powercut_init

GUESTS="a b c"
of_all() { local g; for g in $GUESTS; do ctl show $g --json | value_of "$1"; done | tr '\n' ' '; }
versions() { of_all version; }
marks() { of_all discontinuities; }
all_start() {
	local g
	for g in $GUESTS; do ctl start $g >/dev/null && ctl stop $g || return 1; done
}

chip_and_store
mgr_start --pool 0
for g in $GUESTS; do ctl create $g >/dev/null; ctl start $g >/dev/null; ctl stop $g; done
ctl backup "$LAB/backup" >/dev/null
OLD=$(versions)
for g in $GUESTS; do ctl start $g >/dev/null; ctl stop $g; done
NEW=$(versions)
MARKS=$(marks)
[ "$OLD" != "$NEW" ]
mgr_stop
cp -a "$LAB/state" "$LAB/state.kept"
chip_stop
cp -a "$LAB/chip" "$LAB/chip.kept"
again() { # the host as it was before any restore
	rm -rf "$LAB/state" "$LAB/chip"
	cp -a "$LAB/state.kept" "$LAB/state"
	cp -a "$LAB/chip.kept" "$LAB/chip"
	rm -f "$LAB/chip.sock" "$LAB/chip.sock.ctrl"
	chip_start
	chip_measure
}
# After a life that ended somewhere: all or nothing, and it goes on. ALL and NONE count.
ALL=0 NONE=0
judge() {
	local now marks
	mgr_start --pool 0 || return 1
	[ "$(continuity state)" = open ] || { continuity reason; return 1; }
	now=$(versions) marks=$(marks)
	if [ "$now" = "$NEW" ] && [ "$marks" = "$MARKS" ]; then
		NONE=$((NONE + 1))
		[ $NONE = 1 ] || { mgr_stop; return; } # what it was, it is
	elif [ "$now" = "$OLD" ] && [ "$marks" = "1 1 1 " ]; then
		ALL=$((ALL + 1))
	else
		echo "versions $now, discontinuities $marks; before: $NEW, in the backup: $OLD"
		return 1
	fi
	all_start || return 1
	mgr_stop
}

# --- the manager ends in the place of each operation on the store's files ---
each_operation() {
	local n rc
	for ((n = 1; n < 400; n++)); do
		again
		arm "$n"
		rc=0
		if ! traced_start; then # it has not come so far
			traced_down
			chip_stop
			continue
		fi
		ctl restore "$LAB/backup" --accept-rollback >/dev/null 2>&1 || rc=1
		if [ $rc = 0 ]; then
			kill -KILL "$MGR_PID"
			traced_down
			judge || { echo "operation $n"; return 1; }
			break
		fi
		traced_down
		judge || { echo "operation $n"; return 1; }
		chip_stop
	done
	arm
	chip_stop
	echo "$n operations: $NONE times nothing, $ALL times all"
	[ $NONE -gt 1 ] && [ $ALL -gt 0 ] && [ $n -lt 400 ]
}
check killed-at-each-operation-on-the-store each_operation
cat "$LAB/out"

# --- at any instant, and the keeper alone ---
instants() { # whom, how often
	local i
	NONE=0 ALL=0
	for ((i = 0; i < $2; i++)); do
		again
		mgr_start --pool 0
		"$B/vtpmctl" --runtime-dir "$LAB/run" restore "$LAB/backup" --accept-rollback >/dev/null 2>&1 &
		local client=$!
		sleep "0.0$(printf %02d $((RANDOM % 25)))"
		case $1 in
		manager) kill -KILL "$MGR_PID" ;;
		keeper) kill -KILL "$(pgrep -P "$(pgrep -P "$MGR_PID" -x vtpm-spawn)" -x vtpm-keeper)" ;;
		client) kill -KILL $client 2>/dev/null || true ;;
		esac
		wait $client 2>/dev/null
		if [ "$1" = manager ]; then wait "$MGR_PID" 2>/dev/null; MGR_PID=; else mgr_stop; fi
		judge || { echo "instant $i of $1"; return 1; }
		chip_stop
	done
	echo "$1: $NONE times nothing, $ALL times all"
}
check killed-at-any-instant instants manager 8
check keeper-killed instants keeper 6
check client-killed instants client 6

# --- a client that is killed leaves no file under the backup's name ---
again
mgr_start --pool 0
interrupted() {
	local i
	for ((i = 0; i < 10; i++)); do
		rm -f "$LAB/half" "$LAB/half.part"
		"$B/vtpmctl" --runtime-dir "$LAB/run" backup "$LAB/half" >/dev/null 2>&1 &
		sleep "0.00$((RANDOM % 10))"
		kill -KILL $! 2>/dev/null || true
		wait $! 2>/dev/null || true
		[ ! -e "$LAB/half" ] || ctl restore "$LAB/half" --check || return 1
	done
}
check a-backup-is-whole-or-is-not interrupted

# --- no room ---
mgr_stop
chip_stop
again
mv "$LAB/state" "$LAB/state.full"
small_disk 14m
cp -a "$LAB/state.full/." "$LAB/state/"
mgr_start --pool 0
fill_disk
check no-room-for-what-is-replaced refused "no room|NoRoom|cannot be kept|full" ctl restore "$LAB/backup" --accept-rollback
check nothing-is-left-of-it test -z "$(find "$LAB/state" -name 'replaced-*')"
check nothing-has-changed all test "$(versions)" = "$NEW" -- test "$(marks)" = "$MARKS"
check a-backup-needs-none-there ctl backup "$LAB/while-full"
mkdir "$LAB/small"
mount -t tmpfs -o size=16k none "$LAB/small"
check no-room-for-a-backup refused "No space left" ctl backup "$LAB/small/backup"
check and-none-is-left test -z "$(ls "$LAB/small")"
free_disk
check once-there-is-room ctl restore "$LAB/backup" --accept-rollback
check it-is-restored all test "$(versions)" = "$OLD" -- test "$(marks)" = "1 1 1 " -- all_start
mgr_stop
exit $FAILED

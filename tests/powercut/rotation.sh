#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A rotation of a root that is cut at every step of it, one after the other: before and after each extend of the anchors, and in the place of
# each of the store's writes. The keeper dies, the manager with it, the power of chip and disk with both. What was acknowledged is there
# afterwards, the vTPM has one key or the other, and the rotation can be given again.
# And a disk that is full from one of its writes on.
# CUTS: how many of the disk's operations are tried (default 12).
set -eu
cd "$(dirname "$0")/../.."
if [ "$(id -u)" -ne 0 ]; then
	echo "skip rotation: needs root to kill processes of other uids"
	exit 0
fi
. tests/lib.sh
. tests/integration/faults.sh
. tests/powercut/lab.sh
lab_init
powercut_init
CUTS=${CUTS:-12}
RING=$LAB/run/a.ring
KIND=

guests() { "$B/tests/powercut_guests" "$@"; }
extends() { grep -c 'trace [VA] ' "$LAB/mgr.log" || true; }
operations() { # of the disk since the start, as arm counts them
	python3 -c '
import struct, sys
log, at, last, n = open(sys.argv[1], "rb").read(), 0, 0, 0
while at < len(log):
    op, _, _, _, size = struct.unpack_from("<IIQQQ", log, at)
    n += op != 1 and (op != 3 or last != 3)
    last, at = op, at + 32 + size
print(n)' "$LAB/cut/disk"
}
settled() { # the log comes through a pipe
	local last
	last=$(continuity last_row)
	until grep -q "trace acked $last\$" "$LAB/mgr.log"; do sleep 0.01; done
}
due() { [ "$(ctl status --json | value_of keys_due)" -eq "$1" ]; }
opens_up() { local i; for ((i = 0; i < 3000; i++)); do [ "$(continuity state 2>/dev/null)" != open ] || return 0; up || return 1; sleep 0.01; done; return 1; }
begin() { : >"$LAB/mgr.log"; traced_start && opens_up && ctl start a >/dev/null && ctl start s >/dev/null; }
whole() { guests check "$LAB/know" "$RING" "$LAB/run/s.ring"; }
# Everything is there, goes on, and nobody is due after one more rotation.
as_promised() {
	ENV=() KIND=
	arm
	begin || { echo "it does not start: $(tail -n 5 "$LAB/mgr.log")"; return 1; }
	whole && guests write "$LAB/know" 1 "$RING" "$LAB/run/s.ring" && ctl reseal >/dev/null && due 0 && whole && ctl list >/dev/null
}
finish() { kill -TERM "$MGR_PID"; traced_down; }

# KIND DISK KEEPER: one rotation that is cut there (arm).
cut_at() {
	local kind=$1 bg
	KIND=$kind
	[ "$kind" = keeper ] || ENV=(POWERCUT_KEEPER_HANG=here)
	begin || return 1
	guests write "$LAB/know" 1 "$RING" "$LAB/run/s.ring" || return 1
	arm "$2" "$3"
	ctl reseal --group default >"$LAB/said" 2>&1 &
	bg=$!
	if [ "$kind" = keeper ]; then
		wait $bg || true
		opens_up && whole && finish || return 1
		[ "$(grep -c 'trace recovered' "$LAB/mgr.log")" -ge 2 ] || { echo "the keeper was not cut"; return 1; }
		as_promised && finish
		return
	fi
	wait $bg && { arm; kill -KILL "$MGR_PID"; traced_down; return 2; } # over before: where the log ends is not always the same
	ended "$MGR_PID"
	traced_down
	if [ "$kind" = power ]; then
		chip_kill
		disk_cut "$RANDOM"
		chip_again
	fi
	as_promised && finish
}
mortals() {
	case $KIND in
	mgr) echo "$MGR_PID" ;;
	power) printf '%s\n' "$MGR_PID" "$CHIP_PID" ;;
	esac
}
at_extend() { cut_at "$1" 0 "$2"; } # KIND AT
at_disk() { cut_at "$1" "$2" 0; }
each() { # FUNCTION KIND FROM TO [STEP]
	local at n=0 bad=0 late=0 rc
	for ((at = $3; at < $4; at += ${5:-1})); do
		n=$((n + 1))
		rc=0
		"$1" "$2" "$at" >"$LAB/out.cut" 2>&1 || rc=$?
		[ $rc -ne 0 ] || continue
		[ $rc -ne 2 ] || { late=$((late + 1)); continue; }
		bad=$((bad + 1))
		echo "cut at $at of $3 to $4:"
		cat "$LAB/out.cut"
		tail -n 8 "$LAB/mgr.log"
		! up || { kill -KILL "$MGR_PID"; traced_down; }
		chip_alive || chip_again
	done
	[ $bad -eq 0 ] && [ $n -gt 0 ] && [ $((late * 4)) -le "$n" ]
}

chip_start
chip_measure
traced_init --seal-pcrs 0,4
traced_start
ctl create a --commit-rate 0 >/dev/null
ctl group create vault --pcrs 0,4 --mode strict >/dev/null
ctl create s --group vault --commit-rate 0 >/dev/null
ctl start a >/dev/null
ctl start s >/dev/null
guests write "$LAB/know" 2 "$RING" "$LAB/run/s.ring"
finish

# What one is made of.
begin
guests write "$LAB/know" 1 "$RING" "$LAB/run/s.ring"
settled
E1=$(extends) D1=$(operations)
ctl reseal --group default >/dev/null
D2=$(operations)
settled
E2=$(extends)
finish
check a-rotation-has-two-rows test "$E2" -ge $((E1 + 4))
echo "# extends $((E1 + 1)) to $E2, operations of the disk $((D1 + 1)) to $D2"

for kind in keeper mgr power; do
	check "$kind-cut-at-each-extend" each at_extend $kind 2 $((2 * (E2 - E1 + 1)))
done
step=$(((D2 - D1 + CUTS - 1) / CUTS))
check power-cut-at-each-write each at_disk power 1 $((D2 - D1 + 1)) $((step > 0 ? step : 1))

# A disk that is full from one write on, or from the first: the command fails, or says who is still due; guests go on, and with room it is given again.
full_from() { # KIND WRITES: that there is room for
	ENV=("POWERCUT_DISK_FULL=$LAB/cut/full" "POWERCUT_DISK_ROOM=$2") KIND=
	begin || return 1
	guests write "$LAB/know" 1 "$RING" "$LAB/run/s.ring" || return 1
	touch "$LAB/cut/full"
	ctl reseal --group default >"$LAB/said" 2>&1 || grep -q "keeps its root: .*full" "$LAB/said" || { cat "$LAB/said"; return 1; }
	[ "$2" -gt 0 ] || ! grep -q "another root" "$LAB/said" || { echo "it was stored"; return 1; }
	due 0 || due 1 || return 1
	[ "$(continuity state)" = open ] || { echo "not open: $(continuity reason)"; return 1; }
	whole || return 1
	rm "$LAB/cut/full"
	guests write "$LAB/know" 1 "$RING" "$LAB/run/s.ring" && due 0 && ctl reseal >/dev/null && due 0 && whole && finish && as_promised && finish
}
check a-full-disk-at-each-write each full_from full 0 $((D2 - D1)) $((step > 0 ? 2 * step : 1))
exit $FAILED

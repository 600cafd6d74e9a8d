#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One life of a host: at random instants its processes are killed, its chip and its disk lose power; after each cut everything that was
# acknowledged must be there, and nothing else. SEED decides everything but the clock.
# Usage: life.sh SEED CUTS LOG   LOG gets every choice, LOG.trace what the manager said; a life that failed leaves its disk in LOG.lab.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/powercut/lab.sh
trap - ERR
SEED=$1 CUTS=$2 LOG=$3
RANDOM=$SEED
lab_init
powercut_init
exec >"$LOG" 2>&1
GUESTS=(a b s)
RINGS=("$LAB/run/a.ring" "$LAB/run/b.ring" "$LAB/run/s.ring")
DISC=0 SERVED=0 LOSSES=0 CUT=0

rnd() { R=$((RANDOM % $1)); } # not in a subshell: that has other numbers
fail() {
	echo "FAILED at cut $CUT: $*"
	tail -n 15 "$LAB/mgr.log"
	rm -rf "$LOG.lab"
	cp -a "$LAB" "$LOG.lab" || true
	exit 1
}
tell() { timeout 120 "$B/vtpmctl" --runtime-dir "$LAB/run" "$@"; }
children() { pgrep -P "$1" -x "$2" || true; }

# ---- what happens, and when ----

at_disk() {
	rnd 2
	if [ $R = 0 ]; then rnd 40; else rnd 400; fi # the first ones are those of a start
	ENV=(POWERCUT_DISK_AT=$((R + 1)))
	WHERE="disk operation $((R + 1))"
}
at_extend() { # $1: who dies with the keeper
	rnd 2
	if [ $R = 0 ]; then rnd 4; else rnd 80; fi # the two first are those of the open row
	WHERE="the keeper's extend $((R / 2 + 1)), $([ $((R % 2)) = 0 ] && echo before || echo after)"
	ENV=(POWERCUT_KEEPER_AT=$((R + 2)) "POWERCUT_KEEPER_ONCE=$LAB/cut/once")
	[ $# = 0 ] || ENV+=(POWERCUT_KEEPER_HANG=here)
	MORTAL=("$@")
	: >"$LAB/cut/once"
	chmod 666 "$LAB/cut/once"
}
at_answer() {
	rnd 40
	AFTER=$((R + 1))
	rnd 4000
	SPIN=$R
	WHERE="answer $AFTER and $SPIN us"
}
plan() {
	local kinds=(mgr disk disk disk power power power chip keeper backend spawn stop)
	ENV=() MORTAL=() AFTER=999999 SPIN=0 WHERE=
	rnd ${#kinds[@]}
	KIND=${kinds[R]}
	rnd 6
	case $KIND$R in
	mgr[01] | disk[0123] | power[0123]) at_disk ;; # where something is not synced
	mgr[23] | disk4) at_extend MGR ;;
	power4) at_extend MGR "$CHIP_PID" ;;
	chip[012]) at_extend "$CHIP_PID" ;;
	keeper[0123]) at_extend ;;
	stop?) rnd 60; SPIN=$R WHERE="$SPIN ms into an orderly stop" ;;
	*) at_answer ;;
	esac
	rnd 3
	CHECKPOINT=$([ $R = 0 ] && echo 0 || echo 900)
	rnd 3
	ENDS=$([ $R = 0 ] && echo KILL || echo TERM) # of a round whose cut the manager survives
	rnd 4
	CHURNS=$R
	rnd 32767
	DISK_SEED=$((SEED * 32768 + R))
}
victims() {
	local spawn
	spawn=$(children "$MGR_PID" vtpm-spawn)
	case $KIND in
	mgr | disk) echo "$MGR_PID" ;;
	power) echo "$MGR_PID,$CHIP_PID" ;;
	chip) echo "$CHIP_PID" ;;
	keeper) children "$spawn" vtpm-keeper | tail -n 1 ;;
	backend) children "$spawn" vtpm-backend | tail -n 1 ;;
	spawn) echo "$spawn" ;;
	*) echo - ;;
	esac
}

# ---- what must be so ----

# vTPMs that come and go: "?NAME" begun, "+NAME" made, "-NAME" removed.
churn() {
	local name=c$CUT
	echo "?$name"
	tell create "$name" >/dev/null 2>&1 || return 0
	echo "+$name"
	[ "$CHURNS" = 1 ] || return 0
	echo "?$name"
	tell destroy "$name" --yes >/dev/null 2>&1 || return 0
	echo "-$name"
}
check_store() { python3 tests/powercut/promised.py "$LAB/know" "$DISC" "$RESETS" $(($(losses) - LOSSES)) "$SERVED" <"$LAB/list"; }
losses() { grep -c 'trace recovered 2 ' "$LAB/mgr.log" || true; }
recoveries() { grep -c 'trace recovered ' "$LAB/mgr.log" || true; }

# Everything that was acknowledged is there. Status 1: cut meanwhile.
check_all() {
	local rc=0 said
	"$B/tests/powercut_guests" check "$LAB/know" "${RINGS[@]}" >"$LAB/checked" 2>&1 || rc=$?
	[ $rc = 0 ] || [ $rc = 3 ] || fail "$(cat "$LAB/checked")"
	[ $rc = 0 ] && tell list --json >"$LAB/list" 2>/dev/null || return 1
	[ "$KIND" != chip ] || [ ${#ENV[@]} = 0 ] || return 0 # it may have been reset just now
	said=$(check_store 2>&1) || fail "$said"
	DISC=$said RESETS=0 SERVED=1 LOSSES=$(losses)
}
chip_watch() { chip_alive || ! up || chip_again; }

wait_open() {
	local i state
	for ((i = 0; i < 6000; i++)); do
		state=$(continuity state 2>/dev/null) || true
		case $state in
		open)
			until [ "$(recoveries)" -gt "$RECOVERIES" ]; do sleep 0.01; done # the log comes through a pipe
			return 0
			;;
		quarantined) fail "quarantined: $(continuity found)" ;;
		esac
		up || return 1
		chip_watch
		sleep 0.01
	done
	fail "it does not open: $(continuity reason)"
}
start_guests() {
	local g i
	for g in "${GUESTS[@]}"; do
		for ((i = 0; ; i++)); do
			tell start "$g" >"$LAB/said" 2>&1 && break
			up || return 1
			grep -q quarantined "$LAB/said" && fail "$(cat "$LAB/said")"
			[ $i -lt 1000 ] || fail "$g does not start: $(cat "$LAB/said")"
			chip_watch
			sleep 0.02
		done
	done
}
work() {
	local workers churner= rc=0
	[ "$CHURNS" -gt 1 ] || { churn >>"$LAB/know/churn" & churner=$!; }
	"$B/tests/powercut_guests" work "$LAB/know" "$SEED$CUT" "${ANSWERS:-40}" "$AFTER" "$SPIN" "$(victims)" "${RINGS[@]}" >"$LAB/worked" 2>&1 &
	workers=$!
	while [ -e "/proc/$workers/exe" ]; do
		chip_watch
		sleep 0.02
	done
	wait "$workers" || rc=$?
	[ -z "$churner" ] || wait "$churner"
	[ $rc = 0 ] || [ $rc = 3 ] || fail "guests: $(cat "$LAB/worked")"
}
stop() {
	up || return 0
	case $KIND in
	stop)
		kill -TERM "$MGR_PID"
		sleep "0.$(printf %03d "$SPIN")"
		kill -KILL "$MGR_PID" 2>/dev/null || true
		SERVED=0 # perhaps
		;;
	mgr | disk | power) kill -KILL "$MGR_PID" ;; # the moment it was meant for did not come
	*)
		kill "-$ENDS" "$MGR_PID"
		[ $ENDS = KILL ] || SERVED=0
		;;
	esac
}

round() {
	plan
	echo "cut $CUT: $KIND at ${WHERE:-the end}"
	RECOVERIES=$(recoveries)
	if traced_start --checkpoint-interval "$CHECKPOINT" && wait_open && start_guests && check_all; then work; fi
	stop
	# An orderly stop must not wait for a chip that has gone.
	while up; do chip_watch; sleep 0.01; done
	traced_down
	case $KIND in
	power) chip_kill ;;
	disk) ;;
	*) chip_alive || chip_again; return 0 ;;
	esac
	disk_cut "$DISK_SEED"
	chip_alive || chip_again
}

# ---- the life ----

chip_start
chip_measure
traced_init --seal-pcrs 0,4 || fail "not initialised"
: >"$LAB/know/churn"
traced_start
tell group create vault --pcrs 0,4 --mode strict >/dev/null
tell create a --commit-rate 0 >/dev/null
tell create b --commit-rate 0 >/dev/null
tell create s --commit-rate 0 --group vault >/dev/null
KIND=- CHURNS=9 AFTER=999999 SPIN=0 CHECKPOINT=900
start_guests || fail "the first start"
work
kill -TERM "$MGR_PID"
traced_down
for ((CUT = 1; CUT <= CUTS; CUT++)); do
	round
done
# The last word: whatever the last cut left.
KIND=- ENV=() MORTAL=()
traced_start || fail "the last start"
wait_open && start_guests && check_all || fail "the last check: $(cat "$LAB/checked")"
kill -TERM "$MGR_PID"
traced_down
note end
sed -n 's|^[a-z-]*: trace |trace |p' "$LAB/mgr.log" >"$LOG.trace"
echo "all is as promised"

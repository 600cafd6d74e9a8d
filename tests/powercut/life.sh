#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One life of a host: at random instants its processes are killed, its chip and its disk lose power; after each cut everything that was
# acknowledged must be there, and nothing else. SEED decides everything but the clock. An odd one is a life under vtpm-hold: whoever is killed is replaced, and
# guests notice nothing but time, until the power is cut.
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
ENV=(POWERCUT_KEEPER_HANG=here) PLAN=() NEXT=()
DISC=0 SERVED=0 LOSSES=0 CUT=0 ANSWERS=${ANSWERS:-40}
[ $((SEED % 2)) = 0 ] || { HOLD="--restarts 1000" ANSWERS=$((ANSWERS * 2)); } # some of them behind the cut

rnd() { R=$((RANDOM % $1)); } # not in a subshell: that has other numbers
fail() {
	echo "FAILED at cut $CUT: $*"
	tail -n 15 "$LAB/mgr.log"
	rm -rf "$LOG.lab"
	cp -a "$LAB" "$LOG.lab" || true
	exit 1
}
tell() { timeout 120 "$B/vtpmctl" --runtime-dir "$LAB/run" "$@"; }
held() { [ -n "${HOLD+set}" ]; }

# ---- who there is ----

children() { [ -z "$1" ] || pgrep -P "$1" -x "$2" || true; }
manager() { if held; then children "$MGR_PID" powercut_mgr; else echo "$MGR_PID"; fi; }
spawner() { children "$(manager)" vtpm-spawn; }
keeper() { children "$(spawner)" vtpm-keeper | tail -n 1; }
backends() { # they are forked from the spawner, and have a second thread; the one in reserve has not
	local p k
	k=$(keeper)
	for p in $(children "$(spawner)" '.*'); do
		[ "$p" = "$k" ] || [ "$(ls "/proc/$p/task" 2>/dev/null | wc -l)" -ne 2 ] || echo "$p"
	done
}
host() { echo "$MGR_PID"; ! held || { manager; spawner; }; } # all that must die so that nobody goes on
slay() { local p; for p; do [ "$p" -le 1 ] || kill -KILL "$p" 2>/dev/null || true; done; }

# ---- what happens, and when ----

at_disk() {
	rnd 2
	if [ $R = 0 ]; then rnd 40; else rnd 400; fi # the first ones are those of a start
	PLAN=($((R + 1)) 0)
	WHERE="disk operation $((R + 1))"
}
at_extend() { # $1: who dies with the keeper
	rnd 2
	if [ $R = 0 ]; then rnd 4; else rnd 80; fi # the two first are those of the open row
	WHERE="the keeper's extend $((R / 2 + 1)), $([ $((R % 2)) = 0 ] && echo before || echo after)"
	PLAN=(0 $((R + 2)))
	MORTAL=("$@")
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
	! held || kinds=(mgr mgr mgr again again all all disk power power chip keeper keeper backend backend spawn spawn stop)
	PLAN=() NEXT=() MORTAL=() AFTER=999999 SPIN=0 WHERE=
	rnd ${#kinds[@]}
	KIND=${kinds[R]}
	rnd 6
	case $KIND$R in
	again[012]) at_disk; NEXT=("${PLAN[@]}") PLAN=() ;; # the next one, perhaps while it takes over
	again?) at_extend MGR; NEXT=("${PLAN[@]}") PLAN=() ;;
	all[012]) at_extend MGR SPAWN ;;
	mgr[01] | disk[0123] | power[0123]) at_disk ;; # where something is not synced
	mgr[23] | disk4) at_extend MGR ;;
	power4) at_extend HOST "$CHIP_PID" ;;
	chip[012]) at_extend "$CHIP_PID" ;;
	keeper[0123]) at_extend ;;
	stop?) rnd 60; SPIN=$R WHERE="$SPIN ms into an orderly stop" ;;
	*) at_answer ;;
	esac
	[ ${#NEXT[@]} = 0 ] || { what=$WHERE; at_answer; WHERE+=", and the next one at $what"; }
	rnd 3
	CHECKPOINT=$([ $R = 0 ] && echo 0 || echo 900)
	rnd 3
	ENDS=$([ $R = 0 ] && echo KILL || echo TERM) # of a round whose cut the manager survives
	rnd 4
	CHURNS=$R
	rnd 32767
	DISK_SEED=$((SEED * 32768 + R))
	rnd 5
	LASTS=$R # 0: and then vtpm-hold ends, too
}
victims() {
	case $KIND in
	mgr | again) manager ;;
	disk) host ;;
	power) host; echo "$CHIP_PID" ;;
	chip) echo "$CHIP_PID" ;;
	keeper) keeper ;;
	backend) backends ;;
	spawn) spawner ;;
	all) manager; spawner; keeper; backends ;;
	esac
}
mortals() { # who dies with the keeper
	local who
	for who in "${MORTAL[@]}"; do
		case $who in
		MGR) manager ;;
		HOST) host ;;
		SPAWN) spawner ;;
		*) echo "$who" ;;
		esac
	done
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
	held || [ "$KIND" != chip ] || [ ${#PLAN[@]} = 0 ] || return 0 # it may have been reset just now
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
	local g i starter
	for g in "${GUESTS[@]}"; do
		for ((i = 0; ; i++)); do
			tell start "$g" >"$LAB/said" 2>&1 &
			starter=$!
			while [ -e "/proc/$starter/exe" ]; do chip_watch; sleep 0.01; done # it waits for a chip that is cut meanwhile
			wait "$starter" && break
			up || return 1
			grep -q quarantined "$LAB/said" && fail "$(cat "$LAB/said")"
			[ $i -lt 1000 ] || fail "$g does not start: $(cat "$LAB/said")"
			chip_watch
			sleep 0.02
		done
	done
}
work() {
	local workers churner= who rc=0
	[ "$CHURNS" -gt 1 ] || { churn >>"$LAB/know/churn" & churner=$!; }
	who=$(victims | paste -sd,)
	"$B/tests/powercut_guests" work "$LAB/know" "$SEED$CUT" "$ANSWERS" "$AFTER" "$SPIN" "${who:--}" "${RINGS[@]}" >"$LAB/worked" 2>&1 &
	workers=$!
	while [ -e "/proc/$workers/exe" ]; do
		chip_watch
		arm_next
		sleep 0.02
	done
	wait "$workers" || rc=$?
	[ -z "$churner" ] || wait "$churner"
	[ $rc = 0 ] || [ $rc = 3 ] || fail "guests: $(cat "$LAB/worked")"
	return $rc
}
stop() {
	up || return 0
	case $KIND in
	stop)
		kill -TERM "$MGR_PID"
		sleep "0.$(printf %03d "$SPIN")"
		slay $(host)
		SERVED=0 # perhaps
		;;
	mgr | disk | power) slay $(host) ;; # the moment it was meant for did not come
	*)
		if [ $ENDS = KILL ]; then slay $(host); else kill -TERM "$MGR_PID"; SERVED=0; fi
		;;
	esac
}

# ---- under vtpm-hold ----

# Once somebody has taken the manager's place, or is about to.
arm_next() {
	[ ${#NEXT[@]} -gt 0 ] && [ "$(manager)" != "$MANAGER" ] || return 0
	arm "${NEXT[@]}"
	NEXT=()
}
arm_now() {
	MANAGER=$(manager) KEEPER=$(keeper) POWER=$RESETS
	mortals >"$LAB/cut/victims"
	arm "${PLAN[@]}"
}
struck() {
	case $KIND in
	chip) ! chip_alive || [ "$RESETS" -gt "$POWER" ] ;;
	keeper) [ "$(keeper)" != "$KEEPER" ] ;;
	mgr | again | spawn | all) [ "$(manager)" != "$MANAGER" ] ;;
	esac
}
# The manager of now serves all guests.
settled() {
	local g
	[ "$KIND" = backend ] || [ "$(recoveries)" -gt "$RECOVERIES" ] || return 1
	ctl status --json >"$LAB/status" 2>/dev/null && [ "$(sed -n '/^ *"hold": {/,/^    }/p' "$LAB/status" | value_of waiting)" = 0 ] && [ "$(continuity state)" = open ] || return 1
	for g in "${GUESTS[@]}"; do
		[ "$(ctl show "$g" --json | value_of state | head -n 1)" = running ] || return 1
	done
}
settle() {
	local i
	for ((i = 0; i < 3000; i++)); do
		chip_watch
		arm_next
		! settled || return 0
		up || fail "vtpm-hold has ended"
		sleep 0.02
	done
	fail "it does not go on: $(cat "$LAB/status")"
}
# Nobody's guest has noticed anything, and all goes on.
carry_on() {
	arm
	struck || { echo "now"; slay $(victims); }
	settle
	arm # of the next one it was not, or it is over
	settle
	check_all || fail "a guest has lost its TPM: $(cat "$LAB/checked")"
}
held_round() {
	if ! up; then
		traced_start --checkpoint-interval "$CHECKPOINT" && wait_open && start_guests && check_all || fail "it does not start"
		RECOVERIES=$(recoveries)
	fi
	arm_now
	case $KIND in
	disk | power) work || true ;;
	stop) ;;
	*)
		work || fail "a guest has noticed: $(cat "$LAB/worked")"
		carry_on
		[ $LASTS = 0 ] || return 0
		;;
	esac
	stop
	down
}

down() {
	# An orderly stop must not wait for a chip that has gone.
	while up; do chip_watch; sleep 0.01; done
	arm
	! held || slay $(pgrep -f "powercut_mgr .*--state-dir $LAB/state ") # one that vtpm-hold was about to start when it was killed
	traced_down
	case $KIND in
	power) chip_kill ;;
	disk) ;;
	*) chip_alive || chip_again; return 0 ;;
	esac
	disk_cut "$DISK_SEED"
	chip_alive || chip_again
}
round() {
	plan
	echo "cut $CUT: $KIND at ${WHERE:-the end}"
	RECOVERIES=$(recoveries)
	if held; then
		held_round
		return
	fi
	arm "${PLAN[@]}"
	if traced_start --checkpoint-interval "$CHECKPOINT" && wait_open && start_guests && check_all; then work || true; fi
	stop
	down
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
work || fail "the first work"
kill -TERM "$MGR_PID"
traced_down
for ((CUT = 1; CUT <= CUTS; CUT++)); do
	round
done
# The last word: whatever the last cut left.
KIND=- PLAN=() NEXT=() MORTAL=() SPIN=0 ENDS=TERM
! up || { stop; down; }
traced_start || fail "the last start"
wait_open && start_guests && check_all || fail "the last check: $(cat "$LAB/checked")"
kill -TERM "$MGR_PID"
traced_down
note end
sed -n 's|^[a-z-]*: trace |trace |p' "$LAB/mgr.log" >"$LOG.trace"
! held || echo "$(grep -c "^vtpm-hold: vtpm-mgr has ended .* another is started" "$LAB/mgr.log") managers were replaced under their guests"
echo "all is as promised"

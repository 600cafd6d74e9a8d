#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Processes of ours that break the rules or hang: nobody but their own guest may suffer, and every wait ends.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
if [ "$(id -u)" -ne 0 ]; then
	echo "skip breaches: needs root to stop and limit processes of other uids"
	exit 0
fi
lab_init
child() { pgrep -P "$(spawner)" -x "$1"; }

chip_start
mgr_init --insecure-pcrs >/dev/null

# --- a backend that is its guest's by now: it floods its store channel and never reads an answer ---
mkdir "$LAB/libexec"
ln -s "$B/vtpm-keeper" "$B/vtpm-mgr" "$B/vtpmctl" "$LAB/libexec/"
ln -s "$B/tests/rogue_backend" "$LAB/libexec/vtpm-backend"
ln -s "$B/tests/rogue_spawn" "$LAB/libexec/vtpm-spawn"
LIBEXEC=$LAB/libexec mgr_start --pool 0
check create_good ctl create good
check start_good ctl start good
for rate in 0 1; do
	check "create_evil_rate_$rate" ctl create "evil$rate" --commit-rate $rate
	check "start_evil_rate_$rate" ctl start "evil$rate"
	next=$(($(field "evil$rate" version) + 1))
	timeout 20 "$B/tests/hostile" "$LAB/run/evil$rate.ring" rogue 1000 $next >"$LAB/out" 2>&1
	check "flood_rate_${rate}_ends_its_own_vtpm" becomes "evil$rate" failed
	check "flood_rate_${rate}_manager_answers" timeout 5 "$B/vtpmctl" --runtime-dir "$LAB/run" status
	check "flood_rate_${rate}_neighbour_is_served" guest good tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x150000$rate
	check "flood_rate_${rate}_its_state_is_quarantined" refused quarantined ctl start "evil$rate"
done
check stop_after_floods mgr_stop

# --- a TPM, or a keeper, that hangs ---
mgr_start --pool 0
check create_slow ctl create slow
kill -STOP "$(keeper)"
ctl start slow >"$LAB/start.out" 2>&1 &
waiting=$!
check start_waits_for_the_keeper becomes slow starting
check stop_ends_a_start_that_waits timeout 5 "$B/vtpmctl" --runtime-dir "$LAB/run" stop slow
wait $waiting
cp "$LAB/start.out" "$LAB/out"
check who_waited_hears_of_it grep -q 'stopped while it was being started' "$LAB/start.out"
check good_still_starts_and_runs ctl list
kill -CONT "$(keeper)"
check slow_is_stopped becomes slow stopped
check slow_starts_afterwards ctl start slow

# --- no start while the manager stops ---
backend=$(backends)
kill -STOP $backend
kill -TERM "$MGR_PID"
check stopping_is_seen becomes slow stopping
check start_while_stopping_is_refused refused stopping ctl start good
kill -CONT $backend
check manager_ends mgr_stop

# --- backends that cannot be born leave no keys behind ---
mgr_start --pool 0
spawner=$(spawner)
check good_starts ctl start good
check good_stops ctl stop good
tail --pid="$(child vtpm-spawn | head -1)" -f /dev/null & # the one in reserve was used or not; what counts is the limit
reserve=$!
prlimit --pid "$spawner" --nproc=1: # the soft limit
kill -KILL $(child vtpm-spawn) 2>/dev/null
wait $reserve
failed=0
for _ in $(seq 300); do ctl start good >"$LAB/out" 2>&1 && ctl stop good >/dev/null || failed=$((failed + 1)); done
prlimit --pid "$spawner" --nproc=5000:
echo "    $failed of 300 starts failed while there was no process to be had"
ctl start good >"$LAB/out" 2>&1 || true # the one in reserve was forked under the limit, and keeps it
is_state good running >/dev/null || check starts_when_there_are_processes_again ctl start good
check it_runs is_state good running
check create_too ctl create another
check stop_at_the_end mgr_stop

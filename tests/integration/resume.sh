#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Backends that are killed while their guest works: it notices nothing but time.
set -u
cd "$(dirname "$0")/../.."
if [ "$(id -u)" -ne 0 ]; then
	echo "skip resume: needs root to kill processes of other uids"
	exit 0
fi
. tests/lib.sh
. tests/checks.sh
. tests/integration/neighbour.sh
lab_init
kill_backend() { # signal: of the one guest that runs
	local p
	p=$(newest) && kill "-$1" "$p"
}
goes_on() { [[ $(field "$1" replacements) -ge $2 ]] && is_state "$1" running; }
resumed() { soon goes_on "$@" || { ctl show "$1"; return 1; }; }
pcrs() { guest "$1" tpm2_pcrread sha256:0,1,16,23; }
extend() { guest "$1" tpm2_pcrextend "16:sha256=$(printf '%064x' "$2")"; }

chip_start
mgr_init --insecure-pcrs >/dev/null

under_load() { # NAME options…: kills at any moment, while a guest that keeps its own record works
	local how=$1 i
	shift
	mgr_start --pool 0 "$@"
	[ "$how" = exec ] || ctl create good --commit-rate 0 >/dev/null
	ctl start good >/dev/null
	watch_start
	for ((i = 1; i <= 25; i++)); do
		pause "0.0$((RANDOM % 40 + 10))"
		kill_backend KILL && resumed good $i >"$LAB/out" || break
	done
	if [ $i -eq 26 ]; then ok "${how}_25_kills"; else not_ok "${how}_25_kills"; fi
	watch_end "${how}_guest_noticed_nothing"
	check "${how}_one_area" test "$(areas "$(spawner)")" -eq 1
	check "${how}_stops_in_order" ctl stop good
	check "${how}_no_area_is_left" test "$(areas "$(spawner)")" -eq 0
	check "${how}_manager_stops" mgr_stop
}
under_load fork
under_load exec --no-prefork
check crashes_are_audited audited '"action":"crash","vtpm":"good".*signal 9'
check replacements_are_audited audited '"action":"replace","vtpm":"good".*"result":"ok"'

# --- what tools hold on to: a session with an HMAC, whose nonces both sides know, and a key ---
mgr_start --pool 0
ctl start good >/dev/null
check session guest good tpm2_startauthsession -S "$LAB/s.ctx" --hmac-session
check key guest good tpm2_createprimary -Q -C o -G ecc -c "$LAB/key.ctx"
guest good tpm2_flushcontext -t
check used_before guest good tpm2_create -Q -C "$LAB/key.ctx" -P "session:$LAB/s.ctx" -u "$LAB/pub" -r "$LAB/priv"
guest good tpm2_flushcontext -t # nobody manages the TPM's room for objects here; what is saved can be loaded again
kill_backend KILL
check replaced_under_a_session resumed good 1
rm -f "$LAB/pub" "$LAB/priv"
check session_and_key_go_on guest good tpm2_create -Q -C "$LAB/key.ctx" -P "session:$LAB/s.ctx" -u "$LAB/pub" -r "$LAB/priv"
guest good tpm2_flushcontext -t
check key_is_the_same guest good tpm2_load -Q -C "$LAB/key.ctx" -u "$LAB/pub" -r "$LAB/priv" -c "$LAB/child.ctx"
check stops_with_them ctl stop good
check manager_ends_before_crashes mgr_stop

# --- crashes of its own: three are too many ---
mgr_start --pool 0
ctl start good >/dev/null
extend good 7
pcrs good >"$LAB/before"
before=$(spawner)
for i in 1 2; do
	kill_backend SEGV
	check "crash_${i}_is_survived" resumed good $i
	pcrs good >"$LAB/after"
	check "crash_${i}_keeps_pcrs" cmp "$LAB/before" "$LAB/after"
done
check spawner_has_executed_itself_anew test "$(spawner)" = "$before"
kill_backend SEGV
check third_crash_is_the_last becomes good failed
check its_area_is_gone test "$(areas "$(spawner)")" -eq 0
check not_started_before_a_stop refused "crashed 3 times in a row" ctl start good
check stop_forgets_it ctl stop good
check starts_anew ctl start good
pcrs good >"$LAB/after"
check with_empty_pcrs no cmp "$LAB/before" "$LAB/after"

# --- together with others ---
extend good 8
pcrs good >"$LAB/before"
kill -KILL "$(keeper)"
kill_backend KILL
check keeper_and_backend_at_once resumed good 1
pcrs good >"$LAB/after"
check keeper_and_backend_keep_pcrs cmp "$LAB/before" "$LAB/after"

# --- stop and reset while nobody serves: the key does not come, because the keeper hangs ---
hang() {
	kill -STOP "$(keeper)"
	kill_backend KILL
	becomes good starting
}
# Of two orders the second is refused at once; the first ends when the key has come.
two_orders() { # order
	local rc=0 ended
	ctl "$1" good >"$LAB/one.out" 2>&1 &
	local one=$!
	ctl "$1" good >"$LAB/two.out" 2>&1 &
	local two=$!
	wait -n -p ended $one $two && { echo "$1 did not wait"; rc=1; }
	kill -CONT "$(keeper)"
	wait $((ended == one ? two : one)) || rc=1
	cat "$LAB/one.out" "$LAB/two.out"
	return $rc
}
check one_waits_for_its_key hang
check reset_while_it_is_replaced two_orders reset
pcrs good >"$LAB/after"
check reset_empties_pcrs no cmp "$LAB/before" "$LAB/after"
check one_waits_again hang
check stop_while_it_is_replaced two_orders stop
check it_is_off becomes good stopped
check nothing_is_left test "$(areas "$(spawner)")" -eq 0
check starts_again ctl start good
check no_failed_authorisation_was_counted grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0' <(guest good tpm2_getcap properties-variable)
check manager_ends mgr_stop

# --- no room for the next one at the moment ---
mgr_start --pool 0
ctl start good >/dev/null
extend good 9
pcrs good >"$LAB/before"
prlimit --pid "$(spawner)" --nofile=4:
kill_backend KILL
check it_is_waited_for logged 'no descriptors are left for another process'
becomes good starting && pause 0.2
check it_is_still_waited_for becomes good starting
prlimit --pid "$(spawner)" --nofile="$(ulimit -Hn):"
check it_goes_on_when_there_is_room resumed good 1
pcrs good >"$LAB/after"
check it_keeps_its_pcrs cmp "$LAB/before" "$LAB/after"
check manager_ends_after_want mgr_stop

# --- an answer that the quota of anchored changes holds back ---
mgr_start --pool 0 --anchors-per-guest 3
ctl group create tight --mode strict --insecure-pcrs >/dev/null
ctl create held --group tight >/dev/null
ctl start held >/dev/null # the first
guest held tpm2_nvdefine -Q -C o -s 4 -a 'ownerread|ownerwrite' 0x1500040 # the second
before=$(field held version)
(printf word | guest held tpm2_nvwrite -Q -C o -i - 0x1500040 2>"$LAB/writer"; touch "$LAB/answered") & # the third, whose answer waits
writer=$!
durable() { [ "$(field held version)" -gt "$before" ]; }
check the_change_is_durable soon durable
check it_is_said_what_its_guest_waits_for grep -q "quota of anchored changes .* is spent: .* in [1-9][0-9]* s" <(field held reason)
kill_backend KILL
check another_one_waits_for_the_quota becomes held starting
pause 0.5
check still_waiting is_state held starting
check it_is_still_said grep -q "quota of anchored changes .* is spent" <(field held reason)
check and_nobody_is_answered test ! -e "$LAB/answered"
check stop_does_not_wait_for_it timeout 20 "$B/vtpmctl" --runtime-dir "$LAB/run" stop held
wait $writer # what it sends after that is sent to a TPM that is off
check the_answer_came_with_the_stop no grep NV_Write "$LAB/writer"
check last_manager_ends mgr_stop

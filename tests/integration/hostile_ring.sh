#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Guests that keep to nothing, beside one that minds its own business and must notice none of it.
# HOSTILE_SEED=N repeats a run.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
. tests/integration/neighbour.sh
lab_init

hostile() { local g=$1; shift; "$B/tests/hostile" "$LAB/run/$g.ring" "$@"; }
neighbour() { local g=$1; shift; "$B/tests/neighbour" "$LAB/run/$g.ring" "$@"; }

# Both, at the same time.
beside() { # name, mode…
	local name=$1
	shift
	watch_start
	check "$name" hostile evil "$@"
	sed 's/^/    /' "$LAB/out"
	watch_end "${name}_and_the_neighbour_notices_nothing"
}

chip_start
check init mgr_init --insecure-pcrs --seal-pcrs 0
check start mgr_start --pool 4
for g in evil good stuck stuck_reset asleep; do
	ctl create $g --commit-rate 0 >/dev/null && ctl start $g >/dev/null || echo "not ok create_$g"
done

# A back end that sleeps in its signal is killed in the end; that takes its time, so it begins first.
check block_by_a_full_counter hostile stuck block
check block_before_reset hostile stuck_reset block
(ctl stop stuck >"$LAB/stop.out" 2>&1; echo $? >"$LAB/stop.rc") &
stop_pid=$!
(ctl reset stuck_reset >"$LAB/reset.out" 2>&1; echo $? >"$LAB/reset.rc") &
reset_pid=$!

check block_before_another_front_end hostile asleep block
check next_front_end_wakes_the_back_end env TPM2TOOLS_TCTI="$TCTI:path=$LAB/run/asleep.ring" timeout 20 tpm2_getrandom --hex 8

seed=${HOSTILE_SEED:-$RANDOM$RANDOM}
echo "    HOSTILE_SEED=$seed"
beside lying_lengths lengths
beside states_that_do_not_exist states
beside cancel_without_request cancel
beside locality_above_the_cap locality 0
beside memfd_shrink_grow_unseal memfd
beside signal_flood flood
beside bytes_change_while_they_are_read toggle "$seed" 20000
beside random_commands random "$seed" 100000
check tpm_still_answers guest evil tpm2_getrandom --hex 8
# Some of it was TPM2_Clear: the persistent EK is gone, as on any TPM, but not what it is made from.
guest evil tpm2_flushcontext -t 2>/dev/null
ctl show evil --ek-public rsa >"$LAB/ek.want"
check tpm_makes_its_ek_again guest evil tpm2_createek -G rsa -c "$LAB/ek.ctx" -f pem -u "$LAB/ek.got"
check it_is_the_certified_one cmp "$LAB/ek.want" "$LAB/ek.got"

ctl create local2 --locality-max 2 >/dev/null
ctl start local2 >/dev/null
check locality_up_to_the_cap hostile local2 locality 2

# --- front ends that vanish ---
watch_start
for i in 1 2 3 4; do
	start_tool hostile evil vanish $i
	kill -KILL "$started"
	wait "$started" 2>/dev/null
	exec 8<&-
	check "next_front_end_after_a_death_with_a_key_in_the_making_$i" guest evil tpm2_getrandom --hex 8
	guest evil tpm2_flushcontext -t 2>/dev/null # on a busy machine it may have been made by then
done
start_tool neighbour evil steady
kill -KILL "$started"
wait "$started" 2>/dev/null
exec 8<&-
start_tool neighbour evil steady
kill "$started"
cat <&8 >"$LAB/out"
check next_front_end_after_a_death_with_changes_in_hand wait "$started"
exec 8<&-
watch_end deaths_and_the_neighbour_notices_nothing

# --- one at a time ---
start_tool hostile evil hold
exits second_front_end_is_ebusy 16 neighbour evil open
says ebusy_says_why "another program is using the TPM of evil"
exits another_guests_ring_is_not_busy 0 neighbour good open
kill -KILL "$started"
wait "$started" 2>/dev/null
exec 8<&-
exits free_again 0 neighbour evil open

# --- who may connect ---
if [ "$(id -u)" -eq 0 ]; then
	cp "$B/tests/neighbour" "$LAB/neighbour"
	opens_as() { as "$1" "$1" "$LAB/neighbour" "$LAB/run/$2.ring" open; }
	ctl create users --user 64201 >/dev/null
	ctl start users >/dev/null
	exits permitted_uid_connects 0 opens_as 64201 users
	exits other_uid_is_refused 13 opens_as 64202 users
	says refusal_names_the_uid_and_the_way "uid 64202 may not use users; the operator can permit one user with create --user"
	exits permitted_uid_of_one_is_a_stranger_to_another 13 opens_as 64201 evil
	exits operator_connects 0 neighbour users open
else
	echo "skip uids_on_the_ring: only root can become another user"
fi

check cancelled_rsa_key neighbour good cancel 20
sed 's/^/    cancel: /' "$LAB/out"

# --- what became of the sleepers ---
wait $stop_pid
cp "$LAB/stop.out" "$LAB/out"
if [ "$(cat "$LAB/stop.rc")" -ne 0 ]; then ok stop_of_a_blocked_back_end_ends; else not_ok stop_of_a_blocked_back_end_ends; fi
says stop_says_that_it_was_killed "it did not stop in time"
check blocked_starts_again ctl start stuck
check blocked_serves_again guest stuck tpm2_getrandom --hex 8
wait $reset_pid
cp "$LAB/reset.out" "$LAB/out"
if [ "$(cat "$LAB/reset.rc")" -eq 0 ]; then ok reset_of_a_blocked_back_end_ends; else not_ok reset_of_a_blocked_back_end_ends; fi
check reset_serves_again guest stuck_reset tpm2_getrandom --hex 8
check manager_stops_in_order mgr_stop

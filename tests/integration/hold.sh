#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The manager, its keeper, its spawner and all of them killed at any instant while guests with rings and of QEMU work, and one build upgraded to another: guests
# notice nothing but time.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
. tests/integration/neighbour.sh
lab_init

manager() { pgrep -P "$MGR_PID" -x vtpm-mgr; } # of this generation: children of vtpm-hold
spawner() { pgrep -P "$(manager)" -x vtpm-spawn; }
slay() { [ "${2:-0}" -le 1 ] || kill "-$1" "${@:2}" 2>/dev/null; } # signal, processes of ours
another() { # after that generation
	[ "$(status hold generation)" -gt "$1" ] && [ "$(status hold waiting)" -eq 0 ] && is_state good running
}
strike() { # whom: at once, or one a little after the other
	case $1 in
	manager) slay KILL "$(manager)" ;;
	keeper) slay KILL "$(keeper)" ;;
	spawner) slay KILL "$(spawner)" ;;
	backend) slay KILL $(backends) ;;
	all) slay KILL "$(manager)" "$(spawner)" "$(keeper)" $(backends) ;;
	twice) slay KILL "$(manager)"; pause "0.0$((RANDOM % 10))"; slay KILL "$(manager)" ;;
	*) kill -HUP "$MGR_PID" ;;
	esac
}

HOLD="--restarts 1000"
chip_start
mgr_init --insecure-pcrs >/dev/null
mgr_start --pool 0 --anchors-per-guest 0
ctl create good --commit-rate 0 >/dev/null
ctl create idle >/dev/null
ctl start good >/dev/null
ctl start idle >/dev/null
guest idle tpm2_pcrextend "16:sha256=$(printf '%064x' 7)"
guest idle tpm2_startauthsession -S "$LAB/s.ctx" --hmac-session
guest idle tpm2_createprimary -Q -C o -G ecc -c "$LAB/key.ctx"
guest idle tpm2_pcrread sha256:0,1,16,23 >"$LAB/before"
check held gives True field good held
check first_generation gives 1 status hold generation

# --- under load ---
watch_start
STRIKES=${STRIKES:-40}
for ((i = 1; i <= STRIKES; i++)); do
	whom=(manager manager keeper spawner all twice backend upgrade)
	whom=${whom[RANDOM % ${#whom[@]}]}
	before=$(status hold generation)
	[ "$whom" = keeper ] || [ "$whom" = backend ] && before=$((before - 1))
	pause "0.$((RANDOM % 20 + 10))"
	strike "$whom"
	soon another "$before" || { echo "strike $i: $whom"; break; }
done >"$LAB/strikes"
if [ $i -gt "$STRIKES" ]; then ok "${STRIKES}_strikes"; else not_ok "${STRIKES}_strikes" "$LAB/strikes"; fi
watch_end guest_noticed_nothing
guest idle tpm2_pcrread sha256:0,1,16,23 >"$LAB/after"
check idle_keeps_its_pcrs cmp "$LAB/before" "$LAB/after"
check idle_keeps_session_and_key guest idle tpm2_create -Q -C "$LAB/key.ctx" -P "session:$LAB/s.ctx" -u "$LAB/pub" -r "$LAB/priv"
guest idle tpm2_flushcontext -t
check nothing_is_quarantined gives 0 status quarantined
check no_discontinuity gives 0 field good discontinuities
check no_failed_authorisation_was_counted grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0' <(guest good tpm2_getcap properties-variable)
check areas_of_two_guests test "$(areas "$(spawner)")" -eq 2
check held_areas_of_two_guests test "$(areas "$MGR_PID")" -eq 2
check one_manager test "$(pgrep -P "$MGR_PID" | wc -l)" -eq "$(pgrep -P "$MGR_PID" -x 'vtpm-mgr|cat' | wc -l)"

# --- while the TPM does not answer, the old generation goes on with what changes nothing durable ---
guest good tpm2_pcrextend "16:sha256=$(printf '%064x' 9)"
mkfifo "$LAB/line.in" "$LAB/line.out"
"$B/tests/tpmline" "$LAB/run/good.ring" <"$LAB/line.in" >"$LAB/line.out" &
line=$!
exec 5>"$LAB/line.in" 6<"$LAB/line.out"
tpm() { echo "$1" >&5 && read -rt 20 answer <&6 && echo "$answer"; }
pcr_read=8001000000140000017e00000001000b03000001
pcr_extend() { printf '80020000004100000182000000100000000940000009000000000000000001000b%064x' "$1"; }
tpm $pcr_read >"$LAB/before"
before=$(status hold generation)
kill -STOP "$CHIP_PID"
slay KILL "$(manager)"
check a_command_without_a_tpm tpm $pcr_read
cp "$LAB/out" "$LAB/after"
check pcrs_without_a_tpm cmp "$LAB/before" "$LAB/after"
check extend_without_a_tpm tpm "$(pcr_extend 10)"
tpm $pcr_read >"$LAB/extended"
check extended_without_a_tpm no cmp "$LAB/before" "$LAB/extended"
echo 80020000002d0000012a40000001000000094000000900000000000000000e01500040000b0002000200000004 >&5 # TPM2_NV_DefineSpace
check a_durable_change_waits no read -rt 0.5 answer <&6
kill -CONT "$CHIP_PID"
check it_is_made_when_the_tpm_is_back read -rt 20 answer <&6
is and_succeeds "${answer::20}" 80020000001300000000
check taken_over soon another "$before"
tpm $pcr_read >"$LAB/after"
check pcrs_afterwards cmp "$LAB/extended" "$LAB/after"
exec 5>&- 6<&-
wait $line
check the_change_is_there guest good tpm2_nvreadpublic 0x1500040

# --- orders that are under way ---
before=$(status hold generation)
kill -STOP "$CHIP_PID"
slay KILL "$(manager)"
ctl reset idle >"$LAB/reset" 2>&1 &
order=$!
ctl stop good >"$LAB/stop" 2>&1 &
stopper=$!
pause 0.3
kill -CONT "$CHIP_PID"
check reset_of_one_that_waits wait $order
check stop_of_one_that_waits wait $stopper
guest idle tpm2_pcrread sha256:16 >"$LAB/after"
check it_was_reset grep -q '16: 0x0000' "$LAB/after"
check it_is_off is_state good stopped
check its_socket_has_gone test ! -e "$LAB/run/good.ring"
check its_area_has_gone soon gives 1 areas "$MGR_PID"

# --- a QEMU and its guest, which look closely at every byte ---
check create_qemu ctl create machine --commit-rate 0
seed=${RESUME_SEED:-$RANDOM}
check "qemu_noticed_nothing_seed_$seed" timeout 200 python3 tests/integration/resume_qemu.py "$B/vtpmctl" "$LAB/run" machine "$seed" "${RESUME_STEPS:-1200}" "$MGR_PID"
sed 's/^/    /' "$LAB/out"
check its_tpm_is_off becomes machine stopped
check nothing_of_it_is_left soon gives 1 areas "$MGR_PID" # that of the ring that is on

# --- a QEMU that hangs up while nobody is there to be told how its backend has ended ---
mkfifo "$LAB/hang"
timeout 60 python3 -c 'import sys
sys.path.insert(0, "tests/tools")
from ptm import command
from qemu_peer import Qemu
qemu = Qemu(sys.argv[1])
assert qemu.boot() == 0 and qemu.run(command(0x8001, "00000145" "0000")) == 0 # TPM2_Shutdown: there is nothing to commit any more
print("on", flush=True)
sys.stdin.readline()
qemu.hang_up()' "$LAB/run/machine.swtpm" <"$LAB/hang" >"$LAB/said" &
machine=$!
exec 7>"$LAB/hang"
check a_machine_is_on soon grep -q on "$LAB/said"
manager=$(manager) spawner=$(spawner) before=$(status hold generation)
kill -STOP "$manager"
exec 7>&-
wait $machine
check its_backend_ends_in_order soon gives 1 areas "$MGR_PID"
slay KILL "$manager" "$spawner"
settled() { [[ "$(field machine state)" = @(stopped|failed) ]]; }
check it_is_not_gone_on_with soon settled
check its_tpm_is_off_as_ever is_state machine stopped
check the_manager_is_another test "$(status hold generation)" -gt "$before"
check and_has_the_others gives running field idle state

# --- one build is upgraded to another, under load ---
NEXT=$LAB/next
next_build() {
	mkdir "$NEXT" && cp -a "$B/obj" "$B/gen" "$NEXT/" || return 1
	grep -rl --include='*.d' 'lib/version\.h' "$NEXT/obj" | sed 's/d$/o/' | xargs rm -f
	make -s BUILD="$NEXT" CFLAGS='-DVTPM_VERSION=\"9.8.7\"' programs
}
runs() { gives "$1" status version && gives "$(readlink -f "$2/vtpm-spawn")" readlink -f "/proc/$(spawner)/exe" && gives "$(readlink -f "$2/vtpm-keeper")" readlink -f "/proc/$(keeper)/exe"; }
check stops mgr_stop
check nothing_is_left_of_it test -z "$(ls "$LAB/run" | grep -v empty)"
check another_build next_build
ln -s "$B" "$LAB/bin"
version=$("$B/vtpm-mgr" --version | cut -d' ' -f2)
HOLD="--manager $LAB/bin/vtpm-mgr --restarts 1000" LIBEXEC=$LAB/bin mgr_start --pool 0
ctl start good >/dev/null
guest good tpm2_pcrextend "16:sha256=$(printf '%064x' 12)"
guest good tpm2_pcrread sha256:16 >"$LAB/before"
watch_start
for i in 1 2 3; do
	ln -sfn "$NEXT" "$LAB/bin"
	if [ $i = 1 ]; then check upgrade_by_word ctl upgrade; else kill -HUP "$MGR_PID"; fi
	check "upgraded_$i" soon runs 9.8.7 "$NEXT"
	pause "0.$((RANDOM % 10 + 10))"
	ln -sfn "$B" "$LAB/bin"
	kill -HUP "$MGR_PID"
	check "and_back_$i" soon runs "$version" "$B"
done
check not_waiting soon gives 0 status hold waiting
watch_end guest_notices_no_upgrade

# --- a program that does not start leaves the old ones serving ---
mkdir "$LAB/broken"
ln -sfn "$LAB/broken" "$LAB/bin"
kill -HUP "$MGR_PID"
check a_broken_upgrade_is_said logged 'cannot start .*/vtpm-mgr'
ln -sfn "$B" "$LAB/bin"
check and_mended soon runs "$version" "$B"
check not_waiting_any_more soon gives 0 status hold waiting
extended=$(guest good tpm2_pcrread sha256:16)
check the_guest_worked_on test -n "$extended" -a "$extended" != "$(cat "$LAB/before")"
check stops_in_order mgr_stop

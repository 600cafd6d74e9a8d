#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Measured launch: events become PCRs, a log and what a guest reads of it; who may be launched, and what becomes of others. QEMUs and
# hostile clients: launch_qemu.py.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init
launch() { python3 tests/tools/launch.py "$LAB/run" "$@"; }

pcrs_of_log() { # of a bank; PCR 0 begins with 4, which tpm2_eventlog does not know before 5.6
	python3 tests/tools/launch.py --replay "$1" "$2"
	tpm2_eventlog "$1" 2>/dev/null | awk -v b="$2:" '$1 ~ /^sha/ { on = $1 == b } on && $2 == ":" && $1 > 0 { print $1, toupper(substr($3, 3)) }'
}
pcrs_of_guest() { guest "$1" tpm2_pcrread "$2:0,1,2,3,4,5,6,7,8,9" | awk '$2 == ":" { print $1, substr($3, 3) }'; }
replays() { # the manager's log of $1 is what its PCRs hold, in both banks
	local bank
	ctl eventlog "$1" >"$LAB/log" || return 1
	for bank in sha256 sha384; do
		diff <(pcrs_of_log "$LAB/log" $bank) <(pcrs_of_guest "$1" $bank) || return 1
		[ "$(pcrs_of_guest "$1" $bank | wc -l)" -eq 10 ] || return 1
	done
}
log_in_nv() { # as a guest reads it, with an empty password and no more
	local at=0x1407600 size got
	guest "$1" tpm2_nvread -Q $at -o "$LAB/nv" 2>/dev/null || return 1
	size=$(od -An -tu4 --endian=little -N4 "$LAB/nv")
	while [ $((4 + size)) -gt "$(stat -c %s "$LAB/nv")" ]; do
		at=$(printf '0x%x' $((at + 1)))
		guest "$1" tpm2_nvread -Q $at -o "$LAB/nv.part" 2>/dev/null || return 1
		cat "$LAB/nv.part" >>"$LAB/nv"
	done
	tail -c +5 "$LAB/nv" | cmp - "$LAB/log"
}
indices() { guest "$1" tpm2_nvreadpublic | grep -c '^0x14076'; }

chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start --pool 0
for name in web ring guarded; do ctl create $name >/dev/null; done

# --- what a launch is ---
digest=$(launch ring)
check launched is_state ring launched
check eventlog_is_the_digest test "$(ctl eventlog ring | sha256sum)" = "$digest  -"
check started ctl start ring
check replay_is_the_pcrs replays ring
check log_is_in_nv log_in_nv ring
nv_write() { head -c 8 /dev/zero >"$LAB/zero"; guest ring tpm2_nvwrite 0x1407600 -C "$1" -i "$LAB/zero"; }
check guest_cannot_write_it refused 'Tpm|TPM|tpm' nv_write p
check nor_as_owner refused 'Tpm|TPM|tpm' nv_write o
check nor_remove_it refused 'Tpm|TPM|tpm' guest ring tpm2_nvundefine 0x1407600
guest ring tpm2_pcrextend "4:sha256=$(printf '%064x' 7)"
check it_is_extended refused '^> 4 ' replays ring
check reset ctl reset ring
check reset_begins_with_it replays ring
guest ring tpm2_clear -Q
check clear_leaves_the_log log_in_nv ring
ctl stop ring
was=$(field ring sealed_bytes)
for i in 1 2 3; do launch ring && ctl start ring && ctl stop ring; done >"$LAB/out"
check state_does_not_grow test "$(field ring sealed_bytes)" -eq "$was"
launch ring --sha1 --padding 900 >/dev/null && ctl start ring >/dev/null
check longer_log_replays replays ring
check longer_log_is_in_nv log_in_nv ring
long=$(indices ring)
ctl stop ring
launch ring >/dev/null && ctl start ring >/dev/null
check shorter_log_replays replays ring
check shorter_log_is_in_nv log_in_nv ring
check what_is_not_needed_goes test "$(indices ring)" -lt "$long"
ctl stop ring

# --- a guest's own index in the log's place ---
ctl create squat >/dev/null && ctl start squat >/dev/null
guest squat tpm2_nvdefine -Q 0x1407600 -C o -s 8 -a 'ownerread|ownerwrite'
ctl stop squat
launch squat >/dev/null && ctl start squat >/dev/null
check squatter_is_gone replays squat
check log_takes_its_place log_in_nv squat
ctl stop squat

# --- who is launched, and who is not ---
check ring_may_come_without ctl start web
check eventlog_of_nobody refused 'no event log' ctl eventlog web
ctl stop web
ctl set guarded --launch required >/dev/null
check required refused 'vtpm-launch' ctl start guarded
launch guarded >/dev/null
check required_and_launched ctl start guarded
check launch_of_one_that_is_on refused 'running already' launch guarded
ctl stop guarded
check once refused 'vtpm-launch' ctl start guarded
launch guarded >/dev/null
check stop_undoes_it ctl stop guarded
check and_it_is_off refused 'vtpm-launch' ctl start guarded

# --- the user of a vTPM does not say what was booted ---
if [ "$(id -u)" -eq 0 ]; then
	ctl create users --user 64201 >/dev/null
	as_user() { # bytes that a QEMU of that user is answered with when it asks for GET_CAPABILITY
		as 64201 64201 /usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(bytes([0, 0, 0, 1]))
    print(len(s.recv(64)))
except (BrokenPipeError, ConnectionResetError):
    print(0)' "$LAB/run/users.swtpm"
	}
	check user_has_it_without_a_launch test "$(as_user)" -gt 0
	becomes users stopped
	launch users >/dev/null
	check user_does_not_take_a_launch test "$(as_user)" = 0
	check which_waits_on is_state users launched
	check log_tells_why grep -q 'users: QEMU refused: .*launched' "$LAB/mgr.log"
	ctl stop users
else
	echo "skip user_does_not_take_a_launch: needs root to become another user"
fi

# --- killed in the middle: while the chip does not answer, the launch cannot become durable ---
if [ "$(id -u)" -eq 0 ]; then
	launch ring >/dev/null
	kill -STOP "$CHIP_PID"
	ctl start ring >"$LAB/started" 2>&1 &
	starting=$!
	soon newest
	kill -KILL "$(newest)"
	kill -CONT "$CHIP_PID"
	killed() { ! wait "$starting" && grep -q 'signal 9' "$LAB/started"; }
	check killed_in_the_middle_fails_with_words killed
	check and_is_no_launch_any_more refused 'no event log' ctl eventlog ring
	ctl stop ring >/dev/null 2>&1
	launch ring >/dev/null
	check next_launch_starts ctl start ring
	check next_launch_replays replays ring
	ctl stop ring
else
	echo "skip killed_in_the_middle_fails_with_words: needs root to kill processes of other uids"
fi

# --- what is allowed ---
check allow ctl launch allow web "$digest"
check allow_again refused 'already' ctl launch allow web "$digest"
check list test "$(ctl launch list web | awk '{ print $1, $2 }')" = "digest $digest"
check allowed launch web
ctl stop web
check another_is_refused refused 'Denied.*vtpmctl launch allow web [0-9a-f]{64}' launch web --kernel other
other=$(sed -n 's/.*launch allow web //p' "$LAB/refused")
check refusal_is_audited grep -q "\"action\":\"launch\",\"vtpm\":\"web\".*permission denied.*$other" "$LAB/state/audit.log"
check serve ctl launch policy web --mismatch serve
check mismatch_is_served test "$(launch web --kernel other)" = "$other"
ctl start web >/dev/null
check its_pcrs_tell replays web
check show_tells grep -q 'not allowed' <(ctl show web)
check audit_tells grep -q "\"action\":\"launch\",\"vtpm\":\"web\".*$other, not allowed, served" "$LAB/state/audit.log"
ctl stop web
ctl launch policy web --mismatch refuse >/dev/null
check not_any_more ctl launch allow web "$digest" --remove
check then_any launch web --kernel other
ctl stop web

key() { openssl "$@" 2>/dev/null; }
key ecparam -genkey -name prime256v1 -noout -out "$LAB/ec.pem" && key ec -in "$LAB/ec.pem" -pubout -out "$LAB/ec.pub"
key genrsa -out "$LAB/rsa.pem" 2048 && key rsa -in "$LAB/rsa.pem" -pubout -out "$LAB/rsa.pub"
key genrsa -out "$LAB/weak.pem" 1024 && key rsa -in "$LAB/weak.pem" -pubout -out "$LAB/weak.pub"
sign() { openssl dgst -sha256 -sign "$1" "$LAB/log" | base64 -w0; }
ctl create source >/dev/null
launch source --kernel signed >/dev/null && ctl eventlog source --out "$LAB/log" && ctl stop source
check allow_a_groups_key ctl launch allow --group default --key "$LAB/ec.pub"
check weak_key refused 'RSA of 2048' ctl launch allow --group default --key "$LAB/weak.pub"
check private_key refused 'no public key' ctl launch allow --group default --key "$LAB/ec.pem"
check group_lists_it grep -q '^key ' <(ctl launch list --group default)
otherwise() { ctl launch show "$1" | sed -n 's/.*a launch that is not: //p'; }
ctl launch policy source --mismatch serve >/dev/null
check show_has_its_own_mismatch_with_its_groups_rules test "$(otherwise source)" = serve
check as_it_is_judged launch source --kernel unsigned
ctl stop source
ctl launch policy source --mismatch refuse >/dev/null
ctl create follows >/dev/null
ctl launch policy --group default --mismatch serve >/dev/null
check show_has_its_groups_mismatch test "$(otherwise follows) $(otherwise source)" = "serve refuse"
ctl launch policy --group default --mismatch refuse >/dev/null
check signed launch ring --kernel signed --signature "$(sign "$LAB/ec.pem")"
ctl stop ring
check unsigned refused Denied launch ring --kernel signed
check signature_of_another_launch refused Denied launch ring --kernel unsigned --signature "$(sign "$LAB/ec.pem")"
check signature_by_another_key refused Denied launch ring --kernel signed --signature "$(sign "$LAB/rsa.pem")"
check nonsense_for_a_signature refused Denied launch ring --kernel signed --signature AAAA
check one_with_rules_of_its_own ctl launch allow ring --key "$LAB/rsa.pub"
check goes_by_them launch ring --kernel signed --signature "$(sign "$LAB/rsa.pem")"
ctl stop ring
check and_not_by_its_groups refused Denied launch ring --kernel signed --signature "$(sign "$LAB/ec.pem")"
check group_requires ctl launch policy --group default --launch required
check of_each_vtpm refused 'vtpm-launch' ctl start source
check but_those_that_say_no ctl set source --launch off
check source_starts ctl start source
ctl stop source
mgr_stop
mgr_start --pool 0
check group_still_requires refused 'vtpm-launch' ctl start web
check and_lists_its_key grep -q '^key ' <(ctl launch list --group default)
mgr_stop
good=$(db "SELECT hex(value) FROM meta WHERE key = 'launch/default'")
db "UPDATE meta SET value = x'02' WHERE key = 'launch/default'"
mgr_start --pool 0
check changed_on_the_disk refused 'changed' ctl launch show --group default
check none_is_launched refused 'changed' launch web
check none_is_started refused 'vtpm-launch' ctl start web
mgr_stop
db "UPDATE meta SET value = x'$good' WHERE key = 'launch/default'"
mgr_start --pool 0
ctl launch policy --group default --launch auto >/dev/null
check key_goes ctl launch allow --group default --key "$LAB/ec.pub" --remove

# --- QEMUs, and who means no good ---
ctl create web1 --state-max 217088 >/dev/null
ctl create web2 --launch required >/dev/null
tests/integration/launch_qemu.py "$B/vtpmctl" "$LAB/run" 2>&1
check no_backend_broke_its_protocol test -z "$(grep 'broke its protocol' "$LAB/mgr.log")"

# --- what outlives a manager ---
mgr_stop
HOLD="--restarts 100"
mgr_start --pool 0
next_manager() { # the one that is killed is followed by another
	local g
	g=$(status hold generation)
	kill -KILL "$(pgrep -P "$MGR_PID" -x vtpm-mgr)"
	soon is_generation "$((g + 1))"
}
is_generation() { [ "$(status hold generation)" = "$1" ] && [ "$(status hold waiting)" = 0 ]; }
launch web1 >/dev/null
check another_manager next_manager
check launch_outlives_it is_state web1 launched
check its_log_does test "$(ctl eventlog web1 | sha256sum)" = "$digest  -"
check and_is_started ctl start web1
check replays_after_it replays web1
check one_more_manager next_manager
check replays_still replays web1
ctl reset web1
check reset_begins_with_it_still replays web1
ctl stop web1
check off is_state web1 stopped
tests/integration/launch_qemu.py "$B/vtpmctl" "$LAB/run" "$MGR_PID" 2>&1
check ends mgr_stop

# --- a guest that does not come ---
HOLD=
mgr_start --pool 0 --launch-wait 5
digest=$(launch web1)
check is_not_waited_for_without_end becomes web1 stopped
check it_is_said grep -q "web1: it was launched, and who it was launched for has not come in 5 s" "$LAB/mgr.log"
check and_audited grep -q "\"action\":\"launch\",\"vtpm\":\"web1\".*\"result\":\"timed out\".*$digest" "$LAB/state/audit.log"
launch web1 >/dev/null
check one_who_comes_in_time ctl start web1
check has_it_as_launched replays web1
check last_one_ends mgr_stop

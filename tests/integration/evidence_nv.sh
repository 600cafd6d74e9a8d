#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Evidence that a guest asks for by itself: it writes a nonce to an index of its TPM with a stock tool, and reads what has become of it. What it may not
# do with these indices; a host that cannot answer; backends that are killed, and vTPMs that are stopped, while they wait.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
. tests/integration/raw.sh
lab_init
trap '[ -z "$CHIP_PID" ] || kill -CONT "$CHIP_PID" 2>/dev/null; lab_end' EXIT # one that stands still does not end

NONCE=0x01407700 STATUS=0x01407701 KEY=0x01407702 ROWS="0x01407710 0x01407711 0x01407712 0x01407713 0x01407714 0x01407715 0x01407716 0x01407717"

nonce() { head -c "${1:-32}" /dev/urandom; }
hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }
# What guest $1 does, with stock tools and nothing else; its nonce is in $LAB/$2.nonce, the evidence in $LAB/$2.ev.
told() { guest "$1" tpm2_nvread $STATUS 2>/dev/null | tr -d '\0'; }
asks() { nonce >"$LAB/$2.nonce" && guest "$1" tpm2_nvwrite $NONCE -i "$LAB/$2.nonce"; }
reads() {
	local i n
	n=$(told "$1" | sed -n 's/^evidence of \([0-9]*\) bytes$/\1/p')
	[ -n "$n" ] || return 1
	for i in $ROWS; do guest "$1" tpm2_nvread "$i" 2>/dev/null; done >"$LAB/$2.rows" # whole: a tool that is cut off leaves its session loaded
	head -c "$n" "$LAB/$2.rows" >"$LAB/$2.ev"
}
# A host that is slow, and a guest that has asked often, say so: both are no error of theirs.
gets() {
	local s
	while asks "$1" "$2" || return 1; do
		reads "$1" "$2" && return
		s=$(told "$1")
		case $s in *"ask again"* | *"again in"*) pause 0.2 ;; *) echo "$s"; return 1 ;; esac
	done
}
verify() { "$B/vtpm-verify" --nonce "$(hex "$LAB/${2:-$1}.nonce")" --trust "$LAB/hosts.json" --policy "$LAB/policy.json" "${@:3}" "$LAB/$1.ev"; }
waits() { [ "$(status attestation guests_waiting)" = "$1" ]; } # that many guests do

check maker chip_made
check start eval 'chip_start && mgr_init --insecure-pcrs && mgr_start --pool 2'
check enroll enroll "$LAB/hosts.json"
echo '{}' >"$LAB/policy.json"
ctl create web1 >/dev/null && ctl create web2 >/dev/null && ctl start web1 >/dev/null && ctl start web2 >/dev/null

# --- as a new user would ---
is before_anybody_has_asked "$(told web1)" "no evidence: nobody has asked for it"
is there_are_only_zeros "$(for i in $ROWS; do guest web1 tpm2_nvread "$i" 2>/dev/null; done | tr -d '\0' | wc -c)" 0
check write_a_nonce asks web1 a
check read_evidence reads web1 a
check it_verifies verify a
says without_the_hosts_log "no event log of the host"
is behind_it_are_zeros "$(for i in $ROWS; do guest web1 tpm2_nvread "$i" 2>/dev/null; done | tail -c +$(($(stat -c %s "$LAB/a.ev") + 1)) | tr -d '\0' | wc -c)" 0
is it_is_counted "$(status attestation by_guests)" 1
is about_that_vtpm "$("$B/vtpm-verify" --uuid "$(uuid_of web1)" --nonce "$(hex "$LAB/a.nonce")" --trust "$LAB/hosts.json" --policy "$LAB/policy.json" "$LAB/a.ev" | grep -c '^subject *passed')" 1
check another_time gets web1 b
check that_verifies verify b
exits each_for_its_own_nonce 1 verify a b
echo '{"host":{"log":true}}' >"$LAB/policy.json"
exits a_policy_that_demands_the_log 1 verify b
says says_that_it_is_not_there "the host's event log is not there"
echo '{}' >"$LAB/policy.json"

# --- whatever passwords there are ---
for h in owner endorsement lockout; do guest web1 tpm2_changeauth -Q -c $h secret; done
check with_passwords_set gets web1 a
check that_one_verifies_too verify a
check by_the_owner eval 'nonce >"$LAB/o.nonce"; guest web1 tpm2_nvwrite $NONCE -C o -P secret -i "$LAB/o.nonce" && reads web1 o && verify o'
guest web1 tpm2_changeauth -Q -c owner -p secret
ctl create web3 >/dev/null && ctl start web3 --firmware >/dev/null
guest web3 tpm2_startup -c && guest web3 tpm2_changeauth -Q -c platform secret
check of_firmware_that_has_taken_the_platforms gets web3 c
check which_verifies verify c

# --- a nonce that is none ---
nonce 7 >"$LAB/short" && nonce 8 >"$LAB/x.nonce" && nonce 65 >"$LAB/long"
check a_short_one guest web3 tpm2_nvwrite $NONCE -i "$LAB/short"
is is_told_so "$(told web3)" "no evidence: a nonce has 8 to 64 bytes, and is written at once"
is and_has_nothing_to_read "$(for i in $ROWS; do guest web3 tpm2_nvread "$i" 2>/dev/null; done | tr -d '\0' | wc -c)" 0
check one_at_an_offset guest web3 tpm2_nvwrite $NONCE --offset 8 -i "$LAB/x.nonce"
is is_told_so_too "$(told web3)" "no evidence: a nonce has 8 to 64 bytes, and is written at once"
check one_that_is_too_long no guest web3 tpm2_nvwrite $NONCE -i "$LAB/long"
check the_shortest eval 'guest web3 tpm2_nvwrite $NONCE -i "$LAB/x.nonce" && reads web3 x && verify x'
check the_longest eval 'nonce 64 >"$LAB/x.nonce" && guest web3 tpm2_nvwrite $NONCE -i "$LAB/x.nonce" && reads web3 x && verify x'

# --- what a guest may not do ---
for i in $STATUS 0x01407710 0x01407717; do
	check "not_write_$i" no guest web1 tpm2_nvwrite "$i" -i "$LAB/short"
	check "nor_as_the_owner_$i" no guest web1 tpm2_nvwrite "$i" -C o -i "$LAB/short"
	check "nor_lock_it_$i" no guest web1 tpm2_nvwritelock "$i" -C o
	check "nor_undefine_it_$i" no guest web1 tpm2_nvundefine "$i" -C o
done
check nor_the_nonces no guest web1 tpm2_nvundefine $NONCE -C o
check nor_lock_the_nonces no guest web1 tpm2_nvwritelock $NONCE -C o
check nor_use_the_key no guest web1 tpm2_nvread $KEY
guest web1 tpm2_startauthsession -Q --policy-session -S "$LAB/s"
check nor_have_a_policy_of_it no guest web1 tpm2_policysecret -Q -S "$LAB/s" -c $KEY
check an_empty_policy_writes_nothing no guest web1 tpm2_nvwrite 0x01407710 -P "session:$LAB/s" -i "$LAB/short"
guest web1 tpm2_flushcontext -Q "$LAB/s"
check it_is_all_there eval 'reads web1 o && verify o'
is no_lockout_was_counted "$(guest web1 tpm2_getcap properties-variable | sed -n 's/TPM2_PT_LOCKOUT_COUNTER: //p')" 0x0

# --- with slots that the guest has filled, and a nonce that it has encrypted ---
for i in 1 2 3; do guest web1 tpm2_createprimary -Q -C o -G ecc -c "$LAB/p.ctx"; done
check no_slot_for_an_object_is_needed gets web1 a
check of_one_with_objects verify a
guest web1 tpm2_flushcontext -Q -t
nonce >"$LAB/e.nonce"
guest web1 tpm2_startauthsession -Q --hmac-session -S "$LAB/s" && guest web1 tpm2_sessionconfig -Q "$LAB/s" --enable-decrypt
check encrypted guest web1 tpm2_nvwrite $NONCE -P "session:$LAB/s" -i "$LAB/e.nonce"
check it_is_for_what_was_encrypted eval 'reads web1 e && verify e'
check the_session_goes_on eval 'guest web1 tpm2_nvwrite $NONCE -P "session:$LAB/s" -i "$LAB/e.nonce"'
guest web1 tpm2_flushcontext -Q "$LAB/s"
session_hex() { command_hex 8001 "0000017640000007400000070010$(printf '%032x' 7)00000100100""00b"; }
ask_hex() { command_hex 8002 "000001370140770001407700$(password "")0008${1}0000"; } # nonce
line_open web2
sessions=
for i in 1 2 3; do say web2 "$(session_hex)" && sessions="$sessions ${REPLY:20:8}"; done
say web2 "$(ask_hex 0011223344556677)"
is all_sessions_taken "$(rc_of "$REPLY")" 00000903
set -- $sessions
say web2 "$(command_hex 8001 "00000165$1")"
say web2 "$(ask_hex 0011223344556677)"
is one_given_back "$(rc_of "$REPLY")" 00000000
say web2 "$(session_hex)"
is which_is_there_again "$(rc_of "$REPLY")" 00000000
for i in $2 $3 ${REPLY:20:8}; do say web2 "$(command_hex 8001 "00000165$i")"; done

# --- more often than it may: answered at once ---
for i in $(seq 12); do say web2 "$(ask_hex "00112233445566$(printf %02x "$i")")"; done
line_close web2
is every_write_succeeds "$(rc_of "$REPLY")" 00000000
check too_often grep -qx "no evidence: asked too often; again in [12] s" <(told web2)
check another_guest_may gets web3 c
check later_it_may_again gets web2 b
check and_it_verifies verify b

# --- many share a quote: while the chip stands still they gather ---
# With a chip that stands still a guest that has asked too often is not even told: these have not asked yet.
for i in 1 2 3; do ctl create "slow$i" >/dev/null && ctl start "slow$i" >/dev/null; done
quotes=$(status attestation host_quotes)
kill -STOP "$CHIP_PID"
pids=
for i in 1 2 3; do gets "slow$i" "g$i" >/dev/null & pids="$pids $!"; done
soon waits 3
kill -CONT "$CHIP_PID"
check all_get_theirs wait $pids
took=$(($(status attestation host_quotes) - quotes))
echo "    $took quotes of the chip for 3 pieces of evidence"
is fewer_quotes_than_guests "$([ "$took" -le 2 ] && echo fewer)" fewer
for i in 1 2 3; do check "shared_$i" verify "g$i"; done

# --- a chip that stands still for longer than a guest waits: what comes late is nobody's ---
kill -STOP "$CHIP_PID"
began=$(date +%s%N)
asks slow3 x & waiter=$!
soon waits 1
until [ $((($(date +%s%N) - began) / 1000000)) -gt 5500 ]; do pause 0.1; done
kill -CONT "$CHIP_PID"
check the_write_ends wait $waiter
is and_says_why "$(told slow3)" "no evidence: the host has not answered in time; ask again"
check the_next_one_has_its_own gets slow3 b
check as_before verify b
kill -KILL "$(keeper)"
check with_another_keeper gets slow3 b
check as_before_that verify b

# --- a backend that is killed while it waits: its guest notices nothing ---
asks_meanwhile() { # guest $1 does, as $2, and the chip stands still
	kill -STOP "$CHIP_PID"
	asks "$1" "$2" & waiter=$!
	soon waits 1
}
asks_meanwhile slow1 k
for p in $(backends); do kill -KILL "$p"; done
kill -CONT "$CHIP_PID"
check the_write_succeeds wait $waiter
check there_is_evidence eval 'reads slow1 k || gets slow1 k'
check for_that_nonce verify k
check which_another_backend_has_asked_for grep -q "slow1: goes on where its last backend stood" "$LAB/mgr.log"

# --- one that is stopped while it waits ---
asks_meanwhile slow2 t
ctl stop slow2 & stopper=$!
becomes slow2 stopping
kill -CONT "$CHIP_PID"
check it_stops wait $stopper
wait $waiter
ctl start slow2 >/dev/null
is nothing_hangs "$(told slow2)" "no evidence: the command was cancelled"

# --- what stays, and what does not ---
check once_more gets web1 a
ctl stop web1 && ctl start web1 >/dev/null
check it_outlives_the_power eval 'reads web1 a && verify a'
nonce >"$LAB/n.nonce"
exits but_is_not_for_another_nonce 1 verify a n
ctl stop web1
check certified_anew ctl certify web1
ctl start web1 >/dev/null
is nothing_is_left "$(told web1)" "no evidence: nobody has asked for it"
check it_can_ask gets web1 a
check with_its_new_certificate verify a
check its_key_is_rotated eval 'ctl reseal && ctl stop web1 && ctl start web1'
check and_it_goes_on_asking gets web1 a
check that_is_believed verify a
ctl create web4 >/dev/null
digest=$(python3 tests/tools/launch.py "$LAB/run" web4) && ctl start web4 >/dev/null
check of_a_launched_one gets web4 l
exits its_log_is_not_in_it 1 verify l
says and_that_is_said "the launch event log is not there"
# That lies in NV, too: u32 its length, then it.
for i in 0 1 2; do guest web4 tpm2_nvread "0x0140760$i" 2>/dev/null; done >"$LAB/parts"
tail -c +5 "$LAB/parts" | head -c "$(od -An -tu4 -N4 "$LAB/parts" | tr -d ' ')" >"$LAB/log"
is it_is_the_one_that_was_launched_by "$(sha256sum <"$LAB/log")" "$digest  -"
printf '{"launch":{"required":true,"digests":["%s"]}}' "$digest" >"$LAB/policy.json"
check with_it_it_verifies verify l l --launch-log "$LAB/log"
says by_that_log "the launch event log leads to the guest's PCRs"
echo '{}' >"$LAB/policy.json"

# --- a TPM that was swtpm's; one that has not been certified since it was restored ---
mkdir "$LAB/sw" && swtpm_setup --tpm2 --tpmstate "$LAB/sw" --config "$LAB/setup.conf" --createek --create-ek-cert --lock-nvram >/dev/null
check import ctl import web5 --swtpm "$LAB/sw"
ctl start web5 >/dev/null
check an_imported_one_can_ask gets web5 i
check as_any_other verify i
ctl stop web2
ctl backup "$LAB/backup" >/dev/null && ctl restore "$LAB/backup" --only web2 --accept-rollback >/dev/null
ctl start web2 >/dev/null
check asks_a_restored_one asks web2 r
is which_is_told "$(told web2)" "no evidence: this TPM has no certified attestation key"
check however_often_it_asks asks web2 r
is the_log_has_it_once "$(grep -c "web2: its guest has asked for evidence, and gets none: it has no certified" "$LAB/mgr.log")" 1

# --- a QEMU's guest, and one that hangs up while it asks ---
ctl create web6 >/dev/null
qemu() { # what it asks is in $LAB/q.nonce
	python3 - "$LAB" "$CHIP_PID" "$B/vtpmctl" <<'P'
import json, os, signal, struct, subprocess, sys, time
sys.path.insert(0, "tests/tools")
from qemu_peer import Qemu
lab, chip, ctl = sys.argv[1], int(sys.argv[2]), sys.argv[3]
NONCE, STATUS, ROW = 0x01407700, 0x01407701, 0x01407710
def nv(code, index, rest):
    body = struct.pack(">IIIIIHBH", code, index, index, 9, 0x40000009, 0, 0, 0) + rest
    return struct.pack(">HI", 0x8002, 6 + len(body)) + body
def ask(nonce):
    return nv(0x137, NONCE, struct.pack(">H", len(nonce)) + nonce + bytes(2))
def read(qemu, index, size):
    return b"".join(qemu.respond(nv(0x14e, index, struct.pack(">HH", min(size, 1024), at)))[16:16 + min(size, 1024)] for at in range(0, size, 1024))
def told(*what):
    return json.loads(subprocess.run([ctl, "--runtime-dir", lab + "/run", *what, "--json"], check=True, capture_output=True).stdout)
def until(what):
    while not what():
        time.sleep(0.02)
qemu = Qemu(lab + "/run/web6.swtpm")
assert qemu.boot() == 0
nonce = os.urandom(32)
assert qemu.run(ask(nonce)) == 0
status = read(qemu, STATUS, 256).rstrip(b"\0").decode()
assert status.startswith("evidence of "), status
rows = b"".join(read(qemu, ROW + i, 2048) for i in range(8))
open(lab + "/q.nonce", "wb").write(nonce)
open(lab + "/q.ev", "wb").write(rows[:int(status.split()[2])])
blobs = qemu.save()
assert qemu.go_on() == 0 and qemu.run(ask(nonce)) == 0
os.kill(chip, signal.SIGSTOP)
qemu.data.send(ask(os.urandom(32)))
until(lambda: told("status")["status"]["attestation"]["guests_waiting"] == 1)
qemu.hang_up()
os.kill(chip, signal.SIGCONT)
until(lambda: told("show", "web6")["vtpm"]["state"] == "stopped")
P
}
check of_a_qemu qemu
check that_verifies_too verify q

# --- another manager, while a guest waits ---
mgr_stop
HOLD="--restarts 100"
check start_under_vtpm_hold mgr_start --pool 0
unset HOLD
ctl start web4 >/dev/null
asks_meanwhile web4 h
kill -KILL "$(pgrep -P "$MGR_PID" -x vtpm-mgr)"
kill -CONT "$CHIP_PID"
check its_write_succeeds wait $waiter
check and_there_is_evidence reads web4 h
check which_is_believed verify h

# --- a host that gives none ---
mgr_stop
mgr_start --pool 0 --no-guest-evidence
ctl start web4 >/dev/null
check asks_in_vain asks web4 h
is is_told_so "$(told web4)" "no evidence: this host gives none to guests"
check operators_have_it ctl attest web4 --nonce "$(hex "$LAB/h.nonce")" --out "$LAB/op.ev"

# --- without a chip nothing becomes durable, evidence or not; a guest that asks for nothing goes on ---
chip_stop
check goes_on guest web4 tpm2_pcrread -Q sha256:0
mgr_stop

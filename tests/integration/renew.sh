#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A rotation of roots gives the vTPMs other keys: those that run at once, the others when they are powered on. What the key of before
# opened stays as it was until then, and is worth nothing after it.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
lab_init
chip_and_store
mgr_start --pool 0

due() { [ "$(ctl status --json | json "['status']['keys_due']")" -eq "$1" ] || { ctl status; return 1; }; }
is_due() { [ "$(field "$1" key_due)" = "$2" ] || { echo "$1: due $(field "$1" key_due), not $2"; return 1; }; }
said() { # CHANGED DUE: what the last reseal answered
	[ "$(json "['changed']" <"$LAB/reseal")" -eq "$1" ] && [ "$(json "['due']" <"$LAB/reseal")" -eq "$2" ] || { cat "$LAB/reseal"; return 1; }
}
reseal() { ctl reseal --json "$@" >"$LAB/reseal"; }
wrapped() { db -readonly "SELECT hex(wrapped) FROM vtpm WHERE name = '$1'"; }
pcr() { guest "$1" tpm2_pcrread sha256:16; }
pcr_is() { pcr "$1" >"$LAB/pcr.now" && cmp "$LAB/pcr.$1" "$LAB/pcr.now"; }

ctl group create vault --pcrs 0,4 --mode strict >/dev/null
guest_make a
guest_make s --group vault
guest_make off
ctl stop off
for g in a s; do
	guest $g tpm2_pcrextend "16:sha256=$(printf '%064x' 7)"
	pcr $g >"$LAB/pcr.$g"
done
check a-rotation all reseal -- said 2 1 -- due 1
check those-that-run-have-other-keys all is_due a False -- is_due s False -- audited '"renew","vtpm":"a".*"ok"'
check and-notice-nothing all pcr_is a -- pcr_is s -- guest_is_whole a -- guest_is_whole s
check one-that-is-off-is-due all is_due off True -- is_state off stopped
check over-a-restart all ctl stop a -- mgr_stop -- mgr_start --pool 0 -- due 1 -- is_due off True

# As it is while due: the row is authentic, under the root of now.
mgr_stop
ROW=wrapped,key_due
keep_row() { db "ATTACH '$LAB/$1.db' AS kept; CREATE TABLE kept.row AS SELECT uuid, $ROW FROM vtpm WHERE name = 'off'"; }
put_row() { db "ATTACH '$LAB/$1.db' AS kept; UPDATE vtpm SET (${2:-$ROW}) = (SELECT ${2:-$ROW} FROM kept.row o WHERE o.uuid = vtpm.uuid) WHERE name = 'off'"; }
with_row() { # NAME COMMAND…: what is said of the row that is there now
	mgr_start --pool 0
	check "$@"
	mgr_stop
}
keep_row due
mgr_start --pool 0
check powered-on-it-changes all guest_works off -- is_due off False -- due 0 -- ctl stop off
mgr_stop
keep_row now
wrapped off >"$LAB/wrapped.now"
put_row due
check the-row-has-another-key no test "$(wrapped off)" = "$(cat "$LAB/wrapped.now")"
with_row the-key-before-opens-nothing refused "quarantined: open the state: does not verify" ctl start off
# The mark is nobody's to take away, or to make.
put_row now key_due
with_row the-mark-is-not-taken-away refused "its key does not verify" ctl start off
put_row now
put_row due key_due
with_row nor-made refused "its key does not verify" ctl start off
put_row now
mgr_start --pool 0
check and-as-it-was-it-works all guest_works off -- guest_works a -- guest_works s

# Twice, and while it starts.
check twice all reseal -- said 3 0 -- reseal --group vault -- said 1 0 -- guest_is_whole off -- guest_is_whole s
ctl stop off
( for i in 1 2 3 4 5 6; do ctl start off && ctl stop off || exit 1; done >/dev/null 2>"$LAB/starts" ) &
STARTS=$!
many() { local i; for i in 1 2 3 4 5 6; do reseal || return 1; done; }
check while-one-starts-and-stops all many -- wait $STARTS -- guest_works off -- due 0
check everybody-is-whole all guest_is_whole a -- guest_is_whole s

# With QEMU's channels.
for g in a s off; do ctl stop $g; done
ctl create web >/dev/null
while read -r line; do
	echo "$line"
	case $line in "not ok"*) FAILED=1 ;; "ok qemu_comes_to_its_end_with_a_key_due") ENDED=1 ;; esac
done < <(tests/integration/renew.py "$B/vtpmctl" "$LAB/run" "$LAB/mgr.log" web "$MGR_PID" 2>&1)
check qemus-come-to-their-end test -n "${ENDED:-}"
check no-backend-broke-its-protocol no grep "broke its protocol" "$LAB/mgr.log"
exit $FAILED

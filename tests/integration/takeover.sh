#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Two QEMUs and one vTPM, in every order: takeover.py says what is tested. Here: the manager, its audit log and its end.
set -u
. tests/lib.sh
. tests/checks.sh
lab_init

chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start
ctl create web1 >/dev/null
ctl create web2 >/dev/null

coproc PEERS { exec tests/integration/takeover.py "$B/vtpmctl" "$LAB/run" "$LAB/mgr.log" 2>&1; }
peers=$PEERS_PID
left=
while read -r line <&"${PEERS[0]}"; do
	echo "$line"
	[ "$line" = "# two are left" ] && { left=yes; break; }
done
check "takeover.py comes to its end" test -n "$left"
check "rollbacks are in the audit log" test "$(grep -c '"action":"rollback"' "$LAB/state/audit.log")" -ge 2
check "with both versions" grep -qE 'rollback.*from change [0-9]+ to the state of change [0-9]+' "$LAB/state/audit.log"
check "a policy that changes, too" grep -qE '"action":"set".*snapshots: allow' "$LAB/state/audit.log"
check "no backend broke its protocol" test -z "$(grep 'broke its protocol' "$LAB/mgr.log")"
check "the manager ends in order with two of them" mgr_stop
kill "$peers" 2>/dev/null
wait "$peers" 2>/dev/null
mgr_start
starts() { ctl start web1 >/dev/null; }
check "and the TPM is as it was" starts

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# How long a manager takes to start: with one vTPM in its store, and with 10,000 that a genesis row vouches for.
# Usage: start.sh BUILD; LAB_RESULTS: where the figures go
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${1:-build}
. tests/lib.sh
lab_init
VTPMS=10000 ROUNDS=5

fail() { echo "bench: $1" >&2; tail -20 "$LAB/mgr.log" >&2; exit 1; }
is_open() { ctl status --json | python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["status"]["continuity"]["state"] != "open")'; }
listed() { ctl list --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["vtpms"]))'; }

# Until it serves, in milliseconds; the median.
measure() { # KEY
	local i from to
	for ((i = 0; i < ROUNDS; i++)); do
		from=${EPOCHREALTIME/./}
		mgr_start --pool 0 || fail "the manager does not start"
		to=${EPOCHREALTIME/./}
		is_open || fail "the manager does not serve"
		mgr_stop || fail "the manager did not stop in order"
		echo $((to - from)) >>"$LAB/$1"
	done
	sort -n "$LAB/$1" | awk -v key="$1" -v at=$((ROUNDS / 2 + 1)) 'NR == at { printf "%s 0 %.3f\n", key, $1 / 1000 }' | tee -a "$LAB_RESULTS" |
		awk '{ printf "  %-26s %-6s %12.3f\n", $1, "ours", $3 }'
}

# The same TPM under other uuids and names. Nobody can power those on, and nobody has vouched for them.
multiply() {
	db >/dev/null <<-SQL
		PRAGMA foreign_keys = OFF;
		BEGIN;
		WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < $VTPMS)
		INSERT INTO vtpm (uuid, name, grp, epoch, user, state_max, commit_rate, locality_max, snapshots, launch, launch_rules, rollbacks, created, machine, token,
			wrapped, key_due, quarantine, ek_public_0, ek_public_1, cert_0, cert_1)
		SELECT randomblob(16), name || i, grp, epoch, user, state_max, commit_rate, locality_max, snapshots, launch, launch_rules, rollbacks, created, machine, token,
			wrapped, key_due, quarantine, ek_public_0, ek_public_1, cert_0, cert_1 FROM vtpm, n;
		INSERT INTO state (uuid, version, sealed) SELECT v.uuid, s.version, s.sealed FROM vtpm v, state s WHERE v.uuid != s.uuid;
		INSERT INTO leaf (uuid, epoch, version, mode, discontinuities, hash, kinds, serial, certs)
			SELECT v.uuid, l.epoch, l.version, l.mode, l.discontinuities, l.hash, l.kinds, l.serial, l.certs
			FROM vtpm v, leaf l WHERE l.epoch > 0 AND v.uuid NOT IN (SELECT uuid FROM leaf);
		WITH u (h) AS (SELECT lower(hex(uuid)) FROM vtpm WHERE id > 1)
		INSERT INTO meta (key, value) SELECT 'certs:' || substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4)
			|| '-' || substr(h, 21), m.value FROM u, meta m WHERE m.key LIKE 'certs:%';
		COMMIT;
	SQL
	mgr_start --pool 0 || fail "the manager does not start"
	! is_open || fail "nobody minds what was put into the store"
	ctl quarantine release --store --i-accept-rollback >/dev/null || fail "the store is not released"
	[ "$(listed)" = $VTPMS ] || fail "there are no $VTPMS vTPMs"
	mgr_stop || fail "the manager did not stop in order"
}

# Each vTPM has a socket in the runtime directory, which is in memory, as /run is; without the right to mount, it is where the store is.
mkdir "$LAB/run"
mount -t tmpfs -o mode=0755 none "$LAB/run" 2>/dev/null || true
chip_start
mgr_init --insecure-pcrs >/dev/null || fail "the manager cannot be set up"
mgr_start --pool 0 || fail "the manager does not start"
ctl create guest >/dev/null || fail "no vTPM can be made"
mgr_stop || fail "the manager did not stop in order"
measure start_1_vtpm_ms
multiply
measure start_10000_vtpms_ms
# Verified, and not only counted: one changed leaf is found.
db "UPDATE leaf SET version = version + 1 WHERE uuid = (SELECT uuid FROM leaf WHERE epoch > 0 LIMIT 1 OFFSET $((VTPMS / 2)))"
mgr_start --pool 0 || fail "the manager does not start"
! is_open || fail "a changed leaf is not found"
mgr_stop || true

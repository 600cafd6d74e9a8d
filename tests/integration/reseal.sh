#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Root keys are rotated while guests run: nothing is lost, nothing of before is accepted, and whatever is killed in the middle of
# it leaves the one root or the other, whole.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
lab_init
CUTS=${CUTS:-12}

has_all() { has "$1" "${LAST[$1]}"; } # GUEST: the last number it was told is stored
wrapped() { db -readonly "SELECT hex(wrapped) FROM vtpm ORDER BY id"; }
roots() { db -readonly "SELECT hex(root) FROM grp ORDER BY name"; }
keeper_pid() { local p; for p in /proc/[0-9]*; do { tr '\0' ' ' <"$p/cmdline"; } 2>/dev/null | grep -q "^vtpm-keeper .*$LAB/" && { basename "$p"; return; }; done; }

mkdir -m 755 "$LAB/recovery.d"
offline_key a P-256
mv "$LAB/a.pem" "$LAB/recovery.d/"
chip_and_store
mgr_start --pool 0
ctl group create vault --pcrs 0,4 --mode strict >/dev/null
ctl recovery init >/dev/null
guest_make off
ctl stop off
counter_guest a
counter_guest s --group vault
mgr_stop
wrapped >"$LAB/wrapped.0"
roots >"$LAB/roots.0"
cp -a "$LAB/state" "$LAB/before"
mgr_start --pool 2
line_close a s
on a s

check reseal-while-guests-run all ctl reseal -- count_up a -- count_up s -- has_all a -- has_all s
check another-guest-starts all guest_works off -- ctl stop off
check and-one-is-made all ctl create new -- guest_works off -- ctl stop off
( ctl create busy >"$LAB/busy" 2>&1 ) &
BUSY=$!
check again-while-one-is-made all ctl reseal -- wait $BUSY -- ctl start busy -- ctl stop busy
check one-group-alone all ctl reseal --group vault -- count_up s
check unknown-group refused "no group" ctl reseal --group nobody
check audited audited '"reseal".*default'
kill -KILL "$(keeper_pid)"
check after-the-keeper-has-ended all count_up a -- count_up s -- has_all a
line_close a s
mgr_stop
wrapped >"$LAB/wrapped.1"
roots >"$LAB/roots.1"
check every-key-is-wrapped-anew no grep -qxFf "$LAB/wrapped.0" "$LAB/wrapped.1"
check every-root-is-another no grep -qxFf "$LAB/roots.0" "$LAB/roots.1"
check nothing-of-the-root-before-is-left test "$(db "SELECT count(*) FROM meta WHERE key = 'former'")" = 0
check nor-in-the-log no python3 -c 'import sys; sys.exit(not any(bytes.fromhex(k) in open(f, "rb").read() for k in open(sys.argv[1]).read().split() for f in sys.argv[2:]))' \
	"$LAB/wrapped.0" "$LAB"/state/vtpm.db*
mgr_start --pool 0
on a s
check a-restart-is-as-usual all is_open -- has_all a -- has_all s -- discontinuities a 0
line_close a s
mgr_stop

# The store from before it.
cp -a "$LAB/state" "$LAB/now"
rm -rf "$LAB/state"
cp -a "$LAB/before" "$LAB/state"
mgr_start --pool 0
check the-store-before-is-refused refused "no row of the journal has the value of anchor A" ctl start off
mgr_stop
rm -rf "$LAB/state"
cp -a "$LAB/now" "$LAB/state"
# A key from before it, put back.
db "ATTACH '$LAB/before/vtpm.db' AS old; UPDATE vtpm SET wrapped = (SELECT wrapped FROM old.vtpm o WHERE o.uuid = vtpm.uuid) WHERE name = 'off'"
mgr_start --pool 0
check a-key-before-is-refused refused "its key does not verify" ctl start off
check and-rotation-leaves-it-quarantined all ctl reseal -- refused "its key does not verify" ctl start off
mgr_stop
rm -rf "$LAB/state"
cp -a "$LAB/now" "$LAB/state"
chip_stop # its anchors hold what that rotation left
rm -f "$LAB"/chip.sock*
chip_start second
chip_measure
mgr_start --pool 0
challenge
opens a
check recovery-keys-follow-the-rotation all restores --i-accept-rollback -- guest_works off -- ctl stop off
on a s

# Killed at any instant.
all_whole() { local g; for g in a s; do all has_all $g -- count_up $g || return 1; done; }
again() { # the manager, and what runs
	mgr_start --pool 0 || return 1
	line_close a s 2>/dev/null
	on a s
}
cut() { # SECONDS: kills the manager that long after reseal began
	ctl reseal >/dev/null 2>&1 &
	local bg=$!
	sleep "$1"
	mgr_stop KILL || true
	wait $bg || true
	again && all is_open -- all_whole -- discontinuities a 1
}
cut_keeper() {
	ctl reseal >"$LAB/reseal.said" 2>&1 &
	local bg=$!
	sleep "$1"
	kill -KILL "$(keeper_pid)" 2>/dev/null || true
	wait $bg || true
	all_whole && is_open
}
begin=$(date +%s%N)
ctl reseal >/dev/null
took=$((($(date +%s%N) - begin) / 1000))
n=0
for ((i = 0; i < CUTS; i++)); do
	at=0.$(printf '%06d' $((took * i / CUTS + RANDOM % (took / CUTS + 1))))
	cut $at >"$LAB/out" 2>&1 && n=$((n + 1)) || { echo "# cut after $at s"; sed 's/^/# /' "$LAB/out"; }
	cut_keeper $at >"$LAB/out" 2>&1 && n=$((n + 1)) || { echo "# keeper killed after $at s"; sed 's/^/# /' "$LAB/out"; }
done
check "killed-at-any-instant" test $n -eq $((2 * CUTS))
echo "# $CUTS cuts of the manager and $CUTS of the keeper, within the $((took / 1000)) ms of a rotation"

# Another policy for the root that is being rotated: the one or the other, and never the root before under the keys of now.
meanwhile() { grep -q "changed meanwhile" "$1" || { cat "$1"; return 1; }; }
policy_in_between() { # SECONDS after reseal began
	ctl reseal --group default >"$LAB/reseal.said" 2>&1 &
	local bg=$! g
	sleep "$1"
	ctl policy set --pcrs 0,4 >"$LAB/policy.said" 2>&1 || meanwhile "$LAB/policy.said" || return 1
	wait $bg || meanwhile "$LAB/reseal.said" || return 1
	all_whole || return 1
	for g in a s; do line_close $g; ctl stop $g >/dev/null; done
	mgr_stop
	again && all is_open -- all_whole
}
n=0
for ((i = 0; i < CUTS; i++)); do
	at=0.$(printf '%06d' $((took * i / CUTS + RANDOM % (took / CUTS + 1))))
	policy_in_between $at >"$LAB/out" 2>&1 && n=$((n + 1)) || { echo "# another policy after $at s"; sed 's/^/# /' "$LAB/out"; }
done
check another-policy-meanwhile test $n -eq $CUTS
check and-the-others-are-whole all guest_works off -- ctl stop off -- ctl start new

# Another manager takes over in the middle of it, and the guests' lines stay what they are.
line_close a s
mgr_stop
HOLD="--restarts 1000" mgr_start --pool 0
on a s
later() { [ "$(status hold generation)" -gt "$1" ]; }
taken_over() { soon later "$1" || { echo "no manager after the $1. one"; return 1; }; } # by the manager after that one
upgrade_in_between() { # SECONDS after reseal began
	local was bg
	was=$(status hold generation)
	ctl reseal >"$LAB/reseal.said" 2>&1 &
	bg=$!
	sleep "$1"
	kill -HUP "$MGR_PID"
	wait $bg || true
	all_whole && taken_over "$was" && is_open && all_whole && discontinuities a 1
}
n=0
for ((i = 0; i < CUTS; i++)); do
	at=0.$(printf '%06d' $((took * i / CUTS + RANDOM % (took / CUTS + 1))))
	upgrade_in_between $at >"$LAB/out" 2>&1 && n=$((n + 1)) || { echo "# upgraded after $at s"; sed 's/^/# /' "$LAB/out"; }
done
check upgraded-at-any-instant test $n -eq $CUTS
check and-it-is-done-again all ctl reseal -- all_whole -- guest_works off
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A QEMU that does anything with one vTPM: walk.py says what must hold. WALK_SEED and WALK_STEPS for another way, or a longer one.
set -u
. tests/lib.sh
. tests/checks.sh
lab_init

off() { # its last QEMU has just gone, or it has failed
	local i
	for i in $(seq 300); do
		[ "$(ctl show "$1" | awk '$1 == "state" { print $2 }')" != stopped ] || return 0
		ctl stop "$1" 2>/dev/null
		read -r -t 0.1 _ <> <(:) || true
	done
	return 1
}

# It saves more often than a day's quota permits.
chip_start && mgr_init --insecure-pcrs >/dev/null && mgr_start --pool 1 --anchors-per-guest 0 || { echo "not ok start"; exit 1; }
for seed in ${WALK_SEED:-1 2 3}; do
	check "create_$seed" ctl create "walk$seed"
	check "nothing_goes_back_$seed" python3 tests/integration/walk.py "$LAB/run/walk$seed.swtpm" "$seed" "${WALK_STEPS:-2000}"
	cat "$LAB/out"
	check "it_ends_$seed" off "walk$seed"
	check "and_it_starts_$seed" ctl start "walk$seed"
	is "no_older_state_$seed" "$(ctl show "walk$seed" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["vtpm"]["rollbacks"])')" 0
done
check no_backend_broke_its_protocol test -z "$(grep 'broke its protocol' "$LAB/mgr.log")"
check the_manager_ends_in_order mgr_stop

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Somebody on the bus while a store is made: with a response changed, --init comes to nothing, or to a store that works
# without the change.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_begin

# What an --init that came to nothing may leave in the TPM.
forget_anchors() {
	bus_stop
	local h
	for h in 0x01805640 0x01805641; do chip tpm2_nvundefine -Q -C o $h 2>/dev/null || true; done
}
bus
check init-through-the-bus mgr_init --seal-pcrs 0,4 --shared-chip
mapfile -t INIT < <(recorded "$LAB/bus.log")
init_case() { # PLAN…
	rm -rf "$LAB/state"
	forget_anchors
	bus "$@"
	timeout 60 "$B/vtpm-mgr" --init $(mgr_options) --seal-pcrs 0,4 --shared-chip >"$LAB/said" 2>&1 ||
		{ [ $? -lt 124 ] && [ ! -e "$LAB/state/vtpm.db" ] && grep -q "not initialised\|TPM" "$LAB/said"; return; }
	bus
	mgr_start --pool 0 || return 1
	timeout 60 "$B/vtpmctl" --runtime-dir "$LAB/run" create web1 >"$LAB/said" 2>&1 || { mgr_stop; return 1; }
	mgr_stop
}
i=0
for r in "${INIT[@]}"; do
	i=$((i + 1))
	read -r n len <<<"$r"
	step=71
	[ "${n%/*}" != 00000173 ] || step=19 # ReadPublic: outside of a session at first, and what is pinned comes of it
	for ((k = 9 + i % 5; k < len; k += step)); do
		init_case flip "$n" $k || { echo "flip $n $k"; cat "$LAB/said"; } >>"$LAB/bad"
	done
done
for k in 16 17 18 19; do init_case flip 00000173/1 $k || { echo "flip of the SRK's attributes, $k"; cat "$LAB/said"; } >>"$LAB/bad"; done
cases init-flips-are-right-or-refused
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Backends of QEMU's channels that are killed while their guest works: resume_qemu.py says what must hold. RESUME_SEED and RESUME_STEPS for
# another way, or a longer one.
set -u
cd "$(dirname "$0")/../.."
if [ "$(id -u)" -ne 0 ]; then
	echo "skip resume_qemu: needs root to kill processes of other uids"
	exit 0
fi
. tests/lib.sh
. tests/checks.sh
lab_init

audited() { grep -q "$1" "$LAB/state/audit.log"; }
is_off() { # its QEMU has just gone
	local i
	for i in $(seq 300); do
		[ "$(ctl show "$1" | awk '$1 == "state" { print $2 }')" != stopped ] || return 0
		read -r -t 0.1 _ <> <(:) || true
	done
	return 1
}
left_behind() { ls -l "/proc/$(pgrep -P "$MGR_PID" -x vtpm-spawn)/fd" | grep -c vtpm-checkpoint; }

chip_start && mgr_init --insecure-pcrs >/dev/null || { echo "not ok start"; exit 1; }
seed=${RESUME_SEED:-$RANDOM}
for how in fork exec; do
	[ $how = fork ] && fork=() || fork=(--no-prefork)
	mgr_start --pool 0 --anchors-per-guest 0 "${fork[@]}" || { echo "not ok start"; exit 1; }
	check "${how}_create" ctl create "$how" --commit-rate 0
	check "${how}_guest_noticed_nothing_seed_$seed" timeout 300 python3 tests/integration/resume_qemu.py "$B/vtpmctl" "$LAB/run" $how "$seed" "${RESUME_STEPS:-1500}"
	sed 's/^/    /' "$LAB/out"
	grep -v "goes on" "$LAB/mgr.log" | tail -n 12 | sed "s/^/    log: /"
	check "${how}_ends" is_off $how
	is "${how}_nothing_is_left" "$(left_behind)" 0
	check "${how}_manager_ends" mgr_stop
done
check crashes_are_audited audited '"action":"crash","vtpm":"fork".*signal 9'
check replacements_are_audited audited '"action":"replace","vtpm":"exec".*"result":"ok"'
check no_backend_broke_its_protocol test -z "$(grep 'broke its protocol' "$LAB/mgr.log")"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A QEMU that does what none should, on both of its channels, beside a guest that must notice nothing of it; a QEMU that
# is killed; a disk that is full. HOSTILE_SEED=N repeats a run.
set -eu
cd "$(dirname "$0")/../.."
if [ -z "${VTPM_TEST_NS:-}" ] && unshare -m true 2>/dev/null; then
	VTPM_TEST_NS=1 exec unshare -m --propagation private "$0"
fi
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/neighbour.sh
lab_init
[ -z "${VTPM_TEST_NS:-}" ] || small_disk 16m

SOCK=$LAB/run/web1.swtpm
fault() { timeout 120 tests/tools/ptm_faults.py "$SOCK" "$@"; }
beside() { # fault, arguments…
	watch_start
	check "$1" fault "$@"
	watch_end "$1_and_the_neighbour_notices_nothing"
	check "$1_then_off" becomes web1 stopped
}
ek() { ctl show web1 --json | json "['vtpm']['ek'][0]['public']"; }
no_lockouts() { # the dictionary-attack counter, from a ring
	all becomes web1 stopped -- ctl start web1
	guest web1 tpm2_getcap properties-variable >"$LAB/variable"
	ctl stop web1
	cat "$LAB/variable"
	grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0$' "$LAB/variable"
}

chip_and_store
mgr_start --pool 0
for g in web1 web2 good; do ctl create $g --commit-rate 0 >/dev/null; done
ctl start good >/dev/null
was=$(ek)
check prepare all fault prepare -- becomes web1 stopped

beside noise
beside datafd
beside half
beside cancel
beside linger "$LAB/run/good.ring" "$LAB/run/control.sock"
beside blobs "$LAB/run/web2.swtpm"

# --- a QEMU that is killed in mid-command ---
say_until() { # fault, first line: its pid is in $doomed, what it says on descriptor 9
	mkfifo "$LAB/said"
	tests/tools/ptm_faults.py "$SOCK" "$1" >"$LAB/said" 2>&1 &
	doomed=$!
	exec 9<"$LAB/said"
	rm "$LAB/said"
	read -r line <&9 && [ "$line" = "$2" ]
}
kill_it() {
	kill -KILL "$doomed"
	wait "$doomed" 2>/dev/null || true
	cat <&9 >"$LAB/acknowledged"
	exec 9<&-
}
watch_start
for i in 1 2 3; do
	check "key_$i" say_until make begun
	kill_it
	check "killed_making_a_key_$i" becomes web1 stopped
done
check killed_making_a_key_works_on fault kept 0
for i in 1 2 3; do
	check "write_$i" say_until count 1
	for ((n = 0; n < 20 * i; n++)); do read -r line <&9; done
	kill_it
	line=$(tail -n 1 "$LAB/acknowledged" | grep . || echo "$line")
	check "killed_writing_$i" all becomes web1 stopped -- fault kept "$line" -- becomes web1 stopped
done
watch_end killed_and_the_neighbour_notices_nothing
check killed_is_no_wrong_guess no_lockouts

# --- a full disk ---
if [ -n "${VTPM_TEST_NS:-}" ]; then
	mgr_stop # the store's journal is small after that, and must grow
	mgr_start --pool 0
	ctl start good >/dev/null
	log_mark
	check full_disk fault full "$LAB/state"
	check full_disk_is_logged all logged "the store cannot be written" -- logged "the store can be written again"
	watch_start
	check full_disk_then_kept all becomes web1 stopped -- fault kept 0 -- becomes web1 stopped
	watch_end full_disk_then_the_neighbour_writes
else
	echo "skip full_disk: mounting a small disk needs root"
fi

check same_identity test "$(ek)" = "$was"
exit $FAILED

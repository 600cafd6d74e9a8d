#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Measures this project beside Debian's swtpm and libtpms by itself, prints a table, writes BUILD/bench.json.
# Usage: bench.sh BUILD [KEY…]   KEYs of the table only. docs/bench.md says what each figure is.
set -euo pipefail
cd "$(dirname "$0")/../.."
B=${1:-build}
[ $# -eq 0 ] || shift
. tests/lib.sh
lab_init
bench=$B/tests/vtpm_bench

wants() { # whether one of $1 … was asked for; everything is, where nothing was
	[ ${#keys[@]} -eq 0 ] && return 0
	local k w
	for k in "${keys[@]}"; do for w in "$@"; do [ "$k" != "$w" ] || return 0; done; done
	return 1
}
keys=("$@")
declare -A known
for k in getrandom_us pcr_read_us pcr_extend_us checkpoint_us checkpoint_record_us spawn_us create_ms create_pool_ms create_cold_ms nv_write_us \
	nv_write_1_guest_per_s nv_write_64_guests_per_s cancel_ms qemu_us pss_kib idle_cpu_pct \
	start_10000_vtpms_ms ptpm_nv_writes_per_hour attest_256_guests_per_s; do known[$k]=1; done
for k in "${keys[@]}"; do
	[ -n "${known[$k]:-}" ] || { echo "bench: no such figure: $k; there are: ${!known[*]}" >&2; exit 2; }
done

fail() { echo "bench: $1" >&2; tail -20 "$LAB/mgr.log" >&2; exit 1; }

cpu=$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)
printf '%s, %s cores, Linux %s, store on %s\n' "$cpu" "$(nproc)" "$(uname -r)" "$(stat -f -c %T "$LAB")"
[ "$(stat -f -c %T "$LAB")" != tmpfs ] || echo "bench: /tmp is in memory: nothing durable is measured here" >&2

chip_start
mgr_init --insecure-pcrs >/dev/null || fail "the manager cannot be set up"
: >"$LAB/results"
if wants create_cold_ms; then
	mgr_start --pool 0 || fail "the manager does not start"
	"$bench" cold "$LAB" "$MGR_PID" "$LAB/results" "${keys[@]}" || fail "measuring failed"
	mgr_stop || fail "the manager did not stop in order"
fi
others() { # keys that one manager with a pool is for
	local k
	[ ${#keys[@]} -gt 0 ] || return 0
	for k in "${keys[@]}"; do case $k in create_cold_ms | qemu_us | start_10000_vtpms_ms | ptpm_nv_writes_per_hour | attest_256_guests_per_s) ;; *) return 0 ;; esac; done
	return 1
}
if others; then
	mgr_start || fail "the manager does not start"
	"$bench" warm "$LAB" "$MGR_PID" "$LAB/results" "${keys[@]}" || fail "measuring failed"
	mgr_stop || fail "the manager did not stop in order"
fi
if wants ptpm_nv_writes_per_hour; then # an hour in twelve seconds, so a checkpoint is due after three
	mgr_start --pool 0 --checkpoint-interval 3 || fail "the manager does not start"
	ctl group create vault --pcrs 0 --insecure-pcrs --mode strict >/dev/null || fail "no strict group can be made"
	ctl create vault0 --group vault >/dev/null || fail "no strict guest can be made"
	"$bench" wear "$LAB" "$MGR_PID" "$LAB/results" || fail "measuring failed"
	mgr_stop || fail "the manager did not stop in order"
fi
if wants attest_256_guests_per_s; then
	mgr_start || fail "the manager does not start"
	"$bench" attest "$LAB" "$MGR_PID" "$LAB/results" || fail "measuring failed"
	mgr_stop || fail "the manager did not stop in order"
	. tests/integration/bus.sh
	trap 'bus_stop 2>/dev/null; lab_end' EXIT
	bus # what one quote of the chip takes, without what comes before the first
	MGR_TCTI=swtpm:path=$LAB/bus.sock mgr_start --pool 0 || fail "the manager does not start"
	ctl start g0 >/dev/null && ctl attest g0 --nonce 0011223344556677 --out /dev/null >/dev/null || fail "no evidence"
	from=$(wc -l <"$LAB/bus.log")
	ctl attest g0 --nonce 0011223344556677 --out /dev/null >/dev/null || fail "no evidence"
	echo "ptpm_commands_per_quote 0 $(($(wc -l <"$LAB/bus.log") - from))" >>"$LAB/results"
	mgr_stop || fail "the manager did not stop in order"
	bus_stop
fi
if wants start_10000_vtpms_ms; then # a store and a manager of their own
	LAB_RESULTS=$LAB/results tests/bench/start.sh "$B" || fail "measuring the start failed"
fi
if wants qemu_us; then # machines of the lab, with a manager of their own
	echo "  booting two machines"
	LAB_RESULTS=$LAB/results tests/lab/qemu/bench.sh "$B" || fail "measuring in the lab failed"
fi
"$bench" report "$LAB/results" "$B/bench.json"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The same guest with ours and with swtpm: two machines that differ in the socket alone, measured in turns, so that a
# busy host troubles both alike. Prints nanoseconds an operation, the median of the rounds' medians, and their ratio.
# Usage: bench.sh [BUILD]     LAB_PEERS: the two to compare (one with itself shows the noise); LAB_ROUNDS; LAB_DEVICE;
# LAB_RESULTS: a file for tests/bench/bench.sh, to which "KEY COLUMN MICROSECONDS" is appended; first is column 0
set -u
cd "$(dirname "$0")/../../.."
B=${1:-${VTPM_BUILD:-build}}
. tests/lib.sh
. tests/lab/qemu/machine.sh
. tests/lab/qemu/peers.sh
LOG=$B/lab/log
read -r first second <<<"${LAB_PEERS:-ours swtpm}"
rounds=${LAB_ROUNDS:-7} device=${LAB_DEVICE:-tpm-crb}
PEER_OURS_CREATE="--commit-rate 0" # no quota of durable changes, as in the other figures
mkdir -p "$LOG"
lab_init
trap 'vm_kill_all; lab_end' EXIT

quiet() { # a result that is good is not worth a line here
	"$@" >"$LAB/out" && ! grep -q '^not ok' "$LAB/out" || { cat "$LAB/out" >&2; exit 1; }
}
median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

declare -A peer=([a]=$first [b]=$second) all
operations="get_random pcr_extend nv_write quote"
quiet image_build
for vm in a b; do
	[ "$vm" = b ] && [ "$first" = "$second" ] || quiet "peer_${peer[$vm]}_prepare"
	quiet "peer_${peer[$vm]}_make" "bench_$vm"
	quiet "peer_${peer[$vm]}_power" "bench_$vm"
	quiet vm_start "$vm" "$device" bios "$SOCKET" "bench_${peer[$vm]}_$vm"
	quiet vm_plan "$vm" bench_prepare
done
for ((round = 0; round < rounds; round++)); do
	for vm in a b; do
		quiet vm_plan "$vm" bench
		for op in $operations; do all[$vm.$op]+=" ${NOTE[$vm.$op]}"; done
	done
done
for vm in a b; do quiet vm_end "$vm"; done

printf '%-12s %12s %12s %7s   (ns, in the guest, %s)\n' "" "$first" "$second" ratio "$device"
for op in $operations; do
	a=$(median "${all[a.$op]}") b=$(median "${all[b.$op]}")
	[ -z "${LAB_RESULTS:-}" ] || awk -v k="qemu_${op/get_/get}_us" -v a="$a" -v b="$b" \
		'BEGIN { printf "%s 0 %.3f\n%s 1 %.3f\n", k, a / 1000, k, b / 1000 }' >>"$LAB_RESULTS"
	printf '%-12s %12d %12d %7s\n' "$op" "$a" "$b" "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.3f", a / b }')"
done

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The torture test: lives of hosts, side by side, with so many cuts in all; each life's trace must be one of the model's.
# Usage: run.sh --build DIR CUTS   EACH cuts a life, JOBS lives at a time; SEED=n: that life alone, again.
set -u
cd "$(dirname "$0")/../.."
build=build
[ "${1:-}" != --build ] || { build=$2; shift 2; }
cuts=${1:-100} each=${EACH:-20} jobs=${JOBS:-2}
first=${SEED:-$(($(date +%s) % 100000 * 100))}
[ -z "${SEED:-}" ] || cuts=$each
export VTPM_BUILD=$PWD/$build
out=$build/torture
mkdir -p "$out" "$build/results"
rm -f "$out"/*.result
checker=$(mktemp -d)
trap 'rm -rf "$checker"' EXIT
trap 'exit 143' TERM INT HUP
tests/model/trace.sh build "$checker" || exit 1
echo "torture: $cuts cuts, $each a life, seeds from $first; each choice is in $out/seed-N.log"

# The test can fail: a disk that only says that it has synced is found out. In a life without vtpm-hold, which has most cuts of the disk.
if [ -z "${SEED:-}" ]; then
	if POWERCUT_DISK_LIES=1 tests/powercut/life.sh $((first & ~1)) 40 "$out/lies.log" >"$out/lies.out" 2>&1; then
		echo "not ok lying_disk: nothing was missed" | tee "$out/lies.result"
	else
		sed -n 's/^FAILED/    /p' "$out/lies.log"
		echo "ok lying_disk is found out" | tee "$out/lies.result"
	fi
	rm -rf "$out/lies.log.lab"
fi

one() { # SEED: its line
	local seed=$1 log=$out/seed-$1.log start=$SECONDS said
	if ! timeout -k 10 $((60 + each * 60)) tests/powercut/life.sh "$seed" "$each" "$log" >"$out/$seed.result.new" 2>&1; then
		{ cat "$out/$seed.result.new"; grep -A15 FAILED "$log" || tail -n 20 "$log"; } | sed 's/^/# /'
		said="not ok seed $seed: SEED=$seed EACH=$each make torture does it again; see $log"
	elif ! tests/model/trace.sh check "$checker" "$log.trace" >"$out/$seed.result.new" 2>&1; then
		sed 's/^/# /' "$out/$seed.result.new"
		said="not ok seed $seed: its trace $log.trace is none of the model's"
	else
		said="ok seed $seed: $each cuts ($(grep -c '^of what was' "$log") of the disk, $(grep -c 'trace reset' "$log.trace") of the chip), $(grep -c 'trace written' "$log.trace") rows, $((SECONDS - start)) s; $(sed -n 's/ managers were .*/ takeovers; /p' "$log")$(cat "$out/$seed.result.new")"
	fi
	rm -f "$out/$seed.result.new"
	echo "$said" | tee "$out/$seed.result"
}
for ((seed = first; seed < first + (cuts + each - 1) / each; seed++)); do
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	one "$seed" &
done
wait
passed=$(cat "$out"/*.result | grep -c '^ok ')
failed=$(cat "$out"/*.result | grep -c '^not ok ')
lives=$(cat "$out"/*.result | grep -c '^ok seed')
echo "torture: $lives lives as promised: $((lives * each)) cuts in $SECONDS s; $failed failed"
echo "$passed $failed 0" >"$build/results/torture"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs test programs and scripts, two at a time, and counts. A cmocka program counts each of its
# tests; a script says itself: lines "ok NAME", "not ok NAME", "skip NAME: reason". A program that
# ends without a count, or with a count and a failure code, is a failure.
# Usage: run.sh --build DIR --name NAME TEST…   The counts go to DIR/results/NAME, too.
set -u
build=build name=tests
while [ "${1:-}" = --build ] || [ "${1:-}" = --name ]; do
	[ "$1" = --build ] && build=$2 || name=$2
	shift 2
done
jobs=${TEST_JOBS:-2}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export VTPM_BUILD=$PWD/$build VTPM_TCTI_SO=$PWD/$build/libtss2-tcti-vtpm.so.0 CMOCKA_MESSAGE_OUTPUT=STDOUT
# LeakSanitizer traces its own process when it ends, which our sandboxes forbid: unit tests look for leaks.
[ "$name" = unit ] && leaks=1 || leaks=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=$leaks}

run_one() { # a test's own log, and its exit status beside it
	local log=$out/$(basename "$1").log
	timeout -k 10 "${TEST_TIMEOUT:-300}" "$1" >"$log" 2>&1 # a test that hangs is a failure, not a wait
	echo $? >"$log.rc"
}

for t in "$@"; do
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	run_one "$t" &
done
wait

passed=0 failed=0 skipped=0
for t in "$@"; do
	log=$out/$(basename "$t").log
	rc=$(cat "$log.rc")
	p=$(grep -acE '^(\[       OK \]|ok )' "$log")
	# cmocka names these twice: when they happen and at the end
	f=$(grep -aE '^(\[  FAILED  \] [a-z0-9_]+$|not ok )' "$log" | sort -u | wc -l)
	s=$(grep -aE '^(\[  SKIPPED \] [a-z0-9_]+$|skip )' "$log" | sort -u | wc -l)
	if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] || [ $((p + f + s)) -eq 0 ]; then
		echo "$(basename "$t"): ended with status $rc"
		f=$((f + 1))
	fi
	[ "$f" -gt 0 ] && sed "s/^/    /" "$log"
	grep -aE '^skip |SKIPPED \] [a-z0-9_]+$' "$log" | sort -u | sed "s/^/    $(basename "$t"): /"
	printf '%-28s %3d passed %3d failed %3d skipped\n' "$(basename "$t")" "$p" "$f" "$s"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
mkdir -p "$build/results"
echo "$passed $failed $skipped" >"$build/results/$name"
echo "$name: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]

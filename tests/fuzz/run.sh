#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds each fuzzer with clang's libFuzzer, AddressSanitizer and UBSan, and lets it run. Usage: run.sh BUILD SECONDS FUZZER…
# The corpus begins with tests/fuzz/seeds/NAME, if there is one, and grows in BUILD/fuzz/NAME; what was found stays there as crash-*.
set -u
cd "$(dirname "$0")/../.."
build=$1 seconds=$2
shift 2
passed=0 failed=0
for f in "$@"; do
	dir=$build/fuzz
	mkdir -p "$dir/$f"
	srcs=$(make -s BUILD="$build" "sources-$f")
	libs=$(make -s BUILD="$build" "libs-$f")
	seeds=tests/fuzz/seeds/$f
	[ -d "$seeds" ] || seeds=
	if clang -std=gnu11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. "-I$build/gen" \
		-o "$dir/$f.bin" "tests/fuzz/$f.c" $srcs $libs &&
		"$dir/$f.bin" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$dir/$f/crash-" "$dir/$f" $seeds >"$dir/$f.log" 2>&1; then
		passed=$((passed + 1))
		echo "$f: $(sed -n 's/stat::number_of_executed_units: *//p' "$dir/$f.log") runs in $seconds s, nothing found"
	else
		failed=$((failed + 1))
		tail -40 "$dir/$f.log"
		echo "$f: see $dir/$f.log"
	fi
done
mkdir -p "$build/results"
echo "$passed $failed 0" >"$build/results/fuzz"
[ $failed -eq 0 ]

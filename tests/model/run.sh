#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The model of state continuity, searched exhaustively: it holds, and each idea that it was built against breaks it.
# Usage: run.sh [full]: with the larger bounds, which take some minutes and 8 GiB.
set -u
cd "$(dirname "$0")/../.."
model=$PWD/tests/model/continuity.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP

search() { # options of the model: leaves what the verifier said in $work/out
	(cd "$work" && rm -f pan* ./*.trail && spin "$@" -a "$model" && gcc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000) >"$work/out" 2>&1
}
states() { awk '/states, stored/ { print $1 }' "$work/out"; }
complete() { grep -q 'errors: ' "$work/out" && ! grep -qE 'Search not completed|max search depth too small' "$work/out"; }

holds() { # name, options…
	local name=$1
	shift
	search "$@"
	if complete && grep -q 'errors: 0' "$work/out"; then
		echo "    $*: $(states) states"
		echo "ok $name"
	else
		sed 's/^/    /' "$work/out"
		echo "not ok $name"
	fi
}
breaks() { # variant, what is violated, options…
	local variant=$1 claim=$2
	shift 2
	search "-D$variant" "$@"
	if grep -qF "assertion violated $claim" "$work/out"; then
		echo "ok model_fails_with_$variant"
	else
		sed 's/^/    /' "$work/out"
		echo "not ok model_fails_with_$variant"
	fi
}

if [ "${1:-}" = full ]; then
	holds nobody_is_locked_out_and_nothing_is_lost -DROWS=7 -DRESETS=3
	holds nothing_old_is_accepted -DADVERSARY -DROWS=6 -DRESETS=2
	holds nor_by_two_managers -DADVERSARY -DTWO -DROWS=6 -DRESETS=2
	exit 0
fi
holds nobody_is_locked_out_and_nothing_is_lost -DROWS=6 -DRESETS=2
holds nothing_old_is_accepted -DADVERSARY -DROWS=5 -DRESETS=2
holds nor_by_two_managers -DADVERSARY -DTWO -DROWS=5 -DRESETS=1

# Locked out without anybody's doing.
for v in A_BEFORE_V RESET_OF_LAST ONE_SUCCESSOR REDO RESEND_BLINDLY DISK_FIRST OUTLIVES; do
	breaks "$v" tampered -DROWS=5 -DRESETS=2
done
# What was acknowledged is not there, or what is not there is not said.
breaks ACK_EARLY '(yes||(acked_reset!=resets))' -DADVERSARY -DROWS=5 -DRESETS=2
breaks REUSE_OPEN '(yes||(acked_reset!=resets))' -DADVERSARY -DROWS=5 -DRESETS=2
breaks NO_INHERIT '(yes||(row[r].disc>row[acked_v].disc))' -DADVERSARY -DROWS=5 -DRESETS=2
breaks NO_LINK yes -DADVERSARY -DROWS=5 -DRESETS=2
breaks NO_READ_BACK yes -DADVERSARY -DTWO -DROWS=5 -DRESETS=2

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whether what a recorded run did is a run of the model (continuity.pml, -DTRACE): spin searches for one that has those events.
# Usage: trace.sh build DIR         makes the checker there
#        trace.sh check DIR TRACE   status 0: it is one
set -u
here=$(cd "$(dirname "$0")" && pwd)
what=$1 dir=$2
case $what in
build)
	cd "$dir" && spin -DTRACE -DROWS=2000 -a "$here/continuity.pml" >build.log 2>&1 &&
		gcc -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=65536 -I"$here" -o check pan.c >>build.log 2>&1 && exit 0
	cat build.log
	exit 1
	;;
check)
	events=$(mktemp)
	trap 'rm -f "$events"' EXIT
	awk -f "$here/trace.awk" "$3" "$3" >"$events"
	said=$(cd "$(dirname "$events")" && TRACE=$events "$dir/check" -E -m200000 2>&1)
	rm -f "$(dirname "$events")/continuity.pml.trail"
	if grep -qE 'assertion violated +!\(accepted\)' <<<"$said"; then
		echo "$(wc -l <"$events") events of the model"
		exit 0
	fi
	grep -E '^trace:|violated|error|reached' <<<"$said" | head -n 5
	exit 1
	;;
esac
exit 2

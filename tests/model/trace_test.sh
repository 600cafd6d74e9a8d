#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The check of traces can fail: life.trace, recorded by a torture run (seed 12, six cuts), is a run of the model, and what is changed in it
# is none.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP
"$here/trace.sh" build "$work" || exit 1
accepted() { "$here/trace.sh" check "$work" "$1" >"$work/said" 2>&1; }

if accepted "$here/life.trace"; then echo "ok trace_is_accepted"; else cat "$work/said"; echo "not ok trace_is_accepted"; fi
# A manager that was replaced under vtpm-hold has left no word of its end.
awk '$2 == "crash" && ++seen == 2 { next } { print }' "$here/life.trace" >"$work/changed"
if ! cmp -s "$here/life.trace" "$work/changed" && accepted "$work/changed"; then echo "ok trace_of_a_takeover_is_accepted"; else cat "$work/said"; echo "not ok trace_of_a_takeover_is_accepted"; fi
rejected() { # NAME, awk program that changes it
	local name=$1
	awk "$2" "$here/life.trace" >"$work/changed"
	if cmp -s "$here/life.trace" "$work/changed"; then
		echo "not ok trace_$name: nothing was changed"
	elif accepted "$work/changed"; then
		echo "not ok trace_$name: accepted"
	elif ! grep -q 'none of the model' "$work/said"; then
		cat "$work/said"
		echo "not ok trace_$name: not said why"
	else
		echo "ok trace_$name is rejected"
	fi
}
# The n-th line that fits, once.
nth='function nth(n) { return ++seen == n }'
rejected acknowledged_before_v "$nth"' $2 == "V" && !held && nth(20) { held = $0; n = $3; next } { print } held && $2 == "acked" && $3 == n { print held }'
rejected acknowledged_before_written "$nth"' $2 == "written" && nth(9) { print "trace acked", $3; next } { print }'
rejected acknowledged_without_v "$nth"' $2 == "V" && nth(15) { next } { print }'
rejected acknowledged_without_a "$nth"' $2 == "A" && nth(4) { next } { print }'
rejected a_before_v "$nth"' $2 == "V" && nth(3) { print "trace A", $3; v = $0; next } v != "" && $2 == "A" { print v; v = ""; next } { print }'
rejected not_written "$nth"' $2 == "written" && nth(12) { next } { print }'
rejected power_loss_hidden "$nth"' $2 == "recovered" && $3 == 2 && nth(1) { $3 = 0 } { print }'
rejected power_loss_invented "$nth"' $2 == "recovered" && $3 == 0 && nth(3) { $3 = 2 } { print }'
rejected stop_in_order_invented "$nth"' $2 == "recovered" && $3 == 2 && nth(1) { $3 = 1 } { print }'
rejected refused "$nth"' $2 == "recovered" && nth(3) { $3 = 7 } { print }'
rejected discontinuity_forgotten "$nth"' $2 == "opened" && $3 > 0 && nth(1) { $3-- } { print }'
rejected discontinuity_not_inherited "$nth"' $2 == "opened" && $3 > 0 && nth(2) { $3 = 0 } { print }'
rejected reset_invented "$nth"' $2 == "recovered" && nth(5) { $4++ } { print }'
rejected row_on_another_row "$nth"' $2 == "writing" { if (nth(8)) $7 = before; before = $7 } { print }'
rejected row_names_another_v "$nth"' $2 == "writing" { now = $9; if (nth(8)) $9 = before; before = now } { print }'
rejected row_names_another_a "$nth"' $2 == "writing" { if (nth(30)) $8 = first; if (seen == 3) first = $8 } { print }'
rejected open_row_left_out "$nth"' $2 == "opened" && nth(2) { skip = 1; next } { print }'
rejected kind_of_row "$nth"' $2 == "writing" && $4 == 4 && nth(5) { $4 = 5 } { print }'
rejected end_missing '$2 != "end" { print }'

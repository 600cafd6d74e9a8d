#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The model and the code name each other: each step of continuity.pml the functions that do it, each function its steps; and no function
# touches an anchor, writes a row or acknowledges without being of a step.
# Usage: names.sh [ROOT]
set -u
cd "${1:-$(dirname "$0")/../..}"
model=tests/model/continuity.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
complain() { echo "# $*"; bad=1; }

# "STEP FUNCTION" by the model: "step NAME: f, g", which may go on in the next line, up to a "." or the comment's end.
awk '
	/(\/\*| \*) step [a-z_]+:/ { sub(/.*step /, ""); step = $0; sub(/:.*/, "", step); sub(/^[a-z_]+:/, ""); on = 1 }
	on {
		ends = /\*\/|\./ || /^ \*$/ || NF == 0
		sub(/\*\/.*/, ""); sub(/\..*/, ""); gsub(/of a released store|of one that comes to another chip/, "")
		n = split($0, f, /[^a-z_]+/)
		for (i = 1; i <= n; i++) if (f[i] != "") print step, f[i]
		if (ends) on = 0
	}' "$model" | sort -u >"$work/model"

# The same by the code: "Model: NAME, NAME." in the comment above a function; and which functions have effects.
mapfile -t files < <(find vtpm-mgr -name '*.c' | sort)
effects='store_commit\(|nv_extend\(|nv_define\(|nv_undefine\(|KEEPER_ANCHOR_(NEW|RENEW|OPEN|EXTEND)|KEEPER_ROW_MAC|KEEPER_ROWS_VERIFY|finish_all\([a-z]+, 0\)|batch_answer_written\([a-z]+, 0\)'
awk -v effects="$effects" -v pairs="$work/code" -v acts="$work/acts" '
	FNR == 1 { steps = ""; name = "" }
	/^(\/\*| \*).*Model: [a-z_, ]+\./ { steps = $0; sub(/.*Model: /, "", steps); sub(/\..*/, "", steps) }
	/^[a-z].*[a-z_0-9]+\(/ && !/;$/ && !/=.*\(/ {
		name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
		n = split(steps, s, /, */)
		for (i = 1; i <= n; i++) print s[i], name >pairs
		marked = steps != ""; steps = ""
	}
	/^}/ { name = "" }
	name != "" && !marked && $0 ~ effects && $0 !~ "(^|[ *])" name "\\(" { print FILENAME ": " name >acts }' "${files[@]}"
touch "$work/code" "$work/acts"
sort -u "$work/code" -o "$work/code"

while read -r step f; do complain "$model names $f for $step; the code does not say so"; done < <(comm -23 "$work/model" "$work/code")
while read -r step f; do complain "$f says that it does $step; $model does not name it"; done < <(comm -13 "$work/model" "$work/code")
while read -r where; do complain "$where touches an anchor, writes a row or acknowledges, and is of no step"; done < <(sort -u "$work/acts")
for step in $(cut -d' ' -f1 "$work/model" | sort -u); do
	grep -qE "^(inline $step\(|$step:)" "$model" || complain "$step is no step of $model"
done
for step in $(grep -oE '^inline (make_row|write_row|extend_[va]|crash|decide|opened|acknowledge)' "$model" | cut -d' ' -f2); do
	grep -q "^$step " "$work/model" || complain "$model does not say what does $step"
done
[ "$(wc -l <"$work/model")" -gt 20 ] || complain "hardly a step is named"
[ $bad = 0 ] && echo "ok model_and_code_name_each_other ($(wc -l <"$work/model") pairs)" || echo "not ok model_and_code_name_each_other"
exit $bad

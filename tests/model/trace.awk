# SPDX-License-Identifier: BSD-2-Clause
# The lines "trace …" of a torture run (tests/powercut/trace_*.c) as events of the model (trace.h): hashes and values become the number
# of the row that they are of. The file is read twice: what an extend leads to may be told before its row.
# A keeper or a TPM that was lost is a crash to the model, if the manager goes on; if all of its processes end, that is when the others do.
NR == FNR {
	if ($2 == "lost") lost[FNR]
	if ($2 == "crash") { for (i in lost) dropped[i]; delete lost }
	if ($2 == "recovered") delete lost
	if ($2 == "writing" && !($6 in id)) id[$6] = ++rows
	if ($2 == "writing" && !($3 in first)) { first[$3] = id[$6]; if (rows == 1) zero = $5 }
	if ($2 == "reset") cuts++
	next
}
BEGIN { none = "00000000000000000000000000000000" }
function row_of(n) { return n in now ? now[n] : first[n] }
function value(which, v) { return v == none ? 0 : (which, v) in made ? made[which, v] : -1 }
function event(text) { print text; last = $2 }
$2 == "will" { made[$3, $5] = row_of($4); next }
$2 == "writing" {
	now[$3] = id[$6]
	event("writing " id[$6] " " $3 " " $4 " " ($5 - zero) " " (rows_seen++ && $7 in id ? id[$7] : 0) " " value("A", $8) " " value("V", $9))
	next
}
$2 == "written" || $2 == "V" || $2 == "A" || $2 == "acked" { event($2 " " row_of($3)); next }
$2 == "opened" { event("opened " $3); next }
$2 == "reset" { resets++; next }
# The TPM counts what was done to it, no more and no less.
$2 == "recovered" {
	if (last != "crash" && last != "lost") print "crash"
	event("recovered " $3 " " ($4 - zero == resets ? resets + 0 : -1))
	next
}
FNR in dropped { next }
# What was lost already cannot be lost once more.
$2 == "lost" || $2 == "crash" { if (last != "crash" && last != "lost" && rows_seen) event("crash"); next }
$2 == "end" { event("end"); next }
{ print "unknown"; next }

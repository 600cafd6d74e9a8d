# SPDX-License-Identifier: BSD-2-Clause
# A guest that minds its own business beside what a script does to another, and must notice none of it. Sourced, after
# tests/lib.sh and tests/checks.sh.

# Starts a tool, returns when it has said its first line; its pid is in $started.
start_tool() { # function, arguments…
	local fifo=$LAB/said.$RANDOM
	mkfifo "$fifo"
	"$B/tests/$1" "$LAB/run/$2.ring" "${@:3}" >"$fifo" &
	started=$!
	exec 8<"$fifo"
	read -r said <&8
	rm -f "$fifo"
}

watcher=
watch_start() {
	start_tool neighbour good steady
	watcher=$started
	exec 7<&8 8<&-
}
watch_end() { # name
	local rc=0
	kill "$watcher"
	cat <&7 >"$LAB/out"
	wait "$watcher" || rc=$?
	exec 7<&-
	if [ $rc -eq 0 ]; then ok "$1"; sed 's/^/    neighbour: /' "$LAB/out"; else not_ok "$1" "$LAB/out"; fi
}

# SPDX-License-Identifier: BSD-2-Clause
# Assertions for test scripts that use tests/lib.sh: each prints "ok NAME" or "not ok NAME", and what went wrong; FAILED is 1 then.
# What the last command printed is in $LAB/out.

FAILED=0
ok() { echo "ok $1"; }
not_ok() { # name, file with what was seen if that is another
	echo "not ok $1"
	FAILED=1
	[ ! -s "${2:-$LAB/out}" ] || sed 's/^/    /' "${2:-$LAB/out}"
	[ ! -s "$LAB/mgr.log" ] || tail -n 8 "$LAB/mgr.log" | sed 's/^/    log: /'
}
check() { # name, command…
	local name=$1
	shift
	if "$@" >"$LAB/out" 2>&1; then ok "$name"; else not_ok "$name"; fi
}
exits() { # name, status, command…
	local name=$1 want=$2 rc=0
	shift 2
	"$@" >"$LAB/out" 2>&1 || rc=$?
	if [ $rc -eq "$want" ]; then ok "$name"; else echo "    status $rc, not $want"; not_ok "$name"; fi
}
says() { # name, text that the last command printed
	if grep -qF -- "$2" "$LAB/out"; then ok "$1"; else not_ok "$1"; fi
}
is() { # name, got, want
	if [ "$2" = "$3" ]; then ok "$1"; else echo "    got '$2', not '$3'"; not_ok "$1" /dev/null; fi
}

# What check asks of a command.
no() { ! "$@"; }
all() { # command… -- command… -- …: each succeeds
	local cmd=() a
	for a in "$@" --; do
		if [ "$a" != -- ]; then
			cmd+=("$a")
		elif [ ${#cmd[@]} -gt 0 ]; then
			"${cmd[@]}" || { echo "failed: ${cmd[*]}"; return 1; }
			cmd=()
		fi
	done
}
refused() { # text (an extended regular expression), command…: it fails, in order (no signal), and says that
	local text=$1 rc=0
	shift
	"$@" >"$LAB/refused" 2>&1 || rc=$?
	cat "$LAB/refused"
	[ $rc -gt 0 ] && [ $rc -lt 124 ] && grep -qE -- "$text" "$LAB/refused" && return 0
	echo "status $rc; expected a failure that says: $text"
	return 1
}
gives() { # value, command…: what it prints
	local got
	got=$("${@:2}") && [ "$got" = "$1" ] || { echo "got '$got', not '$1'"; return 1; }
}

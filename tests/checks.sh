# SPDX-License-Identifier: BSD-2-Clause
# Assertions for test scripts that use tests/lib.sh: each prints "ok NAME" or "not ok NAME", and what went wrong.
# What the last command printed is in $LAB/out.

ok() { echo "ok $1"; }
not_ok() { echo "not ok $1"; sed 's/^/    /' "$LAB/out" 2>/dev/null; }
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
	if [ "$2" = "$3" ]; then ok "$1"; else echo "    got '$2', not '$3'"; echo "not ok $1"; fi
}

# SPDX-License-Identifier: BSD-2-Clause
# Assertions of a machine of the labs, as marker lines (init names them). Read by init, in the machine; busybox sh.

# To the host and, so that the console's log tells the whole story in order, to the console, if that is another.
say() {
	[ "${talk:-}" = console ] || echo "LAB $*" >/dev/console
	[ -z "${talk:-}" ] || echo "LAB $*" >&3
}
check() { # name, command…
	local name=$1
	shift
	if "$@" >/tmp/out 2>&1; then say "ok $name"; else say "fail $name: $(tail -n 3 /tmp/out | tr '\n' ' ')"; fi
}
refused() { # name, text of the refusal, command…
	local name=$1 text=$2
	shift 2
	if "$@" >/tmp/out 2>&1; then
		say "fail $name: it was not refused"
	elif grep -qiE "$text" /tmp/out; then
		say "ok $name"
	else
		say "fail $name: $(tail -n 3 /tmp/out | tr '\n' ' ')"
	fi
}
is() { if [ "$2" = "$3" ]; then say "ok $1"; else say "fail $1: '$2', not '$3'"; fi; } # name, got, want
note() { say "note $1 $2"; }
note_file() { note "$1" "$(base64 -w 0 "$2")"; }

# What the kernel has to say, once at the end of every plan. $kernel_may_say: a pattern of what is no news.
kernel_is_well() {
	is kernel_is_well "$(dmesg | grep -E 'Kernel panic|Oops|BUG:|WARNING:|Call Trace|segfault|general protection|tpm.*([Ee]rror|[Ff]ail|[Tt]imed)' | grep -vE "${kernel_may_say:-^$}")" ""
}

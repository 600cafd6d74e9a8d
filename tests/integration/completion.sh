#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What bash completes for vtpmctl is what its help has: commands, their second words, and the options of each.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init
. vtpm-mgr/ctl/vtpmctl.bash-completion

completed() { # word… as typed, the last one perhaps empty: what there is for the last, a line each, in order
	COMP_WORDS=(vtpmctl "$@")
	COMP_CWORD=$#
	_vtpmctl
	printf '%s\n' "${COMPREPLY[@]}" | sort -u
}
options_of() { "$B/vtpmctl" "$@" --help | sed -n 's/^  --\([a-z-]*\).*/--\1/p'; }
global() { printf '%s\n' --help --json --runtime-dir --xen-domain; }

commands=$("$B/vtpmctl" --help | sed -n 's/^  \([a-z]*\)\( [a-z]*\)\{0,1\} .*  .*/\1\2/p')
first=$(awk '{ print $1 }' <<<"$commands" | sort -u)
is all_commands "$(completed '' | grep -vx help)" "$first"
is help_of_each "$(completed help '')" "$first"
for c in $(awk 'NF == 2 { print $1 }' <<<"$commands" | sort -u); do
	is "second_words_of_$c" "$(completed "$c" '')" "$(awk -v c="$c" '$1 == c && NF == 2 { print $2 }' <<<"$commands" | sort -u)"
done
while read -r -a words; do
	is "options_of_${words[*]}" "$(completed "${words[@]}" --)" "$( (global; options_of "${words[@]}") | sort -u)"
done <<<"$commands"
is nothing_behind_ca_crl "$(completed ca crl '')" ""
touch "$LAB/challenge"
is files_behind_enroll_activate "$(completed enroll activate "$LAB/chall")" "$LAB/challenge"
exit $FAILED

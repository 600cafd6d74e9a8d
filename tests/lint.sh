#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The rules of the house that a machine can hold: licences, who may include whom, sizes, sources listed, manuals.
set -u
cd "$(dirname "$0")/.."
bad=0
complain() {
	echo "lint: $*"
	bad=1
}

mapfile -t code < <(git ls-files --cached --others --exclude-standard -- '*.c' '*.h')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' '*.mk' '*.py' Makefile '*Kbuild' 'frontend-drivers/linux/*.conf' .ci/run '*.bash-completion')

for f in "${code[@]}" "${scripts[@]}"; do
	[ -e "$f" ] || continue
	case $f in
	frontend-drivers/linux/*) licence=GPL-2.0-only ;;         # part of the guest's kernel
	hv/chan_abi.h) licence='BSD-2-Clause OR GPL-2.0-only' ;; # included by that
	*) licence=BSD-2-Clause ;;
	esac
	head -3 "$f" | grep -qE "SPDX-License-Identifier: $licence( \*/)?$" || complain "$f: no SPDX line, $licence"
done

# Size: 600 lines a file, 60 lines a function. A function is what stands between "{" and "}" in column 0 after a ")".
for f in "${code[@]}"; do
	[ -e "$f" ] || continue
	[ "$(wc -l <"$f")" -le 600 ] || complain "$f: $(wc -l <"$f") lines, the limit is 600"
	awk -v f="$f" '
		/^\{$/ && prev ~ /\)$/ { start = NR }
		/^\}$/ && start { if (NR - start > 60) { printf "%s:%d: a function of %d lines, the limit is 60\n", f, start, NR - start; bad = 1 } start = 0 }
		{ prev = $0 } END { exit bad }' "$f" || bad=1
done

# A shell function that is defined twice: the second is what runs, and the first is a test that nobody runs. An assertion is nowhere but in checks.sh.
for f in "${scripts[@]}"; do
	case $f in
	tests/integration/*.sh | tests/powercut/*.sh) shared=tests/checks.sh ;;
	*.sh) shared=/dev/null ;;
	*) continue ;;
	esac
	twice=$(cat "$f" $shared | grep -oE '^[a-z_0-9]+\(\)' | sort | uniq -d | tr '\n' ' ')
	[ -z "$twice" ] || complain "$f: defined twice: $twice"
done

# Who may include whom. $1: files, $2: what they must not include.
forbid() {
	grep -nE "^#include [\"<]($2)" $(for f in "${code[@]}"; do case $f in $1) echo "$f" ;; esac; done) /dev/null |
		grep -vE "${3:-^$}" && complain "$1 must not include $2"
	return 0
}
forbid 'lib/*' 'hv/|vtpm-mgr/|vtpm-backend/|frontend-drivers/|attest/'
forbid 'hv/*' 'vtpm-mgr/|vtpm-backend/|frontend-drivers/|attest/' '^hv/launch/.*vtpm-mgr/(ctl|proto)/' # a client of the manager
forbid 'vtpm-mgr/proto/*' 'hv/|vtpm-mgr/[^p]|vtpm-backend/|frontend-drivers/|attest/'
forbid 'vtpm-mgr/*' 'vtpm-backend/|frontend-drivers/|attest/[^e]|hv/(page|spin)'
forbid 'vtpm-backend/*' 'vtpm-mgr/[^p]|frontend-drivers/|attest/'
forbid 'frontend-drivers/*' 'vtpm-mgr/|vtpm-backend/|attest/'
forbid 'attest/*' 'hv/|vtpm-mgr/|vtpm-backend/|frontend-drivers/'
forbid '*' 'cbor' '^attest/item.c:'
forbid '*' 'libtpms/' '^vtpm-backend/engine.c:'
forbid '*' 'tss2/' '^(vtpm-mgr/keeper/|frontend-drivers/tcti/|tests/)'
grep -nE 'tss2_fapi' "${code[@]}" && complain "FAPI is not used"
forbid '*' 'xen/' '^(hv/xen/|frontend-drivers/linux/|tests/)'
forbid 'vtpm-mgr/*' 'hv/xen/xen\.h'
forbid 'frontend-drivers/linux/*' '(lib|vtpm-mgr|vtpm-backend|hv/[^c])'

# Every source is in a list, and nothing is unfinished.
for f in "${code[@]}"; do
	case $f in
	tests/unit/test_*.c | tests/integration/test_*.c | tests/fuzz/fuzz_*.c)
		grep -qw "$(basename "$f" .c)" sources.mk || complain "$f is in no list of sources.mk" ;;
	*.c) grep -qF "$f" sources.mk || complain "$f is in no list of sources.mk" ;;
	esac
done
grep -nE '\b(TODO|FIXME|XXX)\b' "${code[@]}" && complain "unfinished business"

# printf and friends on wire data hide behind names; the classic unbounded ones are simply not used.
grep -nE '\b(strcpy|strcat|sprintf|gets|alloca|strtok)\(' $(printf '%s\n' "${code[@]}" | grep -v '^tests/') && complain "unbounded string functions"

# One version, which DKMS reads from a file of its own.
version=$(sed -n 's/^#define VTPM_VERSION "\(.*\)"/\1/p' lib/version.h)
grep -q "^PACKAGE_VERSION=\"$version\"$" frontend-drivers/linux/dkms.conf || complain "frontend-drivers/linux/dkms.conf: not version $version"

if command -v mandoc >/dev/null; then
	for m in docs/man/*.[1-8]; do
		mandoc -Tlint -Wwarning "$m" || complain "$m: see above"
	done
else
	complain "mandoc is not installed: run make deps"
fi
for s in "${scripts[@]}"; do
	case $s in *.sh | .ci/run) bash -n "$s" || complain "$s: syntax" ;; esac
done
named=$(tests/model/names.sh) || { echo "$named"; complain "the model of state continuity and the code do not name each other"; }
[ $bad -eq 0 ] && echo "lint: clean"
exit $bad

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# clang-tidy (.clang-tidy says which checks and why) and cppcheck over everything that is shipped, but for the kernel module and the EFI program. Usage: analyze.sh BUILD
set -u
cd "$(dirname "$0")/.."
build=${1:-build}
# cppcheck 2.10 takes designated initialisers and buffers that a callee fills for uninitialised; jansson's loops for macros of its own.
mapfile -t src < <(git ls-files -- 'attest/*.c' 'lib/*.c' 'hv/*.c' 'vtpm-mgr/*.c' 'vtpm-backend/*.c' 'frontend-drivers/*.c' ':!frontend-drivers/linux' ':!hv/launch')
bad=0
printf '%s\n' "${src[@]}" | xargs -P 2 -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 -D_GNU_SOURCE -I. "-I$0/gen" 2>/dev/null' "$build" || bad=1
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
	--suppress=missingIncludeSystem --suppress=unknownMacro --suppress=legacyUninitvar --suppress=ctuuninitvar -D_GNU_SOURCE -DEPOLLIN=1 -I. "-I$build/gen" "${src[@]}" || bad=1
[ $bad -eq 0 ] && echo "analyze: clean (${#src[@]} files)"
exit $bad

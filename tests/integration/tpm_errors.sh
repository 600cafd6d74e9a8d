#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A TPM, or somebody on the way to it, that answers with error codes: right or refused, and right when it is over.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_record

for r in "${RECORDED[@]}"; do
	read -r n len <<<"$r"
	run_case retry "" code "$n" 0x922
	run_case failure "" code "$n" 0x101
	run_case rate "" code "$n" 0x920
done
cases error-codes-are-right-or-refused
# A TPM that answers everything with an error: nothing starts, in words, and when it is well again it does.
for code in 0x922 0x101 0x920; do
	bus code 1-100000 $code
	mgr_start --pool 0
	check "always-$code" all refused "TPM" ctl start web1 -- refused "TPM" ctl create web9 -- ctl status
	bus
	check "always-$code-is-over" eval 'ctl start web1 || ctl start web1'
	mgr_stop
done
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Somebody on the way to the TPM who answers with nonsense, or hangs up: right or refused, and right when it is over.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_record

for r in "${RECORDED[@]}"; do
	read -r n len <<<"$r"
	run_case size-zero "" size "$n" 0
	run_case size-huge "" size "$n" 0xffffffff
	run_case garbage "" garbage "$n" 100
	run_case cut-early "" cut "$n" 3
	run_case cut-late "" cut "$n" $((len - 1))
done
cases nonsense-and-hang-ups-are-right-or-refused
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# NAME.swtpm beside Debian's swtpm: the same bytes to both, the same answers, but for the differences that are meant.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
lab_init
reference=
end() {
	[ -z "$reference" ] || kill "$reference" 2>/dev/null
	lab_end
}
trap end EXIT

chip_start
mgr_init --insecure-pcrs >/dev/null 2>&1
mgr_start --pool 0
ctl create web1 >/dev/null
mkdir "$LAB/reference"
swtpm socket --tpm2 --tpmstate "dir=$LAB/reference" --ctrl "type=unixio,path=$LAB/reference.ctrl" \
	--daemon --pid "file=$LAB/reference.pid"
reference=$(cat "$LAB/reference.pid")
if tests/tools/ptm_same.py "$LAB/run/web1.swtpm" "$LAB/reference.ctrl"; then echo "ok to_the_end"; else echo "not ok to_the_end"; fi

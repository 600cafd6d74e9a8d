#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The stub domain's image: two builds of the same sources, in different directories, give the same bytes, and nothing in it
# names where it was built. Usage: stubdom.sh BUILD
set -eu
cd "$(dirname "$0")/.."
. tests/lib.sh
lab_init
make -s stubdom BUILD="$B" >/dev/null
mkdir "$LAB/again"
ln -s "$B/lab" "$LAB/again/lab" # the unpacked packages; what is made of them is made anew
make -s stubdom BUILD="$LAB/again" >/dev/null
for f in vmlinux initramfs vtpmmgr.cfg; do
	cmp "$B/stubdom/$f" "$LAB/again/stubdom/$f" || { echo "not ok stubdom_is_reproducible"; exit 1; }
done
echo "ok stubdom_is_reproducible"
if grep -qaF -e "$B" -e "$LAB" "$B/stubdom/initramfs"; then echo "not ok stubdom_names_no_directory_of_ours"; exit 1; fi
echo "ok stubdom_names_no_directory_of_ours"

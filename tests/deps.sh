#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Installs what packages.txt lists and is not there yet. Needs root only if something is missing.
set -eu
cd "$(dirname "$0")/.."
missing=()
while read -r p; do
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done < <(sed -e 's/#.*//' -e '/^ *$/d' packages.txt)
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
	echo "deps: not root; run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One machine of the lab by hand, with a shell on this terminal, or with plans of plans.sh, after which it powers off.
# Usage: boot.sh [--crb] [--uefi] [--plan A,B] SOCKET [QEMU OPTION…]      Ctrl-A is QEMU's: Ctrl-A x ends it.
set -eu
cd "$(dirname "$0")/../../.."
B=$(cd "${B:-build}" && pwd) LAB=$(mktemp -d /tmp/lab.XXXXXX)
trap 'rm -rf "$LAB"' EXIT
. tests/lab/qemu/machine.sh
device=tpm-tis firmware=bios arguments=
while [ $# -gt 0 ]; do
	case $1 in
	--crb) device=tpm-crb ;;
	--uefi) firmware=uefi ;;
	--plan) arguments=lab.plan=$2; shift ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || { sed -n 's/^# Usage: //p' "$0" >&2; exit 2; }
image_build
machine_command hand "$device" "$firmware" "$1" "$arguments"
shift
"${machine[@]}" -serial mon:stdio "$@"

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What this lab's machines boot: Debian's kernel and an initramfs of busybox, tpm2-tools, what it is linked with, and the
# guest's scripts. Prints the kernel's and the initramfs's path.
# Usage: image.sh BUILD
# The kernel is vmlinuz as it is: QEMU boots the unpacked vmlinux, too, but then lays the
# initramfs over the ACPI tables as soon as there is a TPM, and the guest finds no TPM.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../../.."
B=$(cd "${1:-build}" && pwd)
lab=$B/lab
mkdir -p "$lab"
. tests/lab/packages.sh
. tests/lab/initramfs.sh

fill() { guest_fill "$1" tests/lab/plans.sh; }

kernel=$(kernel_tree)
echo "$kernel/vmlinuz"
initramfs initramfs fill "$(guest_versions)" "$0" tests/lab/{initramfs,assert,plans}.sh tests/lab/init "$B/tests/guest_bench"

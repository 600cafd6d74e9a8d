#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A manager that serves, and a chip that becomes another than it was: PCRs, locality, a reset. What runs goes on or is powered off, as
# --on-tpm-change has it; nothing is started; log and status say why; what is as it was again is served again.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init
CTRL=$LAB/chip.sock.ctrl

locked() { ctl group list | grep -E '^default +locked'; }
open() { ctl group list | grep -E '^default +open'; }
warns() { ctl status | grep -qE -- "^warning .*$1" || { ctl status; return 1; }; }

chip_start
chip_measure
# PCR 17, which is all ones, is measured into over the chip's control channel, whoever is connected.
mgr_init --seal-pcrs 4,17 --insecure-pcrs >/dev/null
mgr_start --pool 0 --recheck-interval 1
guest_make web1
ctl create web2 >/dev/null

log_mark
swtpm_ioctl --unix "$CTRL" -l 1
check locality-is-noticed logged "cannot be unsealed any more.*another locality than 0.*what runs goes on"
check status-says-locality all locked -- warns "another locality"
check what-runs-goes-on guest_is_whole web1
check nothing-is-started refused "another locality" ctl start web2
check nothing-is-made refused "another locality" ctl create web3
swtpm_ioctl --unix "$CTRL" -l 0
check locality-is-back logged "group default can be unsealed again"
check served-again all open -- ctl start web2 -- ctl stop web2

log_mark
swtpm_ioctl --unix "$CTRL" -h measured-meanwhile
check pcr-is-noticed logged "cannot be unsealed any more: PCR 17 is .*what runs goes on"
check status-says-pcr all locked -- warns "PCR 17 is"
check what-runs-goes-on-after-pcr guest_is_whole web1
check what-runs-is-durable all guest web1 tpm2_nvdefine -Q -C o -s 8 0x1500020 -- guest web1 tpm2_nvundefine -Q -C o 0x1500020
check nothing-is-started-after-pcr refused "PCR 17 is" ctl start web2
check tested-after-pcr refused "PCR 17 is" ctl policy test
check audited-breach audited '"breach"'
mgr_stop
mgr_start --pool 0 --recheck-interval 1
check another-manager-does-not-open-it refused "PCR 17 is" ctl start web1
mgr_stop

# The same, and what runs is powered off.
chip_boot_here() { chip_stop; chip_start; chip_measure; }
chip_boot_here
mgr_start --pool 0 --recheck-interval 1 --on-tpm-change stop
ctl start web1 >/dev/null
log_mark
swtpm_ioctl --unix "$CTRL" -h measured-meanwhile
check pcr-is-noticed-and-stops logged "PCR 17 is .*what runs is powered off"
check powered-off becomes web1 stopped
mgr_stop

# It loses its power, and the keeper with it: what the manager has seen first still counts.
chip_boot_here
mgr_start --pool 0 --recheck-interval 1 --on-tpm-change stop
ctl start web1 >/dev/null
log_mark
chip_stop
chip_boot
check another-power-on-is-noticed logged "cannot be unsealed any more: the TPM was reset while the host ran on.*powered off"
check powered-off-after-that becomes web1 stopped
check nothing-is-started-after-that refused "was reset while the host ran on" ctl start web2
mgr_stop

# A reset under the manager: the same values in the PCRs are not the same boot.
chip_boot_here
mgr_start --pool 0 --recheck-interval 1
ctl start web1 >/dev/null
log_mark
swtpm_ioctl --unix "$CTRL" -i
check reset-is-noticed logged "cannot be unsealed any more: the TPM was reset while the host ran on"
check nothing-is-started-after-a-reset refused "was reset while the host ran on" ctl start web2
check status-says-reset warns "was reset while the host ran on"
mgr_stop
exit $FAILED

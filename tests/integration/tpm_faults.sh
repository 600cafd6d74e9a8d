#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A physical TPM that is missing, restarts, is another one or was booted otherwise: what is not right is refused in words,
# running guests go on, nothing is overwritten.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init
CHIP_RESETS=yes

store_rows() { db "SELECT key, hex(value) FROM meta WHERE key <> 'wear'; SELECT name, hex(root) FROM grp; SELECT name, hex(wrapped) FROM vtpm"; }
tpm_is() { [ "$(tpm_field state)" = "$1" ] || { ctl status; return 1; }; }

# --- the chip is missing, restarts, was booted otherwise, is another one ---
chip_start
chip_measure
mgr_init --seal-pcrs 0,4 --shared-chip >/dev/null # what follows needs its owner hierarchy, too
mgr_start --pool 0
guest_make web1
guest_make web2
ctl stop web2
mgr_stop
chip_stop
store_rows >"$LAB/rows"

log_mark
check missing-manager-starts mgr_start --pool 0
check missing-status-says-so all tpm_is lost -- logged "cannot open the TPM at"
check missing-start-is-refused refused "cannot open the TPM at" ctl start web1
check missing-create-is-refused refused "cannot open the TPM at" ctl create web3
chip_start
chip_measure
check appears-and-is-found guest_works web1
check appears-status tpm_is ok

# A restart is a power cycle; PCRs start anew, and until the boot is measured the seal stays shut.
chip_stop
check restart-guests-go-on guest_is_whole web1
check restart-create-is-refused refused "cannot open the TPM at" ctl create web3 # it needs the chip: the keeper notices
chip_start
chip_measure otherwise
log_mark
check other-boot-is-refused-and-says-which-pcr refused "PCR 4 is .* and the seal wants" ctl start web2
check other-boot-create-is-refused refused "PCR 4 is .* and the seal wants" ctl create web3
check other-boot-status-says-sealed all tpm_is sealed -- logged "root stays sealed"
check other-boot-running-guests-go-on guest_is_whole web1
check other-boot-is-no-quarantine is_state web2 stopped
mgr_stop
chip_stop
chip_start
chip_measure
mgr_start --pool 0
check right-boot-opens all guest_works web1 -- tpm_is ok
old=$(keeper)
chip_stop
chip_start
chip_measure
check restart-next-create-works ctl create web3
check restart-keeper-is-another test "$(keeper)" != "$old"
check restart-next-start-works guest_works web2
check restart-running-guests-go-on guest_is_whole web1
mgr_stop

chip_stop
chip_start foreign
chip_measure
log_mark
mgr_start --pool 0
check foreign-is-refused refused "another TPM than the one|not the one this store was made with" ctl start web1
check foreign-status all tpm_is foreign -- logged "not the physical TPM, or not the storage root key, that was pinned"
check foreign-create-is-refused refused "TPM" ctl create web4
mgr_stop
check foreign-chip-is-left-alone refused "" chip tpm2_readpublic -c 0x81000001
chip_stop
chip_start foreign
chip_measure
chip tpm2_createprimary -Q -C o -g sha256 -G ecc -c "$LAB/other.ctx"
chip tpm2_evictcontrol -Q -C o -c "$LAB/other.ctx" 0x81000001
chip tpm2_flushcontext -t
mgr_start --pool 0
check foreign-with-a-key-is-refused refused "is not the one this store was made with" ctl start web1
mgr_stop
store_rows >"$LAB/rows.now"
check foreign-nothing-is-overwritten all grep -qxFf "$LAB/rows" "$LAB/rows.now" -- test "$(grep -cxFf "$LAB/rows" "$LAB/rows.now")" = "$(wc -l <"$LAB/rows")"
chip_stop

chip_start
chip_measure
mgr_start --pool 0
check right-chip-works-again all guest_works web1 -- guest_works web2
mgr_stop
chip_stop
cp -a "$LAB/chip" "$LAB/evicted"
chip_start evicted
chip_measure
chip tpm2_evictcontrol -Q -C o -c 0x81000001
mgr_start --pool 0
check srk-evicted-is-refused refused "has no storage root key at 0x81000001" ctl start web1
mgr_stop
check srk-is-not-made-again refused "" chip tpm2_readpublic -c 0x81000001
exit $FAILED

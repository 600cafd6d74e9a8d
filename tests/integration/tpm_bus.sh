#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Somebody on the bus who reads it, or changes bits: no secret is to be had, and each change is right or refused; what is right
# without the change is right after it.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_record

bus
mgr_start --pool 0
check through-the-bus guest_works web1
ctl create web5 >/dev/null
mgr_stop
cp "$LAB/bus.log" "$LAB/create.log"
# What carries a secret is encrypted in both directions, and two unseals of one root look different.
cat >"$LAB/sessions.py" <<'PY'
import struct, sys
# Code: name, handles, the attributes it must have (0x20 decrypt: of the command, 0x40 encrypt: of the response).
SECRET = {0x136: ("NV_Extend", 2, 0x20), 0x14e: ("NV_Read", 2, 0x40), 0x15e: ("Unseal", 1, 0x40), 0x153: ("Create", 1, 0x60), 0x15d: ("Sign", 1, 0x20)}
seen, unsealed = set(), []
for line in open(sys.argv[1]):
    words = line.split()
    cmd, rsp = bytes.fromhex(words[0]), bytes.fromhex(words[1])
    tag, _, code = struct.unpack(">HII", cmd[:10])
    if code not in SECRET:
        continue
    name, handles, needs = SECRET[code]
    at, attributes = 14 + 4 * handles, 0
    end = at + struct.unpack(">I", cmd[at - 4:at])[0]
    while at < end:
        at += 4
        at += 2 + struct.unpack(">H", cmd[at:at + 2])[0]
        attributes |= cmd[at]
        at += 1
        at += 2 + struct.unpack(">H", cmd[at:at + 2])[0]
    assert tag == 0x8002 and attributes & needs == needs, "%s with attributes %#x" % (name, attributes)
    seen.add(name)
    if name == "Unseal":
        unsealed.append(rsp[16:48])
assert {"Unseal", "Sign", "NV_Extend", "NV_Read"} <= seen, seen
assert all(len(x) == 32 for x in unsealed) and len(set(unsealed)) == len(unsealed), "unsealed data repeats on the bus"
print(seen, len(unsealed))
PY
bus
mgr_start --pool 0
ctl start web1 >/dev/null
mgr_stop
cp "$LAB/bus.log" "$LAB/start.log"
cat "$LAB/create.log" "$LAB/start.log" >"$LAB/both.log"
check secrets-are-encrypted-on-the-bus python3 "$LAB/sessions.py" "$LAB/both.log"
rm -rf "$LAB/state.kept"
mv "$LAB/state" "$LAB/state.kept"
bus
check init-through-the-bus mgr_init --seal-pcrs 0,4 --shared-chip --anchor-handles 0x01805650,0x01805651
check init-secrets-are-encrypted-on-the-bus python3 "$LAB/sessions.py" "$LAB/bus.log"
rm -rf "$LAB/state"
mv "$LAB/state.kept" "$LAB/state"

mapfile -t RECORDED < <(recorded)
UNSEAL=0000015e/1
unseal_len=$(recorded | awk -v u=$UNSEAL '$1 == u { print $2 }')
CHANGED="response of the TPM (does not verify|makes no sense).*somebody on the way changes it"

for ((k = 16; k < unseal_len; k += 9)); do run_case unseal "TPM2_Unseal: a $CHANGED" flip $UNSEAL $k; done
run_case unseal-last "TPM2_Unseal: a $CHANGED" flip $UNSEAL -1
cases bits-of-unseal-are-caught-by-the-hmac
i=0
for r in "${RECORDED[@]}"; do
	i=$((i + 1))
	read -r n len <<<"$r"
	for ((k = i % 5; k < len; k += k < 14 ? 5 : 31)); do run_case flip "" flip "$n" $k; done
done
cases flips-are-right-or-refused
exit $FAILED

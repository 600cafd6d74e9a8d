#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Somebody records the bus for a whole life: a new store, a vTPM, another policy, the next boot, revocation, recovery. No key and no
# authorisation value is in it.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/bus.sh
lab_init
bus_begin
SEEN=()
recorded_bus() { # from here on, into a log of its own
	[ ! -e "$LAB/bus.log" ] || { cp "$LAB/bus.log" "$LAB/seen.${#SEEN[@]}"; SEEN+=("$LAB/seen.${#SEEN[@]}"); }
	bus
}
boot() { # KERNEL
	mgr_stop || true
	bus_stop
	chip_stop
	chip_start
	chip_measure "$1"
	recorded_bus
	mgr_start --pool 0
}
for k in policy recovery; do
	openssl ecparam -name prime256v1 -genkey -noout -out "$LAB/$k.pem"
	openssl pkey -in "$LAB/$k.pem" -pubout -out "$LAB/$k.pub"
done

recorded_bus
mgr_init --seal-pcrs 0,4 >/dev/null
db "SELECT writefile('$LAB/row', root) FROM grp WHERE name = 'default'" >/dev/null
recorded_bus
mgr_start --pool 0
guest_make web1
ctl policy current | "$B/vtpmctl" policy sign --key "$LAB/policy.pem" --number 1 - >"$LAB/set"
ctl policy set --policy-key "$LAB/policy.pub" --recovery-key "$LAB/recovery.pub" --set "$LAB/set" >/dev/null
boot second
ctl policy challenge >"$LAB/challenge"
"$B/vtpmctl" policy sign --key "$LAB/recovery.pem" "$LAB/challenge" >"$LAB/answer"
check recovered ctl policy recover "$LAB/answer"
ctl policy current | "$B/vtpmctl" policy sign --key "$LAB/policy.pem" --number 2 - >"$LAB/set"
check applied ctl policy apply "$LAB/set"
check raised ctl policy raise --to 2
boot second
check unsealed guest_works web1
ctl create web2 >/dev/null
head -c 32 /dev/urandom >"$LAB/credential"
mkdir "$LAB/host"
ctl enroll show --dir "$LAB/host" >/dev/null
tpm2_makecredential -Q -T none -G ecc -u "$LAB/host/ek-ecc.pem" -s "$LAB/credential" -n "$(cat "$LAB/host/ak.name")" -o "$LAB/challenge" 2>/dev/null
check activated [ "$(ctl enroll activate "$LAB/challenge")" = "$(od -An -v -tx1 "$LAB/credential" | tr -d ' \n')" ]
ctl destroy web2
mgr_stop
recorded_bus
bus_stop
check a-life-was-recorded [ "${#SEEN[@]}" -ge 4 ]

# Who is root on the host that was sealed to has the root (SECURITY.md): with it everything can be derived that must not have been seen.
python3 - "$LAB/row" "$LAB" <<'PY'
import struct, sys
row, at = open(sys.argv[1], "rb").read(), 1 + 3 * 4 + 24 * 32
for name in (None, None, "pub", "priv"):
    if name == "pub":
        at += 16  # the root's id, behind the policy
    size = struct.unpack("<I", row[at:at + 4])[0]
    if name:
        open(sys.argv[2] + "/" + name, "wb").write(row[at + 4:at + 4 + size])
    at += 4 + size
assert at == len(row)
PY
chip_stop
chip_start
chip_measure
chip tpm2_load -Q -C 0x81000001 -u "$LAB/pub" -r "$LAB/priv" -c "$LAB/object"
chip tpm2_startauthsession --policy-session -S "$LAB/session"
chip tpm2_policylocality -Q -S "$LAB/session" zero
chip tpm2_policypcr -Q -S "$LAB/session" -l sha256:0,4
chip tpm2_unseal -Q -c "$LAB/object" -p "session:$LAB/session" -o "$LAB/root"
chip tpm2_flushcontext "$LAB/session"
check no-secret-on-the-bus eval 'python3 tests/integration/bus_secrets.py "$LAB/state/vtpm.db" "$LAB/root" "$LAB/credential" "${SEEN[@]}" >"$LAB/owner"'
# And what was searched for is what it is called: the owner's authorisation is accepted, and another is not.
check what-was-searched-is-a-secret chip tpm2_clockrateadjust -p "hex:$(cat "$LAB/owner")" s
check another-is-none refused "." chip tpm2_clockrateadjust -p "hex:00$(cut -c3- "$LAB/owner")" s
exit $FAILED

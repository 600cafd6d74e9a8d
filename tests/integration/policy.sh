#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The life of a seal as an operator sees it: fixed values, a policy key, the update to the next kernel, revocation, recovery; and that
# what must not unseal does not, whatever lies on the disk.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init
K=$LAB/keys
mkdir "$K"
for k in policy other; do
	openssl ecparam -name prime256v1 -genkey -noout -out "$K/$k.pem"
	openssl pkey -in "$K/$k.pem" -pubout -out "$K/$k.pub"
done
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$K/recovery.pem" 2>/dev/null
openssl pkey -in "$K/recovery.pem" -pubout -out "$K/recovery.pub"

# The host boots KERNEL: the manager stops, the chip loses its PCRs.
boot() { # KERNEL
	mgr_stop || true
	chip_stop
	chip_start
	chip_measure "$1"
	mgr_start --pool 0 --recheck-interval 0
}
works() { ctl stop web1 >/dev/null 2>&1 || true; guest_works web1; }
sealed() { refused "$1" ctl start web1; }
# A set for a boot of KERNEL, unsigned, as a program that predicts would write it.
predicted() { # KERNEL
	python3 - "$(pcr_digest firmware)" "$(pcr_digest "$1")" "$1" <<-'PY'
		import hashlib, json, sys
		value = lambda d: hashlib.sha256(bytes(32) + bytes.fromhex(d)).hexdigest()
		print(json.dumps({"format": "vtpm-pcr-set-1", "description": sys.argv[3],
		                  "pcrs": {"sha256": {"0": value(sys.argv[1]), "4": value(sys.argv[2])}}}))
	PY
}
sign() { "$B/vtpmctl" policy sign --key "$K/policy.pem" "$@"; }

chip_and_store
mgr_start --pool 0 --recheck-interval 0
guest_make web1
check fixed-shown bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' policy show | grep -q 'the values that PCRs had'"
check fixed-tested ctl policy test
ctl policy current --description first >"$LAB/first.json"
check no-version-is-refused refused "which version" sign "$LAB/first.json"
sign --number 1 "$LAB/first.json" >"$LAB/first.signed"
check unsigned-is-refused refused "not signed" ctl policy set --policy-key "$K/policy.pub" --set "$LAB/first.json"
check another-key-is-refused refused "not the policy key" ctl policy set --policy-key "$K/other.pub" --set "$LAB/first.signed"
predicted second | sign --number 2 - >"$LAB/second.signed"
check another-boot-is-refused refused "PCR 4 is" ctl policy set --policy-key "$K/policy.pub" --set "$LAB/second.signed"
check fixed-still-works works
check policy-set ctl policy set --policy-key "$K/policy.pub" --set "$LAB/first.signed" --recovery-key "$K/recovery.pub"
check works-after-set works
boot bootloader
check works-after-set-and-boot works

# The update: predict, sign, plan, apply, reboot; then revoke what was before.
ctl policy plan "$LAB/second.signed" >"$LAB/plan"
check plan-says-what-will-be all grep -q 'The boot that is now would unseal it' "$LAB/plan" -- \
	grep -q 'new .*"second", version 2.*unseals on the boot that it is for: PCR 4' "$LAB/plan" -- grep -q 'recovery key would open it' "$LAB/plan"
boot second
check without-the-set-the-next-kernel-is-refused sealed "PCR 4 is"
check plan-while-sealed bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' policy plan '$LAB/second.signed' | grep -q 'The boot that is now would unseal it'"
check apply-while-sealed ctl policy apply "$LAB/second.signed"
check next-kernel-works works
boot bootloader
check old-kernel-still-works works
ctl policy plan --raise 2 >"$LAB/plan" || true
check plan-of-raising-says-who-is-out all grep -q 'would NOT unseal' "$LAB/plan" -- grep -q '"first", version 1.*never unseals again: it is revoked' "$LAB/plan"
check raise-that-locks-out-is-refused refused "nothing would unseal" ctl policy raise --to 2
boot second
check raise ctl policy raise --to 2
boot bootloader
check revoked-kernel-is-refused sealed "it is revoked"
check replayed-set-is-refused refused "it is revoked" ctl policy apply "$LAB/first.signed"
boot second
check works-after-raise works

# A store that is made anew from a backup is opened by the sets that the backup names.
check raised-is-in-the-audit-log audited '"policy-raise"'
ctl backup "$LAB/copy" >/dev/null
mgr_stop
mv "$LAB/state" "$LAB/state.lost"
check store-from-a-backup mgr_init --from "$LAB/copy"
mgr_start --pool 0 --recheck-interval 0
check older-store-is-accepted ctl quarantine release --store --i-accept-rollback
check works-from-a-backup works
rm -rf "$LAB/state.lost"

# What lies on the disk. The tests of the keeper flip each byte; here it is the way through the manager.
mgr_stop
db "UPDATE meta SET value = CAST(substr(value, 1, 80) || x'ff' || substr(value, 82) AS BLOB) WHERE key = 'sets.default'"
mgr_start --pool 0 --recheck-interval 0
check damaged-sets-open-nothing sealed "."
check damaged-sets-are-replaced ctl policy apply "$LAB/second.signed"
check works-with-the-set-applied-anew works
sed 's/"version": 2/"version": 3/' "$LAB/second.signed" >"$LAB/forged"
check forged-version-is-refused refused "not the policy key" ctl policy apply "$LAB/forged"
predicted third | "$B/vtpmctl" policy sign --key "$K/other.pem" --number 3 - >"$LAB/forged"
check set-of-another-key-is-refused refused "not the policy key" ctl policy apply "$LAB/forged"
ctl group create other --pcrs 0,4 >/dev/null
check set-of-another-group-is-refused refused "for another group" ctl policy apply --group other "$LAB/second.signed"
sed 's/"default"/"other"/' "$LAB/second.signed" >"$LAB/forged"
check group-in-the-file-is-signed refused "." ctl policy apply "$LAB/forged"

# Recovery: a boot that nobody has signed.
boot unknown
check unknown-boot-is-refused sealed "PCR 4 is"
ctl policy challenge >"$LAB/challenge"
"$B/vtpmctl" policy sign --key "$K/policy.pem" "$LAB/challenge" >"$LAB/answer"
check recovery-by-another-key-is-refused refused "not that of the recovery key" ctl policy recover "$LAB/answer"
"$B/vtpmctl" policy sign --key "$K/recovery.pem" "$LAB/challenge" >"$LAB/answer"
check a-challenge-is-good-once refused "begin again" ctl policy recover "$LAB/answer"
ctl policy challenge >"$LAB/challenge"
"$B/vtpmctl" policy sign --key "$K/recovery.pem" "$LAB/challenge" >"$LAB/answer"
check recovery ctl policy recover "$LAB/answer"
check works-after-recovery works
check status-says-so bash -c "'$B/vtpmctl' --runtime-dir '$LAB/run' status | grep -q 'opened by the recovery key'"
ctl policy current --description unknown | sign --number 3 - >"$LAB/third.signed"
check set-for-the-recovered-boot ctl policy apply "$LAB/third.signed"
check tested-after-recovery ctl policy test
boot unknown
check works-without-the-key-again works

# Back to fixed values, which a recovery seals anew.
check back-to-fixed ctl policy set --kind fixed
boot elsewhere
check fixed-elsewhere-is-refused sealed "the seal wants"
ctl policy challenge >"$LAB/challenge"
"$B/vtpmctl" policy sign --key "$K/recovery.pem" "$LAB/challenge" >"$LAB/answer"
check recovery-of-fixed ctl policy recover "$LAB/answer"
check works-after-recovery-of-fixed works
boot elsewhere
check sealed-anew works
check all-is-in-the-audit-log all audited '"policy-set"' -- audited '"policy-apply"' -- audited '"recovery"'
exit $FAILED

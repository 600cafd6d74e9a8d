#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Roots that outlive their chip: wrapped to offline keys, moved to another chip, sealed anew on the same one; and each refusal on the way.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init

offline_key a RSA-2048
offline_key b P-384
offline_key c P-256
offline_key weak RSA-1024
offline_key stranger P-256

warned() { ctl status | grep -q "^warning .*$1" || { ctl status; return 1; }; }
kept() { [ "$(ctl recovery show --json | json "['recovery']['groups'].__len__()")" = "$1" ] && ! ctl recovery show | grep -q "or none"; }
serves_none() { refused "" ctl start web1; }

chip_and_store
mgr_start --pool 0
guest_make web1
ctl group create vault --pcrs 0,4 >/dev/null
guest_make web2 --group vault
check nobody-can-recover-yet warned "group default: .*its vTPMs are lost"
check weak-key-is-refused refused "not one public key" ctl recovery init --key "$LAB/weak.pem"
check private-key-is-refused refused "not one public key" ctl recovery init --key "$LAB/a.key"
check no-key-at-all-is-refused refused "not every one of these keys, or none" ctl recovery init
check init-while-guests-run all ctl recovery init --key "$LAB/a.pem" --key "$LAB/b.pem" --key "$LAB/c.pem" -- kept 2
check guests-ran-on all guest_is_whole web1 -- guest_is_whole web2
check nags-no-more no warned "recovery init"
ctl group create late --pcrs 0,4 >/dev/null
check nags-about-a-later-group warned "group late: .*not every recovery key"
check init-again all ctl recovery init -- kept 3
ctl recovery show --json >"$LAB/kept"
check each-key-has-each-root-and-the-owner test "$(json "['recovery']['escrows'].__len__()" <"$LAB/kept")" = 12

# Keys that others could have put there are left out.
printf 'x' >"$LAB/recovery.d/junk.pem"
cp "$LAB/stranger.pem" "$LAB/recovery.d/stranger.pem"
cp "$LAB/weak.pem" "$LAB/recovery.d/weak.pem"
chmod 644 "$LAB/recovery.d/junk.pem" "$LAB/recovery.d/weak.pem"
chmod 666 "$LAB/recovery.d/stranger.pem"
mgr_stop
log_mark
mgr_start --pool 0
check others-keys-are-left-out all logged "stranger.pem is left out: it must be a file that only root can write" -- logged "junk.pem is left out" -- \
	logged "weak.pem is left out" -- test "$(ctl recovery show | grep -c '^key ')" = 3
rm "$LAB/recovery.d/junk.pem" "$LAB/recovery.d/stranger.pem" "$LAB/recovery.d/weak.pem"
mgr_stop
chmod 777 "$LAB/recovery.d"
log_mark
mgr_start --pool 0
check nor-is-a-directory-of-others-used all logged "are not used: others than root can write that directory" -- no grep -q '^key ' <(ctl recovery show)
chmod 755 "$LAB/recovery.d"
mgr_stop
mgr_start --pool 0

check nothing-to-recover all challenge -- opens a -- refused "nothing to recover" restores
owner() { "$B/vtpmctl" recovery open --owner-auth --key "$LAB/$1.key" "$LAB/kept" >"$LAB/owner.$1"; }
check owner-authorisation-is-kept all owner a -- owner c -- cmp "$LAB/owner.a" "$LAB/owner.c"
mgr_stop
check and-opens-the-chip chip tpm2_changeauth -Q -c owner -p "hex:$(cat "$LAB/owner.a")" "hex:$(cat "$LAB/owner.a")"

# --- the host boots something else for good: the same chip ---
chip_stop
rm -f "$LAB"/chip.sock*
chip_start
chip_measure another-bootloader
mgr_start --pool 0
check another-boot-opens-nothing all test "$(tpm_field state)" = sealed -- serves_none
check wrong-code all challenge -- refused "the code of this challenge is another one" \
	"$B/vtpmctl" recovery open --key "$LAB/a.key" --code 0000-0000-0000-0000-0000-0000 "$LAB/challenge"
check no-code refused "code is missing" "$B/vtpmctl" recovery open --key "$LAB/a.key" "$LAB/challenge"
check wrong-key refused "nothing in it is for this key" opens stranger
two_at_once() { # one of them recovers, the other is told
	local one=0 two=0 bg
	restores >"$LAB/one" 2>&1 &
	bg=$!
	restores >"$LAB/two" 2>&1 || two=$?
	wait $bg || one=$?
	cat "$LAB/one" "$LAB/two"
	[ $((!one + !two)) -eq 1 ] && grep -qE "is on its way|nothing to recover" "$LAB/one" "$LAB/two"
}
check reroot-on-the-same-chip all opens b -- two_at_once
check same-chip-is-no-loss all guest_works web1 -- discontinuities web1 0 -- is_open
check vault-came-along all guest_works web2 -- discontinuities web2 0
check used-answer-is-refused refused "nothing to recover" restores
mgr_stop
mgr_start --pool 0
check the-new-seal-lasts guest_works web1
mgr_stop
db -readonly "SELECT hex(value) FROM meta WHERE key = 'escrow:vault'" >"$LAB/escrow.older"
mgr_start --pool 0
ctl reseal --group vault >/dev/null
mgr_stop

# --- a dead mainboard ---
another_chip() {
	chip_stop
	rm -f "$LAB"/chip.sock*
	chip_start "$1"
	chip_measure
}
cp -a "$LAB/state" "$LAB/before"
another_chip second
mgr_start --pool 0
check another-chip-opens-nothing all test "$(tpm_field state)" = foreign -- serves_none
challenge
flip_hex() { # FILE KEY: one digit of the first value of that key
	python3 - "$1" "$2" <<-'END'
	import re, sys
	s = open(sys.argv[1]).read()
	at = re.search('"%s": "' % sys.argv[2], s).end() + 70
	print(s[:at] + ("0" if s[at] != "0" else "1") + s[at + 1:], end="")
	END
}
flip_hex "$LAB/challenge" envelope >"$LAB/bent"
check flipped-escrow refused "does not open|for this key|makes no sense" opens a "$LAB/bent"
head -c 400 "$LAB/challenge" >"$LAB/cut"
check truncated-challenge refused "" opens a "$LAB/cut"
flip_hex "$LAB/challenge" keeper >"$LAB/bent"
check keeper-key-put-in-its-place refused "not a challenge|another one" opens a "$LAB/bent"
check opens-with-each-key all opens c -- opens b -- opens a
cp "$LAB/answer" "$LAB/good"
check loss-must-be-accepted refused "nothing proves that the store is the newest" restores
flip_hex "$LAB/good" envelope >"$LAB/answer"
check flipped-answer refused "does not verify" restores --i-accept-rollback
until_foreign() { for ((i = 0; i < 500; i++)); do [ "$(tpm_field state 2>/dev/null)" != foreign ] || return 0; sleep 0.02; done; return 1; }
until_foreign
cp "$LAB/good" "$LAB/answer"
check challenge-of-a-keeper-that-ended refused "the challenge has expired" restores --i-accept-rollback
until_foreign
challenge
check answer-to-the-one-before refused "does not verify" restores --i-accept-rollback
until_foreign
head -c -40 "$LAB/good" >"$LAB/answer"
check truncated-answer refused "" restores --i-accept-rollback
challenge
opens a
check moves-to-another-chip all restores --i-accept-rollback -- grep -q "nothing proves that this store is the newest" "$LAB/out"
check guests-are-whole all guest_works web1 -- guest_works web2
check the-loss-of-proof-is-kept all discontinuities web1 1 -- discontinuities web2 1
check and-said all warned "moved onto this TPM by recovery" -- audited '"recover".*"result":"ok".*operator.s word'
ctl ca >"$LAB/cas.pem"
ctl show web1 --ek-cert ecc >"$LAB/ek.pem"
check old-certificates-verify openssl verify -x509_strict -CAfile "$LAB/cas.pem" "$LAB/ek.pem"
guest_make web3
ctl show web3 --ek-cert ecc >"$LAB/ek.pem"
check new-ones-do-too openssl verify -x509_strict -CAfile "$LAB/cas.pem" "$LAB/ek.pem"
check no-nagging no warned "recovery init"
mgr_stop
mgr_start --pool 0
check a-restart-is-as-usual all guest_works web1 -- discontinuities web1 1
ctl recovery show --json >"$LAB/kept"
check owner-authorisation-of-the-new-chip owner b
mgr_stop
check is-that-of-the-new-chip chip tpm2_changeauth -Q -c owner -p "hex:$(cat "$LAB/owner.b")" "hex:$(cat "$LAB/owner.b")"
check and-not-of-the-old no cmp -s "$LAB/owner.a" "$LAB/owner.b"

# --- another host's store with this one's answer; a store that was tampered with ---
mv "$LAB/state" "$LAB/host1"
another_chip third
mgr_init --seal-pcrs 0,4 >/dev/null
mgr_start --pool 0
ctl recovery init >/dev/null
mgr_stop
db "ATTACH '$LAB/host1/vtpm.db' AS other; UPDATE meta SET value = (SELECT value FROM other.meta o WHERE o.key = meta.key) WHERE key = 'escrow:default'; UPDATE grp SET root = (SELECT root FROM other.grp o WHERE o.name = grp.name)"
another_chip fourth
mgr_start --pool 0
challenge
opens a
check another-hosts-file refused "not the one that this store was made with" restores --i-accept-rollback
mgr_stop
rm -rf "$LAB/state"
cp -a "$LAB/before" "$LAB/state"
db "UPDATE leaf SET version = version + 1 WHERE epoch > 0"
another_chip fifth
mgr_start --pool 0
challenge
opens a
check changed-store refused "journal does not vouch" restores --i-accept-rollback
mgr_stop
# What the offline keys held of a group's root before it was rotated; and a row that says that a second share is needed, which would leave
# its group locked, with a root that nobody has.
on_another_chip() { # NAME SQL: a store that was changed so
	rm -rf "$LAB/state"
	cp -a "$LAB/before" "$LAB/state"
	db "$2"
	another_chip "$1"
	mgr_start --pool 0
	challenge
	opens a
}
on_another_chip older "UPDATE meta SET value = x'$(cat "$LAB/escrow.older")' WHERE key = 'escrow:vault'"
check an-older-root-of-a-group refused "group vault: that is another root than the group has" restores --i-accept-rollback
mgr_stop
row=$(db "SELECT hex(root) FROM grp WHERE name = 'vault'")
on_another_chip planted "UPDATE grp SET root = x'${row:0:10}02${row:12}' WHERE name = 'vault'"
check a-planted-flag refused "journal does not vouch" restores --i-accept-rollback
mgr_stop
rm -rf "$LAB/state"
cp -a "$LAB/before" "$LAB/state"
another_chip sixth

# --- cleared while it was off; and the manager is killed in the middle of it: begun anew ---
mgr_start --pool 0
challenge
opens c
( restores --i-accept-rollback >/dev/null 2>&1 || true ) &
BG=$!
sleep 0.0$((RANDOM % 10))
mgr_stop KILL || true
wait $BG || true
mgr_start --pool 0
if [ "$(tpm_field state)" = foreign ]; then
	mgr_stop
	for h in 0x01805640 0x01805641; do chip tpm2_nvundefine -Q -C o $h 2>/dev/null || true; done
	mgr_start --pool 0
	challenge
	opens c
	check begun-anew restores --i-accept-rollback
fi
check and-whole guest_works web1
mgr_stop
exit $FAILED

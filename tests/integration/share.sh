#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Groups that need a second share besides the chip: a passphrase or a key file, which nobody on the way to the keeper has.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/disks.sh
lab_init

printf 'correct horse battery staple\n' >"$LAB/pass"
printf 'incorrect horse battery staple\n' >"$LAB/wrong"
head -c 64 /dev/urandom >"$LAB/keyfile"
head -c 64 /dev/urandom >"$LAB/otherfile"
head -c 16 /dev/urandom >"$LAB/short"
unlock() { ctl group unlock "$1" --ca "${CA:-$LAB/ca.pem}" --share-file "$LAB/$2"; }
locked() { ctl group list | grep -qE "^$1 +not open .*needs its second share: vtpmctl group unlock $1"; }
is_locked() { soon locked "$1" || { ctl group list; return 1; }; }
until_unlocks() { local i; for ((i = 0; i < 200; i++)); do unlock "$1" "$2" >"$LAB/said" 2>&1 && return; grep -q "try again in" "$LAB/said" || break; sleep 0.1; done; cat "$LAB/said"; return 1; }

mkdir -m 755 "$LAB/recovery.d"
offline_key a P-256
mv "$LAB/a.pem" "$LAB/recovery.d/"
chip_and_store
mgr_start --pool 0
ctl ca >"$LAB/ca.pem"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$LAB/fake.key" -subj /CN=fake -days 2 -out "$LAB/fake.pem" 2>/dev/null
make_group() { ctl group create "$1" --pcrs 0,4 --share "$2" --ca "${CA:-$LAB/ca.pem}" --share-file "$LAB/$3"; }
check a-host-that-is-another-gets-nothing all env CA="$LAB/fake.pem" true -- refused "not signed by a CA" ctl group create safe --pcrs 0,4 --share passphrase --ca "$LAB/fake.pem" --share-file "$LAB/pass"
check no-ca-no-share refused "ca FILE is missing" ctl group create safe --share passphrase --share-file "$LAB/pass"
check no-such-kind refused "neither passphrase nor keyfile" make_group safe finger pass
check a-short-key-file refused "a key file has 32" make_group safe keyfile short
check groups-are-made all make_group safe passphrase pass -- make_group vault keyfile keyfile
guest_make s --group safe
guest_make v --group vault
ctl stop v
check open-as-long-as-the-keeper-is all ctl stop s -- guest_works s -- ctl stop s
ctl recovery init >/dev/null
mgr_stop
mgr_start --pool 0
check locked-after-a-restart all is_locked safe -- is_locked vault -- refused "needs its second share" ctl start s
check default-is-not-concerned all ctl create other -- ctl start other -- ctl stop other
check wrong-passphrase refused "group safe stays locked: that is not its second share" unlock safe wrong
check wrong-key-file-of-another-group-at-once refused "group vault stays locked: that is not its second share" unlock vault otherfile
check the-right-one-at-once-after-it refused "too many wrong shares for group vault: try again in [12] s" unlock vault keyfile
check is-not-even-looked-at is_locked vault
check unlocked-in-time all until_unlocks safe pass -- guest_works s
until_tries() { local i; for ((i = 0; i < 200; i++)); do unlock vault otherfile >"$LAB/said" 2>&1 || ! grep -q "stays locked" "$LAB/said" || return 0; sleep 0.1; done; return 1; }
check each-wrong-one-costs-more all until_tries -- refused "try again in [34] s" unlock vault keyfile
check right-key-file all until_unlocks vault keyfile -- guest_works v
check no-share-here refused "has no second share" unlock default pass
check no-such-group refused "no group" unlock nobody pass
check audited all audited '"group-unlock".*"result":"ok".*safe' -- audited '"group-unlock".*"result":"[^"o][^"]*".*safe'
check no-share-on-the-disk no grep -rqaF "horse battery" "$LAB/state" "$LAB/mgr.log"

# Rotation while it is open; one that is locked stays as it is.
check rotated-while-open all ctl reseal -- ctl stop s -- guest_works s -- ctl stop s -- ctl stop v
mgr_stop
mgr_start --pool 0
check the-share-is-the-same all is_locked safe -- until_unlocks safe pass -- guest_works s -- ctl stop s
check a-locked-one-cannot-be-rotated refused "needs its second share" ctl reseal --group vault
check wrong-still-is refused "stays locked" unlock vault otherfile
mgr_stop

# A manager that was taken over stands between.
mgr_start --pool 0
between() { # WHAT …: it answers in $LAB/mitm
	mkdir -p "$LAB/mitm"
	rm -f "$LAB/mitm/control.sock"
	coproc BETWEEN { exec python3 tests/integration/share_between.py "$LAB/run/control.sock" "$LAB/mitm" "$@"; }
	read -r _ <&"${BETWEEN[0]}"
}
between_end() { kill "$BETWEEN_PID"; wait "$BETWEEN_PID" 2>/dev/null || true; }
through() { "$B/vtpmctl" --runtime-dir "$LAB/mitm" group unlock vault --ca "$LAB/ca.pem" --share-file "$LAB/$1"; }
between key "$(openssl pkey -in "$LAB/fake.key" -pubout -outform DER | od -An -tx1 | tr -d ' \n')"
check a-key-of-another-is-given-nothing refused "the share was not sent: the key to send it to is not signed" through keyfile
between_end
between replay
check an-honest-manager-between all refused "stays locked" through otherfile
check a-key-of-before-is-given-nothing refused "the share was not sent" through keyfile
between_end
between salt
check another-salt-opens-nothing refused "stays locked|try again" through keyfile
between_end
mgr_stop

# An older store that is accepted: each vTPM of a group that is locked is to be released by itself.
disk_copy old
mgr_start --pool 0
ctl create later >/dev/null
mgr_stop
disk_back old
mgr_start --pool 0
check released-while-locked all is_locked safe -- ctl quarantine release --store --i-accept-rollback -- soon is_open
check what-is-open-goes-along all ctl start other -- ctl stop other
check what-is-locked-does-not all is_state s quarantined -- is_state v quarantined -- until_unlocks safe pass -- refused "its row is not the one that the journal vouches for" ctl start s
check until-it-is-released-by-itself all ctl quarantine release s --i-accept-rollback -- guest_works s -- ctl stop s -- \
	until_unlocks vault keyfile -- ctl quarantine release v --i-accept-rollback -- guest_works v -- ctl stop v
mgr_stop

# A changed record opens nothing and harms nothing.
db "CREATE TEMP TABLE t AS SELECT value FROM meta WHERE key = 'share:safe'; UPDATE meta SET value = (SELECT value FROM meta WHERE key = 'share:vault') WHERE key = 'share:safe'"
mgr_start --pool 0
check record-of-another-group refused "key file has|stays locked" unlock safe pass
mgr_stop

# Another chip: an offline key stands for the chip, the share is needed as before.
cp -a "$LAB/state" "$LAB/kept"
chip_stop
rm -f "$LAB"/chip.sock*
chip_start second
chip_measure
mgr_start --pool 0
challenge
opens a
check recovery restores --i-accept-rollback
check the-offline-key-is-not-the-share all is_locked vault -- refused "second share" ctl start v
check the-old-host-is-not-this-one refused "not signed by a CA" unlock vault keyfile
ctl ca >"$LAB/ca.pem"
check and-the-share-still-opens-it all until_unlocks vault keyfile -- guest_works v

# The keeper ends, which locks the group, and then the backend of one that runs: its guest waits for the share, and goes on as it was.
waiting() { [ "$(field v state)" = starting ] && ctl show v | grep -q "needs its second share: vtpmctl group unlock vault"; }
pcr() { guest "$1" tpm2_pcrread sha256:16; }
guest v tpm2_pcrextend "16:sha256=$(pcr_digest kept)"
pcr v >"$LAB/pcr.before"
kill -KILL "$(keeper)"
check the-keeper-is-another-and-has-no-share all is_locked vault -- is_state v running
kill -KILL $(backends)
check its-guest-waits soon waiting
check and-goes-on all until_unlocks vault keyfile -- guest_is_whole v
pcr v >"$LAB/pcr.after"
check as-it-was cmp "$LAB/pcr.before" "$LAB/pcr.after"
mgr_stop

# Under vtpm-hold: another manager has no share, and a guest of that group that runs waits for it, and goes on as it was.
HOLD="--restarts 1000" mgr_start --pool 0
waits() { [ "$(status hold generation)" = "$1" ] && [ "$(status hold waiting)" = 1 ] && waiting; } # for the N-th manager: v, and nobody else
check two-guests-run all until_unlocks vault keyfile -- ctl start v -- ctl start other -- guest v tpm2_pcrextend "16:sha256=$(pcr_digest held)"
pcr v >"$LAB/pcr.before"
check another-manager all ctl upgrade -- soon waits 2
check the-others-have-gone-on all pcr other -- is_locked vault
pcr v >"$LAB/pcr.after" &
READER=$!
check and-another-one all ctl upgrade -- soon waits 3
check a-wrong-share-does-not-help all refused "stays locked" unlock vault otherfile -- waits 3
check unlocked-it-goes-on all until_unlocks vault keyfile -- wait $READER -- cmp "$LAB/pcr.before" "$LAB/pcr.after" -- guest_is_whole v -- is_state v running
pcr v >"$LAB/pcr.after"
check nothing-of-it-was-lost all cmp "$LAB/pcr.before" "$LAB/pcr.after" -- test "$(status hold waiting)" = 0
check one-that-waits-is-stopped all ctl upgrade -- soon waits 4 -- refused "v is off, but did not stop in order: .*second share" ctl stop v -- is_state v stopped -- refused "needs its second share" ctl start v
check and-starts-again-unlocked all until_unlocks vault keyfile -- guest_works v
ctl upgrade
check one-that-waits-ends-in-order all soon waits 5 -- mgr_stop
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Nothing acknowledged is lost, nothing old is accepted: the store, one guest's rows or the journal alone are put back, with
# and without a power cut of the chip; processes are killed under load; guests try to wear the chip out.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
. tests/integration/disks.sh
lab_init
CHIP_RESETS=yes

INDEX=01500030
RIGHT=34373131 WRONG=34373132
tries() { say "$1" "$(lockout_counter_hex)"; TRIES=$((16#${REPLY: -8})); }
tried() { tries "$1"; [ $TRIES -eq "$2" ] || { echo "$1 counts $TRIES failed authorisations, not $2"; return 1; }; }
wrong_pin() { say "$1" "$(nv_read_pin_hex $INDEX 4 $WRONG)"; [ "$(rc_of "$REPLY")" = 0000098e ] || { echo "answered $REPLY"; return 1; }; }

pin_guest() { # NAME OPTION…: one with a number and a PIN to lose
	ctl create "$@" --commit-rate 0 >/dev/null
	ctl start "$1" >/dev/null
	guest "$1" tpm2_dictionarylockout -s -n 31 -t 100000 -l 100000
	guest "$1" tpm2_nvdefine -Q -C o -s 4 -a 'authread|authwrite' -p 4711 0x$INDEX
	printf 0123 | guest "$1" tpm2_nvwrite -Q -C 0x$INDEX -P 4711 -i - 0x$INDEX
	counter_open "$1" 3
}
waits() { [ "$(awk '{ print $3 }' "/proc/$1/stat")" = S ]; }
# Of a release and another command, while the keeper is being waited for: who comes second finds what the first has made of it.
release_beside() { # GUEST TEXT COMMAND…
	local g=$1 text=$2 k first second
	shift 2
	k=$(keeper)
	kill -STOP "$k"
	ctl quarantine release "$g" --i-accept-rollback >"$LAB/released" 2>&1 &
	first=$!
	soon waits $first
	ctl list >/dev/null
	"$@" &
	second=$!
	soon waits $second
	ctl list >/dev/null
	kill -CONT "$k"
	wait $second || return 1
	! wait $first && grep -E "$text" "$LAB/released" || { cat "$LAB/released"; return 1; }
}

chip_and_store
mgr_start --pool 0
ctl group create vault --pcrs 0,4 --mode strict >/dev/null
pin_guest a
pin_guest b
pin_guest s --group vault
ctl create gone >/dev/null
check modes all test "$(field a mode)" = bounded -- test "$(field s mode)" = strict
check status-names-the-anchors all test "$(continuity anchor_a)" = 0x01805640 -- test "$(continuity owner)" = ours
line_close a b s
mgr_stop

# --- after an orderly stop ---
disk_copy old
mgr_start --pool 0
check orderly-stop-is-known is_found "last commit|orderly|in order"
on a b s gone
count_up a 2; count_up b 2; count_up s 2
line_close a b s gone
mgr_stop
disk_copy now
disk_back old
check older-store-is-refused store_refused "no row of the journal has the value of anchor A" a b s
chip_cut
check older-store-after-a-power-cut-is-refused store_refused "no row of the journal has the value of anchor A" a b s
disk_back now
check the-newest-is-accepted-all-the-same all accepted -- is_found "last stop was in order" -- discontinuities a 0
on a b s
check and-has-lost-nothing all nothing_lost a -- nothing_lost b -- nothing_lost s
line_close a b s
mgr_stop
disk_copy now

# One guest's rows.
put_back() { db "ATTACH '$LAB/disk.old/vtpm.db' AS old; $1"; }
A="(SELECT uuid FROM vtpm WHERE name = 'a')"
put_back "UPDATE state SET (version, sealed) = (SELECT version, sealed FROM old.state o WHERE o.uuid = state.uuid) WHERE uuid IN ($A, (SELECT uuid FROM vtpm WHERE name = 'gone'))"
mgr_start --pool 0
log_mark
check older-state-is-refused all refused "quarantined: its state is not the newest" ctl start a -- is_state a quarantined -- \
	logged "a: quarantined: its state is not the newest"
check and-no-other all ctl start b -- ctl start s -- ctl stop b -- ctl stop s
check quarantine-lists-it eval 'ctl quarantine list | grep -q "^a .*not the newest"'
check release-wants-a-word refused "i-accept-rollback" ctl quarantine release a
check release-of-what-is-none refused "not quarantined" ctl quarantine release b --i-accept-rollback
check two-of-them refused "quarantined: its state is not the newest" ctl start gone
check not-beside-a-destroy all release_beside gone "destroyed" ctl destroy gone --force -- refused "no vTPM named" ctl show gone
check not-beside-a-start release_beside a "powered on|restored, destroyed or changed" refused "quarantined" ctl start a
check release-of-one all ctl quarantine release a --i-accept-rollback -- discontinuities a 1 -- discontinuities b 0 -- \
	audited '"release","vtpm":"a".*"result":"ok"' -- ctl start a -- is_state a running
line_open a
check it-is-the-older-one has a 3
LAST[a]=3 ACKED[a]=3
line_close a
mgr_stop
mgr_start --pool 0
check the-mark-stays discontinuities a 1
# Settings that were changed do not come back with an older row, key and all.
check settings-change ctl set b --snapshots allow
check settings-keep-it-going all ctl start b -- ctl stop b
mgr_stop
disk_copy set
put_back "UPDATE vtpm SET (epoch, snapshots, wrapped) = (SELECT epoch, snapshots, wrapped FROM old.vtpm o WHERE o.uuid = vtpm.uuid) WHERE name = 'b'"
mgr_start --pool 0
check older-settings-are-refused all refused "quarantined: its row is not the one that the journal vouches for" ctl start b -- ctl start a -- ctl stop a
mgr_stop
db "ATTACH '$LAB/disk.set/vtpm.db' AS good; UPDATE vtpm SET (epoch, snapshots, wrapped) = \
	(SELECT epoch, snapshots, wrapped FROM good.vtpm g WHERE g.uuid = vtpm.uuid) WHERE name = 'b'"
mgr_start --pool 0
check the-right-row-works-again all ctl start b -- ctl stop b
mgr_stop
disk_copy now
for t in leaf journal; do
	put_back "DELETE FROM $t; INSERT INTO $t SELECT * FROM old.$t"
	check "older-$t-alone-is-refused" store_refused "no row of the journal has the value|newest states" a b
	disk_back now
done
db "UPDATE leaf SET discontinuities = 0 WHERE uuid = $A"
check a-discontinuity-cannot-be-taken-back store_refused "newest states \(table leaf\)" a b
disk_back now
db "UPDATE leaf SET mode = 0"
check a-mode-cannot-be-changed store_refused "newest states \(table leaf\)" a b
disk_back now
flip journal row "n = (SELECT max(n) FROM journal)" 20
check a-row-cannot-be-changed store_refused "journal" a b
disk_back now
db "DELETE FROM journal WHERE n = (SELECT max(n) FROM journal)"
check a-row-cannot-be-removed store_refused "no row of the journal has the value of anchor A" a b
disk_back now
flip meta value "key = 'anchors'" 30
check the-record-cannot-be-changed store_refused "record of the anchors" a b
disk_back now
flip grp root "name = 'vault'" 760
mgr_start --pool 0
check a-group-cannot-be-changed all refused "vault" ctl start s -- ctl start b
check what-will-be-given-up-has-other-settings ctl set a --snapshots allow
mgr_stop
disk_copy given-up
disk_back now && db "SELECT 1" >/dev/null # what has run since is newer
check and-that-copy-is-an-older-one-now store_refused "no row of the journal has the value of anchor A" a b s

# --- the whole store released ---
mgr_start --pool 0
check release-of-the-store-wants-a-word refused "i-accept-rollback" ctl quarantine release --store
check release-of-the-store all ctl quarantine release --store --i-accept-rollback -- audited '"release".*"result":"ok"'
check it-is-open-again soon is_open
on a b s
check released-ones-are-marked all discontinuities a 2 -- discontinuities b 1 -- discontinuities s 1
check released-ones-work all nothing_lost a -- nothing_lost b -- nothing_lost s -- count_up a 2 -- count_up s 2
line_close a b s
mgr_stop
disk_copy now
disk_back old
check before-the-release-is-refused store_refused "record of the anchors|no row of the journal|authorisation|was removed and defined anew" a b s
disk_back now
# No row of what was given up fits, however many changes of settings it has.
mgr_start --pool 0
check settings-after-the-release ctl set a --launch off
mgr_stop
disk_copy now
db "ATTACH '$LAB/disk.given-up/vtpm.db' AS old; UPDATE vtpm SET (epoch, snapshots, launch, wrapped) = \
	(SELECT epoch, snapshots, launch, wrapped FROM old.vtpm o WHERE o.uuid = vtpm.uuid) WHERE name = 'a'"
mgr_start --pool 0
check settings-that-were-given-up-are-refused all refused "quarantined: its row is not the one that the journal vouches for" ctl start a -- ctl start b -- ctl stop b
mgr_stop
db "ATTACH '$LAB/disk.now/vtpm.db' AS good; UPDATE vtpm SET (epoch, snapshots, launch, wrapped) = \
	(SELECT epoch, snapshots, launch, wrapped FROM good.vtpm g WHERE g.uuid = vtpm.uuid) WHERE name = 'a'"

# --- without an orderly stop ---
mgr_start --pool 0
on a b
disk_copy open # just after the open row
count_up a 4
mgr_stop KILL || true
line_close a b
disk_copy now
disk_back open
check killed-older-store-is-refused store_refused "no row of the journal has the value of anchor V" a b
disk_back now
check killed-newest-is-accepted all accepted -- is_found "was not reset" -- discontinuities a 2
on a b
check killed-has-lost-nothing all nothing_lost a -- nothing_lost b

# A power cut loses nothing that is on the disk. That it does not cannot be proven for bounded guests, which is said.
count_up a 4
host_cut
line_close a b
check cut-is-accepted all accepted -- is_found "reset without an orderly stop" -- discontinuities a 3 -- discontinuities b 2 -- discontinuities s 1
on a b
check cut-has-lost-nothing all nothing_lost a -- nothing_lost b

# What bounded may accept: changes since the last anchored row, and no other.
disk_copy anchored
was=${LAST[a]}
count_up a 3
host_cut
line_close a b
disk_back anchored
check bounded-accepts-the-last-anchored all accepted -- is_found "reset without an orderly stop" -- discontinuities a 4
on a b
check and-it-is-the-one has a $was
LAST[a]=$was ACKED[a]=$was
line_close a b
mgr_stop
mgr_start --pool 0
check and-says-so-after-a-restart all discontinuities a 4 -- discontinuities s 1

# Wrong PINs are anchored: neither a power cut nor an older disk gives one back.
on a s
right_pin() { say "$1" "$(nv_read_pin_hex $INDEX 4 $RIGHT)"; }
right_pin a; right_pin a # the first one after a start is noted, and answered TPM_RC_RETRY
tries a; before=$TRIES
disk_copy untried
check wrong-pins all wrong_pin a -- wrong_pin a -- wrong_pin a -- tried a $((before + 3))
host_cut
line_close a s
disk_copy now
disk_back untried
check wrong-pins-buy-no-try store_refused "no row of the journal has the value of anchor A" a s
disk_back now
check they-are-counted accepted
on a s
tries a
check all-of-them test "$TRIES" -ge $((before + 3))

# Strict: every change.
disk_copy untouched
count_up s 1
host_cut
line_close a s
disk_copy now
disk_back untouched
check strict-accepts-nothing-older store_refused "no row of the journal has the value of anchor A" a s
disk_back now
check strict-newest-is-accepted accepted
on a b s
check strict-has-lost-nothing all nothing_lost s -- discontinuities s 1

# --- the chip, the keeper or the manager dies under load ---
write_on() { # GUEST FILE: until it is answered no more; acknowledged numbers, one a line, and not what the last one was answered
	while count_up "$1" >&2; do echo "${ACKED[$1]}"; done >"$2" 2>/dev/null
}
under_load() { # NAME COMMAND…: a and b write; after some answers the command; then more answers must come, or the manager was killed
	local name=$1 n g
	shift
	mkfifo "$LAB/a.acks" "$LAB/b.acks"
	(write_on a "$LAB/a.acks") &
	local wa=$!
	(write_on b "$LAB/b.acks") &
	local wb=$!
	exec 7<"$LAB/a.acks" 6<"$LAB/b.acks"
	for ((n = 0; n < 20 + RANDOM % 20; n++)); do read -r ACKED[a] <&7; read -r ACKED[b] <&6; done
	"$@"
	if [ "$MGR_PID" ]; then
		for ((n = 0; n < 300; n++)); do read -r ACKED[a] <&7 && read -r ACKED[b] <&6 || break; done
		check "$name-goes-on" test $n = 300
		kill $wa $wb
	fi
	while read -r n <&7; do ACKED[a]=$n; done
	while read -r n <&6; do ACKED[b]=$n; done
	exec 6<&- 7<&-
	wait $wa $wb 2>/dev/null || true
	rm "$LAB/a.acks" "$LAB/b.acks"
	for g in a b; do LAST[$g]=$((ACKED[$g] + 1)); done
}
killed_manager() { mgr_stop KILL || true; }
reconnect() { line_close a b; line_open a; line_open b; }
kill_keeper() { local k; k=$(keeper); kill -KILL "$k"; ended "$k"; }
was=$(field a discontinuities)
under_load keeper-killed kill_keeper
reconnect
check keeper-killed-loses-nothing all nothing_lost a -- nothing_lost b -- discontinuities a "$was"
under_load chip-cut chip_cut
reconnect
check chip-cut-loses-nothing all nothing_lost a -- nothing_lost b -- discontinuities a $((was + 1)) -- discontinuities s 1
line_close s
for i in 1 2 3 4; do
	if [ $((i % 2)) = 0 ]; then under_load "killed-$i" killed_manager; else under_load "killed-$i" host_cut; fi
	line_close a b
	accepted
	on a b
	check "killed-$i-loses-nothing" all nothing_lost a -- nothing_lost b
done
line_close a b
mgr_stop

# --- wear ---
mgr_start --pool 0 --checkpoint-interval 0 --anchor-writes-per-day 1
on a
left() { [ "$(wear left)" = 0 ]; }
written() { [ "$(wear total)" = "$1" ] || { echo "$(wear total) writes, not $1"; return 1; }; } # to the chip, in all
dirty() { [ -n "$(continuity dirty_since)" ]; }
count_up a 5
check budget-is-spent soon left
spent=$(wear total)
check without-budget-writes-go-on count_up a 20
check without-budget-no-checkpoint all written "$spent" -- dirty
right_pin a; right_pin a
check without-budget-what-must-is-anchored all wrong_pin a -- written $((spent + 1)) -- no dirty
line_close a
mgr_stop

mgr_start --pool 0 --anchors-per-guest 3
on a b
right_pin a; right_pin a
spent=$(wear total)
check a-guest-within-its-quota all wrong_pin a -- wrong_pin a -- written $((spent + 2))
(say a "$(nv_read_pin_hex $INDEX 4 $WRONG)"; echo "$REPLY" >"$LAB/third") &
third=$!
check its-third-is-anchored soon written $((spent + 3))
check and-its-answer-waits test ! -s "$LAB/third"
check others-do-not count_up b 5
check a-restart-of-it-gives-no-new-quota all ctl stop a -- wait $third
line_close a
ctl start a >/dev/null
line_open a
tries a
check the-try-is-counted test "$TRIES" -ge 6
line_close a b
mgr_stop

# --- another's hands on the chip ---
chip_stop
rm -rf "$LAB/state" "$LAB/chip"
chip_start
chip_measure
mgr_init --seal-pcrs 0,4 --shared-chip >/dev/null
mgr_start --pool 0
check shared-chip-says-so eval 'ctl status | grep -q "warning .*shared"'
pin_guest a
line_close a
mgr_stop
chip tpm2_nvundefine -Q -C o 0x01805641
check v-removed-is-refused store_refused "no index at the handle of anchor V" a
chip tpm2_nvdefine -Q -C o -g sha256 -a 'nt=extend|authread|authwrite|no_da|orderly' 0x01805641
check v-defined-anew-is-refused store_refused "anchor V was removed and defined anew by somebody else" a
chip tpm2_nvundefine -Q -C o 0x01805640
check a-removed-is-refused store_refused "no index at the handle of anchor A" a
chip tpm2_nvdefine -Q -C o -s 32 -a 'authread|authwrite|no_da' 0x01805640
check an-ordinary-a-is-refused store_refused "anchor A is not the index" a
mgr_start --pool 0
check a-new-start all ctl quarantine release --store --i-accept-rollback -- ctl start a -- discontinuities a 1
line_open a
check and-nothing-is-lost nothing_lost a
line_close a
mgr_stop

# --- a chip that has no room for V ---
chip_stop
rm -rf "$LAB/state" "$LAB/chip"
chip_start
chip_measure
for s in 64 1; do
	for ((i = 0; i < 64; i++)); do chip tpm2_nvdefine -Q -C o -s $s -a 'ownerread|ownerwrite|orderly' $((0x01500100 + 100 * s + i)) 2>/dev/null || break; done
done
mgr_init --seal-pcrs 0,4 >/dev/null
mgr_start --pool 0
check without-v-says-so all test "$(continuity strict_only)" = True -- eval 'ctl status | grep -q "warning .*orderly"'
pin_guest a
disk_copy older
count_up a 1
host_cut
line_close a
disk_copy now
disk_back older
check without-v-nothing-older-is-accepted store_refused "no row of the journal has the value of anchor A" a
disk_back now
check without-v-the-newest-is-accepted all accepted -- discontinuities a 0
on a
check without-v-nothing-is-lost nothing_lost a
line_close a
mgr_stop
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whatever is put back. The store is copied after every commit of a life that was killed; each copy (whole, one guest's rows, the journal
# alone) is put back, with and without a power cut of the chip: refused, but for what "bounded" may accept, which is marked. Then the
# anchors themselves are removed and defined anew. And a keeper does not outlive who started it.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/powercut/lab.sh
lab_init
powercut_init
mkdir "$LAB/copies" "$LAB/part"
chmod 777 "$LAB/copies"
GUESTS=(a b s)
RINGS=("$LAB/run/a.ring" "$LAB/run/b.ring" "$LAB/run/s.ring")
write() { "$B/tests/powercut_guests" write "$LAB/know" "$@"; }
killed() { kill -KILL "$MGR_PID"; traced_down; }
all_guests() { local g; for g in "${GUESTS[@]}"; do ctl start "$g" >/dev/null || return 1; done; }

# ---- a keeper does not outlive who started it: a row that it extends later would be one too many for the next one ----

chip_start
chip_measure
traced_init --seal-pcrs 0,4
stands() { sed -n 's/^vtpm-keeper: powercut stands //p' "$LAB/mgr.log" | tail -n 1 | grep .; }
gone() { [ ! -e "/proc/$1/exe" ]; }
outlives() { # COMMAND that prints whom to kill: while the keeper is in the middle of an extend
	local client keeper
	arm 0 6
	ENV=(POWERCUT_KEEPER_HANG=stands)
	: >"$LAB/mgr.log"
	traced_start || return 1
	ENV=()
	ctl group create "x$RANDOM" --pcrs 0 >/dev/null 2>&1 &
	client=$!
	soon stands >/dev/null
	keeper=$(stands)
	kill -KILL "$("$@")"
	soon gone "$keeper" || { echo "the keeper $keeper is still there"; kill -KILL "$keeper"; return 1; }
	wait "$client" || true
	kill -KILL "$MGR_PID" 2>/dev/null || true
	traced_down
}
check the-keeper-ends-with-the-spawner outlives spawner
check the-keeper-ends-with-the-manager outlives eval 'echo $MGR_PID'

# A manager that has died, a spawner that stands still, a keeper in the middle of an extend: the next manager waits until it has ended.
waits() { grep -q "waiting for the keeper of an earlier vtpm-mgr" "$LAB/mgr.log"; }
fenced() {
	local client spawn
	arm 0 6
	ENV=(POWERCUT_KEEPER_HANG=stands)
	: >"$LAB/mgr.log"
	traced_start || return 1
	ctl group create "x$RANDOM" --pcrs 0 >/dev/null 2>&1 &
	client=$!
	soon stands >/dev/null
	spawn=$(spawner)
	kill -STOP "$spawn"
	kill -KILL "$MGR_PID"
	wait "$MGR_PID" "$client" || true
	ENV=()
	(soon waits; kill -KILL "$spawn") &
	local waiter=$!
	traced_start || return 1
	wait "$waiter" || true
	waits && [ "$(continuity state)" = open ]
	local rc=$?
	killed
	return $rc
}
check a-new-manager-waits-for-the-old-keeper fenced

# ---- a life, of which every commit is kept ----

ENV=("POWERCUT_COPIES=$LAB/copies" "POWERCUT_STATE=$LAB/state")
traced_start
ENV=()
ctl group create vault --pcrs 0,4 --mode strict >/dev/null
ctl create a --commit-rate 0 >/dev/null
ctl create b --commit-rate 0 >/dev/null
ctl create s --commit-rate 0 --group vault >/dev/null
all_guests
write 2 "${RINGS[@]}"
write 1 "$LAB/run/s.ring" # anchored
write 2 "$LAB/run/a.ring" "$LAB/run/b.ring"
ANCHORED=$(continuity anchored_row)
NEWEST=$(continuity last_row)
killed
mapfile -t COPIES < <(ls "$LAB/copies" | sed -n 's/\.vtpm\.db$//p' | sort -n)
[ "${COPIES[-1]}" = "$NEWEST" ] && [ "$ANCHORED" -lt "$((NEWEST - 2))" ] && [ "${COPIES[0]}" -lt "$ANCHORED" ]
BEFORE=
put_back() { # N: the store as it was after that row
	BEFORE=
	rm -f "$LAB"/state/vtpm.db*
	cp -a "$LAB/copies/$1.vtpm.db" "$LAB/state/vtpm.db"
	cp -a "$LAB/copies/$1.vtpm.db-wal" "$LAB/state/vtpm.db-wal"
}
old() { # N SQL: on the newest store, with that of row N as "old"
	put_back "$NEWEST"
	rm -f "$LAB"/part/*
	cp "$LAB/copies/$1.vtpm.db" "$LAB/part/old.db"
	cp "$LAB/copies/$1.vtpm.db-wal" "$LAB/part/old.db-wal"
	db "ATTACH '$LAB/part/old.db' AS old; $2; PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
	chown --reference="$LAB/state" "$LAB"/state/vtpm.db*
}
put_back "$NEWEST"
CONTENT=$(sqlite3 "$LAB/state/vtpm.db" .dump | grep -v '^PRAGMA' | sha256sum)
A="(SELECT uuid FROM main.vtpm WHERE name = 'a')"
guest_back() { # N: all that the store has of guest a; status 1: nothing of it is another now
	old "$1" "DELETE FROM main.state WHERE uuid = $A; INSERT INTO main.state SELECT * FROM old.state WHERE uuid = $A;
		DELETE FROM main.leaf WHERE uuid = $A; INSERT INTO main.leaf SELECT * FROM old.leaf WHERE uuid = $A"
	differs
}
state_back() { old "$1" "UPDATE main.state SET (version, sealed) = (SELECT version, sealed FROM old.state o WHERE o.uuid = $A) WHERE uuid = $A AND EXISTS (SELECT 1 FROM old.state o WHERE o.uuid = $A)"; differs; }
journal_back() { old "$1" "DELETE FROM main.journal; INSERT INTO main.journal SELECT * FROM old.journal"; differs; }
content() { sqlite3 "$1" .dump | grep -v '^PRAGMA' | sha256sum; }
differs() { # from the newest
	BEFORE=$(content "$LAB/state/vtpm.db")
	[ "$BEFORE" != "$CONTENT" ]
}
store_is() { # quarantined or open; the manager is gone afterwards
	local is why
	traced_start || return 1
	is=$(continuity state) why=$(continuity found)
	[ "$is" = "$1" ] || echo "$is: $why"
	[ "$is" != open ] || { DISC_A=$(field a discontinuities) DISC_S=$(field s discontinuities); }
	killed
	[ "$is" = "$1" ]
}
same() { [ "$(content "$LAB/state/vtpm.db")" = "$1" ] || { echo "the store has changed"; return 1; }; }
store_is_refused() { # and touches nothing
	local before=$BEFORE
	[ -n "$before" ] || before=$(content "$LAB/state/vtpm.db")
	store_is quarantined && same "$before"
}

# The chip still has its power.
every_older_one() { # how to put one back, first copy
	local n tried=0
	for n in "${COPIES[@]}"; do
		[ "$n" -lt "$NEWEST" ] || continue
		"$1" "$n" || continue
		tried=$((tried + 1))
		store_is_refused || { echo "row $n of $NEWEST, $1"; return 1; }
	done
	echo "$tried"
	[ $tried -gt 5 ]
}
check each-older-store-is-refused every_older_one put_back
check each-older-guest-is-refused every_older_one guest_back
check each-older-journal-is-refused every_older_one journal_back

# The chip has lost its power; it is the same moment of it each time.
chip_kill
cp -a "$LAB/chip" "$LAB/chip.cut"
chip_as_cut() {
	chip_alive && chip_kill
	rm -rf "$LAB/chip"
	cp -a "$LAB/chip.cut" "$LAB/chip"
	chip_again
}
every_older_one_cut() {
	local n tried=0 flagged=0
	for n in "${COPIES[@]}"; do
		"$1" "$n" || continue
		chip_as_cut
		tried=$((tried + 1))
		if [ "$1" = put_back ] && [ "$n" -ge "$ANCHORED" ]; then # what bounded may accept, and marks
			store_is open && [ "$DISC_A" = 1 ] && [ "$DISC_S" = 0 ] || { echo "row $n: a $DISC_A, s $DISC_S"; return 1; }
			flagged=$((flagged + 1))
		else
			store_is_refused || { echo "row $n of $NEWEST, anchored $ANCHORED, $1"; return 1; }
		fi
	done
	echo "$tried, $flagged of them accepted"
	[ $tried -gt 5 ] && { [ "$1" != put_back ] || [ $flagged = $((NEWEST - ANCHORED + 1)) ]; }
}
check each-older-store-after-a-power-cut-is-refused-or-marked every_older_one_cut put_back
check each-older-guest-after-a-power-cut-is-refused every_older_one_cut guest_back
check each-older-journal-after-a-power-cut-is-refused every_older_one_cut journal_back

# Only the sealed state of one guest: it alone is kept from running, each time.
every_older_state() {
	local n tried=0
	for n in "${COPIES[@]}"; do
		[ "$n" -lt "$NEWEST" ] && state_back "$n" || continue
		tried=$((tried + 1))
		chip_as_cut
		traced_start || return 1
		all refused "quarantined: its state is not the newest" ctl start a -- ctl start b -- ctl start s || { echo "row $n"; return 1; }
		killed
	done
	[ $tried -gt 2 ]
}
check each-older-state-is-refused every_older_state

# ---- the anchors removed and defined anew ----

rm -rf "$LAB/state" "$LAB/chip" "$LAB"/copies/* "$LAB"/know/*
chip_kill
chip_start
chip_measure
traced_init --seal-pcrs 0,4 --shared-chip
ENV=("POWERCUT_COPIES=$LAB/copies" "POWERCUT_STATE=$LAB/state")
traced_start
ENV=()
ctl create a --commit-rate 0 >/dev/null
ctl start a >/dev/null
write 1 "$LAB/run/a.ring"
OLDER=$(continuity anchored_row)
ctl create b >/dev/null
NEWEST=$(continuity last_row)
killed
chip_kill
cp -a "$LAB/chip" "$LAB/chip.cut2"
rm -rf "$LAB/chip.cut"
mv "$LAB/chip.cut2" "$LAB/chip.cut"
# What the anchors held after row OLDER stands in the row after it: n, kind, resetCount, root, row before, A, V.
recorded() { sqlite3 "$LAB/copies/$NEWEST.vtpm.db" "SELECT hex(substr(row, $1, 32)) FROM journal WHERE n = $((OLDER + 1))" | python3 -c "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))"; }
recorded $((14 + 64)) >"$LAB/value.a"
recorded $((14 + 96)) >"$LAB/value.v"
[ "$(stat -c %s "$LAB/value.a" "$LAB/value.v" | tr '\n' ' ')" = "32 32 " ]
declare -A HANDLE=([a]=0x01805640 [v]=0x01805641) ORDERLY=([a]= [v]='|orderly')
undefine() { chip tpm2_nvundefine -Q -C o "${HANDLE[$1]}"; }
extend_index() { undefine "$1" && chip tpm2_nvdefine -Q -C o -g sha256 -a "nt=extend|authread|authwrite|no_da${ORDERLY[$1]}" "${HANDLE[$1]}"; }
extended_index() { extend_index "$1" && chip tpm2_nvextend -Q -C "${HANDLE[$1]}" -i "$LAB/value.$1" "${HANDLE[$1]}"; }
ordinary_index() { # holds what the anchor held after row OLDER
	undefine "$1" && chip tpm2_nvdefine -Q -C o -s 32 -a "authread|authwrite|no_da${ORDERLY[$1]}" "${HANDLE[$1]}" &&
		chip tpm2_nvwrite -Q -C "${HANDLE[$1]}" -i "$LAB/value.$1" "${HANDLE[$1]}"
}
tampered() { # TEXT ROW COMMAND INDEX…
	local text=$1 row=$2 how=$3 x
	shift 3
	put_back "$row"
	chip_as_cut
	for x in "$@"; do "$how" "$x" || return 1; done
	: >"$LAB/mgr.log"
	store_is_refused && grep -E "the store is quarantined: .*$text" "$LAB/mgr.log"
}
for row in "$NEWEST" "$OLDER"; do
	[ "$row" = "$OLDER" ] && age=older || age=newest
	check "a-removed-$age" tampered "no index at the handle of anchor A" "$row" undefine a
	check "a-anew-$age" tampered "anchor A was removed and defined anew" "$row" extend_index a
	check "a-anew-and-extended-$age" tampered "anchor A was removed and defined anew" "$row" extended_index a
	check "a-ordinary-with-its-value-$age" tampered "anchor A is not the index" "$row" ordinary_index a
	check "both-ordinary-with-their-values-$age" tampered "anchor A is not the index" "$row" ordinary_index a v
	check "both-anew-and-extended-$age" tampered "anchor A was removed and defined anew" "$row" extended_index a v
done
# An older store is refused for what A has, whatever V is.
check v-removed tampered "no index at the handle of anchor V" "$NEWEST" undefine v
check v-anew tampered "anchor V was removed and defined anew" "$NEWEST" extend_index v
check v-anew-and-extended tampered "anchor V was removed and defined anew" "$NEWEST" extended_index v
check v-ordinary-with-its-value tampered "anchor V is not the index" "$NEWEST" ordinary_index v
check v-ordinary-older tampered "no row of the journal has the value of anchor A" "$OLDER" ordinary_index v
exit $FAILED

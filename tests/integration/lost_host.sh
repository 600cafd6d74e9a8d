#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A host is lost, disk and TPM: from a file of vtpmctl backup and an offline key all of its vTPMs come back on another TPM. Whatever is wrong
# with the file, the key or the answer, nothing is left that looks like a store.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init

fingerprint() { openssl pkey -pubin -in "$LAB/$1.pem" -outform DER | sha256sum | cut -d' ' -f1; }
offline_key a RSA-2048
offline_key b P-384
offline_key stranger P-256

another_chip() {
	chip_stop
	rm -f "$LAB"/chip.sock*
	chip_start "$1"
	chip_measure
}
no_store() { [ -z "$(find "$LAB/state" -name 'vtpm.db*')" ] || { ls "$LAB/state"; return 1; }; }
waits() { mgr_start --init --from "$1" --recover; } # a manager that asks for an answer
ends_badly() { # it has ended by itself, in order, and left nothing
	local rc=0
	wait "$MGR_PID" || rc=$?
	MGR_PID=
	[ $rc -eq 1 ] && no_store || { echo "status $rc"; return 1; }
}
ends_well() {
	local rc=0
	wait "$MGR_PID" || rc=$?
	MGR_PID=
	return $rc
}
is_foreign() { [ "$(tpm_field state)" = foreign ]; }
from() { mgr_init --from "$@"; }

# --- the host that will burn ---
chip_and_store
mgr_start --pool 0
guest_make web1
check says-that-nothing-else-opens-it all eval 'ctl backup "$LAB/early" 2>&1 >/dev/null | grep -q "opens with this TPM alone"' -- \
	eval 'ctl restore "$LAB/early" --check | grep -qx "it opens with this TPM alone: no offline key does"'
ctl group create vault --pcrs 0,4 >/dev/null
ctl recovery init --key "$LAB/a.pem" --key "$LAB/b.pem" >/dev/null
guest_make web2 --group vault
ctl ca >"$LAB/ca.pem"
head -c 64 /dev/urandom >"$LAB/share"
ctl group create payroll --pcrs 0,4 --share keyfile --share-file "$LAB/share" --ca "$LAB/ca.pem" >/dev/null
guest_make ledger --group payroll
ctl recovery init >/dev/null
ctl recovery show --json >"$LAB/known"
check no-more-is-said-then eval '[ -z "$(ctl backup "$LAB/file" 2>&1 >/dev/null)" ]'
check its-keys-are-shown all eval 'ctl restore "$LAB/file" --check >"$LAB/shown"' -- \
	eval '[ "$(sed -n "s/^it opens on another TPM with key //p" "$LAB/shown" | sort)" = "$(ctl recovery show | sed -n "s/^key  *//p" | sort)" ]' -- \
	grep -q "$(fingerprint a)" "$LAB/shown" -- eval 'ctl restore "$LAB/file" --check --json | grep -q "$(fingerprint b)"'
HEADER=$(od -An -tu4 -j12 -N4 "$LAB/file" | tr -d ' ')
SIZE=$(stat -c %s "$LAB/file")
flip_bit() { # OFFSET: $LAB/bad is the file with another bit there
	cp "$LAB/file" "$LAB/bad"
	printf "\\x$(printf %02x $((0x$(od -An -tx1 -j"$1" -N1 "$LAB/file" | tr -d ' ') ^ (1 << RANDOM % 8))))" |
		dd of="$LAB/bad" bs=1 seek="$1" conv=notrunc status=none
}
each_bit_here() {
	local at
	for ((at = 0; at < HEADER; at += 1 + RANDOM % 60)); do
		flip_bit $at
		refused "damaged|cut off|no backup of vtpmctl|another root key|newer release" ctl restore "$LAB/bad" --check >/dev/null || { echo "byte $at"; return 1; }
	done
}
check the-header-is-bound-to-the-parts each_bit_here
ctl group create late --pcrs 0,4 >/dev/null # of which no offline key knows yet
guest_make web4 --group late
ctl backup "$LAB/late" >/dev/null
for g in web1 web2 web4 ledger; do ctl stop $g; done
mgr_stop
check the-same-chip-needs-no-offline-key all mv "$LAB/state" "$LAB/burnt" -- refused "leave --recover out" from "$LAB/file" --recover -- no_store
check goes-with-from refused "recover goes with" "$B/vtpm-mgr" --init --recover

# Another host, with the same offline keys.
another_chip other
mgr_init --seal-pcrs 0,4 >/dev/null
mgr_start --pool 0
ctl recovery init >/dev/null
ctl backup "$LAB/others" >/dev/null
mgr_stop
rm -rf "$LAB/state"

# --- nothing but the file, on a new host: what is refused ---
another_chip second
check says-what-opens-it all refused "an offline key opens it, too: give --recover" from "$LAB/file" -- no_store
check no-key-then-no-key-now all refused "no offline key \(vtpmctl recovery init\) opened its root then" from "$LAB/early" --recover -- \
	refused "no offline key" from "$LAB/early" -- no_store
mv "$LAB/recovery.d" "$LAB/kept.d"
check says-which-key-is-missing all refused "nobody could answer: it wants ($(fingerprint a)|$(fingerprint b)), or another" from "$LAB/file" --recover -- no_store
mkdir -m 755 "$LAB/recovery.d"
install -m 644 "$LAB/stranger.pem" "$LAB/recovery.d/stranger.pem"
check another-key-is-none all refused "nobody could answer" from "$LAB/file" --recover -- no_store
rm "$LAB/recovery.d/stranger.pem"
cp "$LAB"/kept.d/*.pem "$LAB/recovery.d/"
for n in 0 15 17 $((HEADER - 1)); do
	head -c "$n" "$LAB/file" >"$LAB/bad"
	check cut-at-$n all refused "no backup of vtpmctl" from "$LAB/bad" --recover -- no_store
done

check waits-for-an-answer waits "$LAB/file"
check and-does-nothing-else all refused "MethodNotFound|no method" ctl list -- refused "" ctl status -- refused "" ctl create web3 -- no_store
check a-challenge-like-any all challenge -- eval 'grep -q "\"payroll\"" "$LAB/challenge"' -- opens a -- opens b
check wrong-key refused "does not open|nothing in it is for this key" opens stranger
check wrong-code refused "the code of this challenge is another one" "$B/vtpmctl" recovery open --key "$LAB/a.key" \
	--code 0000-0000-0000-0000-0000-0000 "$LAB/challenge"
check the-word-is-asked-for all opens a -- refused "nothing proves that the store is the newest" restores
check without-the-root-of-default all eval 'sed "s/\"default\"/\"defaulx\"/" "$LAB/answer" >"$LAB/bent"' -- \
	refused "no root of group default" ctl recovery restore --response "$LAB/bent" --i-accept-rollback
check stopped-it-leaves-nothing all eval '! mgr_stop' -- no_store
refuses() { # TEXT FILE [KEY]: the whole way, to a refusal
	waits "$2" && challenge && opens "${3:-a}" && refused "$1" restores --i-accept-rollback && ends_badly
}
bent_answer() { # the last digit of the envelope for default
	waits "$LAB/file" && challenge && opens a && python3 - "$LAB/answer" <<-'END' && refused "does not verify" restores --i-accept-rollback && ends_badly
	import json, sys
	j = json.load(open(sys.argv[1]))
	for a in j["answers"]:
	    if a["group"] == "default":
	        a["envelope"] = a["envelope"][:-1] + ("0" if a["envelope"][-1] != "0" else "1")
	json.dump(j, open(sys.argv[1], "w"))
	END
}
check flipped-answer bent_answer
older_answer() { waits "$LAB/file" && challenge && opens a && challenge && refused "does not verify" restores --i-accept-rollback && ends_badly; }
check answer-to-the-challenge-before older_answer
last_keepers() { waits "$LAB/file" && refused "the challenge has expired" restores --i-accept-rollback && ends_badly; } # there is none yet
check answer-without-a-challenge last_keepers
PCR_TEXT="never been extended|never extended|nothing was measured|all zero|is zero"
unmeasured() { waits "$LAB/file" && challenge && opens a && refused "$PCR_TEXT" ctl recovery restore --response "$LAB/answer" --pcrs 0,20 --i-accept-rollback && ends_badly; }
check pcrs-that-bind-nothing unmeasured

splice() { # records | all: the file with what offline keys hold of the other host's roots; with all, the id of its key, too
	python3 - "$LAB/file" "$LAB/others" "$LAB/bad" "$1" <<-'END'
	import sys
	def fields(path):
	    b = open(path, "rb").read()
	    n, at = int.from_bytes(b[12:16], "little"), 16 + 32 + 32 + 16
	    for _ in range(3):  # srk name, root, sets
	        at += 4 + int.from_bytes(b[at:at + 4], "little")
	    return b, n, at
	mine, n, at = fields(sys.argv[1])
	theirs, n2, at2 = fields(sys.argv[2])
	head = bytearray(mine[:at] + theirs[at2:n2])
	head[12:16] = len(head).to_bytes(4, "little")
	if sys.argv[4] == "all":
	    head[16:48] = theirs[16:48]
	open(sys.argv[3], "wb").write(bytes(head) + mine[n:])
	END
}
# Whoever has the offline keys' public halves can make a whole file of his own that they open: it has another root.
opens_known() { "$B/vtpmctl" recovery open --key "$LAB/a.key" --code "$CODE" --known "$1" "$LAB/challenge" >"$LAB/answer"; }
somebodys_own() {
	waits "$LAB/others" && challenge && refused "a root in it is none that .*known has" opens_known "$LAB/known" && ! mgr_stop && no_store &&
		waits "$LAB/file" && challenge && opens_known "$LAB/known" && refused "" opens_known "$LAB/nowhere" && ! mgr_stop && no_store
}
check a-file-of-another-root-is-known somebodys_own
check another-hosts-records all splice records -- refuses "sealed under another root key" "$LAB/bad"
check and-its-key all splice all -- refuses "its part 1 of" "$LAB/bad"
for n in "$HEADER" $((HEADER + 1)) $((HEADER + 4112)) $((SIZE - 1)); do
	head -c "$n" "$LAB/file" >"$LAB/bad"
	check cut-off-at-$n refuses "cut off" "$LAB/bad"
done
{ cat "$LAB/file"; printf x; } >"$LAB/bad"
check one-byte-more refuses "more in the file" "$LAB/bad"
# A bit of the header, wherever it is: the manager does not wait, the key opens nothing, or the file does not verify.
altered() { # OFFSET
	flip_bit "$1"
	if ! waits "$LAB/bad"; then
		no_store
		return
	fi
	challenge
	if opens a && grep -q '"default"' "$LAB/answer"; then
		refused "damaged|another root|does not verify" restores --i-accept-rollback && ends_badly
	else
		! mgr_stop && no_store
	fi
}
each_bit_there() {
	local at
	for at in 9 20 50 82 90 97 104 $((HEADER / 8)) $((HEADER / 4)) $((HEADER / 3)) $((HEADER / 2)) $((HEADER * 2 / 3)) $((HEADER * 3 / 4)) $((HEADER - 9)) $((HEADER + 5)) $((SIZE - 20)); do
		altered $at >"$LAB/altered" 2>&1 || { cat "$LAB/altered"; echo "a bit of byte $at of $HEADER, $SIZE"; return 1; }
	done
}
check each-altered-bit each_bit_there

# --- and all of it comes back, by one answer ---
check one-answer all waits "$LAB/file" -- challenge -- opens b -- restores --i-accept-rollback -- \
	grep -qx "default: its root is sealed in this TPM" "$LAB/out" -- grep -qx "vault: its root is sealed in this TPM" "$LAB/out" -- \
	grep -qx "payroll: its root is sealed in this TPM" "$LAB/out" -- ends_well
check and-it-is-in-the-audit-log audited '"recover".*"result":"ok".*operator.s word'
check it-starts all mgr_start --pool 0 -- is_open
check guests-are-whole all guest_works web1 -- guest_works web2
check a-second-share-is-needed-as-ever all refused "second share" ctl start ledger -- eval 'ctl ca >"$LAB/ca.pem"' -- \
	ctl group unlock payroll --share-file "$LAB/share" --ca "$LAB/ca.pem" -- guest_works ledger
check it-is-marked all discontinuities web1 1 -- discontinuities web2 1 -- discontinuities ledger 1 -- eval 'ctl status | grep -q "moved onto this TPM by recovery"'
check the-keys-still-open-it all no grep -q "recovery init" <(ctl status) -- ctl backup "$LAB/next" -- eval 'ctl restore "$LAB/next" --check | grep -q "$(fingerprint a)"'
guest_make web3
mgr_stop
mgr_start --pool 0
check a-restart-is-as-usual all guest_works web1 -- discontinuities web1 1 -- guest_works web3
mgr_stop

# --- the chip takes no anchors: what is there is the store of another TPM, with which the drill of recovery.md begins ---
rm -rf "$LAB/state"
another_chip third
chip tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x01805640
half_way() {
	local rc=0
	waits "$LAB/file" && challenge && opens a && refused "the backup is in the state directory, and was not moved onto this TPM" restores --i-accept-rollback || return
	wait "$MGR_PID" || rc=$?
	MGR_PID=
	[ $rc -eq 1 ]
}
check no-room-for-anchors half_way
chip tpm2_nvundefine -Q -C o 0x01805640
check goes-on-from-there all mgr_start --pool 0 -- is_foreign -- challenge -- opens a -- restores --i-accept-rollback -- \
	guest_works web1 -- guest_works web2 -- discontinuities web1 1
mgr_stop

# --- a group that no offline key opened when the file was taken ---
rm -rf "$LAB/state"
another_chip fourth
check a-group-without-an-offline-key all waits "$LAB/late" -- challenge -- no grep -q '"late"' "$LAB/challenge" -- opens a -- restores --i-accept-rollback -- ends_well -- \
	mgr_start --pool 0 -- guest_works web1 -- refused "" ctl start web4 -- eval 'ctl status | grep -q "^warning .*group late"'
mgr_stop

# --- killed in the middle of it: no store, or one with which the drill begins, or all of it ---
killed() { # AFTER: seconds
	rm -rf "$LAB/state"
	another_chip "killed.$1"
	waits "$LAB/file" && challenge && opens a || return 1
	( restores --i-accept-rollback >/dev/null 2>&1 || true ) &
	local bg=$!
	pause "$1"
	mgr_stop KILL || true
	wait $bg || true
	if [ ! -e "$LAB/state/vtpm.db" ]; then # what was being written has another name, and is written over
		echo "killed after $1 s: no store"
		for h in 0x01805640 0x01805641; do chip tpm2_nvundefine -Q -C o $h 2>/dev/null || true; done
		waits "$LAB/file" && challenge && opens a && restores --i-accept-rollback && ends_well && mgr_start --pool 0 || return 1
	else
		mgr_start --pool 0 || return 1
		echo "killed after $1 s: $(tpm_field state)"
		if is_foreign; then
			mgr_stop
			for h in 0x01805640 0x01805641; do chip tpm2_nvundefine -Q -C o $h 2>/dev/null || true; done
			mgr_start --pool 0 && challenge && opens a && restores --i-accept-rollback || return 1
		fi
	fi
	guest_works web1 && guest_works web2 && discontinuities web1 1 && mgr_stop
}
for s in 0.002 0.006 0.01 0.015 0.02 0.03 0.05; do check killed-after-$s killed $s; done
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Backups: taken while guests run, told from what was damaged or is another's, restored by an operator's word alone, and visible ever after. A
# clone is another TPM. The drill of docs/backup.md, word by word.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
. tests/integration/raw.sh
lab_init

proof_guest() { # NAME OPTION…
	guest_make "$@" --commit-rate 0
	counter_open "$1" 3
}
off() { local g; for g in "$@"; do line_close $g; ctl stop $g; done; }
content() { db "SELECT * FROM leaf; SELECT id, hex(uuid), name, epoch, hex(wrapped) FROM vtpm; SELECT hex(uuid), version, hex(sealed) FROM state" | sha256sum; }
set_aside() { find "$LAB/state" -name 'replaced-*' | wc -l; }
whole() { # GUEST NUMBER: it is the TPM that guest_make made, and counts so far
	all ctl start "$1" -- guest_is_whole "$1" || return 1
	line_open "$1"
	has "$1" "$2"
	local rc=$?
	off "$1"
	return $rc
}
restore() { ctl restore "$@" --accept-rollback; }

chip_and_store
mgr_start --pool 0
ctl group create vault --pcrs 0,4 --mode strict >/dev/null
proof_guest a
proof_guest s --group vault

# --- while guests run ---
check a-backup-while-guests-run ctl backup "$LAB/one"
check only-its-owner-reads-it test "$(stat -c %a "$LAB/one")" = 600
check its-guests-go-on all count_up a 2 -- count_up s 2
check no-name-in-it no grep -aqE 'vault|SQLite|web' "$LAB/one"
check it-is-in-the-audit-log audited '"action":"backup","result":"ok"'
check a-backup-replaces-no-file refused "is there already" ctl backup "$LAB/one"
check nor-is-left-half refused "o such file" ctl backup "$LAB/nowhere/one"
touch "$LAB/two.part"
check nor-crosses-another refused "another backup is on its way, or was interrupted" ctl backup "$LAB/two"
rm "$LAB/two.part"
check json eval 'ctl --json backup "$LAB/two" >"$LAB/json"; [ "$(json "[\"bytes\"]" <"$LAB/json")" = "$(stat -c %s "$LAB/two")" ]'

# Each state in it is the one that its journal vouches for, whatever is committed meanwhile, and commits do not wait.
write_on() { while count_up a >&2; do echo "${ACKED[a]}"; done >"$LAB/acks" 2>/dev/null; }
under_load() {
	local i writer n
	write_on &
	writer=$!
	for ((i = 0; i < 25; i++)); do
		ctl backup "$LAB/load.$i" >/dev/null || { kill $writer; return 1; }
		ctl restore "$LAB/load.$i" --check >"$LAB/load.check" || { kill $writer; return 1; }
		! grep -q damaged "$LAB/load.check" || { cat "$LAB/load.check"; kill $writer; return 1; }
	done
	kill $writer
	wait $writer 2>/dev/null
	n=$(wc -l <"$LAB/acks")
	[ "$(sed -n 's/^a  change \([0-9]*\),.*/\1/p' "$LAB/load.check")" -gt 30 ] && [ "$n" -gt 30 ] || { echo "$n answers"; return 1; }
	rm "$LAB"/load.*
}
check under-load under_load
off a s
on a
reads a
LAST[a]=$N
line_close a

# --- whose word it takes ---
check not-without-the-word refused "accept-rollback" ctl restore "$LAB/one"
check not-one-that-is-on refused "a: it is powered on; stop it first" restore "$LAB/one" --only a
check not-all-if-one-is-on refused "a: it is powered on" restore "$LAB/one"
ctl stop a
check not-what-it-has-not refused "no vTPM named b" restore "$LAB/one" --only b
check not-what-is-no-name refused "not a valid" restore "$LAB/one" --only a,../b
on a s
count_up a 2; count_up s 2
off a s
ctl backup "$LAB/newer" >/dev/null
mkdir -m 777 "$LAB/public"
stranger() { if [ "$(id -u)" = 0 ]; then as 65533 65533 "$@"; else echo "uid 1 may not call"; return 5; fi; }
check not-for-everybody refused "may not call" stranger "$B/vtpmctl" --runtime-dir "$LAB/run" backup "$LAB/public/x"
check and-leaves-nothing test -z "$(ls "$LAB/public")"

# --- damaged, cut off, another's: nothing comes of it, and nothing is changed ---
mgr_stop
CONTENT=$(content)
mgr_start --pool 0
SIZE=$(stat -c %s "$LAB/one")
HEADER=$(($(od -An -tu4 -j12 -N4 "$LAB/one")))
AUTH='damaged|cut off|no backup of vtpmctl|another root key|newer release'
flipped() { # OFFSET
	cp "$LAB/one" "$LAB/bad"
	printf "\\x$(printf %02x $((0x$(od -An -tx1 -j"$1" -N1 "$LAB/one" | tr -d ' ') ^ (1 << RANDOM % 8))))" |
		dd of="$LAB/bad" bs=1 seek="$1" conv=notrunc status=none
	refused "$AUTH" restore "$LAB/bad" >/dev/null || { echo "a bit of byte $1 of $SIZE"; return 1; }
}
each_region() {
	local at
	for ((at = 0; at < HEADER; at += at < 96 ? 1 : 61)); do flipped $at || return 1; done                       # each field
	for ((at = HEADER; at < SIZE; at += 1531)); do flipped $at || return 1; done                                # parts
	for ((at = HEADER + 4096; at < SIZE; at += 4112)); do flipped $at && flipped $((at + 15)) || return 1; done # and tags
	flipped $((SIZE - 1))
}
check each-flipped-bit each_region
cut_off() {
	local n
	for n in 0 1 8 15 16 17 $((HEADER - 1)) "$HEADER" $((HEADER + 1)) $((HEADER + 4112)) $((HEADER + 4113)) $((SIZE - 4112)) $((SIZE - 1)); do
		head -c "$n" "$LAB/one" >"$LAB/bad"
		refused "cut off|damaged" restore "$LAB/bad" >/dev/null || { echo "$n bytes of $SIZE"; return 1; }
	done
}
check each-length cut_off
{ cat "$LAB/one"; printf x; } >"$LAB/bad"
check one-byte-more refused "more in the file" restore "$LAB/bad"
exchanged() { # two parts of one file; a part of another file
	python3 - "$LAB/one" "$LAB/bad" "$HEADER" "$1" "$2" <<-'END'
		import sys
		one, bad, header = sys.argv[1], sys.argv[2], int(sys.argv[3])
		other = one if sys.argv[5] == "same" else sys.argv[5]
		b, o, n = bytearray(open(one, "rb").read()), open(other, "rb").read(), int(sys.argv[4])
		part = lambda i: slice(header + i * 4112, header + (i + 1) * 4112)
		b[part(n)] = o[part(n + 1 if other == one else n)]
		open(bad, "wb").write(b)
	END
	refused "its part $(($1 + 1)) of" restore "$LAB/bad"
}
check exchanged-parts all exchanged 0 same -- exchanged 2 same -- exchanged 0 "$LAB/newer" -- exchanged 3 "$LAB/newer"
cp "$LAB/one" "$LAB/bad"
printf '\x02' | dd of="$LAB/bad" bs=1 seek=8 conv=notrunc status=none
check a-newer-format refused "made by a newer release" restore "$LAB/bad"
check no-file all refused "o such file" restore "$LAB/none" -- refused "directory" restore "$LAB" -- refused "cut off" restore /dev/null
head -c 100000 /dev/urandom >"$LAB/bad"
check any-bytes refused "no backup of vtpmctl" restore "$LAB/bad"
check with-check-too refused "no backup of vtpmctl" ctl restore "$LAB/bad" --check
check refusals-are-audited audited '"action":"restore","result":"[^o]'
mgr_stop
check and-nothing-has-changed test "$(content)" = "$CONTENT"
check nor-was-anything-put-aside test "$(set_aside)" = 0
mgr_start --pool 0

# --- what comes back ---
A=${LAST[a]} S=${LAST[s]}
check look-first all eval 'ctl restore "$LAB/one" --check | grep -qE "^a  change [0-9]+, now [0-9]+$"' -- discontinuities a 0
check one-comes-back restore "$LAB/one" --only s
check it-is-the-old-one whole s 3
check the-other-is-not whole a "$A"
check it-is-marked all discontinuities s 1 -- discontinuities a 0 -- audited '"action":"restore","vtpm":"s".*"result":"ok".*change [0-9]+ in the place of change [0-9]+'
check what-was-there-is-kept test "$(set_aside)" = 1
KEPT=$(find "$LAB/state" -name 'replaced-*')
check of-it-alone eval 'ctl restore "$KEPT" --check | grep -c "  change " | grep -qx 1'
check and-comes-back-the-same-way all restore "$KEPT" -- whole s "$S" -- discontinuities s 2
check all-that-have-changed all restore "$LAB/one" -- whole a 3 -- whole s 3 -- discontinuities a 1 -- discontinuities s 3
check twice all restore "$LAB/newer" -- whole a "$A" -- whole s "$S"
ctl backup "$LAB/same" >/dev/null
check nothing-to-do refused "nothing of the backup is there and has changed" restore "$LAB/same"
mgr_stop
mgr_start --pool 0
check it-is-the-newest-from-then-on all whole a "$A" -- whole s "$S" -- discontinuities a 2 -- discontinuities s 4

# An older row, key and all, is none any more, though its settings and name are the same.
mgr_stop
cat "$LAB/state/vtpm.db" >"$LAB/row.db"
mgr_start --pool 0
restore "$LAB/one" --only a >/dev/null
mgr_stop
db "ATTACH '$LAB/row.db' AS old; UPDATE vtpm SET (epoch, wrapped) = (SELECT epoch, wrapped FROM old.vtpm o WHERE o.uuid = vtpm.uuid) WHERE name = 'a'"
mgr_start --pool 0
check a-row-of-before-is-refused refused "not the one that the journal vouches for" ctl start a
check and-restored-from-quarantine all restore "$LAB/newer" --only a -- whole a "$A"

# What a QEMU saved before is of another line: of the same version, but of a history that is none any more.
qemu() { # NAME FILE save|bring: boots, extends a PCR and saves; or brings that back, and says how that went
	python3 - "$LAB/run/$1.swtpm" "$2" "$3" <<-'END'
		import sys
		sys.path.insert(0, "tests/tools")
		from qemu_peer import Qemu
		q = Qemu(sys.argv[1])
		if sys.argv[3] == "save":
		    assert q.boot() == 0
		    q.extend()
		    with open(sys.argv[2], "wb") as f:
		        for blob in q.save():
		            f.write(len(blob).to_bytes(4, "big") + blob)
		else:
		    q.arrive()
		    data, blobs = open(sys.argv[2], "rb").read(), []
		    while data:
		        n = int.from_bytes(data[:4], "big") + 4
		        blobs.append(data[4:n])
		        data = data[n:]
		    print(*q.bring(blobs), "")
		q.hang_up()
	END
}
lines() {
	local first second
	ctl create v >/dev/null && ctl backup "$LAB/line" >/dev/null && qemu v "$LAB/saved.0" save && becomes v stopped || return 1
	restore "$LAB/line" --only v && qemu v "$LAB/saved.1" save && becomes v stopped || return 1
	first=$(field v version)
	restore "$LAB/line" --only v && qemu v "$LAB/saved.2" save && becomes v stopped || return 1
	second=$(field v version)
	[ "$first" = "$second" ] || { echo "versions $first and $second show nothing"; return 1; }
	[ "$(qemu v "$LAB/saved.0" bring)" = "9 9 " ] && becomes v stopped && [ "$(qemu v "$LAB/saved.1" bring)" = "9 9 " ] && becomes v stopped || { echo "taken back"; return 1; }
	ctl show v | grep "from before this one was restored" && [ "$(qemu v "$LAB/saved.2" bring)" = "0 0 " ] && becomes v stopped
}
check saved-states-of-before-are-refused lines

# --- destroyed, and another of its name ---
ctl destroy s
check all-leave-the-destroyed-out all restore "$LAB/one" -- refused "no vTPM named s" ctl show s
check unless-it-is-named all restore "$LAB/one" --only s -- whole s 3
check as-what-it-was all test "$(field s mode)" = strict -- test "$(field s group)" = vault
mgr_stop
# Whatever became of disk and chip in between: all of it is put back, and the same row of the journal is made once more.
epoch_of_s() { db "SELECT epoch FROM vtpm WHERE name = 's'"; }
EPOCH=$(epoch_of_s)
chip_stop
cp -a "$LAB/state" "$LAB/state.was"
cp -a "$LAB/chip" "$LAB/chip.was"
for i in 1 2; do
	chip_boot
	mgr_start --pool 0
	ctl destroy s
	restore "$LAB/one" --only s >/dev/null
	mgr_stop
	EPOCH="$EPOCH $(epoch_of_s) $(db "SELECT max(n) FROM journal")"
	[ $i = 2 ] && continue
	chip_stop
	rm -rf "$LAB/state" "$LAB/chip"
	cp -a "$LAB/state.was" "$LAB/state"
	cp -a "$LAB/chip.was" "$LAB/chip"
done
never_the_same() { set -- $EPOCH; echo "epochs and rows: $*"; [ "$3" = "$5" ] && [ "$1" != "$2" ] && [ "$1" != "$4" ] && [ "$2" != "$4" ]; }
check never-the-same-epoch never_the_same
mgr_start --pool 0
ctl destroy s
ctl create s >/dev/null
check not-under-anothers-name refused "its name belongs to another vTPM now" restore "$LAB/one" --only s
ctl destroy s

# One that was swtpm's, under two names.
mkdir "$LAB/swtpm" "$LAB/swtpm-ca"
cat >"$LAB/setup.conf" <<-END
	create_certs_tool = /usr/bin/swtpm_localca
	create_certs_tool_config = $LAB/ca.conf
END
printf 'statedir = %s\nsigningkey = %s/key\nissuercert = %s/cert\ncertserial = %s/serial\n' "$LAB/swtpm-ca" "$LAB/swtpm-ca" "$LAB/swtpm-ca" "$LAB/swtpm-ca" >"$LAB/ca.conf"
swtpm_setup --tpm2 --tpmstate "$LAB/swtpm" --config "$LAB/setup.conf" --createek >/dev/null 2>&1
ctl import i --swtpm "$LAB/swtpm" >/dev/null
ctl backup "$LAB/imported" >/dev/null
ctl destroy i
ctl import j --swtpm "$LAB/swtpm" >/dev/null
check never-two-of-one refused "this TPM is here already, as j" restore "$LAB/imported" --only i
ctl destroy j
check once-the-other-is-gone restore "$LAB/imported" --only i
beside_an_import() { # both at once, one a little sooner each time
	local n restoring
	for ((n = 0; n < 60; n++)); do
		ctl destroy i || ctl destroy j
		restore "$LAB/imported" --only i &
		restoring=$!
		read -rt "0.0$((n % 10))$((n / 10))" <> <(:) || true
		ctl import j --swtpm "$LAB/swtpm" || true
		wait $restoring || true
		[ "$(ctl list | awk '$1 == "i" || $1 == "j"' | wc -l)" = 1 ] || { ctl list; return 1; }
	done
}
check nor-beside-an-import beside_an_import

# What is quarantined when the backup is taken does not come back.
ctl create q >/dev/null
mgr_stop
flip state sealed "uuid = $(uuid_in_db q)" 400
mgr_start --pool 0
ctl backup "$LAB/damaged" >/dev/null
check not-what-was-damaged refused "q: it was damaged, or not the newest, when the backup was taken" restore "$LAB/damaged" --only q
check but-the-others ctl restore "$LAB/damaged" --check --json
ctl destroy q --force 2>/dev/null || ctl destroy q

# --- one at a time; a client that goes ---
alone() { # nobody comes between the calls of one, and one whose client has gone is over
	python3 - "$LAB/run" "$B/vtpmctl" "$LAB/x" <<-'END'
		import json, os, socket, subprocess, sys
		s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1] + "/control.sock")
		def ask(method, **parameters):
		    s.sendall(json.dumps({"method": "org.vtpm.Manager." + method, "parameters": parameters}).encode() + b"\0")
		    reply = b""
		    while not reply.endswith(b"\0"): reply += s.recv(65536)
		    return json.loads(reply[:-1])
		def backup(): return subprocess.run([sys.argv[2], "--runtime-dir", sys.argv[1], "backup", sys.argv[3]], capture_output=True, text=True)
		i = ask("Backup")["parameters"]["id"]
		assert "error" in ask("BackupRead", id="0" * 32) and "error" in ask("RestoreWrite", id=i, data="00"), "of another"
		assert "error" in ask("RestoreCommit", id=i) and "error" in ask("Restore", accept_rollback=True), "two at a time"
		assert "data" in ask("BackupRead", id=i)["parameters"]
		assert "another backup or restore is on its way" in backup().stderr, "two at a time"
		s.close()
		b = backup()
		assert b.returncode == 0, b.stderr
		s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1] + "/control.sock")
		for data in ("0", "zz", "00" * 30000, 5, None):
		    i = ask("Restore", check=True)["parameters"]["id"]
		    assert "error" in ask("RestoreWrite", id=i, data=data), data
		    assert "error" in ask("RestoreWrite", id=i, data="00"), "it is over"
		for only in ([], "a", ["../a"], [1]):
		    assert "error" in ask("Restore", only=only, check=True), only
	END
}
check one-at-a-time alone

# --- clones ---
ctl group create other --pcrs 0 >/dev/null
ctl create m --group other --user 4711 --state-max 65536 --commit-rate 7 --locality-max 3 --snapshots allow >/dev/null
ctl start m >/dev/null
guest_ek m "$LAB/m.ek"
guest m tpm2_createprimary -Q -C o -G ecc -c "$LAB/m.ctx" >/dev/null
guest m tpm2_readpublic -Q -c "$LAB/m.ctx" -o "$LAB/m.srk" >/dev/null
guest m tpm2_flushcontext -t
check a-clone-of-one-that-runs ctl clone m n
settings() { local f; for f in group user state_max commit_rate locality_max snapshots mode; do field "$1" $f; done; }
check it-has-the-settings test "$(settings m)" = "$(settings n)"
check and-another-uuid test "$(field m uuid)" != "$(field n uuid)"
ctl start n >/dev/null
guest_ek n "$LAB/n.ek"
guest n tpm2_createprimary -Q -C o -G ecc -c "$LAB/n.ctx" >/dev/null
guest n tpm2_readpublic -Q -c "$LAB/n.ctx" -o "$LAB/n.srk" >/dev/null
check and-other-seeds all no cmp "$LAB/m.ek" "$LAB/n.ek" -- no cmp "$LAB/m.srk" "$LAB/n.srk"
check and-a-certificate-of-its-own all eval 'ctl ca >"$LAB/ca.pem"' -- eval 'ctl show n --ek-cert ecc >"$LAB/n.pem"' -- \
	openssl verify -x509_strict -CAfile "$LAB/ca.pem" "$LAB/n.pem"
ctl clone m o --uuid 123e4567-e89b-42d3-a456-426614174000 >/dev/null
check with-a-uuid-of-ones-choice test "$(field o uuid)" = 123e4567-e89b-42d3-a456-426614174000
check no-clone-of-none refused "no vTPM named nobody" ctl clone nobody p
check no-clone-in-the-way refused "exists already" ctl clone m n
check clones-are-audited audited '"action":"clone","vtpm":"m".*for a new one: n'
ctl stop m; ctl stop n

# --- the drill, as the manual has it ---
DRILL=$LAB/drill
mkdir "$DRILL"
ctl create web1 >/dev/null
ctl create web2 >/dev/null
vtpmctl() { ctl "$@"; }
vtpm-mgr() { mgr_init "$@"; }
systemctl() { case $1 in start) mgr_start --pool 0 ;; stop) mgr_stop ;; esac; }
in_manual() { # PART: the commands of that part of docs/backup.md
	sed -n "/^## $1\$/,/^## /p" docs/backup.md | sed -n 's/^    //p' | sed -e 's/ *#.*//' -e "s|/root/|$DRILL/|g" -e "s|/var/lib/vtpm|$LAB/state|g"
}
drill() {
	local line n=0
	while read -r line; do
		n=$((n + 1))
		eval "$line" </dev/null || { echo "failed: $line"; return 1; }
	done < <(in_manual "$1")
	[ $n -gt 1 ] || { echo "no commands under $1"; return 1; }
}
check drill-taking drill "Taking one"
ctl start web1 >/dev/null
check drill-one drill "One vTPM back"
check drill-one-is-marked all discontinuities web1 1 -- discontinuities web2 0
ctl start web2 >/dev/null
for g in web1 web2; do guest_ek $g "$LAB/$g.ek"; done
check drill-all drill "All of them back"
check drill-all-is-marked all discontinuities web1 2 -- discontinuities web2 1
check drill-lost drill "The disk is lost"
for g in web1 web2; do
	ctl start $g >/dev/null
	check drill-$g-is-the-same all guest_ek $g "$LAB/$g.now" -- cmp "$LAB/$g.ek" "$LAB/$g.now"
	ctl stop $g
done
check drill-lost-is-marked test "$(field web2 discontinuities)" -ge 1

# --- another host, and another PCR ---
mgr_stop
chip_stop
mv "$LAB/chip" "$LAB/chip.first"
mv "$LAB/state" "$LAB/state.first"
chip_start
chip_measure
check no-store-of-another-tpms refused "sealed to another TPM" mgr_init --from "$LAB/one"
check and-none-is-left test ! -e "$LAB/state/vtpm.db"
mgr_init --seal-pcrs 0,4 >/dev/null
mgr_start --pool 0
check not-on-another-host refused "sealed under another root key" restore "$LAB/one"
mgr_stop
chip_stop
rm -rf "$LAB/chip" "$LAB/state"
mv "$LAB/chip.first" "$LAB/chip"
chip_start
chip_measure "another boot loader"
check not-after-another-boot refused "PCR 4" mgr_init --from "$LAB/one"
check from-what-is-none refused "no backup of vtpmctl" mgr_init --from "$LAB/bad"
check from-goes-with-init refused "goes with --init" "$B/vtpm-mgr" --from "$LAB/one"
check and-still-none-is-left test ! -e "$LAB/state/vtpm.db"
exit $FAILED

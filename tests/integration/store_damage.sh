#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The store itself: its file, what all vTPMs of it share (the pinned TPM, the groups' roots, the CA), --init, and two
# managers. Whatever is wrong is said in words and nothing is changed, so that the right bytes can be put back.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init

no_start() { # TEXT: the manager refuses to start, says TEXT, and the store's files are as before
	local rc=0
	log_mark
	store_sum >"$LAB/before"
	mgr_start --pool 0 || rc=1
	if [ $rc -eq 0 ]; then mgr_stop || true; echo "it has started"; return 1; fi
	logged "$1" || { tail -n 3 "$LAB/mgr.log"; return 1; }
	store_sum | diff "$LAB/before" -
}
# All but what a start that succeeds writes: the journal, and its account of writes to the TPM.
rows_of_all() { db "SELECT * FROM meta WHERE key <> 'wear'; SELECT id, name, hex(root) FROM grp; SELECT id, hex(uuid), name, hex(wrapped) FROM vtpm" | sha256sum; }

# --- no store, an unfinished one, one that is there ---
chip_start
mkdir -m 700 "$LAB/state"
chown 65534 "$LAB/state" 2>/dev/null || true
log_mark
check no-store-names-init all no mgr_start -- logged "no store.*vtpm-mgr --init"
check pcrs-all-zero-are-refused refused "PCR 4 is all zero.*--insecure-pcrs" mgr_init --seal-pcrs 4
check pcrs-all-ones-are-refused refused "PCR 17 is all ones" mgr_init --seal-pcrs 17
check refused-init-leaves-no-store no test -e "$LAB/state/vtpm.db"
chip_measure
check init mgr_init --seal-pcrs 0,4
check init-says-not-hardware-backed grep -q "not hardware-backed" "$LAB/mgr.log"
store_sum >"$LAB/before"
check init-never-replaces-a-store all refused "there is a store already" mgr_init --seal-pcrs 0,4 -- eval 'store_sum | diff "$LAB/before" -'

log_mark
mgr_start --pool 0
check start-says-not-hardware-backed logged "not hardware-backed"
check status-says-not-hardware-backed eval 'ctl status | grep -q "not hardware-backed"'
guest_make web1
guest_make web2

# --- two managers ---
second() { "$B/vtpm-mgr" $(mgr_options) "$@"; }
check second-manager-on-one-store refused "another vtpm-mgr has this store" second --runtime-dir "$LAB/run2"
mkdir -m 700 "$LAB/state2"
cp "$LAB/state/vtpm.db" "$LAB/state2/"
chown -R 65534 "$LAB/state2" 2>/dev/null || true
check second-manager-on-one-runtime-dir refused "another (vtpm-mgr|manager)" second --state-dir "$LAB/state2"
check the-first-goes-on all guest_is_whole web1 -- guest_is_whole web2 -- ctl status
mgr_stop
store_keep

# --- the file ---
file_damage() {
	case $1 in
	garbage) head -c 40000 /dev/urandom >"$LAB/state/vtpm.db" ;;
	zero-length) : >"$LAB/state/vtpm.db" ;;
	truncated) truncate -s 5000 "$LAB/state/vtpm.db" ;;
	header-only) truncate -s 100 "$LAB/state/vtpm.db" ;;
	newer) db "PRAGMA user_version = 99" ;;
	older) db "PRAGMA user_version = 0" ;;
	foreign) db "PRAGMA application_id = 1" ;;
	trigger) db "CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM vtpm; END" ;;
	column) db "ALTER TABLE vtpm ADD COLUMN more TEXT" ;;
	unfinished) db "DELETE FROM meta WHERE key = 'provisioned'" ;;
	esac
}
file_case() { # NAME TEXT
	file_damage "$1"
	check "file-$1" no_start "$2"
	store_put_back
}
file_case garbage "not a database"
file_case zero-length "never finished.*vtpm-mgr --init"
file_case truncated "malformed|damaged"
file_case header-only "not a database|malformed|damaged"
file_case newer "has format 99.*use the newer release"
file_case older "damaged: its tables"
file_case foreign "is not a store of vtpm-mgr"
file_case trigger "damaged: its tables"
file_case column "damaged: its tables"
file_case unfinished "interrupted.*vtpm-mgr --init"
check init-does-not-touch-what-is-damaged all file_damage garbage -- eval 'store_sum >"$LAB/before"' -- \
	refused "there is a store already" mgr_init --insecure-pcrs -- eval 'store_sum | diff "$LAB/before" -'
store_put_back
rm "$LAB/state/vtpm.db"
mkdir "$LAB/state/vtpm.db"
log_mark
check file-is-a-directory all no mgr_start -- logged "not a file of ours"
rmdir "$LAB/state/vtpm.db"
ln -s "$LAB/good.db" "$LAB/state/vtpm.db"
log_mark
check file-is-a-link all no mgr_start -- logged "not a file of ours"
rm "$LAB/state/vtpm.db"
store_put_back
chown 65534 "$LAB/state/vtpm.db" 2>/dev/null || true

# --- what all share ---
ca_without_creation() { # the length of what stands before the creation data
	python3 -c '
import struct, sys
value, at = bytes.fromhex(sys.argv[1]), 0
for _ in ("public", "private", "auth", "certificate"):
    at += 4 + struct.unpack_from("<I", value, at)[0]
print(at)' "$(db "SELECT hex(value) FROM meta WHERE key = 'ca'")"
}
shared_damage() { # NAME: damages the store as its name says
	case $1 in
	srk-flipped) flip meta value "key = 'srk_name'" 8 ;;
	srk-empty) db "UPDATE meta SET value = x'' WHERE key = 'srk_name'" ;;
	srk-deleted) db "DELETE FROM meta WHERE key = 'srk_name'" ;;
	srk-huge) db "UPDATE meta SET value = zeroblob(100000) WHERE key = 'srk_name'" ;;
	root-bit-*) flip grp root "name = 'default'" "${1#root-bit-}" ;;
	root-empty) db "UPDATE grp SET root = x''" ;;
	root-short) db "UPDATE grp SET root = substr(root, 1, length(root) - 1)" ;;
	root-long) db "UPDATE grp SET root = CAST(root || x'00' AS BLOB)" ;;
	root-huge) db "UPDATE grp SET root = zeroblob(100000)" ;;
	root-deleted) db "DELETE FROM grp" ;;
	root-renamed) db "UPDATE grp SET name = 'another'" ;;
	ca-bit-*) flip meta value "key = 'ca'" "${1#ca-bit-}" ;;
	ca-empty) db "UPDATE meta SET value = x'' WHERE key = 'ca'" ;;
	ca-short) db "UPDATE meta SET value = substr(value, 1, length(value) - 1) WHERE key = 'ca'" ;;
	ca-deleted) db "DELETE FROM meta WHERE key = 'ca'" ;;
	ca-huge) db "UPDATE meta SET value = zeroblob(100000) WHERE key = 'ca'" ;;
	ca-not-created) db "UPDATE meta SET value = substr(value, 1, $(ca_without_creation)) WHERE key = 'ca'" ;;
	esac
}
# The right values in the place of the damaged ones. The whole file of then would be an older store, which is refused.
shared_put_right() {
	db "ATTACH '$LAB/good.db' AS good; DELETE FROM meta WHERE key IN ('srk_name', 'ca'); \
		INSERT INTO meta (key, value) SELECT key, value FROM good.meta WHERE key IN ('srk_name', 'ca'); \
		DELETE FROM grp; INSERT INTO grp SELECT * FROM good.grp"
}
shared_case() { # NAME CHECK…: with the damage, CHECK holds; the rows are as before, and put right everything works
	local name=$1 before rc=0
	shift
	shared_damage "$name"
	before=$(rows_of_all)
	mgr_start --pool 0 || rc=1
	if [ $rc -eq 0 ]; then check "$name" "$@"; mgr_stop; else not_ok "$name: no start"; fi
	check "$name-kept" test "$(rows_of_all)" = "$before"
	shared_put_right
}
nothing_served() { # TEXT
	all refused "$1" ctl start web1 -- refused "$1" ctl create web3 -- ctl list -- ctl status
}
for d in srk-flipped srk-empty srk-deleted srk-huge; do
	shared_case $d nothing_served "not the one this store was made with|pinned Name"
done
root_len=$(db "SELECT length(root) FROM grp WHERE name = 'default'")
for d in root-bit-0 root-bit-9 root-bit-40 root-bit-$((root_len / 2)) root-bit-$((root_len - 200)) root-bit-$((root_len - 60)); do
	# Either what was changed does not matter to the seal (the recorded PCR values, which only explain), or nothing is served.
	shared_case "$d" eval 'if ctl start web1; then guest_is_whole web1; else nothing_served "group default|sealed root|PCR|no such group|stays sealed|stored TPM object"; fi'
done
for d in root-empty root-short root-long root-huge root-deleted root-renamed; do
	shared_case $d nothing_served "group default|no such group|sealed root"
done
ca_refused() { all guest_works web1 -- refused "CA" ctl create web3 -- refused "web3" ctl show web3 -- guest_works web2; }
ca_len=$(db "SELECT length(value) FROM meta WHERE key = 'ca'")
for d in ca-bit-0 ca-bit-30 ca-bit-$((ca_len / 2)) ca-empty ca-short ca-deleted ca-huge ca-not-created; do
	shared_case "$d" ca_refused
done
mgr_start
check all-put-right all guest_works web1 -- guest_works web2 -- ctl create web3
mgr_stop
exit $FAILED

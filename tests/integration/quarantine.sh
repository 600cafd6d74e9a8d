#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Rows of the store that are wrong, in every way that somebody with the disk can make them wrong. What does not
# verify is named and kept byte for byte, never made anew, and works again when the right row is back.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init

# How each vTPM's rows are damaged; the vTPM has the name of its damage. $U, $N, $R: WHERE clauses for its state, its own row, its record of certificates.
damage() {
	local U="uuid = $(uuid_in_db "$1")" N="name = '$1'" R
	R="key = '$(record_in_db "$1")'"
	case $1 in
	state-bit-*) flip state sealed "$U" "${1#state-bit-}" ;;
	state-bitend) flip state sealed "$U" -1 ;;
	state-empty) db "UPDATE state SET sealed = x'' WHERE $U" ;;
	state-deleted) db "DELETE FROM state WHERE $U" ;;
	state-header) db "UPDATE state SET sealed = substr(sealed, 1, 40) WHERE $U" ;;
	state-short) db "UPDATE state SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE $U" ;;
	state-half) db "UPDATE state SET sealed = substr(sealed, 1, length(sealed) / 2) WHERE $U" ;;
	state-long) db "UPDATE state SET sealed = CAST(sealed || x'00' AS BLOB) WHERE $U" ;;
	state-huge) db "UPDATE state SET sealed = zeroblob(400000) WHERE $U" ;;
	state-zero) db "UPDATE state SET sealed = zeroblob(length(sealed)) WHERE $U" ;;
	state-text) mistype state "UPDATE state SET sealed = 'text' WHERE $U" ;;
	state-newer) db "UPDATE state SET version = version + 1 WHERE $U" ;;
	state-older) db "UPDATE state SET version = version - 1 WHERE $U" ;;
	state-v0) db "UPDATE state SET version = 0 WHERE $U" ;;
	state-vneg) db "UPDATE state SET version = -1 WHERE $U" ;;
	state-swap) swap state "uuid" sealed state-swap state-swapped ;;
	key-bit-*) flip vtpm wrapped "$N" "${1#key-bit-}" ;;
	key-bitend) flip vtpm wrapped "$N" -1 ;;
	key-empty) db "UPDATE vtpm SET wrapped = x'' WHERE $N" ;;
	key-short) db "UPDATE vtpm SET wrapped = substr(wrapped, 1, length(wrapped) - 1) WHERE $N" ;;
	key-long) db "UPDATE vtpm SET wrapped = CAST(wrapped || x'00' AS BLOB) WHERE $N" ;;
	key-huge) db "UPDATE vtpm SET wrapped = zeroblob(400000) WHERE $N" ;;
	key-text) mistype vtpm "UPDATE vtpm SET wrapped = 'text' WHERE $N" ;;
	key-swap) swap vtpm name wrapped key-swap key-swapped ;;
	both-swap) swap vtpm name wrapped both-swap both-swapped; swap state "uuid" sealed both-swap both-swapped ;;
	ek-bit) flip vtpm ek_public_1 "$N" -1 ;;
	ek-empty) db "UPDATE vtpm SET ek_public_1 = x'', cert_1 = x'' WHERE $N" ;;
	ek-other) db "UPDATE vtpm SET ek_public_0 = ek_public_1, cert_0 = cert_1 WHERE $N" ;;
	ek-swap) swap vtpm name ek_public_1 ek-swap ek-swapped; swap vtpm name cert_1 ek-swap ek-swapped ;;
	ekcert-bit) flip vtpm cert_0 "$N" 300 ;;
	ekcert-empty) db "UPDATE vtpm SET cert_0 = x'' WHERE $N" ;;
	ekcert-long) db "UPDATE vtpm SET cert_0 = CAST(cert_0 || x'00' AS BLOB) WHERE $N" ;;
	ekcert-swap) swap vtpm name cert_1 ekcert-swap ekcert-swapped ;;
	ak-bit) flip meta value "$R" 40 ;;
	ak-bitend) flip meta value "$R" -1 ;;
	ak-empty) db "UPDATE meta SET value = x'' WHERE $R" ;;
	ak-deleted) db "DELETE FROM meta WHERE $R" ;;
	ak-huge) db "UPDATE meta SET value = zeroblob(9000) WHERE $R" ;;
	ak-swap) db "CREATE TEMP TABLE t AS SELECT value FROM meta WHERE $R; \
		UPDATE meta SET value = (SELECT value FROM meta WHERE key = '$(record_in_db ak-swapped)') WHERE $R; \
		UPDATE meta SET value = (SELECT value FROM t) WHERE key = '$(record_in_db ak-swapped)'" ;;
	is-renamed) db "UPDATE vtpm SET name = 'was-renamed' WHERE $N" ;;
	is-user) db "UPDATE vtpm SET user = 4711 WHERE $N" ;;
	is-statemax) db "UPDATE vtpm SET state_max = state_max + 1 WHERE $N" ;;
	is-rate) db "UPDATE vtpm SET commit_rate = 0 WHERE $N" ;;
	is-locality) db "UPDATE vtpm SET locality_max = 4 WHERE $N" ;;
	is-snapshots) db "UPDATE vtpm SET snapshots = 1 WHERE $N" ;;
	is-launch) db "UPDATE vtpm SET launch = 2 WHERE $N" ;;
	is-rules) db "UPDATE vtpm SET launch_rules = x'01' WHERE $N" ;;
	is-epoch) db "UPDATE vtpm SET epoch = epoch + 1 WHERE $N" ;;
	is-group) db "UPDATE vtpm SET grp = 'other' WHERE $N" ;;
	is-uuid) db "UPDATE state SET uuid = x'00112233445566778899aabbccddeeff' WHERE $U; \
		UPDATE vtpm SET uuid = x'00112233445566778899aabbccddeeff' WHERE $N" ;;
	out-locality) db "UPDATE vtpm SET locality_max = 99 WHERE $N" ;;
	out-snapshots) db "UPDATE vtpm SET snapshots = 2 WHERE $N" ;;
	out-launch) db "UPDATE vtpm SET launch = 3 WHERE $N" ;;
	out-rules) db "UPDATE vtpm SET launch_rules = zeroblob(4097) WHERE $N" ;;
	out-statemax) db "UPDATE vtpm SET state_max = -1 WHERE $N" ;;
	out-group) db "UPDATE vtpm SET grp = '../x' WHERE $N" ;;
	out-user) mistype vtpm "UPDATE vtpm SET user = 'root' WHERE $N" ;;
	out-uuid) db "UPDATE vtpm SET uuid = x'00' WHERE $N" ;;
	out-name) db "UPDATE vtpm SET name = '../x' WHERE $N" ;;
	out-cert) mistype vtpm "UPDATE vtpm SET cert_0 = 'text' WHERE $N" ;;
	esac
}
record_in_db() { db "SELECT 'certs:' || lower(substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4) || '-' || substr(h, 21)) \
	FROM (SELECT hex(uuid) AS h FROM vtpm WHERE name = '$1')"; }
# The two values of column $3 of table $1 exchanged, as somebody does who wants to have another's TPM. $2: what names a row.
swap() {
	local a="name = '$4'" b="name = '$5'"
	[ "$2" = name ] || { a="uuid = $(uuid_in_db "$4")" b="uuid = $(uuid_in_db "$5")"; }
	db "CREATE TEMP TABLE t AS SELECT (SELECT $3 FROM $1 WHERE $a) AS x, (SELECT $3 FROM $1 WHERE $b) AS y; \
		UPDATE $1 SET $3 = (SELECT y FROM t) WHERE $a; UPDATE $1 SET $3 = (SELECT x FROM t) WHERE $b"
}
# SQLite holds a STRICT table to its types: it is none for the moment.
mistype() {
	db "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '') WHERE name = '$1'"
	db "$2"
	db "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name = '$1'"
}

CASES="state-bit-0 state-bit-4 state-bit-5 state-bit-6 state-bit-9 state-bit-30 state-bit-37 state-bit-50 state-bit-4000 state-bitend
	state-empty state-deleted state-header state-short state-half state-long state-huge state-zero state-text
	state-newer state-older state-v0 state-vneg state-swap state-swapped
	key-bit-0 key-bit-12 key-bit-30 key-bitend key-empty key-short key-long key-huge key-text key-swap key-swapped
	both-swap both-swapped is-user is-statemax is-rate is-locality is-snapshots is-launch is-rules is-epoch is-group is-uuid
	out-locality out-snapshots out-launch out-rules out-statemax out-group out-user out-uuid out-name out-cert is-renamed
	ek-bit ek-empty ek-other ek-swap ek-swapped ekcert-bit ekcert-empty ekcert-long ekcert-swap ekcert-swapped
	ak-bit ak-bitend ak-empty ak-deleted ak-huge ak-swap ak-swapped"
# By what name the manager has it now.
now() { case $1 in is-renamed) echo was-renamed ;; out-name) echo "damaged-row-${ID[$1]}" ;; *) echo "$1" ;; esac; }

# All but the quarantine mark.
rows() {
	db "SELECT id, hex(uuid), name, grp, epoch, user, state_max, commit_rate, locality_max, snapshots, launch, hex(launch_rules), rollbacks, created, hex(wrapped), hex(ek_public_0), \
		hex(ek_public_1), hex(cert_0), hex(cert_1), typeof(wrapped), typeof(user), typeof(cert_0) FROM vtpm WHERE id = $1; \
		SELECT hex(uuid), version, hex(sealed), typeof(sealed) FROM state WHERE id = $1"
}
declare -A ID
damaged_and_kept() { # $1: as it is called now; $2: before
	refused "$1: quarantined: " ctl start "$1" && is_state "$1" quarantined && [ -n "$(field "$1" reason)" ] &&
		ctl list | grep -q "^$1 .* quarantined" && logged "$1: quarantined: " &&
		audited "\"quarantine\",\"vtpm\":\"$1\"" && refused "force" ctl destroy "$1"
}
unchanged() { rows "${ID[$1]}" | diff - "$LAB/$1.rows" >/dev/null || { echo "the rows of $1 have changed"; return 1; }; }

chip_and_store
mgr_start --pool 0
ctl group create other --pcrs 0 >/dev/null
guest_make neighbour
for c in $CASES; do guest_make "$c"; ctl stop "$c"; done
mgr_stop
store_keep
for c in $CASES; do ID[$c]=$(db "SELECT id FROM vtpm WHERE name = '$c'"); done
for c in $CASES; do damage "$c"; done
for c in $CASES; do rows "${ID[$c]}" >"$LAB/$c.rows"; done

mgr_start
log_mark
for c in $CASES; do case $c in ek* | ak*) check "$c-is-seen-while-it-is-off" all is_state "$c" quarantined -- no ctl show "$c" --ek-cert ecc; esac; done
check "neighbour-starts" guest_works neighbour
for c in $CASES; do check "$c" damaged_and_kept "$(now "$c")" "$c"; done
check "neighbour-goes-on" guest_is_whole neighbour
check "status-counts-them" test "$(status quarantined)" = "$(wc -w <<<"$CASES")"
mgr_stop
mgr_start # and a second time: what is quarantined stays so, and is tried anew
log_mark
check "again-state" damaged_and_kept state-bit-50
check "again-key" damaged_and_kept key-short
mgr_stop
for c in $CASES; do check "$c-kept" unchanged "$c"; done

# The right rows are put back; the mark stays, until the vTPM verifies again.
db "ATTACH '$LAB/good.db' AS good; \
	UPDATE vtpm SET (uuid, name, grp, epoch, user, state_max, commit_rate, locality_max, snapshots, launch, launch_rules, wrapped, ek_public_0, ek_public_1, cert_0, cert_1) = \
		(SELECT uuid, name, grp, epoch, user, state_max, commit_rate, locality_max, snapshots, launch, launch_rules, wrapped, ek_public_0, ek_public_1, cert_0, cert_1 \
		FROM good.vtpm g WHERE g.id = vtpm.id) WHERE name <> 'neighbour'; \
	INSERT OR REPLACE INTO meta SELECT * FROM good.meta WHERE key LIKE 'certs:%'; \
	INSERT OR REPLACE INTO state SELECT * FROM good.state WHERE uuid <> $(uuid_in_db neighbour)"
mgr_start
log_mark
for c in $CASES; do check "$c-back" all guest_works "$c" -- is_state "$c" running -- ctl stop "$c" -- is_state "$c" stopped; done
check "force-destroys" all ctl destroy state-empty --force -- refused "no vTPM named" ctl show state-empty
mgr_stop

# Whatever is damaged, --force removes that row and no other.
for c in out-uuid out-name out-group state-deleted; do damage "$c"; done
mgr_start --pool 0
check "create-in-the-way-of-a-damaged-name" refused "damaged-row-" ctl create "damaged-row-${ID[out-name]}"
for c in out-uuid out-name out-group state-deleted; do
	check "force-destroys-$c" all ctl destroy "$(now $c)" --force -- refused "no vTPM named" ctl show "$(now $c)"
done
check "force-destroys-no-other" test "$(ctl list --json | json "['vtpms'].__len__()")" = $(($(wc -w <<<"$CASES") + 1 - 5))
mgr_stop
exit $FAILED

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Who writes the disk while the manager is off, and means the certificates: what he changes of endorsement and attestation keys quarantines that vTPM
# and no other; he has no serial number revoked that should not be, and none left out; and nothing certified that is not the vTPM's own.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

NOT_VOUCHED="its endorsement keys or certificates are not those that the journal vouches for"
uuid() { echo "(SELECT uuid FROM main.vtpm WHERE name = '$1')"; }
record() { echo "'certs:$(cat "$LAB/$1.uuid")'"; }
# What is to be put back later: the keys and certificates as they are now, and what the leaves say of them. No mark is to stand for what comes next.
keep() { # NAME
	db "ATTACH '$LAB/$1.db' AS kept; CREATE TABLE kept.vtpm AS SELECT uuid, ek_public_0, ek_public_1, cert_0, cert_1 FROM main.vtpm;
		CREATE TABLE kept.meta AS SELECT key, value FROM main.meta WHERE key LIKE 'certs:%';
		CREATE TABLE kept.leaf AS SELECT uuid, kinds, serial, certs FROM main.leaf"
}
put_back() { # NAME
	db "ATTACH '$LAB/$1.db' AS kept;
		UPDATE main.vtpm SET (ek_public_0, ek_public_1, cert_0, cert_1, quarantine) = (SELECT ek_public_0, ek_public_1, cert_0, cert_1, '' FROM kept.vtpm k WHERE k.uuid = vtpm.uuid);
		DELETE FROM main.meta WHERE key LIKE 'certs:%'; INSERT INTO main.meta (key, value) SELECT key, value FROM kept.meta;
		UPDATE main.leaf SET (kinds, serial, certs) = (SELECT kinds, serial, certs FROM kept.leaf k WHERE k.uuid = leaf.uuid)"
}
# A column of two rows exchanged: TABLE COLUMN WHERE WHERE
swap() { echo "CREATE TEMP TABLE t AS SELECT (SELECT $2 FROM $1 WHERE $3) AS x, (SELECT $2 FROM $1 WHERE $4) AS y;
	UPDATE $1 SET $2 = (SELECT y FROM t) WHERE $3; UPDATE $1 SET $2 = (SELECT x FROM t) WHERE $4; DROP TABLE t;"; }
list() { ctl ca crl >"$LAB/crl" && openssl crl -in "$LAB/crl" -noout -text | sed -n 's/^ *Serial Number: //p' | sort; }
of_kind() { printf '%s%02X\n' "$(cut -c1-30 <<<"$1" | tr a-f A-F)" "$2"; } # SERIAL KIND
revokes() { list >"$LAB/list" && for k in $2; do grep -qx "$(of_kind "$1" "$k")" "$LAB/list" || { echo "not in the list: $k"; cat "$LAB/list"; return 1; }; done; } # SERIAL KINDS
is_refused() { refused "$NOT_VOUCHED" "$@"; }
served() { check "$1" all ctl start "$2" -- guest "$2" tpm2_getrandom -Q --hex 8 -- ctl show "$2" --ek-cert ecc -- ctl stop "$2"; }
same_key() { [ "$(openssl x509 -in "$LAB/$1" -noout -pubkey)" = "$(openssl x509 -in "$LAB/$2" -noout -pubkey)" ]; }

chip_start
mgr_init --insecure-pcrs >/dev/null
mkdir "$LAB/old"
swtpm_setup --tpm2 --tpmstate "$LAB/old" --createek --pcr-banks sha256 >"$LAB/out" 2>&1 || not_ok a_machine_with_swtpm
mgr_start --pool 0
for n in web1 web2 web3; do ctl create $n >/dev/null; done
check import ctl import old --swtpm "$LAB/old"
for n in web1 web2 web3 old; do uuid_of $n >"$LAB/$n.uuid"; done
first=$(field web1 serial)
mgr_stop
keep before
mgr_start --pool 0
check certify ctl certify web1
s1=$(field web1 serial) s2=$(field web2 serial) s3=$(field web3 serial) so=$(field old serial)
is with_other_numbers "$([ "$s1" != "$first" ] && echo others)" others
check what_was_before_is_revoked revokes "$first" "0 1 2"
ctl show web1 --ek-cert ecc >"$LAB/ek1.pem"
ctl show web1 --ak-cert >"$LAB/ak1.pem"
ctl show web2 --ek-cert ecc >"$LAB/ek2.pem"
check back_them_up ctl backup "$LAB/whole"
list >"$LAB/list.whole"
mgr_stop
keep whole

# --- keys and certificates: that vTPM, and what each call says of it ---
hurt() { # NAME SQL [VTPM…]: is done to web1 and those
	local names="web1${3:+ $3}" n
	db "ATTACH '$LAB/before.db' AS kept; $2"
	mgr_start --pool 0
	for n in $names; do
		is "$1_${n}_is_quarantined" "$(field "$n" state)" quarantined
		check "$1_${n}_says_why" eval 'ctl show "$n" >"$LAB/said" && cat "$LAB/said" && grep -q "$NOT_VOUCHED" "$LAB/said" && ! grep -q "SHA-256" "$LAB/said"'
	done
	exits "$1_its_key_is_not_shown" 6 ctl show web1 --ek-public ecc
	exits "$1_nor_its_certificate" 6 ctl show web1 --ak-cert
	says "$1_but_why" "$NOT_VOUCHED"
	check "$1_is_in_the_list" eval 'ctl quarantine list | grep -q "^web1 "'
	is "$1_and_counted" "$(status quarantined)" "$(wc -w <<<"$names")"
	exits "$1_is_not_certified" 6 ctl certify web1
	says "$1_for_that_reason" "$NOT_VOUCHED"
	exits "$1_is_not_started" 6 ctl start web1
	says "$1_nor_is_it" "$NOT_VOUCHED"
	exits "$1_is_not_destroyed_by_mistake" 6 ctl destroy web1
	served "$1_another_is_served" web3
	is "$1_nothing_is_revoked" "$(list)" "$(cat "$LAB/list.whole")"
	mgr_stop
	put_back whole
}
W1="name = 'web1'" W2="name = 'web2'" R1="key = $(record web1)" R2="key = $(record web2)"
hurt record_changed "UPDATE main.meta SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB) WHERE $R1"
hurt record_removed "DELETE FROM main.meta WHERE $R1"
hurt record_older "UPDATE main.meta SET value = (SELECT value FROM kept.meta k WHERE k.key = meta.key) WHERE $R1"
hurt records_swapped "$(swap main.meta value "$R1" "$R2")" web2
hurt ek_of_another "UPDATE main.vtpm SET (ek_public_1, cert_1) = (SELECT ek_public_1, cert_1 FROM main.vtpm WHERE $W2) WHERE $W1"
hurt ek_removed "UPDATE main.vtpm SET ek_public_0 = x'', cert_0 = x'' WHERE $W1"
hurt ek_certificate_older "UPDATE main.vtpm SET (cert_0, cert_1) = (SELECT cert_0, cert_1 FROM kept.vtpm k WHERE k.uuid = vtpm.uuid) WHERE $W1"
hurt ek_certificates_swapped "$(swap main.vtpm cert_1 "$W1" "$W2")" web2
hurt all_of_it_older "UPDATE main.meta SET value = (SELECT value FROM kept.meta k WHERE k.key = meta.key) WHERE $R1;
	UPDATE main.vtpm SET (ek_public_0, ek_public_1, cert_0, cert_1) = (SELECT ek_public_0, ek_public_1, cert_0, cert_1 FROM kept.vtpm k WHERE k.uuid = vtpm.uuid) WHERE $W1"
mgr_start --pool 0
served put_back_it_is_served web1
is and_not_quarantined_any_more "$(field web1 state)" stopped
check and_is_what_it_was eval 'ctl show web1 --ek-cert ecc | cmp - "$LAB/ek1.pem"'
mgr_stop

# --- what is to be revoked, and which kinds we certify: the leaf itself, and so the store ---
leaf() { # NAME SQL
	db "ATTACH '$LAB/before.db' AS kept; $2"
	mgr_start --pool 0
	for n in web1 web2 old; do is "$1_${n}_is_not_served" "$(field $n state)" quarantined; done
	for c in "certify old" "certify web1" "destroy web1 --force" "destroy old" "ca crl" "start web3"; do exits "$1_no_${c%% --*}" 6 ctl $c; done
	check "$1_says_why" eval 'ctl status | grep -q "newest states (table leaf)" && ctl show web1 | grep -q "newest states (table leaf)"'
	mgr_stop
	put_back whole
}
L1="uuid = $(uuid web1)" L2="uuid = $(uuid web2)"
leaf serial_dropped "UPDATE main.leaf SET serial = zeroblob(16) WHERE $L1"
leaf serial_changed "UPDATE main.leaf SET serial = x'4000000000000000000000000000ff00' WHERE $L1"
leaf serial_older "UPDATE main.leaf SET serial = (SELECT serial FROM kept.leaf k WHERE k.uuid = leaf.uuid) WHERE $L1"
leaf serials_swapped "$(swap main.leaf serial "$L1" "$L2")"
leaf kind_left_out "UPDATE main.leaf SET kinds = 4 WHERE $L1"
leaf kinds_added "UPDATE main.leaf SET kinds = 7 WHERE uuid = $(uuid old)"
leaf record_and_leaf_older "UPDATE main.meta SET value = (SELECT value FROM kept.meta k WHERE k.key = meta.key) WHERE $R1;
	UPDATE main.vtpm SET (ek_public_0, ek_public_1, cert_0, cert_1) = (SELECT ek_public_0, ek_public_1, cert_0, cert_1 FROM kept.vtpm k WHERE k.uuid = vtpm.uuid) WHERE $W1;
	UPDATE main.leaf SET (kinds, serial, certs) = (SELECT kinds, serial, certs FROM kept.leaf k WHERE k.uuid = leaf.uuid) WHERE $L1"
mgr_start --pool 0
for n in web1 web2 old; do is "as_it_was_${n}_is_there" "$(field $n state)" stopped; done
is and_has_its_number "$(field web1 serial)" "$s1"
check old_is_certified ctl certify old
exits and_has_no_ek_certificate_of_ours 3 ctl show old --ek-cert ecc
check what_it_had_is_revoked revokes "$so" 2
is and_it_has_no_ek_to_be_revoked "$(list | grep -c "^$(cut -c1-30 <<<"$so" | tr a-f A-F)")" 1
mgr_stop

# --- and what follows of a vTPM for which that does not hold ---
db "$(swap main.meta value "$R1" "$R2") UPDATE main.vtpm SET (ek_public_1, cert_1) = (SELECT ek_public_1, cert_1 FROM main.vtpm WHERE name = 'web3') WHERE $W2"
mgr_start --pool 0
check a_backup_of_it ctl backup "$LAB/hurt"
exits does_not_come_back 6 ctl restore "$LAB/hurt" --accept-rollback --only web1
says for_it_was_damaged_then "it was damaged, or not the newest, when the backup was taken"
check destroyed_by_force ctl destroy web1 --force
check its_own_numbers_are_revoked revokes "$s1" "0 1 2"
for k in 0 1 2; do is "and_${k}_of_no_other" "$(grep -cxE "$(of_kind "$s2" $k)|$(of_kind "$s3" $k)" "$LAB/list")" 0; done
check it_comes_back_of_a_whole_one ctl restore "$LAB/whole" --accept-rollback --only web1
is to_be_certified "$(field web1 certificates)" revoked
check certify_it ctl certify web1
check the_ek_is_its_own eval 'ctl show web1 --ek-cert ecc >"$LAB/ek1.now" && same_key ek1.now ek1.pem'

exits nobody_releases_it_unasked 2 ctl quarantine release web2
check released_by_somebodys_word ctl quarantine release web2 --i-accept-rollback
is it_is_free "$(field web2 state)" stopped
is what_it_had_is_revoked "$(field web2 certificates)" revoked
check by_its_own_numbers revokes "$s2" "0 1 2"
check of_which_the_others_have_none eval '! grep -qx "$(of_kind "$s3" 2)" "$LAB/list"'
exits the_planted_attestation_key_is_not_there 3 ctl show web2 --ak-cert
check certified_anew ctl certify web2
check it_has_its_own_ek_again eval 'ctl show web2 --ek-cert ecc >"$LAB/ek2.now" && same_key ek2.now ek2.pem'
served and_is_served web2
served as_are_others web3
# Where only its state is another one, its certificates stay.
s2=$(field web2 serial)
mgr_stop
db "UPDATE state SET version = version + 1 WHERE $L2"
mgr_start --pool 0
exits another_state_is_refused 6 ctl start web2
check its_ek_is_shown_all_the_same ctl show web2 --ek-cert ecc
check release_that ctl quarantine release web2 --i-accept-rollback
is its_number_stays "$(field web2 serial)" "$s2"
check nobody_has_revoked_it eval '! revokes "$s2" 2'
mgr_stop KILL
mgr_start --pool 0
served after_a_crash web3
is and_its_numbers_stay "$(field web2 serial)" "$s2"
mgr_stop
exit $FAILED

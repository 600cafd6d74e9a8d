#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Who the host is and who its vTPMs are, as somebody finds out who is not there: with stock tpm2-tools, OpenSSL and a TPM whose maker has
# certified its endorsement keys.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

credential() { # KIND NAME FILE: for the EK of that kind and the AK of that Name
	tpm2_makecredential -Q -T none -G "$1" -u "$LAB/host/ek-$1.pem" -s "$LAB/secret" -n "$2" -o "$3" 2>/dev/null
}
answers() { # FILE: the host opens the credential
	[ "$(ctl enroll activate "$1")" = "$(od -An -v -tx1 "$LAB/secret" | tr -d ' \n')" ]
}

check maker chip_made
chip_start
check init mgr_init --insecure-pcrs
check start mgr_start --pool 1

# --- the host ---
check enroll ctl enroll show --dir "$LAB/host"
check its_word_holds python3 tests/integration/attested.py "$LAB/host"
ctl ca >"$LAB/ca.pem"
check the_ca_is_the_one_that_certifies cmp "$LAB/host/ca.pem" "$LAB/ca.pem"
check the_makers_certificate_verifies openssl verify -partial_chain -CAfile "$LAB/maker/issuer.pem" "$LAB/host/ek-rsa.crt"
is the_makers_certificate_is_of_that_ek "$(openssl x509 -in "$LAB/host/ek-rsa.crt" -noout -pubkey)" "$(cat "$LAB/host/ek-rsa.pem")"
head -c 32 /dev/urandom >"$LAB/secret"
for k in ecc rsa; do
	check "credential_for_the_${k}_ek" credential $k "$(cat "$LAB/host/ak.name")" "$LAB/challenge.$k"
	check "the_host_answers_for_the_${k}_ek" answers "$LAB/challenge.$k"
done
check a_credential_for_another_key credential ecc "000b$(printf other | sha256sum | cut -c1-64)" "$LAB/challenge.other"
exits is_not_answered 5 ctl enroll activate "$LAB/challenge.other"
says and_it_says_why "not for this endorsement key and this attestation key"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkey -pubout >"$LAB/other.pem"
tpm2_makecredential -Q -T none -G ecc -u "$LAB/other.pem" -s "$LAB/secret" -n "$(cat "$LAB/host/ak.name")" -o "$LAB/challenge.host" 2>/dev/null
exits nor_one_for_another_ek 5 ctl enroll activate "$LAB/challenge.host"
head -c 100 "$LAB/challenge.ecc" >"$LAB/challenge.cut"
exits a_cut_one_is_none 2 ctl enroll activate "$LAB/challenge.cut"
says it_says_so "this is no credential"
{ cat "$LAB/challenge.ecc"; echo; } >"$LAB/challenge.long"
exits nor_is_a_longer_one 2 ctl enroll activate "$LAB/challenge.long"
: >"$LAB/challenge.empty"
exits nor_is_an_empty_one 1 ctl enroll activate "$LAB/challenge.empty"
ctl enroll show --dir "$LAB/again" >/dev/null
is asked_again_it_is_the_same_key "$(cat "$LAB/again/ak.name")" "$(cat "$LAB/host/ak.name")"
mgr_stop
check start_again mgr_start --pool 1
check and_answers_as_before answers "$LAB/challenge.ecc"
mgr_stop
db "UPDATE meta SET value = substr(value, 1, 100) WHERE key = 'enrolment'"
check start_with_a_damaged_record mgr_start --pool 1
rm -rf "$LAB/host"
check it_enrols_anew ctl enroll show --dir "$LAB/host"
check and_its_word_holds python3 tests/integration/attested.py "$LAB/host"
is with_another_key "$([ "$(cat "$LAB/again/ak.name")" != "$(cat "$LAB/host/ak.name")" ] && echo another)" another
exits the_former_one_is_not_answered_for 5 ctl enroll activate "$LAB/challenge.ecc"
check it_is_in_the_audit_log grep -q '"enroll-activate"' "$LAB/state/audit.log"

# --- a vTPM: its EK stands for it, as the chip's does for the host ---
ctl create web1 >/dev/null
ctl start web1 >/dev/null
ctl show web1 --ek-public ecc >"$LAB/ek.pem"
g() { guest web1 "$@"; }
check guest_makes_a_key eval 'g tpm2_createek -Q -G ecc -c "$LAB/ek.ctx" && g tpm2_createak -Q -G ecc -g sha256 -s ecdsa -C "$LAB/ek.ctx" -c "$LAB/ak.ctx" -n "$LAB/ak.name"'
check credential_for_it tpm2_makecredential -Q -T none -G ecc -u "$LAB/ek.pem" -s "$LAB/secret" -n "$(od -An -v -tx1 "$LAB/ak.name" | tr -d ' \n')" -o "$LAB/challenge.guest"
g tpm2_flushcontext -Q -t
check guest_answers eval 'g tpm2_startauthsession -Q --policy-session -S "$LAB/s" && g tpm2_policysecret -Q -S "$LAB/s" -c e &&
	g tpm2_activatecredential -Q -c "$LAB/ak.ctx" -C "$LAB/ek.ctx" -i "$LAB/challenge.guest" -o "$LAB/answer" -P "session:$LAB/s"'
check with_what_was_in_it cmp "$LAB/answer" "$LAB/secret"

# --- what is revoked ---
pem() { ctl show "$1" --$2 >"$LAB/$3.pem"; } # NAME OPTION FILE
list() { ctl ca crl >"$LAB/$1.crl" && openssl crl -in "$LAB/$1.crl" -CAfile "$LAB/ca.pem" -noout; }
valid() { openssl verify -x509_strict -crl_check -CRLfile "$LAB/$1.crl" -CAfile "$LAB/ca.pem" "$LAB/$2.pem"; } # LIST CERTIFICATE
revoked() { ! valid "$1" "$2" >"$LAB/said" 2>&1 && grep -q "certificate revoked" "$LAB/said"; }
number() { openssl crl -in "$LAB/$1.crl" -noout -crlnumber | cut -d= -f2; }
serials() { openssl crl -in "$LAB/$1.crl" -noout -text | grep -c "Serial Number:"; }
state() { field "$1" certificates; }
ctl stop web1
pem web1 "ek-cert ecc" ek1
pem web1 ak-cert ak1
ctl create web2 >/dev/null
pem web2 ak-cert ak2
check an_empty_list list 0
is with_no_serials "$(serials 0)" 0
for c in ek1 ak1 ak2; do check "${c}_is_valid" valid 0 $c; done
check asked_again_it_is_the_same_list eval 'list 1 && cmp "$LAB/0.crl" "$LAB/1.crl"'
check backup ctl backup "$LAB/backup"
check clone ctl clone web1 web3
pem web3 ak-cert ak3
check a_clone_has_an_identity_of_its_own eval 'list 2 && valid 2 ak1 && valid 2 ak3'
check destroy ctl destroy web1
check list_after_it list 3
for c in ek1 ak1; do check "${c}_of_the_destroyed_is_revoked" revoked 3 $c; done
check another_is_not valid 3 ak2
is three_serials "$(serials 3)" 3
check its_number_rises test "$((16#$(number 3 | sed "s/^0x//")))" -gt "$((16#$(number 0 | sed "s/^0x//")))"
mgr_stop KILL
check start_after_it mgr_start --pool 1
check list_after_a_crash list 4
check is_still_revoked revoked 4 ak1
check and_its_number_rises_on test "$((16#$(number 4 | sed "s/^0x//")))" -gt "$((16#$(number 3 | sed "s/^0x//")))"

# A restore is a rollback by somebody's word: whoever trusts a certificate of before is told. Certified anew, it is as good as a new one.
check restore_both ctl restore "$LAB/backup" --accept-rollback --only web1,web2
check list_after_the_restore list 5
for c in ek1 ak1 ak2; do check "${c}_is_revoked" revoked 5 $c; done
is restored_says_so "$(state web1)" revoked
check certify ctl certify web1
is certified_says_so "$(state web1)" issued
pem web1 "ek-cert ecc" ek1b
pem web1 ak-cert ak1b
check list_after_certify list 6
for c in ek1b ak1b; do check "${c}_is_valid" valid 6 $c; done
check ak1_stays_revoked revoked 6 ak1
is ek_is_the_same_key "$(openssl x509 -in "$LAB/ek1.pem" -noout -pubkey)" "$(openssl x509 -in "$LAB/ek1b.pem" -noout -pubkey)"
is ak_is_the_same_key "$(openssl x509 -in "$LAB/ak1.pem" -noout -pubkey)" "$(openssl x509 -in "$LAB/ak1b.pem" -noout -pubkey)"
ctl start web1 >/dev/null
check certificate_in_nv eval 'g tpm2_nvread -Q -C o 0x01c0000a -o "$LAB/nv.der" && openssl x509 -in "$LAB/ek1b.pem" -outform der | cmp - "$LAB/nv.der"'
exits not_while_it_runs 4 ctl certify web1

# --- a guest that means harm ---
g tpm2_changeauth -Q -c e sesame
ctl stop web1
check with_an_endorsement_password ctl certify web1
check there_is_an_attestation_key ctl show web1 --ak-cert
exits and_no_ek_certificate 3 ctl show web1 --ek-cert ecc
ctl start web2 --firmware >/dev/null
p() { guest web2 "$@"; }
p tpm2_startup -c
check firmware_can_evict_it p tpm2_evictcontrol -Q -C p -c 0x81810001
check and_put_its_own_there eval 'p tpm2_createprimary -Q -C p -G ecc256:ecdsa-sha256:null -a "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign" -c "$LAB/own.ctx" &&
	p tpm2_evictcontrol -Q -C p -c "$LAB/own.ctx" 0x81810001'
ctl stop web2
check certify_that ctl certify web2
pem web2 ak-cert after
is what_is_certified_is_ours "$(openssl x509 -in "$LAB/ak2.pem" -noout -pubkey)" "$(openssl x509 -in "$LAB/after.pem" -noout -pubkey)"
ctl start web2 --firmware >/dev/null
p tpm2_startup -c
p tpm2_readpublic -Q -c 0x81810001 -f pem -o "$LAB/there.pem"
is and_is_at_the_handle_again "$(openssl pkey -pubin -in "$LAB/there.pem" -pubout)" "$(ctl show web2 --ak-public)"
ctl stop web2
check a_backup_brings_it_back ctl restore "$LAB/backup" --accept-rollback --only web2
is to_be_certified_anew "$(state web2)" revoked
check certify_it ctl certify web2
check it_has_a_certificate_now eval 'pem web2 ak-cert now && list 7 && valid 7 now'
# Who writes the disk cannot take a serial number off, change when it was, add one, or put all back.
revocations() { db "SELECT key, hex(value) FROM meta WHERE key LIKE 'revoked:%' ORDER BY key"; }
mgr_stop
check there_are_some test "$(revocations | wc -l)" -gt 6
tampered() { # NAME SQL
	db "$2"
	mgr_start --pool 0
	exits "$1_is_refused" 6 ctl ca crl
	says "$1_is_said" "the journal does not vouch"
	mgr_stop
}
for t in "removed|DELETE FROM meta WHERE key = (SELECT max(key) FROM meta WHERE key LIKE 'revoked:%')" \
	"changed|UPDATE meta SET value = CAST(substr(value, 1, 16) || x'06' AS BLOB) WHERE key = (SELECT min(key) FROM meta WHERE key LIKE 'revoked:%')" \
	"added|INSERT INTO meta (key, value) SELECT 'revoked:40' || substr(key, 11), value FROM meta WHERE key = (SELECT max(key) FROM meta WHERE key LIKE 'revoked:%')" \
	"short|UPDATE meta SET value = x'00' WHERE key = (SELECT max(key) FROM meta WHERE key LIKE 'revoked:%')" \
	"gone|DELETE FROM meta WHERE key LIKE 'revoked:%'"; do
	saved=$(db "SELECT key || '|' || hex(value) FROM meta WHERE key LIKE 'revoked:%'")
	tampered "${t%%|*}" "${t#*|}"
	db "DELETE FROM meta WHERE key LIKE 'revoked:%'"
	while IFS='|' read -r k v; do db "INSERT INTO meta (key, value) VALUES ('$k', x'$v')"; done <<<"$saved"
done
check start_as_it_was mgr_start --pool 0
check and_the_list_is_there_again eval 'list 8 && valid 8 now && revoked 8 ak1'
check it_is_in_the_audit_log_too grep -q '"certify"' "$LAB/state/audit.log"
mgr_stop

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Who the host is and who its vTPMs are, as somebody finds out who is not there: with stock tpm2-tools, OpenSSL and a TPM whose maker has
# certified its endorsement keys.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

# A chip from its maker: an RSA EK, with a certificate in NV. $1: directory.
chip_made() {
	mkdir -p "$1" "$LAB/maker"
	printf 'statedir = %s\nsigningkey = %s/sign.pem\nissuercert = %s/issuer.pem\ncertserial = %s/serial\n' \
		"$LAB/maker" "$LAB/maker" "$LAB/maker" "$LAB/maker" >"$LAB/maker.conf"
	printf 'create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = /dev/null\n' \
		"$LAB/maker.conf" >"$LAB/setup.conf"
	swtpm_setup --tpm2 --tpmstate "$1" --config "$LAB/setup.conf" --createek --create-ek-cert --lock-nvram
}
credential() { # KIND NAME FILE: for the EK of that kind and the AK of that Name
	tpm2_makecredential -Q -T none -G "$1" -u "$LAB/host/ek-$1.pem" -s "$LAB/secret" -n "$2" -o "$3" 2>/dev/null
}
answers() { # FILE: the host opens the credential
	[ "$(ctl enroll activate "$1")" = "$(od -An -v -tx1 "$LAB/secret" | tr -d ' \n')" ]
}

check maker chip_made "$LAB/chip"
chip_start
check init mgr_init --insecure-pcrs
check start mgr_start --pool 1

# --- the host ---
mkdir "$LAB/host" "$LAB/again"
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
mkdir "$LAB/host"
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
mgr_stop

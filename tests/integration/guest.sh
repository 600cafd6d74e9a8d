#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A guest's normal life, with stock tpm2-tools: what a TPM is for, and what the manager adds to it.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

g() { guest web "$@"; }
flush() { g tpm2_flushcontext -t; g tpm2_flushcontext -l; g tpm2_flushcontext -s; } 2>/dev/null
pcr() { g tpm2_pcrread "sha256:$1" | awk -v n="$1" '{ sub(/:$/, "", $1) } $1 == n { print $NF }'; }
property() { g tpm2_getcap properties-variable | awk -v k="$1:" '$1 == k { print $2 }'; }
counter() { g tpm2_nvread -C o -s 8 0x1500010 | od -An -tx1 | tr -d ' \n'; }
sha() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

chip_start
check init mgr_init --insecure-pcrs --seal-pcrs 0
check start mgr_start --pool 0
cd "$LAB" || exit 1
check create ctl create web --commit-rate 0
check power_on ctl start web

# --- what it is ---
g tpm2_getcap pcrs >pcrs
is banks "$(awk '/sha/ { b = $2; sub(/:$/, "", b); if ($0 !~ /\[ *\]/) printf "%s ", b }' pcrs)" "sha256 sha384 "
g tpm2_getcap properties-fixed >fixed
for p in TPM2_PT_MAX_COMMAND_SIZE TPM2_PT_MAX_RESPONSE_SIZE; do
	is "${p}_fits_the_page" "$(($(awk -v p=$p: '$1 == p { f = 1 } f && $1 == "raw:" { print $2; exit }' fixed)))" 4088
done
check platform_hierarchy_is_closed refused "0x9a2|auth|bad" g tpm2_clear -c p
check platform_auth_cannot_be_changed refused "0x9a2|auth|bad" g tpm2_changeauth -c p guess
check endorsement_seed_cannot_be_changed refused "0x9a2|auth|bad" g tpm2_changeeps
check storage_hierarchy_is_the_guests g tpm2_createprimary -Q -C o -c /dev/null
flush

# --- its identity ---
for k in rsa ecc; do
	check "ek_$k" g tpm2_createek -G $k -c $k.ctx -f pem -u $k.made
	ctl show web --ek-public $k >$k.certified
	check "ek_${k}_is_the_certified_one" cmp $k.made $k.certified
	flush
done
check ek_rsa_is_persistent g tpm2_readpublic -Q -c 0x81010001 -f pem -o rsa.persistent
check ek_rsa_persistent_is_from_the_template cmp rsa.persistent rsa.certified
check ek_ecc_is_persistent g tpm2_readpublic -Q -c 0x81010002 -f pem -o ecc.persistent
check ek_ecc_persistent_is_from_the_template cmp ecc.persistent ecc.certified
check ek_certificate_cannot_be_overwritten refused "NV|auth|locked|attributes" g tpm2_nvwrite -C o -i "$LAB/pcrs" 0x01c00002
check ek_certificate_cannot_be_removed refused "auth|NV|hierarchy" g tpm2_nvundefine -C o 0x01c00002
check ak g tpm2_createak -C 0x81010001 -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pub -n ak.name
flush

# --- a key, a session with parameter encryption, a seal ---
check rsa_primary g tpm2_createprimary -Q -C o -G rsa2048 -c prim.ctx
check rsa_primary_persists g tpm2_evictcontrol -Q -C o -c prim.ctx 0x81000001
flush
check session g tpm2_startauthsession --hmac-session --tpmkey-context 0x81000001 -S enc.ses
check session_encrypts g tpm2_sessionconfig --enable-decrypt --enable-encrypt enc.ses
check random_through_an_encrypted_session g tpm2_getrandom -S enc.ses --hex 16
check rsa_key g tpm2_create -Q -C 0x81000001 -G rsa2048 -p keypass -u rsa.pub -r rsa.priv
check rsa_key_loads g tpm2_load -Q -C 0x81000001 -u rsa.pub -r rsa.priv -c rsa.key
printf 'message of a guest' >msg
check rsa_signs_in_an_encrypted_session g tpm2_sign -Q -c rsa.key -p session:enc.ses+keypass -g sha256 -f plain -o sig msg
g tpm2_readpublic -Q -c rsa.key -f pem -o rsa.pem
check openssl_verifies openssl dgst -sha256 -verify rsa.pem -signature sig msg
flush
printf 'secret of web' >secret
check pcr_extend g tpm2_pcrextend "11:sha256=$(sha kernel)"
g tpm2_startauthsession -S trial.ses
check policy g tpm2_policypcr -Q -S trial.ses -l sha256:11 -L pcr.policy
flush
check seal g tpm2_create -Q -C 0x81000001 -i secret -L pcr.policy -a 'fixedtpm|fixedparent' -u seal.pub -r seal.priv
unseal() {
	flush
	g tpm2_load -Q -C 0x81000001 -u seal.pub -r seal.priv -c seal.key && g tpm2_unseal -Q -c seal.key -p pcr:sha256:11 -o "$1"
}
check unseal unseal got
check unsealed_is_what_was_sealed cmp secret got
measured=$(pcr 11)

# --- NV: data, a counter ---
check nv_counter_define g tpm2_nvdefine -Q -C o -a 'ownerread|ownerwrite|nt=counter' 0x1500010
for i in 1 2 3; do g tpm2_nvincrement -Q -C o 0x1500010; done
count=$(counter)
check nv_define g tpm2_nvdefine -Q -C o -s 32 -a 'ownerread|ownerwrite|authread' -p nvpass 0x1500011
check nv_write g tpm2_nvwrite -Q -C o -i secret 0x1500011
check nv_read_with_its_own_auth g tpm2_nvread -Q -C 0x1500011 -P nvpass -s 13 -o got 0x1500011
check nv_is_what_was_written cmp secret got

# --- a new connection changes nothing, a reset does, and the ring stays ---
check reconnecting_keeps_pcrs test "$(pcr 11)" = "$measured"
g tpm2_startup -c >/dev/null 2>&1
check startup_by_the_guest_keeps_pcrs test "$(pcr 11)" = "$measured"
mkfifo held
"$B/tests/hostile" "$LAB/run/web.ring" hold >held &
holder=$!
read -r _ <held
check reset ctl reset web
check reset_keeps_the_ring_connected kill -0 $holder
check reset_keeps_the_ring_with_its_owner refused "busy|using" "$B/tests/neighbour" "$LAB/run/web.ring" open
kill $holder
wait $holder 2>/dev/null
is reset_clears_pcrs "$(pcr 11)" "0x$(printf '0%.0s' {1..64})"
check unseal_after_a_reset_is_refused refused "policy" unseal got
check measured_again g tpm2_pcrextend "11:sha256=$(sha kernel)"
check unseal_after_measuring_again unseal got
later=$(counter)
is counter_is_kept "$later" "$count"
g tpm2_nvincrement -Q -C o 0x1500010
more=$(counter)
if [[ 0x$more -gt 0x$count ]]; then ok counter_goes_on; else not_ok counter_goes_on; fi

# --- dictionary attack: what was tried stays tried ---
check lockout_parameters g tpm2_dictionarylockout -s -n 3 -t 1000 -l 1000
flush
# Persistent: its parent is protected in the same way, and could not be used to load it.
g tpm2_load -Q -C 0x81000001 -u rsa.pub -r rsa.priv -c rsa.key
check rsa_key_persists g tpm2_evictcontrol -Q -C o -c rsa.key 0x81000002
flush
check right_pin g tpm2_sign -Q -c 0x81000002 -p keypass -g sha256 -o sig msg
for i in 1 2; do check "wrong_pin_$i" refused "0x98E" g tpm2_sign -Q -c 0x81000002 -p wrong -g sha256 -o sig msg; done
tried=$(property TPM2_PT_LOCKOUT_COUNTER)
check stop_in_order ctl stop web
check start_again ctl start web
is two_tries_are_counted "$((tried))" 2
is tries_are_kept_over_stop_and_start "$(property TPM2_PT_LOCKOUT_COUNTER)" "$tried"
check wrong_pin_3 refused "0x98E|0x921" g tpm2_sign -Q -c 0x81000002 -p wrong -g sha256 -o sig msg
check locked_out_even_with_the_right_pin refused "0x921" g tpm2_sign -Q -c 0x81000002 -p keypass -g sha256 -o sig msg
check reset_while_locked_out ctl reset web
check locked_out_after_a_reset refused "0x921" g tpm2_sign -Q -c 0x81000002 -p keypass -g sha256 -o sig msg
mgr_stop
check manager_starts_again mgr_start --pool 0
check power_on_again ctl start web
check locked_out_after_everything_was_stopped refused "0x921" g tpm2_sign -Q -c 0x81000002 -p keypass -g sha256 -o sig msg
check owner_of_the_lockout_ends_it g tpm2_dictionarylockout -c
check right_pin_again g tpm2_sign -Q -c 0x81000002 -p keypass -g sha256 -f plain -o sig msg
check openssl_verifies_again openssl dgst -sha256 -verify rsa.pem -signature sig msg
check stop mgr_stop

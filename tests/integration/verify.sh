#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Evidence of a real manager before vtpm-verify, as somebody asks who is not here; and before the stock tools that know nothing of us. What the
# verifier says to each attack on evidence is in test_verify.c.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

nonce() { od -An -v -N "${1:-32}" -tx1 /dev/urandom | tr -d ' \n'; }
# Has evidence made of vTPM $1 for a new nonce, as $LAB/$2.ev and .nonce.
attest() { nonce >"$LAB/$2.nonce" && ctl attest "$1" --nonce "$(cat "$LAB/$2.nonce")" --out "$LAB/$2.ev"; }
# Of evidence $1; what else is said follows. POLICY, UUID, TRUST: other ones than usual.
verify() {
	local name=$1
	shift
	"$B/vtpm-verify" --nonce "$(cat "$LAB/$name.nonce")" --uuid "${UUID:-$web1}" --trust "${TRUST:-$LAB/hosts.json}" --trust "$LAB/maker/issuer.pem" \
		--trust "$LAB/crl.pem" --policy "${POLICY:-$LAB/policy.json}" "$@" "$LAB/$name.ev"
}
field() { python3 -c 'import json,sys
o = json.load(sys.stdin)
for k in sys.argv[1:]: o = o[k]
print(o)' "$@"; }

check maker chip_made
check start eval 'chip_start && mgr_init --insecure-pcrs && mgr_start --pool 1'
check enroll enroll "$LAB/hosts.json"
ctl group create hard --insecure-pcrs --mode strict >/dev/null
ctl create web1 --group hard >/dev/null && ctl create web2 >/dev/null && ctl start web1 >/dev/null && ctl start web2 >/dev/null
web1=$(uuid_of web1) web2=$(uuid_of web2)
ctl ca crl >"$LAB/crl.pem"
ctl policy current --pcrs 0,4,7 >"$LAB/set.json"
printf '{"host": {"pcrs": [%s], "ek_chain": true}, "guest": {"ek_certificate": true}, "freshness": {"mode": "strict", "discontinuities": 0},
	"revocation": {"required": true, "max_age": 86400}}' "$(cat "$LAB/set.json")" >"$LAB/policy.json"
echo '{}' >"$LAB/any.json"

# --- in order ---
check evidence attest web1 a
exits it_verifies 0 verify a
says the_whole_chain "leads to a trusted root"
is without_a_warning "$(tail -1 "$LAB/out")" verified
is as_an_attestation_result "$(verify a --json | field submods vtpm ear.status)" affirming
is with_the_nonce "$(verify a --json | field eat_nonce)" "$(tr a-f A-F <"$LAB/a.nonce" | basenc -d --base16 | base64 -w0 | tr '+/' '-_' | tr -d =)"
is its_hardware_is_genuine "$(verify a --json | field submods vtpm ear.trustworthiness-vector hardware)" 2
exits from_standard_input 0 eval '"$B/vtpm-verify" --nonce "$(cat "$LAB/a.nonce")" --trust "$LAB/hosts.json" --policy "$LAB/any.json" - <"$LAB/a.ev"'

# --- not in order ---
cp "$LAB/a.ev" "$LAB/old.ev" && nonce >"$LAB/old.nonce"
exits an_old_one_with_another_nonce 1 verify old
says it_says_so "an old one"
UUID=$web2 exits for_another_vtpm 1 verify a
says it_says_so_too "and not about $web2"
check evidence_of_web2 attest web2 b
UUID=$web2 exits one_that_is_only_bounded 1 verify b
says demands_strict "mode is bounded"
is as_a_result_too "$(UUID=$web2 verify b --json | field submods vtpm ear.trustworthiness-vector storage-opaque)" 96
UUID=$web2 POLICY=$LAB/any.json exits which_another_policy_takes 0 verify b
sed 's/"ak": "000b../"ak": "000bee/' "$LAB/hosts.json" >"$LAB/others.json"
TRUST=$LAB/others.json exits a_host_that_is_not_enrolled 1 verify a
says is_not_believed "is not enrolled"
is it_is_not_recognized "$(TRUST=$LAB/others.json verify a --json | field submods vtpm ear.trustworthiness-vector hardware)" 97
sed 's/"ek": "../"ek": "ee/' "$LAB/hosts.json" >"$LAB/others.json"
TRUST=$LAB/others.json exits enrolled_with_another_ek 1 verify a
says its_certificate_is_of_another "another key than the one that was enrolled"
python3 - "$LAB/policy.json" "$LAB/elsewhere.json" <<'P'
import json, sys
p = json.load(open(sys.argv[1]))
p["host"]["pcrs"][0]["pcrs"]["sha256"]["4"] = "11" * 32
json.dump(p, open(sys.argv[2], "w"))
P
POLICY=$LAB/elsewhere.json exits a_host_that_booted_something_else 1 verify a
says is_told "has booted something else"
head -c 4000 "$LAB/a.ev" >"$LAB/cut.ev" && cp "$LAB/a.nonce" "$LAB/cut.nonce"
exits a_cut_one 1 verify cut
says is_no_evidence "are no evidence"
exits no_policy 3 eval 'POLICY=/nonexistent verify a'
echo '{"hosts": []}' >"$LAB/bad.json"
POLICY=$LAB/bad.json exits a_policy_that_is_none 3 verify a
says it_says_where 'no member "hosts"'
exits no_nonce 2 "$B/vtpm-verify" --trust "$LAB/hosts.json" --policy "$LAB/any.json" "$LAB/a.ev"
exits help 0 "$B/vtpm-verify" --help

# --- what is remembered ---
exits remembered 0 verify a --known "$LAB/known.json"
exits again 0 verify a --known "$LAB/known.json"
guest web1 tpm2_nvdefine -Q 0x1500001 -s 8 && printf 12345678 | guest web1 tpm2_nvwrite -Q 0x1500001 -i -
check it_goes_on attest web1 c
exits a_newer_one 0 verify c --known "$LAB/known.json"
exits and_back 1 verify a --known "$LAB/known.json"
says it_was_rolled_back "rolled back"
is each_once "$(grep -c "$web1" "$LAB/known.json")" 1
cp "$LAB/known.json" "$LAB/damaged.json" && truncate -s -9 "$LAB/damaged.json"
exits not_on_a_damaged_memory 3 verify c --known "$LAB/damaged.json"
says that_says_so "damaged.json"

# --- stock tools ---
check export "$B/vtpm-verify" export "$LAB/a.ev" "$LAB/x"
x=$LAB/x
quote_checks() { tpm2_checkquote -Q -u "$x/$2" -m "$x/$1-quote.attest" -s "$x/$1-quote.sig" -f "$x/$1-quote.pcrs" -g sha256 -q "${3:-$(cat "$x/$1-quote.qualifying")}"; }
check tpm2_checkquote_verifies_the_vtpms quote_checks vtpm ak.pem
check and_the_hosts quote_checks host host-ak.pem
check not_with_the_others_key eval '! quote_checks vtpm host-ak.pem && ! quote_checks host ak.pem'
check nor_over_something_else eval '! quote_checks vtpm ak.pem "$(nonce 32)"'
check openssl_verifies_the_attestation_key openssl verify -x509_strict -crl_check -CRLfile "$LAB/crl.pem" -CAfile "$x/ca.crt" "$x/ak.crt"
check and_the_endorsement_key openssl verify -CAfile "$x/ca.crt" "$x/ek.crt"
check and_the_chips openssl verify -partial_chain -CAfile "$LAB/maker/issuer.pem" "$x/host-ek.crt"
check the_keys_are_those_of_the_certificates eval 'for k in ak ek; do openssl x509 -in "$x/$k.crt" -noout -pubkey | cmp - "$x/$k.pem" || exit 1; done'
check the_host_is_the_enrolled_one cmp "$x/host-ak.pub" "$LAB/host/ak.pub"
# As Keylime's verifier takes it apart: "r", three parts in base64, and then tpm2_checkquote.
keylime() {
	python3 - "$x/$1-quote.keylime" "$x/k" <<'P'
import base64, sys
quote = open(sys.argv[1]).read().strip()
assert quote[0] == "r"
for name, part in zip(("attest", "sig", "pcrs"), quote[1:].split(":")):
    open(sys.argv[2] + "-quote." + name, "wb").write(base64.b64decode(part, validate=True))
P
	cp "$x/$1-quote.qualifying" "$x/k-quote.qualifying" && quote_checks k "$2"
}
check keylimes_quote_string keylime vtpm ak.pem
check and_that_of_the_host keylime host host-ak.pem
head -c 32 /dev/urandom >"$LAB/secret"
check guest_makes_a_key eval 'guest web1 tpm2_createek -Q -G ecc -c "$LAB/ek.ctx" && guest web1 tpm2_createak -Q -G ecc -g sha256 -s ecdsa -C "$LAB/ek.ctx" -c "$LAB/ak.ctx" -n "$LAB/ak.name"'
check credential_for_the_ek_in_evidence tpm2_makecredential -Q -T none -G ecc -u "$x/ek.pem" -s "$LAB/secret" -n "$(od -An -v -tx1 "$LAB/ak.name" | tr -d ' \n')" -o "$LAB/cred"
guest web1 tpm2_flushcontext -Q -t
check the_vtpm_opens_it eval 'guest web1 tpm2_startauthsession -Q --policy-session -S "$LAB/s" && guest web1 tpm2_policysecret -Q -S "$LAB/s" -c e &&
	guest web1 tpm2_activatecredential -Q -c "$LAB/ak.ctx" -C "$LAB/ek.ctx" -i "$LAB/cred" -o "$LAB/answer" -P "session:$LAB/s" && cmp "$LAB/answer" "$LAB/secret"'
# With event logs: of TPMs that have booted something.
check evidence_with_logs env EVIDENCE_OUT="$LAB/logged.ev" "$B/tests/test_verify" test_boots
check export_that "$B/vtpm-verify" export "$LAB/logged.ev" "$x.logged"
replayed() { tpm2_eventlog "$1" 2>/dev/null | sed -n '/^  sha256:/,$ s/^ *8 *: 0x//p'; }
quoted() { tpm2_checkquote -u "$x.logged/$2" -m "$x.logged/$1.attest" -s "$x.logged/$1.sig" -f "$x.logged/$1.pcrs" -g sha256 -q "$(cat "$x.logged/$1.qualifying")" | sed -n 's/^ *8 *: 0x//p' | tr A-F a-f; }
is the_hosts_log_leads_to_its_quote "$(replayed "$x.logged/host.log")" "$(quoted host-quote host-ak.pem)"
is and_the_launch_log_to_the_vtpms "$(replayed "$x.logged/launch.log")" "$(quoted vtpm-quote ak.pem)"
check which_are_values eval '[ ${#x} -gt 0 ] && replayed "$x.logged/host.log" | grep -qx "[0-9a-f]\{64\}"'
# And of a vTPM that was launched. PCR 0 aside: tpm2_eventlog does not know StartupLocality before 5.6.
ctl create web3 --group hard >/dev/null
check launched eval 'python3 tests/tools/launch.py "$LAB/run" web3 && ctl start web3'
check evidence_of_a_launched_one attest web3 l
UUID=$(uuid_of web3) exits it_verifies_too 0 verify l
says by_its_log "the launch event log leads to the guest's PCRs"
check export_it "$B/vtpm-verify" export "$LAB/l.ev" "$x.logged"
check what_it_has_not_is_not_of_before_it test ! -e "$x.logged/host.log"
values() { sed -n 's/^ *\([1-9]\) *: 0x\([0-9a-fA-F]\{64\}\)$/\1 \2/p' | tr A-F a-f; }
check it_has_nine_of_them eval '[ "$(tpm2_eventlog "$x.logged/launch.log" 2>/dev/null | sed -n "/^  sha256:/,/^  sha384:/p" | values | wc -l)" -eq 9 ]'
is its_log_leads_to_its_quote "$(tpm2_eventlog "$x.logged/launch.log" 2>/dev/null | sed -n '/^  sha256:/,/^  sha384:/p' | values)" \
	"$(tpm2_checkquote -u "$x.logged/ak.pem" -m "$x.logged/vtpm-quote.attest" -s "$x.logged/vtpm-quote.sig" -f "$x.logged/vtpm-quote.pcrs" -g sha256 \
		-q "$(cat "$x.logged/vtpm-quote.qualifying")" | values)"
exits no_export_of_what_is_none 3 "$B/vtpm-verify" export "$LAB/policy.json" "$x"

# --- a QEMU that was launched with one kernel, and resumes what another one had saved ---
ctl stop web3
resumed_after_launch() { # what its TPM says then, as $LAB/r.ev
	nonce >"$LAB/r.nonce"
	python3 - "$LAB/run" web3 "$B/vtpmctl" --runtime-dir "$LAB/run" attest web3 --nonce "$(cat "$LAB/r.nonce")" --out "$LAB/r.ev" <<'P'
import subprocess, sys
sys.path.insert(0, "tests/tools")
import launch
from qemu_peer import Qemu
run, name = sys.argv[1:3]
def launched(kernel):
    reply = launch.call(run, "Launch", name=name, startup=True, events=launch.boot(kernel))
    assert "digest" in reply, reply
    qemu = Qemu("%s/%s.swtpm" % (run, name))
    qemu.arrive()
    return qemu
qemu = launched(b"another kernel")
assert qemu.init() == 0
blobs = qemu.save()
qemu.hang_up()
qemu = launched(b"kernel")
assert qemu.bring(blobs) == [0, 0] and qemu.resume() == 0
subprocess.run(sys.argv[3:], check=True)
qemu.hang_up()
P
}
check resumed resumed_after_launch
UUID=$(uuid_of web3) exits is_not_taken_for_what_was_launched 1 verify r
says its_pcrs_tell "does not lead to the guest's PCR 4"

# --- an EK whose certificate is none of the host's CA, because its guest's owner has locked it away: evidence says so. Who writes the disk puts no other there ---
check its_owner_locks_it guest web2 tpm2_changeauth -Q -c e sesame
ctl stop web2
check certified_without_it ctl certify web2
ctl start web2 >/dev/null
check its_evidence attest web2 e
UUID=$web2 exits without_a_certificate 1 verify e
says it_is_demanded "the vTPM's endorsement key has no certificate, and the policy demands one"
UUID=$web2 POLICY=$LAB/any.json exits who_does_not_demand_it 0 verify e
says is_warned "only the word of the host's manager"
mgr_stop
was=$(db "SELECT 'ek_public_1 = ' || quote(ek_public_1) || ', cert_1 = ' || quote(cert_1) FROM vtpm WHERE name = 'web1'")
db "UPDATE vtpm SET ek_public_1 = w.ek_public_1, cert_1 = w.cert_1 FROM (SELECT * FROM vtpm WHERE name = 'web2') AS w WHERE vtpm.name = 'web1'"
check start_with_the_ek_of_another mgr_start --pool 1
exits of_that_there_is_none 6 ctl start web1
says it_is_quarantined "not those that the journal vouches for"
mgr_stop
db "UPDATE vtpm SET $was WHERE name = 'web1'"
check start_as_before eval 'mgr_start --pool 1 && ctl start web1'

# --- a vTPM that was restored: what was there before is not believed any more ---
ctl stop web1
ctl backup "$LAB/backup" >/dev/null && ctl restore "$LAB/backup" --only web1 --accept-rollback >/dev/null
check certified_anew ctl certify web1
ctl start web1 >/dev/null
ctl ca crl >"$LAB/crl.pem"
exits evidence_of_before_is_revoked 1 verify c
says it_says_why "is revoked"
check evidence_of_now attest web1 d
exits is_not_what_it_was 1 verify d
says it_went_back "1 discontinuities, and the policy permits 0"
POLICY=$LAB/any.json exits who_permits_that_believes_it 0 verify d --known "$LAB/known.json"
says with_a_word_about_it "another owner epoch than last time"
ctl stop web1
ctl destroy web1 >/dev/null
ctl ca crl >"$LAB/crl.pem"
exits nothing_of_a_destroyed_one 1 verify d
says it_is_revoked "is revoked"
mgr_stop

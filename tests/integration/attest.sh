#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Evidence about vTPMs: each part of it verified by stock tools, and what nonce, PCRs, journal and anchor have to do with it by evidence.py;
# who gets none, and why; many that share one quote of the chip; guests and commits that go on meanwhile.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

nonce() { od -An -v -N "${1:-20}" -tx1 /dev/urandom | tr -d ' \n'; }
# Has evidence made of vTPM $1 for a new nonce, as $LAB/$2.ev and .nonce.
attest() {
	nonce >"$LAB/$2.nonce"
	ctl attest "$1" --nonce "$(cat "$LAB/$2.nonce")" --out "$LAB/$2.ev"
}
arithmetic() { # of $1; $2: what to print
	mkdir -p "$LAB/$1"
	python3 tests/integration/evidence.py "$LAB/$1.ev" "$(cat "$LAB/$1.nonce")" "$LAB/$1" ${2:+"$2"}
}
pem() { openssl x509 -inform DER -in "$LAB/$1/$2.crt" -out "$LAB/$1/$2.pem"; }
quote_verifies() { # of $1, quote $2, by public key $3; $4: qualifying data, if not its own
	tpm2_checkquote -Q -u "$3" -m "$LAB/$1/$2.attest" -s "$LAB/$1/$2.sig" -g sha256 -q "${4:-$(cat "$LAB/$1/${2/anchor/outer}.over")}"
}
signatures_verify() { # of $1
	pem "$1" ak && pem "$1" ca && openssl x509 -in "$LAB/$1/ak.pem" -noout -pubkey >"$LAB/$1/key.pem" &&
		openssl verify -CAfile "$LAB/$1/ca.pem" "$LAB/$1/ak.pem" && quote_verifies "$1" inner "$LAB/$1/key.pem" &&
		quote_verifies "$1" outer "$LAB/host/ak.pem" && quote_verifies "$1" anchor "$LAB/host/ak.pem"
}
number() { ctl status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"]["attestation"][sys.argv[1]])' "$1"; }
pcr_of() { guest "$1" tpm2_pcrread "sha256:$2" | sed -n 's/.*0x//p' | tr 'A-F' 'a-f'; }

check init eval 'chip_start && mgr_init --insecure-pcrs && mgr_start --pool 2'
ctl group create hard --insecure-pcrs --mode strict >/dev/null
ctl create web1 >/dev/null && ctl create web2 --group hard >/dev/null && ctl start web1 >/dev/null && ctl start web2 >/dev/null

# --- one piece of it ---
check attest attest web1 a
check all_of_it_belongs_together arithmetic a
ctl enroll show --dir "$LAB/host" >/dev/null
check all_that_is_signed_verifies signatures_verify a
check not_with_another_nonce eval '! quote_verifies a inner "$LAB/a/key.pem" "$(nonce 32)" && ! quote_verifies a outer "$LAB/host/ak.pem" "$(nonce 32)"'
check the_chips_key_is_the_enrolled_one cmp "$LAB/a/host-ak.pub" "$LAB/host/ak.pub"
check the_ca_is_the_enrolled_one eval 'pem a ca && cmp "$LAB/a/ca.pem" "$LAB/host/ca.pem"'
is it_names_the_vtpm "$(cat "$LAB/a/uuid")" "$(ctl show web1 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["vtpm"]["uuid"].replace("-", ""))')"
is a_bounded_one_says_so "$(arithmetic a mode)" 2
is it_was_not_launched "$(arithmetic a launch)" 0
is json_and_file_are_one "$(ctl attest web1 --nonce "$(nonce)" --out "$LAB/b.ev" --json | python3 -c 'import base64,json,sys
print(base64.b64decode(json.load(sys.stdin)["evidence"]) == open(sys.argv[1], "rb").read())' "$LAB/b.ev")" True

# --- the verifier believes it, for that nonce and that vTPM ---
printf '{"hosts":[{"name":"lab","ak":"%s"}]}' "$(cat "$LAB/host/ak.name")" >"$LAB/trust.json"
echo '{}' >"$LAB/policy.json"
uuid=$(ctl show web1 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["vtpm"]["uuid"])')
verifier() { "$B/vtpm-verify" --trust "$LAB/trust.json" --policy "$LAB/policy.json" "$@"; }
check it_is_believed verifier --nonce "$(cat "$LAB/a.nonce")" --uuid "$uuid" "$LAB/a.ev"
exits not_for_another_nonce 1 verifier --nonce "$(nonce)" --uuid "$uuid" "$LAB/a.ev"
exits not_for_another_vtpm 1 verifier --nonce "$(cat "$LAB/a.nonce")" --uuid 6ba7b810-9dad-41d1-80b4-00c04fd430c8 "$LAB/a.ev"

# --- what it says is what there is ---
guest web1 tpm2_pcrextend "5:sha256=$(nonce 32)"
check after_an_extend attest web1 a
is it_has_that_pcr "$(arithmetic a inner.5)" "$(pcr_of web1 5)"
was=$(arithmetic a version)
guest web1 tpm2_nvdefine -Q 0x1500001 -s 8 && printf 12345678 | guest web1 tpm2_nvwrite -Q 0x1500001 -i -
check after_a_change attest web1 a
check and_it_belongs_together arithmetic a
is it_has_a_newer_version "$([ "$(arithmetic a version)" -gt "$was" ] && echo newer)" newer
check of_a_strict_one attest web2 b
check which_belongs_together arithmetic b
is a_strict_one_says_so "$(arithmetic b mode)" 1
is discontinuities_are_none "$(arithmetic b discontinuities)" 0
for h in owner endorsement; do guest web1 tpm2_changeauth -Q -c "$h" secret; done
check whatever_the_guest_has_set attest web1 a
check that_one_verifies_too eval 'arithmetic a && signatures_verify a'
check guests_have_their_objects guest web1 tpm2_getcap handles-persistent

# --- by a measured launch, whose log goes along ---
ctl create web4 >/dev/null
digest=$(python3 tests/tools/launch.py "$LAB/run" web4) && ctl start web4 >/dev/null
check of_a_launched_one attest web4 d
is it_has_one_launch "$(arithmetic d launch)" 1
is by_that_digest "$(sha256sum <"$LAB/d/launch.log")" "$digest  -"
check that_log_is_the_managers eval 'ctl eventlog web4 --out "$LAB/log" && cmp "$LAB/log" "$LAB/d/launch.log"'
printf '{"launch":{"required":true,"digests":["%s"]}}' "$digest" >"$LAB/policy.json"
check the_verifier_believes_it verifier --nonce "$(cat "$LAB/d.nonce")" "$LAB/d.ev"
exits and_no_other_one 1 verifier --nonce "$(cat "$LAB/a.nonce")" --uuid "$uuid" "$LAB/a.ev"
says for_that_reason launch
echo '{}' >"$LAB/policy.json"
ctl stop web4

# --- who gets none ---
exits unknown 3 ctl attest nobody --nonce "$(nonce)" --out "$LAB/x"
exits short_nonce 2 ctl attest web1 --nonce 00112233445566 --out "$LAB/x"
exits long_nonce 2 ctl attest web1 --nonce "$(nonce 65)" --out "$LAB/x"
exits no_hex 2 ctl attest web1 --nonce 0011223344556677zz --out "$LAB/x"
exits no_nonce 2 ctl attest web1 --out "$LAB/x"
exits nowhere_to_go 2 ctl attest web1 --nonce "$(nonce)"
check longest_nonce eval 'nonce 64 >"$LAB/a.nonce" && ctl attest web1 --nonce "$(cat "$LAB/a.nonce")" --out "$LAB/a.ev" && arithmetic a'
check shortest_nonce eval 'nonce 8 >"$LAB/a.nonce" && ctl attest web1 --nonce "$(cat "$LAB/a.nonce")" --out "$LAB/a.ev" && arithmetic a'
ctl create web3 >/dev/null
exits one_that_is_off 4 ctl attest web3 --nonce "$(nonce)" --out "$LAB/x"
says it_says_so "it is not running"
ctl start web3 --firmware >/dev/null
exits one_that_its_firmware_has_not_started 4 ctl attest web3 --nonce "$(nonce)" --out "$LAB/x"
says it_says_so_too "has not started it up"
guest web3 tpm2_startup -c
check then_it_has attest web3 a
guest web3 tpm2_evictcontrol -Q -C p -c 0x81810001
exits its_firmware_removes_the_key 3 ctl attest web3 --nonce "$(nonce)" --out "$LAB/x"
says and_that_is_said "the firmware of its guest has removed it"
check nothing_was_written test ! -e "$LAB/x"

# --- many share one quote: while the chip stands still they gather ---
gather() { # $1: how many of each
	local i pids=
	for i in $(seq "$1"); do
		for v in web1 web2; do
			attest "$v" "g$v$i" & pids="$pids $!"
		done
	done
	until [ "$(number waiting)" = $((2 * $1 - 1)) ] || [ "$(number waiting)" = $((2 * $1)) ]; do sleep 0.02; done
	kill -CONT "$CHIP_PID"
	wait $pids
}
kill -STOP "$CHIP_PID"
attest web1 first >/dev/null &
until [ "$(number waiting)" = 0 ] && [ -e "$LAB/first.nonce" ]; do sleep 0.02; done
quotes=$(number host_quotes)
gather 6 >/dev/null
wait $!
took=$(($(number host_quotes) - quotes))
echo "    $took quotes of the chip for 13 pieces of evidence"
is many_share_a_quote "$([ "$took" -le 3 ] && echo few)" few
for i in 1 2 3 4 5 6; do
	for v in web1 web2; do arithmetic "g$v$i" count || echo "bad $v$i"; done
done >"$LAB/counts"
check each_is_whole eval '! grep -v "^[0-9]*$" "$LAB/counts"'
is they_are_leaves_of_one_tree "$([ "$(sort -n "$LAB/counts" | tail -1)" -ge 6 ] && echo one)" one
check the_verifier_believes_one_of_many verifier --nonce "$(cat "$LAB/gweb13.nonce")" --uuid "$uuid" "$LAB/gweb13.ev"
check each_has_its_own_nonce eval 'signatures_verify gweb16 && ! python3 tests/integration/evidence.py "$LAB/gweb11.ev" "$(cat "$LAB/gweb12.nonce")" "$LAB/gweb11"'

# --- commits go on meanwhile, and A moves: each binding says what it holds ---
writes() { for i in $(seq 12); do echo "12345$i" | guest web2 tpm2_nvwrite -Q 0x1500001 -i - || return 1; done; }
guest web2 tpm2_nvdefine -Q 0x1500001 -s 16
writes >"$LAB/writes" 2>&1 &
bad=0
for i in $(seq 10); do attest web1 c >/dev/null && arithmetic c || bad=1; done
is with_an_anchor_that_moves "$bad" 0
check all_was_written wait $!

# --- a guest that asks more than it may, and a backend that is killed ---
flood() { for i in $(seq 60); do ctl attest web1 --nonce 0011223344556677 --out "$LAB/x$i" 2>&1 & done; wait; }
check more_than_20_a_second eval 'flood | grep -q "asked too often"'
for p in $(pgrep -P "$(pgrep -P "$MGR_PID" -x vtpm-spawn)" -x vtpm-spawn); do kill -KILL "$p"; done
again() { until attest "$1" a; do grep -q "ask again\|is being resumed" "$LAB/out" || return 1; done; }
check killed_backends_are_replaced again web2
check as_the_log_says grep -q "web2: goes on where its last backend stood" "$LAB/mgr.log"
check and_quote_as_before eval 'arithmetic a && signatures_verify a'

# --- another manager, a chip that is gone, certificates that are revoked ---
mgr_stop
check start_again mgr_start --pool 0
ctl start web1 >/dev/null
check attests_as_before eval 'attest web1 a && arithmetic a && signatures_verify a'
ctl stop web1
ctl backup "$LAB/backup" >/dev/null && ctl restore "$LAB/backup" --only web1 --accept-rollback >/dev/null
ctl start web1 >/dev/null
exits restored_and_not_certified_anew 3 ctl attest web1 --nonce "$(nonce)" --out "$LAB/x"
says in_words "no certified attestation key"
ctl stop web1
check certified_anew ctl certify web1
ctl start web1 >/dev/null
check it_attests_again attest web1 a
check with_a_discontinuity verifier --nonce "$(cat "$LAB/a.nonce")" --uuid "$uuid" "$LAB/a.ev"
is which_is_said "$(arithmetic a discontinuities)" 1

# --- its key is rotated: the attestation key and its certificate stay ---
believed() { # evidence of now, as $1, by a verifier that knows web1's attestation key from before
	attest web1 "$1" && arithmetic "$1" && signatures_verify "$1" &&
		verifier --nonce "$(cat "$LAB/$1.nonce")" --uuid "$uuid" --known "$LAB/known.json" "$LAB/$1.ev"
}
as_before() { believed r && cmp "$LAB/a/ak.crt" "$LAB/r/ak.crt"; }
changed() { ctl reseal --json | python3 -c 'import json,sys; sys.exit(json.load(sys.stdin)["changed"] != int(sys.argv[1]))' "$1"; }
check before_a_rotation believed a
check rotated_while_it_runs changed 1
check it_quotes_as_before as_before
ctl stop web1
ctl start web1 >/dev/null
check and_over_a_restart as_before
ctl stop web1
check rotated_while_it_is_off changed 0
ctl start web1 >/dev/null
check and_with_the_key_that_it_gets as_before
ctl stop web1
check rotated_once_more changed 0
check certified_with_a_key_that_goes ctl certify web1
ctl start web1 >/dev/null
check with_another_certificate believed r
exits which_is_another 1 cmp -s "$LAB/a/ak.crt" "$LAB/r/ak.crt"
check of_the_same_key cmp <(openssl x509 -in "$LAB/a/ak.pem" -noout -pubkey) <(openssl x509 -in "$LAB/r/ak.pem" -noout -pubkey)
ctl start web2 >/dev/null
chip_stop
exits without_a_chip 7 ctl attest web2 --nonce "$(nonce)" --out "$LAB/x"
check the_guest_goes_on guest web2 tpm2_pcrread -Q sha256:0
mgr_stop

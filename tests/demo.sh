#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The whole path on one machine, with stock tools in the guests' place. What a verifier needs is left in BUILD/demo. Usage: demo.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/.."
B=${1:-build}
. tests/lib.sh
lab_init

bold= plain=
[ ! -t 1 ] || { bold=$'\e[1m'; plain=$'\e[0m'; }
n=0
step() { n=$((n + 1)); printf '\n%s%d. %s%s\n' "$bold" $n "$1" "$plain"; }
proves() { printf '   => %s\n' "$1"; }
fail() { printf '   FAILED: %s\n' "$1" >&2; echo "--- the manager's log:" >&2; tail -20 "$LAB/mgr.log" >&2; exit 1; }
hash() { printf %s "$1" | sha256sum | cut -d' ' -f1; }
# In order: after a power cut the chip would not call its clock safe for its next four seconds.
host_powers_off() { chip tpm2_shutdown -c && chip_stop; }
host_boots() { chip tpm2_pcrextend "0:sha256=$(hash firmware)" "4:sha256=$(hash "$1")"; }
must_fail() { if "$@" >"$LAB/out" 2>&1; then fail "this should have been refused: $*"; fi; sed 's/^/   | /' "$LAB/out"; }

step "A stand-in for the physical TPM (Debian's swtpm: not hardware-backed) and a manager on it"
chip_made >"$LAB/maker.log" 2>&1 || fail "no chip was made: $(cat "$LAB/maker.log")"
chip_start
host_boots bootloader
mgr_init --seal-pcrs 0,4 | sed 's/^/   | /'
mgr_start
ctl status | sed 's/^/   | /'
proves "a random root key is sealed in the TPM to PCRs 0 and 4; only this boot of this chip opens it"

step "Two vTPMs"
ctl create web1
ctl create web2 --json >"$LAB/web2.json"
proves "each has EKs of its own, certified by a CA key that was made in the TPM and never leaves it"

step "Inside each guest: stock tpm2-tools over the ring"
ctl ca >"$LAB/ca.pem"
for g in web1 web2; do
	ctl start $g >/dev/null
	guest $g tpm2_pcrextend 16:sha256=$(hash $g)
	printf '   | %s PCR 16: %s\n' $g "$(guest $g tpm2_pcrread sha256:16 | awk '$1 == "16:" || $1 == "16" { print $NF }')"
	guest $g tpm2_nvread -C o 0x01c00002 -o "$LAB/$g.rsa.der" 2>>"$LAB/tools.log"
	guest $g tpm2_nvread -C o 0x01c0000a -o "$LAB/$g.ecc.der" 2>>"$LAB/tools.log"
	for k in rsa ecc; do
		openssl x509 -inform der -in "$LAB/$g.$k.der" -out "$LAB/$g.$k.pem"
		openssl verify -x509_strict -CAfile "$LAB/ca.pem" "$LAB/$g.$k.pem" | sed "s|$LAB/|   \| |"
	done
	guest $g tpm2_createprimary -Q -C o -g sha256 -G ecc -c "$LAB/$g.ctx"
	guest $g tpm2_evictcontrol -Q -C o -c "$LAB/$g.ctx" 0x81000010
	guest $g tpm2_flushcontext -t
	guest $g tpm2_create -Q -C 0x81000010 -G ecc:ecdsa -u "$LAB/$g.pub" -r "$LAB/$g.priv"
	guest $g tpm2_load -Q -C 0x81000010 -u "$LAB/$g.pub" -r "$LAB/$g.priv" -c "$LAB/$g.key"
	guest $g tpm2_evictcontrol -Q -C o -c "$LAB/$g.key" 0x81000011
	guest $g tpm2_flushcontext -t
	guest $g tpm2_nvdefine -Q -C o -s 32 -a 'ownerread|ownerwrite' 0x1500016
	printf 'THE-SECRET-OF-%s-IN-NV-%s' "$g" "$RANDOM" | tee "$LAB/$g.nv" | guest $g tpm2_nvwrite -Q -C o -i - 0x1500016
done
proves "PCRs, EK certificates (verified up to the CA), persistent keys and NV work in both"

step "The manager is stopped and started"
mgr_stop || fail "it did not stop in order"
mgr_start
for g in web1 web2; do
	ctl start $g >/dev/null
	guest $g tpm2_nvread -Q -C o 0x1500016 -s "$(stat -c %s "$LAB/$g.nv")" -o "$LAB/$g.nv2"
	cmp "$LAB/$g.nv" "$LAB/$g.nv2" || fail "$g lost its NV index"
	printf msg >"$LAB/msg"
	guest $g tpm2_sign -Q -c 0x81000011 -g sha256 -o "$LAB/$g.sig" "$LAB/msg"
	guest $g tpm2_verifysignature -Q -c 0x81000011 -g sha256 -m "$LAB/msg" -s "$LAB/$g.sig"
	guest $g tpm2_pcrread sha256:16 | grep -q '0x0000000000' || fail "$g kept a PCR over a power cycle"
done
proves "keys and NV are there, and sign; PCRs were reset, as power-off does"

step "What is on the disk"
mgr_stop
for g in web1 web2; do
	! grep -rqaF "$(cat "$LAB/$g.nv")" "$LAB/state" || fail "the plaintext of $g is on the disk"
done
printf '   | %s holds none of the NV strings just written\n' "$(cd "$LAB/state" && ls | tr '\n' ' ')"
proves "the states are sealed: whoever has the disk has nothing"

step "Somebody puts web2's state into web1's row"
db "UPDATE state SET sealed = (SELECT sealed FROM state WHERE uuid = (SELECT uuid FROM vtpm WHERE name = 'web2')) WHERE uuid = (SELECT uuid FROM vtpm WHERE name = 'web1')"
mgr_start
must_fail ctl start web1
ctl list | sed 's/^/   | /'
ctl start web2 >/dev/null
proves "web1 is quarantined: named, kept, never given another identity; web2 does not notice"

step "The physical TPM's PCR 4 changes: another boot loader was started"
mgr_stop
host_powers_off
chip_start
host_boots other
mgr_start
must_fail ctl start web2
proves "the TPM releases nothing to a host that booted something else"

step "The host boots again what it was sealed to; web2 is launched, and measured"
mgr_stop
host_powers_off
chip_start
host_boots bootloader
mgr_start
digest=$(python3 tests/tools/launch.py "$LAB/run" web2)
ctl start web2 >/dev/null
printf '   | launch digest: %s\n' "$digest"
guest web2 tpm2_pcrread sha256:4,8,9 | sed -n 's/^ *\([0-9]*\) *: 0x/   | PCR \1: /p'
proves "what a guest is launched with is in PCRs 0 to 9 before its first instruction (here by a stand-in for the launcher, vtpm-launch)"

step "Somebody elsewhere enrols the host, once, and says what he demands"
out=$B/demo
rm -rf "$out"
mkdir "$out"
enroll "$out/hosts.json" || fail "the host was not enrolled"
cp "$LAB/maker/issuer.pem" "$out/roots.pem"
ctl ca crl >"$out/crl.pem"
cat >"$out/policy.json" <<P
{"host": {"pcrs": [$(ctl policy current --pcrs 0,4)], "ek_chain": true},
 "launch": {"required": true, "digests": ["$digest"]},
 "guest": {"ek_certificate": true},
 "freshness": {"mode": "bounded", "discontinuities": 0},
 "revocation": {"required": true}}
P
sed 's/^/   | /' "$out/hosts.json"
proves "the physical TPM, whose EK its maker has certified, has opened a credential for this attestation key"

step "His nonce goes to the host, evidence comes back, and he verifies it: without a TPM, or anything of the host"
openssl rand -hex 32 >"$out/nonce"
uuid_of web2 >"$out/uuid"
ctl attest web2 --nonce "$(cat "$out/nonce")" --out "$out/evidence.cbor" >/dev/null
mgr_stop
verify() { # for nonce $1
	"$B/vtpm-verify" --nonce "$1" --uuid "$(cat "$out/uuid")" --trust "$out/roots.pem" --trust "$out/hosts.json" --trust "$out/crl.pem" \
		--policy "$out/policy.json" "$out/evidence.cbor"
}
verify "$(cat "$out/nonce")" >"$LAB/out" || { cat "$LAB/out"; fail "the evidence does not verify"; }
sed 's/^/   | /' "$LAB/out"
must_fail verify "$(openssl rand -hex 32)"
proves "web2 is accepted: its chip, host, launch, keys and state; for this nonce, and for no other"

cat <<T

demo: all $n steps hold. What the verifier had is in $out, for you to try:

    cd $out
    ../vtpm-verify --nonce \$(cat nonce) --uuid \$(cat uuid) --trust roots.pem --trust hosts.json --trust crl.pem \\
        --policy policy.json evidence.cbor
T

#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Taking a TPM over from Debian's swtpm: what its guest had is there afterwards, and what is no such TPM is refused.
set -u
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/checks.sh
lab_init

# --- machines with swtpm ---

SW_PID=
sw() { TPM2TOOLS_TCTI="swtpm:path=$LAB/sw.sock" "$@"; } # a tool in the guest of the swtpm that runs
sw_start() {                                             # directory, swtpm's options…
	local d=$1
	shift
	mkdir -p "$d"
	swtpm socket --tpm2 --tpmstate "dir=$d" --server "type=unixio,path=$LAB/sw.sock" \
		--ctrl "type=unixio,path=$LAB/sw.sock.ctrl" --flags not-need-init,startup-clear \
		--daemon --pid "file=$LAB/sw.pid" "$@"
	SW_PID=$(cat "$LAB/sw.pid")
}
sw_end() { # as QEMU does it
	sw tpm2_shutdown -c
	swtpm_ioctl -s --unix "$LAB/sw.sock.ctrl"
	ended "$SW_PID"
	SW_PID=
}
at_end() {
	[ -z "$SW_PID" ] || kill "$SW_PID" 2>/dev/null
	lab_end
}
trap at_end EXIT

# As libvirt does it: EKs, certificates, banks. $1: directory, then more of swtpm_setup's options.
setup_machine() {
	local d=$1
	shift
	mkdir -p "$d" "$LAB/ca"
	printf 'statedir = %s\nsigningkey = %s/sign.pem\nissuercert = %s/issuer.pem\ncertserial = %s/serial\n' \
		"$LAB/ca" "$LAB/ca" "$LAB/ca" "$LAB/ca" >"$LAB/ca.conf"
	printf 'create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = /dev/null\n' \
		"$LAB/ca.conf" >"$LAB/setup.conf"
	swtpm_setup --tpm2 --tpmstate "$d" --config "$LAB/setup.conf" --createek --create-ek-cert --lock-nvram \
		--pcr-banks sha1,sha256 "$@"
}

# Everything that can be seen of a TPM, but for the attestation key and the indices for evidence, which are added; $@: what runs a tool in it.
persistent() { "$@" tpm2_getcap handles-persistent | grep -v -i 0x81810001; }
indices() { "$@" tpm2_getcap handles-nv-index | grep -v -i 0x14077; }
facts() {
	local h
	persistent "$@"
	"$@" tpm2_getcap pcrs
	indices "$@"
	for h in $(persistent "$@" | awk '{ print $2 }'); do "$@" tpm2_readpublic -c "$h"; done
	for h in $(indices "$@" | awk '{ print $2 }'); do "$@" tpm2_nvreadpublic "$h"; "$@" tpm2_nvread -C o "$h" | sha256sum; done
	"$@" tpm2_getcap properties-variable | grep -E 'LOCKOUT_COUNTER|MAX_AUTH_FAIL|ownerAuthSet|endorsementAuthSet'
}

# A guest's life: a storage key, NV, a disk key sealed to a PCR, a wrong PIN. Leaves its objects in directory $1.
live() {
	local k=$1
	shift
	mkdir -p "$k"
	"$@" tpm2_createprimary -Q -C o -G ecc -c "$k/srk.ctx" && "$@" tpm2_evictcontrol -Q -C o -c "$k/srk.ctx" 0x81000001 || return 1
	"$@" tpm2_flushcontext -t
	printf 'disk key of this machine' >"$k/secret"
	"$@" tpm2_nvdefine -Q -C o -s 24 -a 'ownerread|ownerwrite|authread' -p pin 0x1500010 &&
		"$@" tpm2_nvwrite -Q -C o -i "$k/secret" 0x1500010 || return 1
	"$@" tpm2_pcrextend "11:sha256=$(printf kernel | sha256sum | cut -d' ' -f1)"
	"$@" tpm2_startauthsession -S "$k/trial" && "$@" tpm2_policypcr -Q -S "$k/trial" -l sha256:11 -L "$k/policy" || return 1
	"$@" tpm2_flushcontext "$k/trial"
	"$@" tpm2_create -Q -C 0x81000001 -i "$k/secret" -L "$k/policy" -a 'fixedtpm|fixedparent' -u "$k/pub" -r "$k/priv" || return 1
	"$@" tpm2_create -Q -C 0x81000001 -G ecc -p right -u "$k/pin.pub" -r "$k/pin.priv" || return 1
	"$@" tpm2_load -Q -C 0x81000001 -u "$k/pin.pub" -r "$k/pin.priv" -c "$k/pin.ctx" || return 1
	! "$@" tpm2_sign -Q -c "$k/pin.ctx" -p wrong -g sha256 -o "$k/sig" "$k/secret" 2>/dev/null || return 1
	"$@" tpm2_flushcontext -t
	"$@" tpm2_dictionarylockout -s -n 5 -t 100000 -l 100000
}
unseal() { # what was left in $1 by live
	local k=$1
	shift
	"$@" tpm2_pcrextend "11:sha256=$(printf kernel | sha256sum | cut -d' ' -f1)"
	"$@" tpm2_load -Q -C 0x81000001 -u "$k/pub" -r "$k/priv" -c "$k/key.ctx" &&
		"$@" tpm2_unseal -Q -c "$k/key.ctx" -p pcr:sha256:11 -o "$k/got" && cmp "$k/secret" "$k/got"
}

look() { (cd "$1" && find . -printf '%p %m %U %s %T@ %i\n' | sort && find . -type f -exec sha256sum {} +); }

chip_start
check init mgr_init --insecure-pcrs --seal-pcrs 0
check start mgr_start --pool 0
D=$LAB/machines K=$LAB/keys pids=()
mkdir -p "$D" "$K"
printf '%s' 00112233445566778899aabbccddeeff >"$K/128.hex"
printf '0x%s\n' 00112233445566778899AABBCCDDEEFFffeeddccbbaa99887766554433221100 >"$K/256.hex"
printf '\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff' >"$K/128.bin"
head -c 32 /dev/urandom >"$K/256.bin"
echo 'correct horse battery staple' >"$K/pass"

# --- a whole life, for each way in which swtpm keeps a state ---

# name, swtpm_setup's options, swtpm's options, vtpmctl's options
life() {
	local n=$1 d=$D/$1 setup=$2 run=$3 import=$4
	check "${n}_setup" setup_machine "$d" $setup
	sw_start "$d" $run
	check "${n}_lived_with_swtpm" live "$LAB/$n.objects" sw
	facts sw >"$LAB/$n.before" 2>&1
	sw_end
	look "$d" >"$LAB/$n.look"
	check "${n}_import" ctl import "$n" --swtpm "$d" $import
	says "${n}_says_what_to_do_now" "/$n.swtpm"
	look "$d" >"$LAB/$n.look2"
	check "${n}_source_is_untouched" diff "$LAB/$n.look" "$LAB/$n.look2"
	check "${n}_start" ctl start "$n"
	facts guest "$n" >"$LAB/$n.after" 2>&1
	check "${n}_has_all_it_had" diff "$LAB/$n.before" "$LAB/$n.after"
	check "${n}_has_counted_the_wrong_pin" grep -q 'LOCKOUT_COUNTER: 0x1$' "$LAB/$n.after"
	check "${n}_unseals_its_disk_key" unseal "$LAB/$n.objects" guest "$n"
	guest "$n" tpm2_flushcontext -t
	check "${n}_reset" ctl reset "$n"
	check "${n}_unseals_it_after_a_reset" unseal "$LAB/$n.objects" guest "$n"
	check "${n}_stop" ctl stop "$n"
	exits "${n}_but_once" 4 ctl import again --swtpm "$d" $import
	says "${n}_but_once_and_says_why" "this TPM is here already, as $n"
}
life plain "" "" ""
life k128 "--keyfile $K/128.hex" "--key file=$K/128.bin,format=binary" "--key $K/128.hex"
life k256 "--keyfile $K/256.hex --cipher aes-256-cbc" "--key file=$K/256.hex,mode=aes-256-cbc,format=hex" "--key $K/256.hex,format=hex"
life pwd "--pwdfile $K/pass --cipher aes-256-cbc" "--key pwdfile=$K/pass,mode=aes-256-cbc" "--pwd $K/pass"

# --- the other forms of a key, and what is no such key ---

# name, swtpm's options
small() {
	sw_start "$D/$1" $2
	sw tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x1500011 && printf '%-8s' "$1" | sw tpm2_nvwrite -Q -C o -i- 0x1500011
	sw_end
}
is_small() { ctl start "$1" && [ "$(guest "$1" tpm2_nvread -C o -s 8 0x1500011)" = "$(printf '%-8s' "$1")" ] && ctl stop "$1"; }
small b128 "--key file=$K/128.bin,format=binary" >"$LAB/out" 2>&1
exits b128_without_a_key 2 ctl import b128 --swtpm "$D/b128"
says b128_without_a_key_and_says_so "the state is encrypted"
printf '%s' 00112233445566778899aabbccddeefe >"$K/other.hex"
exits b128_wrong_key 2 ctl import b128 --swtpm "$D/b128" --key "$K/other.hex"
says b128_wrong_key_and_says_so "not the one that the state was encrypted with"
exits b128_key_of_256_bits 2 ctl import b128 --swtpm "$D/b128" --key "$K/256.hex"
says b128_key_of_256_bits_and_says_so "not the length or the form"
exits b128_digits_as_bytes 2 ctl import b128 --swtpm "$D/b128" --key "$K/128.hex,format=binary"
exits b128_bytes_as_digits 2 ctl import b128 --swtpm "$D/b128" --key "$K/128.bin"
exits b128_key_as_passphrase 2 ctl import b128 --swtpm "$D/b128" --pwd "$K/128.bin"
exits b128_empty_key 2 ctl import b128 --swtpm "$D/b128" --key /dev/null
exits b128_endless_key 1 ctl import b128 --swtpm "$D/b128" --key /dev/zero
exits b128_no_key_file 3 ctl import b128 --swtpm "$D/b128" --key "$K/none"
exits b128_no_such_format 2 ctl import b128 --swtpm "$D/b128" --key "$K/128.bin,format=base64"
exits b128_key_and_passphrase 2 ctl import b128 --swtpm "$D/b128" --key "$K/128.bin" --pwd "$K/pass"
check b128_right_key ctl import b128 --swtpm "$D/b128" --key "$K/128.bin,format=binary"
check b128_is_it is_small b128
small b256 "--key file=$K/256.bin,format=binary,mode=aes-256-cbc" >"$LAB/out" 2>&1
check b256_by_a_pipe ctl import b256 --swtpm "$D/b256" --key <(cat "$K/256.bin"),format=binary
check b256_is_it is_small b256
small p128 "--key pwdfile=$K/pass" >"$LAB/out" 2>&1
exits p128_wrong_passphrase 2 ctl import p128 --swtpm "$D/p128" --pwd <(printf 'correct horse battery staple')
exits p128_other_kdf 2 ctl import p128 --swtpm "$D/p128" --pwd "$K/pass,kdf=sha512"
check p128_right_passphrase ctl import p128 --swtpm "$D/p128" --pwd "$K/pass,kdf=pbkdf2"
check p128_is_it is_small p128
small psha "--key pwdfile=$K/pass,kdf=sha512,mode=aes-256-cbc" >"$LAB/out" 2>&1
exits psha_other_kdf 2 ctl import psha --swtpm "$D/psha" --pwd "$K/pass"
check psha_right_kdf ctl import psha --swtpm "$D/psha" --pwd "$K/pass,kdf=sha512"
check psha_is_it is_small psha
exits plain_with_a_key 2 ctl import x --swtpm "$D/plain" --key "$K/128.hex"
says plain_with_a_key_and_says_so "leave the key out"

# --- its EKs ---

ctl show plain --json >"$LAB/show"
eks() { python3 -c 'import json,sys; print(*(e["kind"] + (":cert" if "certificate" in e else "") for e in json.load(sys.stdin)["vtpm"]["ek"]))'; }
is eks_of_swtpm_setup "$(eks <"$LAB/show")" "rsa2048:cert ecc-p256"
ctl start plain >"$LAB/out"
for k in rsa ecc; do
	guest plain tpm2_createek -G $k -c "$LAB/ek.ctx" -f pem -u "$LAB/$k.made" >"$LAB/out" 2>&1
	guest plain tpm2_flushcontext -t
	ctl show plain --ek-public $k >"$LAB/$k.shown"
	check "ek_${k}_is_what_the_guest_makes" cmp "$LAB/$k.made" "$LAB/$k.shown"
done
guest plain tpm2_nvread -C o 0x1c00002 >"$LAB/nv.der"
ctl stop plain
ctl show plain --ek-cert rsa >"$LAB/rsa.pem"
openssl x509 -in "$LAB/rsa.pem" -outform der >"$LAB/rsa.der"
check certificate_is_swtpms cmp "$LAB/nv.der" "$LAB/rsa.der"
check certificate_verifies openssl verify -partial_chain -CAfile "$LAB/ca/issuer.pem" "$LAB/rsa.pem"
ctl show plain --ak-cert >"$LAB/ak.pem"
ctl ca >"$LAB/host.pem"
check attestation_key_is_certified_here openssl verify -x509_strict -CAfile "$LAB/host.pem" "$LAB/ak.pem"
exits no_certificate_where_there_is_none 3 ctl show plain --ek-cert ecc
is eks_of_a_bare_swtpm "$(ctl show b128 --json | eks)" "rsa2048 ecc-p256"
sw_start "$D/closed"
sw tpm2_changeauth -Q -c e secret
sw_end
check endorsement_auth_of_the_guest ctl import closed --swtpm "$D/closed"
is eks_that_cannot_be_seen "$(ctl show closed --json | eks)" ""
check shown_without ctl show closed
exits no_public_key_where_there_is_none 3 ctl show closed --ek-public rsa

# --- no room for an attestation key ---

fill() { # all of NV, and then what is set aside for persistent objects
	local n=0
	while sw tpm2_nvdefine -Q -C o -s 2048 "$(printf 0x15001%02x $n)" 2>/dev/null; do n=$((n + 1)); done
	sw tpm2_createprimary -Q -C o -G ecc -c "$LAB/filler.ctx" || return 1
	sw tpm2_flushcontext -t
	n=0
	while sw tpm2_evictcontrol -Q -C o -c "$LAB/filler.ctx" "$(printf 0x810000%02x $n)" 2>"$LAB/refused"; do
		sw tpm2_flushcontext -t
		n=$((n + 1))
	done
	grep "insufficient space for NV" "$LAB/refused"
}
sw_start "$D/full"
check a_full_one fill
sw_end
check a_full_one_comes_in ctl import full --swtpm "$D/full" --state-max 200000
check it_is_shown ctl show full
says it_has_no_attestation_key "its TPM had no room for it"
exits nor_a_certificate_for_one 3 ctl show full --ak-cert
exits not_while_it_is_full 1 ctl certify full
says it_is_full_and_says_so "no room for an attestation key"
ctl start full >/dev/null
exits no_evidence_without_the_key 3 ctl attest full --nonce 0011223344556677 --out "$LAB/none"
says and_it_says_why_there_is_none "no certified attestation key"
check its_guest_makes_room guest full tpm2_nvundefine -Q -C o 0x1500100
ctl stop full
check then_it_is_certified ctl certify full
ctl show full --ak-cert >"$LAB/ak.pem"
check with_a_key_of_its_own openssl verify -x509_strict -CAfile "$LAB/host.pem" "$LAB/ak.pem"

# --- not while it is used ---

sw_start "$D/busy"
exits in_use 4 ctl import busy --swtpm "$D/busy"
says in_use_and_says_so "swtpm is using it"
sw tpm2_shutdown -c
swtpm_ioctl -v --unix "$LAB/sw.sock.ctrl"
sw_end
exits suspended 4 ctl import busy --swtpm "$D/busy"
says suspended_and_says_what_to_do "resume the machine with swtpm"
rm "$D/busy/tpm2-00.volatilestate" "$D/busy/.lock"
check at_rest_without_a_lock_file ctl import busy --swtpm "$D/busy"

# --- what is no such state ---

S=$D/b128/tpm2-00.permall P=$D/plain/tpm2-00.permall
bad() { # name, status, text, vtpmctl's options…: the file is $LAB/bad/tpm2-00.permall
	local n=$1 status=$2 text=$3
	shift 3
	exits "$n" "$status" ctl import bad --swtpm "$LAB/bad" "$@"
	says "${n}_and_says_why" "$text"
}
mkdir "$LAB/bad"
F=$LAB/bad/tpm2-00.permall
exits no_options 2 ctl import bad
exits no_directory 3 ctl import bad --swtpm "$LAB/none"
exits a_file_for_a_directory 1 ctl import bad --swtpm "$P"
bad empty_directory 3 "there is no tpm2-00.permall"
ln -s "$P" "$F" && bad symlink 1 "tpm2-00.permall"
rm "$F" && mkfifo "$F" && bad fifo 1 "not a file"
rm "$F" && mkdir "$F" && bad directory 1 "not a file"
rmdir "$F" && : >"$F" && bad empty_file 2 "sealed memfd of a size that can be"
truncate -s 262145 "$F" && bad too_large 1 "more than 262144 bytes"
rm "$F" && truncate -s 262144 "$F" && bad zeros 1 "format that is not known"
for n in 1 9 10 15 16 17 1000 $(($(stat -c %s "$P") - 1)); do
	head -c "$n" "$P" >"$F"
	bad "plain_cut_at_$n" 2 "or it is damaged"
done
for n in 9 10 15 16 17 1000 $(($(stat -c %s "$S") - 17)) $(($(stat -c %s "$S") - 1)); do
	head -c "$n" "$S" >"$F"
	bad "encrypted_cut_at_$n" 2 "or it is damaged" --key "$K/128.bin,format=binary"
done
(cat "$P" && printf x) >"$F" && bad longer_than_it_says 2 "damaged"
flip() { # file, offset: to $F
	python3 - "$1" "$2" "$F" <<-'END'
		import sys
		d = bytearray(open(sys.argv[1], "rb").read())
		d[int(sys.argv[2])] ^= 0x10
		open(sys.argv[3], "wb").write(d)
	END
}
for n in 0 1; do flip "$P" $n && bad "plain_flip_at_$n" 1 "format that is not known"; done
for n in 3 5 7 9 11 12 15; do flip "$P" $n && bad "plain_flip_at_$n" 2 "or it is damaged"; done
for n in 16 1000 $(($(stat -c %s "$S") - 30)) $(($(stat -c %s "$S") - 1)); do
	flip "$S" "$n" && bad "encrypted_flip_at_$n" 2 "or the file was changed" --key "$K/128.bin,format=binary"
done
flip "$P" 18 && bad state_of_another_magic 1 "libtpms refuses"
# In a state that nothing protects a flip may be a change like another: but no flip may end the manager.
for n in 40 300 777 1500 2500; do
	flip "$P" $n
	ctl import flipped --swtpm "$LAB/bad" >"$LAB/out" 2>&1 && ctl destroy flipped
done
check manager_is_there_after_the_flips ctl status
# A length in the state that points beyond its end: libtpms of Debian 12 follows it. Nobody else may notice.
python3 - "$P" "$F" <<-'END'
	import sys
	d = open(sys.argv[1], "rb").read()
	at = d.index(b"\x00\x01\x00\x20" + bytes(32))
	open(sys.argv[2], "wb").write(d[:at + 2] + b"\xff\xff" + d[at + 4:])
END
ctl start k128 >"$LAB/out" 2>&1
guest k128 tpm2_pcrread sha256:11 >"$LAB/pcr.before"
bad state_that_crashes_libtpms 1 "libtpms"
guest k128 tpm2_pcrread sha256:11 >"$LAB/pcr.after" 2>&1
check running_guests_do_not_notice cmp "$LAB/pcr.before" "$LAB/pcr.after"
check others_start ctl start k256
ctl stop k256
ctl stop k128
mkdir "$D/one"
swtpm_setup --tpmstate "$D/one" --config "$LAB/setup.conf" >"$LAB/out" 2>&1
exits tpm_1_2 1 ctl import one --swtpm "$D/one"
says tpm_1_2_and_says_so "TPM 1.2"
cp "$D/one/tpm-00.permall" "$F" && bad tpm_1_2_under_another_name 1 "libtpms refuses"
if [ "$(id -u)" -eq 0 ]; then
	chmod 700 "$D/b128"
	exits directory_of_another_user 5 setpriv --reuid 65534 --regid 65534 --clear-groups "$B/vtpmctl" --runtime-dir "$LAB/run" \
		import bad --swtpm "$D/b128"
	says directory_of_another_user_and_says_so "Permission denied"
	chmod 755 "$D/plain"
	chmod 644 "$P"
	exits no_operator 5 setpriv --reuid 65533 --regid 65533 --clear-groups "$B/vtpmctl" --runtime-dir "$LAB/run" import bad --swtpm "$D/plain"
else
	echo "skip directory_of_another_user: not root"
fi
sw_start "$D/large"
for i in 0 1 2 3 4 5 6 7 8 9; do
	sw tpm2_nvdefine -Q -C o -s 2048 -a 'ownerread|ownerwrite' 0x150002$i && head -c 2048 /dev/urandom | sw tpm2_nvwrite -Q -C o -i- 0x150002$i
done
sw_end
exits above_the_quota 1 ctl import large --swtpm "$D/large" --state-max 16384
says above_the_quota_and_says_so "give a higher --state-max"
check within_the_quota ctl import large --swtpm "$D/large"
exits name_is_taken 4 ctl import large --swtpm "$D/closed"
exits uuid_is_taken 4 ctl import other --swtpm "$D/closed" --uuid "$(ctl show large --json | sed -n 's/.*"uuid": "\(.*\)",/\1/p')"

check imported_for_qemu swtpm_ioctl --unix "$LAB/run/k128.swtpm" -i

# Two at once: whoever comes second to the store is refused. One swtpm's lock does not exclude two readers.
long=$(printf './%.0s' {1..150}) # and paths may be as long as they like
check destroy_for_two ctl destroy b256
for n in one two; do ctl import "$n" --swtpm "$D/${long}b256" --key "$K/${long}256.bin,format=binary" >"$LAB/$n.out" 2>&1 & pids+=($!); done
codes=0
for p in "${pids[@]}"; do
	wait "$p"
	codes=$((codes + $?))
done
is two_at_once "$codes" 4 # 0 and EXIT_STATE

# --- whoever speaks to the manager without vtpmctl ---

given() { python3 tests/integration/import_given.py "$LAB/run/control.sock" "$F" "$@"; }
cp "$P" "$F"
for w in pipe plain-file unsealed half-sealed written-later huge zero socket directory path; do is "given_$w" "$(given $w)" org.vtpm.Manager.Invalid; done
is given_no_secret "$(given sealed secret=hex)" org.vtpm.Manager.Invalid
is given_a_secret_that_is_none "$(given sealed sealed secret=rot13)" org.vtpm.Manager.Invalid
is given_one_too_many "$(given sealed sealed)" org.vtpm.Manager.Invalid
is given_nothing "$(given)" closed
is given_three "$(given sealed sealed sealed)" closed
is given_empty_secret "$(given sealed empty secret=hex)" org.vtpm.Manager.Invalid
is given_the_same_tpm "$(given sealed)" org.vtpm.Manager.Exists
check destroy ctl destroy plain
is given_all "$(given sealed-at-end)" given
check destroy_it_again ctl destroy given
check import_after_destroy ctl import plain --swtpm "$D/plain" --user 4711 --group default
check audited grep -q '"action":"import","vtpm":"plain".*"result":"ok"' "$LAB/state/audit.log"
check audited_refusal grep -q '"action":"import".*"result":"invalid argument","detail":"the key or passphrase' "$LAB/state/audit.log"
check stop_all mgr_stop
check start_all mgr_start --pool 0
check imported_is_there_after_a_restart ctl start plain
facts guest plain >"$LAB/plain.last" 2>&1
check and_has_all_it_had diff "$LAB/plain.before" "$LAB/plain.last"

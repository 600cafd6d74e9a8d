# SPDX-License-Identifier: BSD-2-Clause
# What a guest does with its TPM, with stock tools and the stock kernel. Read by init, in the guest; busybox sh.
# What outlives a power cycle: key 0x81000010, sealed data 0x81000011, NV index 0x01500010.
chip=/sys/class/tpm/tpm0
pcr_used=11 # of the static PCRs the one that neither firmware nor kernel extends

pcr() { tr A-F a-f <"$chip/pcr-sha256/$1"; }
zero() { printf '0%.0s' $(seq 64); }
sha() { printf %s "$1" | sha256sum | cut -d' ' -f1; }
measure() { tpm2 pcrextend "$pcr_used:sha256=$(sha "$1")"; }

# --- that it runs ---
plan_alive() {
	check shell_has_tools tpm2 --version
	note kernel "$(uname -r)"
}

# --- what the kernel makes of the TPM ---
kernel_tpm2() {
	check tpm0 test -c /dev/tpm0
	check tpmrm0 test -c /dev/tpmrm0
	is tpm_version_major "$(cat $chip/tpm_version_major)" 2
	is hwrng_available "$(tr -d ' ' </sys/class/misc/hw_random/rng_available)" tpm-rng-0
	is hwrng_current "$(cat /sys/class/misc/hw_random/rng_current)" tpm-rng-0
	is hwrng_gives "$(head -c 48 /dev/hwrng | wc -c)" 48
	is pcr_sysfs "$(cat $chip/pcr-sha256/* | grep -cE '^[0-9A-F]{64}$')" 24
	is pcrs_of_locality_4 "$(pcr 17)" "$(zero | tr 0 f)"
	is pcr_starts_empty "$(pcr $pcr_used)" "$(zero)"
}
plan_kernel() {
	kernel_tpm2
	check pcr_of_firmware_is_not_empty test "$(pcr 0)" != "$(zero)"
}

# --- a life with it ---
ek_type=rsa primary_type=rsa2048
use_identity() {
	local certificate=0x01c00002
	[ $ek_type = rsa ] || certificate=0x01c0000a
	check ek_certificate tpm2 nvread -o ek.der $certificate
	note_file ek_certificate ek.der
	check ek tpm2 createek -Q -G $ek_type -c ek.ctx -f pem -u ek.pem
	note_file ek ek.pem
}

use_session() {
	check primary tpm2 createprimary -Q -C o -G $primary_type -c primary.ctx
	check primary_persists tpm2 evictcontrol -Q -C o -c primary.ctx 0x81000010
	note primary_name "$(name_of 0x81000010)"
	check session tpm2 startauthsession --hmac-session --tpmkey-context 0x81000010 -S session
	check session_encrypts tpm2 sessionconfig --enable-decrypt --enable-encrypt session
	check random_through_the_session tpm2 getrandom -S session --hex 16
}

use_rsa_key() {
	printf 'message of a guest' >message
	check rsa_create tpm2 create -Q -C 0x81000010 -G rsa2048 -p word -u rsa.pub -r rsa.priv
	check rsa_load tpm2 load -Q -C 0x81000010 -u rsa.pub -r rsa.priv -c rsa.ctx
	check rsa_sign_in_the_session tpm2 sign -Q -c rsa.ctx -p session:session+word -g sha256 -o rsa.tss message
	check rsa_verify tpm2 verifysignature -Q -c rsa.ctx -g sha256 -m message -s rsa.tss
	printf 'another message' >other
	refused rsa_verify_of_another_message 0x2db tpm2 verifysignature -Q -c rsa.ctx -g sha256 -m other -s rsa.tss
	check rsa_sign_plain tpm2 sign -Q -c rsa.ctx -p word -g sha256 -f plain -o rsa.sig message
	check rsa_public tpm2 readpublic -Q -c rsa.ctx -f pem -o rsa.pem
	note_file rsa_key rsa.pem
	note_file rsa_signature rsa.sig
	tpm2 flushcontext session
}

name_of() { tpm2 readpublic -c "$1" | awk '$1 == "name:" { print $2 }'; }
unseal() { tpm2 unseal -Q -c 0x81000011 -p "pcr:sha256:$pcr_used" -o unsealed; }

use_seal() {
	printf 'sealed in the guest' >secret
	check measure measure kernel
	check policy tpm2 createpolicy -Q --policy-pcr -l "sha256:$pcr_used" -L policy
	check seal tpm2 create -Q -C 0x81000010 -i secret -L policy -a 'fixedtpm|fixedparent' -u seal.pub -r seal.priv -c seal.ctx
	check sealed_persists tpm2 evictcontrol -Q -C o -c seal.ctx 0x81000011
	check unseal unseal
	check unsealed_is_what_was_sealed cmp secret unsealed
	check measure_another measure other
	refused unseal_by_another_pcr 0x99d unseal
	is sysfs_shows_the_pcr "$(tpm2 pcrread "sha256:$pcr_used" | awk 'END { print tolower($NF) }')" "0x$(pcr $pcr_used)"
}

use_nv() {
	printf 'kept in the TPM over power cycles' >kept
	check nv_define tpm2 nvdefine -Q -C o -s 33 -a 'ownerread|ownerwrite|authread' -p word 0x01500010
	check nv_write tpm2 nvwrite -Q -C o -i kept 0x01500010
	check nv_read tpm2 nvread -C 0x01500010 -P word -o kept.read 0x01500010
	check nv_is_what_was_written cmp kept kept.read
	note nv "$(base64 -w 0 kept.read)"
}

plan_identity() { use_identity; }
plan_use() {
	use_identity
	use_session
	use_rsa_key
	use_seal
	use_nv
}

# The same without RSA, which takes its time where everything is emulated.
plan_own() {
	ek_type=ecc primary_type=ecc
	use_identity
	use_session
	use_seal
	use_nv
}

# --- the same TPM after a reset or a new start: plan_use has run, PCRs are gone, the rest is not ---
plan_again() { # the type of its EK if it is not rsa
	ek_type=${1:-rsa}
	is pcr_is_reset "$(pcr $pcr_used)" "$(zero)"
	refused unseal_before_measuring 0x99d unseal
	check measure measure kernel
	check unseal unseal
	is unsealed_is_what_was_sealed "$(cat unsealed)" 'sealed in the guest'
	note primary_name "$(name_of 0x81000010)"
	check nv_read tpm2 nvread -C o -o kept.read 0x01500010
	note nv "$(base64 -w 0 kept.read)"
	use_identity
}

# Has the TPM make keys, one after the other, until the machine ends.
plan_busy() {
	while tpm2 createprimary -Q -C o -G rsa2048 -c busy.ctx; do :; done &
	check it_makes_one tpm2 createprimary -Q -C n -G rsa2048 -c one.ctx
}

# --- measured boot: the firmware's log, replayed, is what the PCRs hold ---
replayed() { # log: "N VALUE" for each PCR it extends
	tpm2 eventlog "$1" >events || return 1
	awk '/^pcrs:/ { p = 1 } p && /^  [a-z0-9]+:$/ { bank = $1 } p && bank == "sha256:" && NF == 3 { print $1, substr($3, 3) }' events
}
differing() { # the PCRs among the replayed ones that hold something else
	local n v
	while read -r n v; do [ "$(pcr "$n")" = "$v" ] || echo "$n"; done <replay
}

# --- evidence about itself, of its own TPM ---
plan_evidence() {
	local i n
	head -c 32 /dev/urandom >nonce
	check evidence_asked_for tpm2 nvwrite 0x01407700 -i nonce
	n=$(tpm2 nvread 0x01407701 2>/dev/null | tr -d '\0' | sed -n 's/^evidence of \([0-9]*\) bytes$/\1/p')
	check evidence_is_there test -n "$n"
	for i in 0 1 2 3 4 5 6 7; do tpm2 nvread 0x0140771$i 2>/dev/null; done >rows
	head -c "${n:-0}" rows >evidence
	note_file nonce nonce
	note_file evidence evidence
}

plan_eventlog() {
	local log=/sys/kernel/security/tpm0/binary_bios_measurements
	cp $log log
	check eventlog_is_there test -s log
	replayed log >replay
	is eventlog_covers "$(cut -d' ' -f1 replay | tr '\n' ' ')" "0 1 2 3 4 5 6 7 9 "
	is eventlog_replays "$(differing | tr '\n' ' ')" ""
	note boot_pcrs "$(cat replay | sha256sum | cut -d' ' -f1)"
	check extend tpm2 pcrextend "9:sha256=$(sha rogue)"
	is what_the_log_does_not_know_shows "$(differing | tr '\n' ' ')" "9 "
}

# --- what is in memory only: made, still there, spoilt. Past the resource manager, which would put it away ---
raw() { TPM2TOOLS_TCTI=device:/dev/tpm0 "$@"; }
plan_hold() {
	check key raw tpm2 createprimary -Q -C o -G ecc -c held.ctx
	check session raw tpm2 startauthsession --policy-session -S held.session
	check measure measure held
	pcr $pcr_used >held.pcr
	raw tpm2 getcap handles-transient >held.handles
	raw tpm2 getcap handles-loaded-session >held.sessions
	raw tpm2 getcap handles-saved-session >>held.sessions
	check key_is_loaded grep -q 0x80 held.handles
	check session_is_there grep -q 0x0*[23] held.sessions
}
plan_held() {
	is pcr_is_kept "$(pcr $pcr_used)" "$(cat held.pcr)"
	is key_is_still_loaded "$(raw tpm2 getcap handles-transient)" "$(cat held.handles)"
	is session_is_still_there "$(raw tpm2 getcap handles-loaded-session; raw tpm2 getcap handles-saved-session)" "$(cat held.sessions)"
	check key_is_usable raw tpm2 readpublic -Q -c "$(grep -o '0x80.*' held.handles | head -n 1)"
	check session_is_usable raw tpm2 policypcr -Q -S held.session -l "sha256:$pcr_used"
}
plan_spoil() {
	check measure_more measure more
	check flush raw tpm2 flushcontext -t
	refused key_is_gone . raw tpm2 readpublic -Q -c "$(grep -o '0x80.*' held.handles | head -n 1)"
}

# --- time: a key to quote with and an index to write once, then rounds of the same commands ---
plan_bench_prepare() {
	check bench_key tpm2 createprimary -Q -C o -G ecc256:ecdsa-sha256:null -c quote.ctx \
		-a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign'
	check bench_key_persists tpm2 evictcontrol -Q -C o -c quote.ctx 0x81000012
	check bench_index guest_bench prepare
}
plan_bench() { bench run; }
plan_bench_create() { bench create; }
bench() {
	local op ns
	tpm2 flushcontext -t # what no resource manager puts away
	if guest_bench "$1" >times; then
		while read -r op ns; do note "$op" "$ns"; done <times
	else
		say "fail bench: $(tail -n 1 times)"
	fi
}

# --- a guest of Xen, with our driver, which nobody has signed: there is no firmware ---
kernel_may_say='module verification failed|tpm tpm0: tpm_(try_)?transmit: |TPM error .2313. occurred (stopping the TPM|attempting get random)|vtpm-0: the back end left before it answered|tpm tpm0: TPM in field failure mode'
plan_xen_kernel() { kernel_tpm2; }

# With Linux's own driver, which takes every chip for a TPM 1.2: what works is the device, for programs that speak 2.0.
[ -c /dev/tpmrm0 ] || kernel_may_say="$kernel_may_say|tpm tpm0: A TPM error \(-?[0-9]*\) occurred|tpm tpm0: (Operation|TPM)"
plan_xen_stock() {
	check tpm0 test -c /dev/tpm0
	check no_resource_manager test ! -e /dev/tpmrm0
	is tpm_version_major "$(cat $chip/tpm_version_major)" 1
	check random tpm2 getrandom --hex 16
	check measure measure stock
	check pcr_read tpm2 pcrread "sha256:$pcr_used"
	check primary tpm2 createprimary -Q -C o -G ecc -c stock.ctx
	check flush tpm2 flushcontext -t
	use_nv
}

# With an argument: what the guest has just been through.
label() { echo "$1${2:+_$2}" | tr -c 'A-Za-z0-9\n' _; }
plan_works() { check "$(label works "$*")" tpm2 getrandom --hex 16; }
plan_fails() { refused "$(label fails "$*")" . tpm2 getrandom --hex 16; }
plan_survives() { tpm2 getrandom --hex 16 >/tmp/out 2>&1; }

# The same TPM, through the same device.
plan_remember() {
	check measure measure remember
	pcr $pcr_used >remembered.pcr
	check context tpm2 createprimary -Q -C o -G ecc -c remembered.ctx
}
plan_remembered() {
	is "$(label pcr_is_kept "$*")" "$(pcr $pcr_used)" "$(cat remembered.pcr)"
	check "$(label key_is_usable "$*")" tpm2 readpublic -Q -c remembered.ctx
	is "$(label chip_is_the_same "$*")" "$(ls /sys/class/tpm)" tpm0
}

# A command that is in hand while something happens: TPM2_CreatePrimary, which may take minutes.
plan_begin() {
	printf '\200\001\0\0\0\012\0\0\001\061' >/dev/tpm0 2>/tmp/begun &
	begun=$!
}
plan_begun_fails() {
	wait "$begun"
	check "$(label begun_fails "$*")" test $? -ne 0
}
plan_kill() {
	kill -9 "$begun"
	wait "$begun"
	is begun_was_killed $? 137
}
# xenbus holds on to the driver of a device. With an argument: the seconds it may take.
plan_unload() {
	local since
	since=$(cut -d. -f1 /proc/uptime)
	check unbind sh -c 'echo vtpm-0 >/sys/bus/xen/drivers/xen-tpm2front/unbind'
	wait "$begun"
	check device_is_gone test ! -e /dev/tpm0
	check unload rmmod xen_tpm2front
	[ -z "${1:-}" ] || check unload_is_in_time test $(($(cut -d. -f1 /proc/uptime) - since)) -lt "$1"
}
# The same TPM, of which nobody may think that it was reset.
plan_reload() {
	check measure measure reload
	pcr $pcr_used >remembered.pcr
	check unbind sh -c 'echo vtpm-0 >/sys/bus/xen/drivers/xen-tpm2front/unbind'
	check unload rmmod xen_tpm2front
	plan_load
	is pcr_is_kept "$(pcr $pcr_used)" "$(cat remembered.pcr)"
}
plan_use_anew() { # where plan_xen_stock has been
	tpm2 nvundefine -Q -C o 0x01500010
	plan_use
}
comes_up() { # in a minute
	local i=0
	until [ -c /dev/tpmrm0 ]; do
		i=$((i + 1))
		[ $i -lt 1200 ] || return
		usleep 50000
	done
}
plan_comes_up() { check comes_up comes_up; }
plan_load() {
	check load modprobe xen-tpm2front
	check comes_up comes_up
}
plan_load_fails() {
	local i=0
	check load modprobe xen-tpm2front
	until dmesg | grep -q 'the TPM cannot be set up' || [ $i -eq 600 ]; do i=$((i + 1)) && usleep 50000; done
	check load_fails sh -c "dmesg | grep 'the TPM cannot be set up'"
	check no_device_of_it test ! -e /dev/tpm0
}

# Of the event channel, while a command is in hand. One that is late by a tick, after two that nobody had a reason for, comes 500
# times a second at most.
interrupts() { awk '/xen-tpm2front/ { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' /proc/interrupts; }
centiseconds() { cut -d ' ' -f 1 /proc/uptime | tr -d .; }
plan_interrupts_before() {
	interrupts >interrupts.before
	centiseconds >interrupts.since
}
plan_interrupts_are_few() {
	local n
	n=$(($(interrupts) - $(cat interrupts.before)))
	note interrupts "$n in $(($(centiseconds) - $(cat interrupts.since))) cs"
	check interrupts_are_few test $n -lt $((20 + 6 * ($(centiseconds) - $(cat interrupts.since))))
}

[ ! -e /trials_guest.sh ] || . /trials_guest.sh

# --- a measured launch ---
# The log of it, from the NV indices that the manager writes: a size, and the log in pieces of 2048 bytes.
launch_log() { # file
	local i size
	: >parts
	for i in 0 1 2 3 4 5 6 7 8; do
		tpm2 nvread -Q -o part "0x$(printf %08x $((0x01407600 + i)))" 2>/dev/null || break
		cat part >>parts
	done
	size=$(od -An -tu4 -N 4 parts | tr -d ' ')
	dd if=parts of="$1" bs=1 skip=4 count="$size" 2>/dev/null
	[ "$(wc -c <"$1")" = "$size" ]
}
plan_launched() {
	local i
	note pcrs "$(for i in 0 1 2 3 4 5 6 7 8 9; do pcr $i; done | tr '\n' ' ')"
	check log_is_in_nv launch_log log
	note_file eventlog log
}
plan_launched_uefi() { # the firmware's own log comes after that
	plan_launched
	note_file firmware /sys/kernel/security/tpm0/binary_bios_measurements
}

# SPDX-License-Identifier: BSD-2-Clause
# What guests have said about their TPMs, judged from outside. Sourced after machine.sh. $1 of each: whose notes.

file() { base64 -d <<<"${NOTE[$1]:-}" >"$LAB/$1"; } # a note as a file of its own name
same() { is "$1" "${NOTE[$2]:-nothing}" "${3:-nothing}"; }

rsa_signature_is_good() { # to somebody who has never seen the TPM
	local vm=$1
	file "$vm.rsa_key" && file "$vm.rsa_signature" &&
		printf 'message of a guest' | openssl dgst -sha256 -verify "$LAB/$vm.rsa_key" -signature "$LAB/$vm.rsa_signature"
}
ek_is_the_certified_one() {
	local vm=$1
	file "$vm.ek" && file "$vm.ek_certificate" &&
		cmp <(openssl pkey -pubin -in "$LAB/$vm.ek" -outform der) \
			<(openssl x509 -inform der -in "$LAB/$vm.ek_certificate" -noout -pubkey | openssl pkey -pubin -outform der)
}

# What must not change as long as the TPM lives. $1: machine, $2: label, $3 $4 $5: as it was
kept() {
	same "$2_keeps_the_ek" "$1.ek" "$3"
	same "$2_keeps_a_persistent_key" "$1.primary_name" "$4"
	same "$2_keeps_nv" "$1.nv" "$5"
}

# By a CA certificate that nobody took from the guest, in $2.
ek_certificate_verifies() {
	file "$1.ek_certificate" && openssl verify -x509_strict -CAfile "$2" <(openssl x509 -inform der -in "$LAB/$1.ek_certificate")
}

# PCRs 0 to 9 of the SHA-256 bank, as the log of a measured launch has them: by tpm2_eventlog, but for PCR 0, which it knows only from version 5.6 on.
pcrs_of_log() { # file
	echo $(python3 tests/tools/launch.py --replay "$1" sha256 | awk '{ print tolower($2) }'
		tpm2_eventlog "$1" | awk '$1 ~ /^sha/ { on = $1 == "sha256:" } on && $2 == ":" && $1 > 0 && $1 < 10 { print substr($3, 3) }')
}
pcrs_are_the_logs() { # notes' owner, label
	file "$1.eventlog"
	is "$2_pcrs_are_what_the_log_leads_to" "${NOTE[$1.pcrs]:-none}" "$(pcrs_of_log "$LAB/$1.eventlog")"
}

# The firmware's log, as dom0's kernel shows it, replayed by somebody else's program, is what PCRs 0 to 9 of the machine's TPM hold. $1: machine
firmware_log_is_true() {
	local i
	file "$1.event_log"
	tpm2_eventlog "$LAB/$1.event_log" | sed -n '/^pcrs:/,$p' | sed -n '/sha256:/,/sha384:/p' >"$LAB/$1.replayed"
	for i in 0 1 2 3 4 5 6 7 8 9; do
		is "$1_replay_is_pcr_$i" "$(sed -n "s/^ *$i *: 0x//p" "$LAB/$1.replayed")" "${NOTE[$1.pcr$i]:-nothing}"
	done
}

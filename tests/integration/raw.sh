# SPDX-License-Identifier: BSD-2-Clause
# TPM 2.0 commands as hex, byte for byte (Part 3), for guests that are looked at closely; sent with tpmline.

RC_NV_UNAVAILABLE=80010000000a00000923
PW=40000009 # TPM_RS_PW

command_hex() { printf '%s%08x%s' "$1" $((6 + ${#2} / 2)) "$2"; } # tag, what follows the size
password() { local n=$((${#1} / 2)); printf '%08x%s000000%04x%s' $((9 + n)) $PW $n "$1"; } # authorisation area; auth as hex
nv_write_hex() { command_hex 8002 "0000013740000001$1$(password "")$(printf %04x $((${#2} / 2)))${2}0000"; } # index, data
nv_read_hex() { command_hex 8002 "0000014e40000001$1$(password "")$(printf %04x "$2")0000"; }               # index, size
nv_read_pin_hex() { command_hex 8002 "0000014e$1$1$(password "$3")$(printf %04x "$2")0000"; }                # index, size, PIN
lockout_counter_hex() { command_hex 8001 0000017a000000060000020e00000001; }
get_random_hex() { command_hex 8001 0000017b0010; }
pcr_extend_hex() { command_hex 8002 "0000018200000010$(password "")00000001000b$(printf '%064x' 1)"; }
rc_of() { echo "${1:12:8}"; }

# One line of tpmline for each guest: line_open GUEST, say GUEST HEX (the response is in REPLY), line_close GUEST…
declare -A LINE_IN LINE_OUT LINE_PID
line_open() {
	local in out
	mkfifo "$LAB/$1.in" "$LAB/$1.out"
	"$B/tests/tpmline" "$LAB/run/$1.ring" <"$LAB/$1.in" >"$LAB/$1.out" &
	LINE_PID[$1]=$!
	exec {in}>"$LAB/$1.in" {out}<"$LAB/$1.out"
	rm "$LAB/$1.in" "$LAB/$1.out"
	LINE_IN[$1]=$in LINE_OUT[$1]=$out
}
say() {
	echo "$2" >&"${LINE_IN[$1]}" 2>/dev/null || true
	read -r REPLY <&"${LINE_OUT[$1]}" || REPLY=lost
}
line_close() { # GUEST…
	local g in out
	for g in "$@"; do
		in=${LINE_IN[$g]} out=${LINE_OUT[$g]}
		exec {in}>&- {out}<&-
		kill "${LINE_PID[$g]}" 2>/dev/null || true # what was started since has its pipe, too
		wait "${LINE_PID[$g]}" || true
	done
}
on() { local g; for g in "$@"; do ctl start "$g" >/dev/null && line_open "$g" || return 1; done; } # GUEST…
# answers GUEST HEX RESPONSE: every byte of it.
answers() {
	say "$1" "$2"
	[ "$REPLY" = "$3" ] || { echo "$1 answers $REPLY to $2"; return 1; }
}
succeeds() {
	say "$1" "$2"
	[ "$(rc_of "$REPLY")" = 00000000 ] || { echo "$1 answers $REPLY to $2"; return 1; }
}

# A guest that counts over its line. Of each: the last number that was acknowledged; the last that was sent.
COUNT=01500031
declare -A ACKED LAST
counter_open() { # GUEST NUMBER: one that is on has counted so far
	guest "$1" tpm2_nvdefine -Q -C o -s 8 -a 'ownerread|ownerwrite' 0x$COUNT
	ACKED[$1]=0 LAST[$1]=0
	line_open "$1"
	count_up "$1" "$2"
}
counter_guest() { # NAME OPTION…: a new one
	ctl create "$@" --commit-rate 0 >/dev/null
	ctl start "$1" >/dev/null
	counter_open "$1" 3
}
count_up() { # GUEST [TIMES]: writes the next number; ACKED moves only if the TPM says success
	local i
	for ((i = 0; i < ${2:-1}; i++)); do
		LAST[$1]=$((LAST[$1] + 1))
		succeeds "$1" "$(nv_write_hex $COUNT "$(printf '%016x' "${LAST[$1]}")")" || return 1
		ACKED[$1]=${LAST[$1]}
	done
}
reads() { # GUEST: N is the number it has
	succeeds "$1" "$(nv_read_hex $COUNT 8)" || return 1
	N=$((16#${REPLY:32:16}))
}
has() { reads "$1" && [ $N -eq "$2" ] || { echo "$1 has ${N:-none}, not $2"; return 1; }; } # GUEST NUMBER
# What it has is the last acknowledged number, or a later one that was sent: never an earlier one. It counts on from there.
nothing_lost() {
	reads "$1" || return 1
	[ $N -ge "${ACKED[$1]}" ] && [ $N -le "${LAST[$1]}" ] || { echo "$1 has $N, acknowledged was ${ACKED[$1]}, sent ${LAST[$1]}"; return 1; }
	ACKED[$1]=$N LAST[$1]=$N
}

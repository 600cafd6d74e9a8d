# SPDX-License-Identifier: BSD-2-Clause
# What the fault scripts share, on top of tests/lib.sh: a guest with something to lose, and its proof.

. tests/checks.sh
set -E
trap 'not_ok "line $LINENO: $BASH_COMMAND" /dev/null' ERR # what is no check must not fail either (set -e)

discontinuities() { [ "$(field "$1" discontinuities)" = "$2" ] || { echo "$1 has $(field "$1" discontinuities), not $2"; return 1; }; }

# A chip with two PCRs measured into, a store on it.
pcr_digest() { printf '%s' "$1" | sha256sum | cut -d' ' -f1; }
chip_measure() { chip tpm2_pcrextend "0:sha256=$(pcr_digest firmware)" "4:sha256=$(pcr_digest "${1:-bootloader}")"; }
# Its power is back, while a manager may be waiting for it: nobody reaches it before the firmware has measured, as on any host.
chip_boot() {
	rm -f "$LAB/chip.sock" "$LAB/chip.sock.ctrl"
	chip_start chip boot.sock
	CHIP_SOCK=boot.sock chip_measure
	mv "$LAB/boot.sock.ctrl" "$LAB/chip.sock.ctrl"
	mv "$LAB/boot.sock" "$LAB/chip.sock"
}
chip_and_store() {
	chip_start
	chip_measure
	mgr_init --seal-pcrs 0,4 >/dev/null
}

# An offline key: the private one $LAB/NAME.key, the public one $LAB/NAME.pem.
offline_key() { # NAME RSA-BITS or NAME CURVE
	case $2 in
	RSA*) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:${2#RSA-}" -out "$LAB/$1.key" ;;
	*) openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:$2" -out "$LAB/$1.key" ;;
	esac
	openssl pkey -in "$LAB/$1.key" -pubout -out "$LAB/$1.pem"
}

NV=0x1500016
# A guest with an NV index and an EK to lose; leaves it running. Its proof is kept in $LAB/NAME.*.
guest_make() {
	ctl create "$@" >/dev/null
	local g=$1
	ctl start "$g" >/dev/null
	printf 'kept by %s' "$g" >"$LAB/$g.nv"
	guest "$g" tpm2_nvdefine -Q -C o -s "$(stat -c %s "$LAB/$g.nv")" -a 'ownerread|ownerwrite' $NV
	guest "$g" tpm2_nvwrite -Q -C o -i "$LAB/$g.nv" $NV
	guest "$g" tpm2_nvread -Q -C o 0x01c0000a -o "$LAB/$g.cert" 2>/dev/null # it warns that it reads all
	guest_ek "$g" "$LAB/$g.ek"
}
guest_ek() {
	guest "$1" tpm2_createek -Q -c "$2.ctx" -G ecc -u "$2"
	guest "$1" tpm2_flushcontext -t
}
# Is it the one that guest_make made?
guest_is_whole() {
	local g=$1
	all guest "$g" tpm2_nvread -Q -C o -s "$(stat -c %s "$LAB/$g.nv")" $NV -o "$LAB/$g.nv.now" -- cmp "$LAB/$g.nv" "$LAB/$g.nv.now" -- \
		guest "$g" tpm2_nvread -Q -C o 0x01c0000a -o "$LAB/$g.cert.now" -- cmp "$LAB/$g.cert" "$LAB/$g.cert.now" -- \
		guest_ek "$g" "$LAB/$g.ek.now" -- cmp "$LAB/$g.ek" "$LAB/$g.ek.now"
}
# Powered on, it can use its TPM.
guest_works() { all ctl start "$1" -- guest_is_whole "$1"; }
is_open() { [ "$(status continuity state)" = open ]; }
tpm_field() { ctl status --json | json "['status']['tpm'].get('$1', '')"; }

# A challenge to the recovery keys, into $LAB/challenge; CODE is what the keeper has logged of it.
codes() { sed -n 's/^vtpm-keeper.*the code of the challenge is \([0-9a-f-]*\);.*/\1/p' "$LAB/mgr.log"; }
more_codes() { [ "$(codes | wc -l)" -gt "$1" ]; }
challenge() {
	local n
	n=$(codes | wc -l)
	ctl recovery challenge >"$LAB/challenge" 2>/dev/null || return 1
	soon more_codes "$n" || return 1
	CODE=$(codes | tail -n 1)
}
# Its answer, into $LAB/answer. $1: the private key $LAB/$1.key; $2: another file than the challenge.
opens() { "$B/vtpmctl" recovery open --key "$LAB/$1.key" --code "$CODE" "${2:-$LAB/challenge}" >"$LAB/answer"; }
restores() { ctl recovery restore --response "$LAB/answer" --pcrs 0,4 "$@"; }

# The store without its manager.
store_keep() { cat "$LAB/state/vtpm.db" >"$LAB/good.db"; }
store_put_back() { cat "$LAB/good.db" >"$LAB/state/vtpm.db"; }
store_sum() { (cd "$LAB/state" && sha256sum vtpm.db*); }
uuid_in_db() { echo "(SELECT uuid FROM vtpm WHERE name = '$1')"; }
# flip TABLE COLUMN WHERE OFFSET: one bit of the byte at OFFSET, counted from the end if it is negative.
flip() {
	local hex at
	hex=$(db "SELECT hex($2) FROM $1 WHERE $3")
	at=$(($4 < 0 ? ${#hex} + 2 * $4 : 2 * $4))
	db "UPDATE $1 SET $2 = x'${hex:0:at}$(printf %02x $((0x${hex:at:2} ^ 0x10)))${hex:at+2}' WHERE $3"
}

# A disk that can be filled: the state directory on a small tmpfs (the caller has a mount namespace of its own).
small_disk() { # $1: size
	mkdir -m 700 "$LAB/state"
	mount -t tmpfs -o size=${1:-6m},mode=700,uid=65534,gid=65534 none "$LAB/state"
}
fill_disk() { dd if=/dev/zero of="$LAB/state/fill" bs=4k oflag=append conv=notrunc status=none 2>/dev/null || true; }
free_disk() { rm "$LAB/state/fill"; }

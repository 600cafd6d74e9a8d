#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# docs/recovery.md, command by command as it stands there: the blocks after "drill: WHERE", on an offline machine, a host and a new host.
# What they need of a real host is stood in for: systemctl, journalctl, /var/lib/vtpm, and the passphrases that a person types.
set -eu
cd "$(dirname "$0")/../.."
. tests/lib.sh
. tests/integration/faults.sh
lab_init
ROOT=$PWD DOC=$PWD/docs/recovery.md

# The Nth block of commands of the manual for that place.
block() { # WHERE N
	awk -v want="$1" -v n="$2" '
		/^<!-- drill: / { here = $3 == want; if (here) seen++; next }
		here && /^    / { on = 1; if (seen == n) print substr($0, 5); next }
		on && !/^$/ { here = on = 0 }' "$DOC"
}
BLOCKS=$(grep -c '^<!-- drill: ' "$DOC")
RAN=0
# Runs it in a directory of that place, a line at a time. $3: sed script for what a person fills in.
run() { # WHERE N [SED]
	local line cmd n=0 where=$LAB/$1
	RAN=$((RAN + 1))
	mkdir -p "$where"
	while IFS= read -r line; do
		n=$((n + 1))
		cmd=$(sed -e "s|/var/lib/vtpm|$LAB/state|g; s|/root/|$LAB/$1/|g" -e "${3:-}" <<<"$line")
		cd "$where"
		eval "$cmd" >"$LAB/out" 2>&1 </dev/null && ok "$1: $line" || not_ok "$1: $line" "$LAB/out"
		cd "$ROOT"
		cp "$LAB/out" "$LAB/out.$n"
	done < <(block "$1" "$2")
	[ $n -gt 0 ] || not_ok "no block $2 for $1 in the manual"
}
typed() { python3 "$ROOT/tests/tools/typed.py" 'a long passphrase' "$@"; }
vtpmctl() {
	case "$*" in
	*"--share passphrase"* | "group unlock payroll"*) typed "$B/vtpmctl" --runtime-dir "$LAB/run" "$@" ;;
	"recovery open"*) # its output is a file: only the question goes to the terminal
		typed sh -c 'out=$1; shift; exec "$@" >"$out"' - "$LAB/opened" "$B/vtpmctl" "$@" >&2 && cat "$LAB/opened" ;;
	*) "$B/vtpmctl" --runtime-dir "$LAB/run" "$@" ;;
	esac
}
openssl() { typed openssl "$@"; }
systemctl() { case $1 in start) recovered && mgr_up ;; stop) mgr_stop ;; esac; }
vtpm-mgr() { mgr_start "$@"; } # until it asks for an answer; it goes on beside this
recovered() { [ -z "$MGR_PID" ] || wait "$MGR_PID" || return; MGR_PID=; } # it has ended by itself
# Reads what the keeper itself has logged, as soon as it is there.
journalctl() { local i; for ((i = 0; i < 500; i++)); do grep '^vtpm-keeper.*the code of the challenge' "$LAB/mgr.log" && return; sleep 0.01; done; return 1; }
mgr_up() { mgr_start --pool 0; }
carry() { cp "$LAB/$1/$3" "$LAB/$2/"; } # FROM TO FILE, on a stick

host_measures() { chip tpm2_pcrextend "0:sha256=$(pcr_digest firmware)" "2:sha256=$(pcr_digest option)" "4:sha256=$(pcr_digest loader)" "7:sha256=$(pcr_digest secureboot)"; }
openssl_verifies() { ctl show web1 --ek-cert ecc >"$LAB/ek.pem" && command openssl verify -x509_strict -CAfile "$LAB/newhost/ca.pem" "$LAB/ek.pem"; }
chip_start
host_measures
mgr_init >/dev/null
mkdir -p "$LAB/spare" "$LAB/host" "$LAB/offline" "$LAB/newhost" "$LAB/host2" "$LAB/restarted"
mgr_up
guest_make web1

run offline 1
carry offline host offline.pub
check complains-before grep -q "no recovery key opens its root" <(ctl status)
run host 1
check complains-no-more no grep -q "recovery init" <(ctl status)
run host 2
run host 3
check the-vault-serves ctl start ledger
check the-guest-ran-on guest_is_whole web1
ctl recovery init >/dev/null
mgr_stop
mgr_up
cp "$LAB/host/ca.pem" "$LAB/host/vault.key" "$LAB/restarted/"
check locked-after-a-restart refused "second share" ctl start ledger
run restarted 1
check unlocked ctl start ledger
run before 1
carry before spare vtpm.backup
carry before offline vtpm-recovery.json
run host2 1
mgr_stop || true # the manual has stopped it
check a-copy-was-made test -s "$LAB/host2/vtpm-before/vtpm.db"

# The host is gone; what is left is the copy.
rm -rf "$LAB/state"
cp -a "$LAB/host2/vtpm-before" "$LAB/state"
chip_stop
rm -f "$LAB"/chip.sock*
chip_start second
host_measures
run newhost 1
check status-says-so grep -qE "it was cleared, or it is another" "$LAB/out.2"
run newhost 2
CODE=$(sed -n 's/.*the code of the challenge is \([0-9a-f-]*\);.*/\1/p' "$LAB/out")
carry newhost offline challenge.json
run offline 2 "s/CODE/$CODE/"
carry offline newhost answer.json
run newhost 3
check all-is-back all guest_works web1 -- openssl_verifies
check status-says-it-for-ever grep -q "moved onto this TPM by recovery" <(ctl status)
# It is another chip with another CA: the host is to be enrolled again, and its vTPMs are certified again.
mkdir "$LAB/enrolled"
check the-other-chip-is-enrolled all ctl enroll show --dir "$LAB/enrolled" -- python3 tests/integration/attested.py "$LAB/enrolled"
check certified-by-it all ctl stop web1 -- ctl certify web1 -- eval 'ctl show web1 --ak-cert >"$LAB/ak.pem"' -- \
	command openssl verify -x509_strict -CAfile "$LAB/enrolled/ca.pem" "$LAB/ak.pem"

# That host is gone, too, and so is the copy; what is left is the backup of the first one.
mgr_stop
rm -rf "$LAB/state"
chip_stop
rm -f "$LAB"/chip.sock*
chip_start third
host_measures
run spare 1
run spare 2
journalctl -u vtpm-mgr >"$LAB/out"
CODE=$(sed -n 's/.*the code of the challenge is \([0-9a-f-]*\);.*/\1/p' "$LAB/out" | tail -n 1)
carry spare offline challenge.json
run offline 3 "s/CODE/$CODE/"
carry offline spare answer.json
run spare 3
run spare 4
check all-is-back-from-the-backup all guest_works web1 -- discontinuities web1 1
unlock_there() { ctl group unlock vault --share-file "$LAB/host/vault.key" --ca "$LAB/spare/ca.pem"; }
check and-opens-with-its-share all refused "second share" ctl start ledger -- unlock_there -- ctl start ledger
check nothing-of-the-manual-was-left-out test $RAN -eq "$BLOCKS"
mgr_stop
exit $FAILED
